package crypt

import (
	"bytes"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
)

// Sign returns the signature that WeChat's pushes and cards carry: SHA-1 of
// the parts, sorted bytewise and joined without a separator, in lower-case
// hexadecimal.
func Sign(parts ...string) string {
	sorted := make([][]byte, len(parts))
	for i, p := range parts {
		sorted[i] = []byte(p)
	}
	sum := signature(sorted)
	return string(sum[:])
}

// signature is Sign without a copy of anything. It sorts parts: by insertion,
// since they are few and what slices.SortFunc sorts has its place on the heap.
func signature(parts [][]byte) (text [2 * sha1.Size]byte) {
	for i := range parts {
		for j := i; j > 0 && bytes.Compare(parts[j], parts[j-1]) < 0; j-- {
			parts[j], parts[j-1] = parts[j-1], parts[j]
		}
	}
	sum := sumOf(parts)
	hex.Encode(text[:], sum[:])
	return text
}

// sumOf is SHA-1 of the joined parts. They are hashed one after the other, but
// what is short, as in every push, is quicker joined.
func sumOf(parts [][]byte) (sum [sha1.Size]byte) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size <= 128 {
		joined := make([]byte, 0, 128)
		for _, p := range parts {
			joined = append(joined, p...)
		}
		return sha1.Sum(joined)
	}
	hash := sha1.New()
	for _, p := range parts {
		hash.Write(p)
	}
	hash.Sum(sum[:0])
	return sum
}

// Verify checks the signature of a plaintext push or of WeChat's URL check:
// Sign of token, timestamp and nonce. It returns the index of the token that
// made it, or ErrSignature.
func (b *Box) Verify(signature, timestamp, nonce []byte) (tokenIndex int, err error) {
	for i, token := range b.tokens {
		parts := [...][]byte{token, timestamp, nonce}
		if matches(signature, parts[:]) {
			return i, nil
		}
	}
	return 0, ErrSignature
}

// VerifyMsg checks the msg_signature of a sealed push, which covers the
// Encrypt text too. It returns the index of the token that made it, or
// ErrSignature.
func (b *Box) VerifyMsg(msgSignature, timestamp, nonce, encrypt []byte) (tokenIndex int, err error) {
	for i, token := range b.tokens {
		parts := [...][]byte{token, timestamp, nonce, encrypt}
		if matches(msgSignature, parts[:]) {
			return i, nil
		}
	}
	return 0, ErrSignature
}

// matches reports in constant time whether got is the signature of parts,
// which it sorts.
func matches(got []byte, parts [][]byte) bool {
	want := signature(parts)
	return subtle.ConstantTimeCompare(got, want[:]) == 1
}

// SignJSAPI returns the signature of a page for wx.config of the JS-SDK:
// SHA-1 over the raw values, in lower-case hexadecimal. timestamp is in
// seconds; url is the address as the browser shows it, its fragment is cut
// off.
func SignJSAPI(ticket, nonce string, timestamp int64, url string) string {
	url, _, _ = strings.Cut(url, "#")
	sum := sha1.Sum([]byte("jsapi_ticket=" + ticket + "&noncestr=" + nonce +
		"&timestamp=" + strconv.FormatInt(timestamp, 10) + "&url=" + url))
	return hex.EncodeToString(sum[:])
}
