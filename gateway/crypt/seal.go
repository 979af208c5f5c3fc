package crypt

import (
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// maxMsg bounds what Seal takes, in bytes. Real replies are a few kilobytes.
const maxMsg = 64 << 20

// An Envelope is a sealed message with its signature, ready to be written as
// XML or as JSON.
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
	if key < 0 || key >= len(b.keys) {
		return Envelope{}, fmt.Errorf("cannot seal with aes-key %d: there are %d", key, len(b.keys))
	}
	if token < 0 || token >= len(b.tokens) {
		return Envelope{}, fmt.Errorf("cannot seal with token %d: there are %d", token, len(b.tokens))
	}
	if len(msg) > maxMsg {
		return Envelope{}, fmt.Errorf("cannot seal a message of %d bytes: at most %d", len(msg), maxMsg)
	}
	size := headerSize + len(msg) + len(b.appID)
	pad := padBlock - size%padBlock
	buf := make([]byte, headerSize, size+pad)
	if _, err := io.ReadFull(b.random, buf[:randomSize]); err != nil {
		return Envelope{}, fmt.Errorf("cannot seal a message: %w", err)
	}
	binary.BigEndian.PutUint32(buf[randomSize:], uint32(len(msg)))
	buf = append(buf, msg...)
	buf = append(buf, b.appID...)
	for range pad {
		buf = append(buf, byte(pad))
	}
	k := &b.keys[key]
	cipher.NewCBCEncrypter(k.block, k.iv[:]).CryptBlocks(buf, buf)

	e := Envelope{Encrypt: base64.StdEncoding.EncodeToString(buf), TimeStamp: timestamp, Nonce: printable(nonce)}
	e.MsgSignature = Sign(b.tokens[token], strconv.FormatInt(timestamp, 10), e.Nonce, e.Encrypt)
	return e, nil
}

// AppendXML appends e to dst in the form that official accounts and mini
// programs with XML pushes expect. No value breaks out of its CDATA section.
func (e Envelope) AppendXML(dst []byte) []byte {
	dst = append(dst, "<xml><Encrypt>"...)
	dst = appendCDATA(dst, e.Encrypt)
	dst = append(dst, "</Encrypt><MsgSignature>"...)
	dst = appendCDATA(dst, e.MsgSignature)
	dst = append(dst, "</MsgSignature><TimeStamp>"...)
	dst = strconv.AppendInt(dst, e.TimeStamp, 10)
	dst = append(dst, "</TimeStamp><Nonce>"...)
	dst = appendCDATA(dst, e.Nonce)
	return append(dst, "</Nonce></xml>"...)
}

// AppendJSON appends e to dst in the form for accounts with JSON pushes.
func (e Envelope) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"Encrypt":`...)
	dst = codec.AppendString(dst, e.Encrypt)
	dst = append(dst, `,"MsgSignature":`...)
	dst = codec.AppendString(dst, e.MsgSignature)
	dst = append(dst, `,"TimeStamp":`...)
	dst = strconv.AppendInt(dst, e.TimeStamp, 10)
	dst = append(dst, `,"Nonce":`...)
	dst = codec.AppendString(dst, e.Nonce)
	return append(dst, '}')
}

// appendCDATA ends a section inside each ]]> and begins the next one there.
func appendCDATA(dst []byte, s string) []byte {
	s = printable(s)
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
