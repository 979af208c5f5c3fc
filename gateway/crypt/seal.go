package crypt

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// maxMsg bounds what Seal takes, in bytes. Real replies are a few kilobytes.
const maxMsg = 64 << 20

// An Envelope is a sealed message with its signature, in parts: for pushes,
// which carry some of them in their query.
type Envelope struct {
	Encrypt      string // base64
	MsgSignature string
	TimeStamp    int64 // seconds
	Nonce        string
}

// Seal encrypts msg with the key and signs it with the token of these
// indices: those that opened and verified the push. timestamp is in seconds,
// any current one; nonce is usually the push's own. Characters that XML
// cannot carry are taken out of nonce before it is signed.
func (b *Box) Seal(key, token int, msg []byte, timestamp int64, nonce string) (Envelope, error) {
	if err := b.checkSeal(key, token, msg); err != nil {
		return Envelope{}, err
	}
	encrypt, err := b.appendEncrypt(nil, key, msg)
	if err != nil {
		return Envelope{}, err
	}
	nonce = printable(nonce)
	signed := b.sign(token, timestamp, nonce, encrypt)
	return Envelope{string(encrypt), string(signed[:]), timestamp, nonce}, nil
}

// AppendXML seals msg as Seal does and appends the envelope to dst in the form
// that official accounts and mini programs with XML pushes expect. nonce
// does not break out of its CDATA section. msg may be a part of dst.
func (b *Box) AppendXML(dst []byte, key, token int, msg []byte, timestamp int64, nonce string) ([]byte, error) {
	nonce = printable(nonce)
	dst, err := b.appendSigned(dst, &xmlForm, key, token, msg, timestamp, nonce)
	if err != nil {
		return nil, err
	}
	dst = appendCDATA(dst, nonce)
	return append(dst, "</Nonce></xml>"...), nil
}

// AppendJSON is AppendXML in the form for accounts with JSON pushes.
func (b *Box) AppendJSON(dst []byte, key, token int, msg []byte, timestamp int64, nonce string) ([]byte, error) {
	nonce = printable(nonce)
	dst, err := b.appendSigned(dst, &jsonForm, key, token, msg, timestamp, nonce)
	if err != nil {
		return nil, err
	}
	dst = codec.AppendString(dst, nonce)
	return append(dst, '}'), nil
}

// form is what stands in an envelope before each of its values. Base64, hex
// and digits need no escape in either form.
type form struct{ encrypt, signature, timestamp, nonce string }

var (
	xmlForm = form{
		"<xml><Encrypt><![CDATA[", "]]></Encrypt><MsgSignature><![CDATA[",
		"]]></MsgSignature><TimeStamp>", "</TimeStamp><Nonce>",
	}
	jsonForm = form{`{"Encrypt":"`, `","MsgSignature":"`, `","TimeStamp":`, `,"Nonce":`}
)

// formRoom is what an envelope takes beside its Encrypt, in either form and
// with a nonce of WeChat's.
const formRoom = 256

// appendSigned appends the envelope up to its nonce.
func (b *Box) appendSigned(dst []byte, f *form, key, token int, msg []byte, timestamp int64, nonce string) ([]byte, error) {
	if err := b.checkSeal(key, token, msg); err != nil {
		return nil, err
	}
	size, encoded := b.sealedSize(msg)
	dst = slices.Grow(dst, formRoom+size+encoded)
	dst = append(dst, f.encrypt...)
	start := len(dst)
	dst, err := b.appendEncrypt(dst, key, msg)
	if err != nil {
		return nil, err
	}
	signed := b.sign(token, timestamp, nonce, dst[start:])
	dst = append(dst, f.signature...)
	dst = append(dst, signed[:]...)
	dst = append(dst, f.timestamp...)
	dst = strconv.AppendInt(dst, timestamp, 10)
	return append(dst, f.nonce...), nil
}

func (b *Box) checkSeal(key, token int, msg []byte) error {
	if key < 0 || key >= len(b.keys) {
		return fmt.Errorf("cannot seal with aes-key %d: there are %d", key, len(b.keys))
	}
	if token < 0 || token >= len(b.tokens) {
		return fmt.Errorf("cannot seal with token %d: there are %d", token, len(b.tokens))
	}
	if len(msg) > maxMsg {
		return fmt.Errorf("cannot seal a message of %d bytes: at most %d", len(msg), maxMsg)
	}
	return nil
}

// sealedSize is what msg takes in bytes when it is encrypted, and as base64.
func (b *Box) sealedSize(msg []byte) (size, encoded int) {
	size = headerSize + len(msg) + len(b.appID)
	size += padBlock - size%padBlock
	return size, base64.StdEncoding.EncodedLen(size)
}

// appendEncrypt appends the Encrypt of msg to dst.
func (b *Box) appendEncrypt(dst []byte, key int, msg []byte) ([]byte, error) {
	size, encoded := b.sealedSize(msg)
	dst = slices.Grow(dst, encoded+size)
	end := len(dst) + encoded
	// Encrypted behind where its text will stand: the room is used again by
	// what follows there.
	buf := dst[end : end+headerSize : end+size]
	if _, err := io.ReadFull(b.random, buf[:randomSize]); err != nil {
		return nil, fmt.Errorf("cannot seal a message: %w", err)
	}
	binary.BigEndian.PutUint32(buf[randomSize:], uint32(len(msg)))
	buf = append(buf, msg...)
	buf = append(buf, b.appID...)
	for pad := size - len(buf); len(buf) < size; {
		buf = append(buf, byte(pad))
	}
	b.keys[key].encrypt(buf)
	base64.StdEncoding.Encode(dst[len(dst):end], buf)
	return dst[:end], nil
}

// sign makes the MsgSignature of an envelope.
func (b *Box) sign(token int, timestamp int64, nonce string, encrypt []byte) [2 * sha1.Size]byte {
	var digits [20]byte
	parts := [...][]byte{b.tokens[token], strconv.AppendInt(digits[:0], timestamp, 10), []byte(nonce), encrypt}
	return signature(parts[:])
}

// appendCDATA ends a section inside each ]]> and begins the next one there.
func appendCDATA(dst []byte, s string) []byte {
	dst = append(dst, "<![CDATA["...)
	for {
		before, after, found := strings.Cut(s, "]]>")
		dst = append(dst, before...)
		if !found {
			return append(dst, "]]>"...)
		}
		dst = append(dst, "]]]]><![CDATA[>"...)
		s = after
	}
}

// printable drops control characters, which XML forbids or changes on the
// way, non-characters and invalid UTF-8. It allocates only if there are any.
func printable(s string) string {
	var clean strings.Builder
	start := 0 // s[start:i] is kept and not yet written
	for i := 0; i < len(s); {
		if ' ' <= s[i] && s[i] <= '~' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		drop := r < ' ' || 0x7F <= r && r < 0xA0 || r&0xFFFE == 0xFFFE || r == utf8.RuneError && size == 1
		if drop {
			clean.WriteString(s[start:i])
			start = i + size
		}
		i += size
	}
	if start == 0 {
		return s
	}
	clean.WriteString(s[start:])
	return clean.String()
}
