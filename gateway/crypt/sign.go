package crypt

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Sign returns the signature that WeChat's pushes and cards carry: SHA-1 of
// the parts, sorted bytewise and joined without a separator, in lower-case
// hexadecimal.
func Sign(parts ...string) string {
	sum := signature(parts, nil)
	return string(sum[:])
}

// signature is Sign of parts and of one more, which may be long: it is not
// copied into a string. An empty one changes nothing.
func signature(parts []string, more []byte) (text [2 * sha1.Size]byte) {
	sorted := append(make([]string, 0, 8), parts...)
	slices.Sort(sorted)
	joined := make([]byte, 0, 1024) // of a size that needs no place on the heap
	for _, p := range sorted {
		if string(more) < p {
			joined = append(joined, more...)
			more = nil
		}
		joined = append(joined, p...)
	}
	joined = append(joined, more...)
	sum := sha1.Sum(joined)
	hex.Encode(text[:], sum[:])
	return text
}

// Verify checks the signature of a plaintext push or of WeChat's URL check:
// Sign of token, timestamp and nonce. It returns the index of the token that
// made it, or ErrSignature.
func (b *Box) Verify(signature, timestamp, nonce string) (tokenIndex int, err error) {
	return b.verify(signature, nil, "", timestamp, nonce)
}

// VerifyMsg checks the msg_signature of a sealed push, which covers the
// Encrypt text too. It returns the index of the token that made it, or
// ErrSignature.
func (b *Box) VerifyMsg(msgSignature, timestamp, nonce string, encrypt []byte) (tokenIndex int, err error) {
	return b.verify(msgSignature, encrypt, "", timestamp, nonce)
}

// verify signs more and parts, with each token in the place of the first one.
func (b *Box) verify(got string, more []byte, parts ...string) (int, error) {
	for i, token := range b.tokens {
		parts[0] = token
		want := signature(parts, more)
		if subtle.ConstantTimeCompare([]byte(got), want[:]) == 1 {
			return i, nil
		}
	}
	return 0, ErrSignature
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
