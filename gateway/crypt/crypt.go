// Package crypt is WeChat's cryptography: the signatures of pushes and of
// JS-SDK pages, and the AES envelope around messages and replies. Bytes in,
// bytes out: it knows nothing of HTTP, of XML messages or of time.
//
//	box, err := crypt.New(crypt.Config{AppID: "wx…", Tokens: tokens, Keys: keys})
//	token, err := box.VerifyMsg(msgSignature, timestamp, nonce, encrypt)
//	opened, err := box.Open(nil, encrypt)
//	answer, err = box.AppendXML(answer, opened.Key, token, reply, now, nonce)
//
// The algorithms are those of the official page
// doc/subscription/guide/dev/push/encryption; official accounts, mini
// programs and shops share them.
package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// What a caller tells apart; the errors that wrap them carry the detail.
var (
	// ErrSignature: no token gives the signature that came.
	ErrSignature = errors.New("bad signature")
	// ErrEnvelope: the text is no envelope that any key opens.
	ErrEnvelope = errors.New("bad envelope")
	// ErrAppID: the envelope opened, but was sealed for another account.
	ErrAppID = errors.New("bad app-id")
)

const (
	keyChars = 43 // an EncodingAESKey: 32 bytes in base64 without its padding
	keyBytes = 32
)

// Config is what one account shares with WeChat. It prints as its AppID
// alone.
type Config struct {
	// AppID is the account's own id, checked in every opened envelope.
	// Needed when there are Keys.
	AppID string
	// Tokens sign: the current one first, then earlier ones.
	Tokens []string
	// Keys are EncodingAESKeys, 43 characters of base64 each: the current
	// one first, then earlier ones. None: the account sends plaintext.
	Keys []string
}

// Format keeps tokens and keys out of whatever prints a Config.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{AppID:%q Tokens:%d Keys:%d}", c.AppID, len(c.Tokens), len(c.Keys))
}

// LogValue keeps tokens and keys out of logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// A Box verifies, opens and seals for one account. It never changes and may
// be used by many goroutines.
type Box struct {
	appID  string
	tokens [][]byte
	keys   []*key
	random io.Reader // fills the 16 bytes that begin each sealed message
}

// key is an EncodingAESKey. Its block modes are used again, since each new one
// copies the expanded key.
type key struct {
	block                  cipher.Block
	iv                     [aes.BlockSize]byte // the first half of the key
	encrypters, decrypters sync.Pool           // of blockMode
}

// blockMode is what CBC of crypto/aes is: it can be set back to an IV, as
// crypto/tls does too.
type blockMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

func newKey(block cipher.Block, iv [aes.BlockSize]byte) *key {
	k := &key{block: block, iv: iv}
	k.encrypters.New = func() any { return cipher.NewCBCEncrypter(k.block, k.iv[:]).(blockMode) }
	k.decrypters.New = func() any { return cipher.NewCBCDecrypter(k.block, k.iv[:]).(blockMode) }
	return k
}

func (k *key) encrypt(buf []byte) { k.crypt(&k.encrypters, buf) }

func (k *key) decrypt(buf []byte) { k.crypt(&k.decrypters, buf) }

// crypt encrypts or decrypts whole blocks in place.
func (k *key) crypt(modes *sync.Pool, buf []byte) {
	mode := modes.Get().(blockMode)
	mode.SetIV(k.iv[:])
	mode.CryptBlocks(buf, buf)
	modes.Put(mode)
}

// New returns the Box of an account. Its errors name the faulty key or token
// by its index, never by its value.
func New(c Config) (*Box, error) {
	b := &Box{appID: c.AppID, random: rand.Reader}
	if len(c.Keys) > 0 && c.AppID == "" {
		return nil, errors.New("cannot use aes-keys without an app-id")
	}
	for i, token := range c.Tokens {
		// With an empty token everybody could sign.
		if token == "" {
			return nil, fmt.Errorf("cannot use token %d: it is empty", i)
		}
		b.tokens = append(b.tokens, []byte(token))
	}
	for i, text := range c.Keys {
		raw, err := decodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("cannot use aes-key %d: %w", i, err)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("cannot use aes-key %d: %w", i, err)
		}
		b.keys = append(b.keys, newKey(block, [aes.BlockSize]byte(raw)))
	}
	return b, nil
}

// Format keeps tokens and keys out of whatever prints a Box.
func (b *Box) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{AppID:%q Tokens:%d Keys:%d}", b.appID, len(b.tokens), len(b.keys))
}

// LogValue keeps tokens and keys out of logs.
func (b *Box) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(b)) }

// HasKey reports whether the account has an EncodingAESKey at all.
func (b *Box) HasKey() bool { return len(b.keys) > 0 }

// decodeKey decodes an EncodingAESKey; its errors do not quote it. It does not
// judge the two bits that the 43rd character has to spare:
// the console hands out keys in which they are set.
func decodeKey(text string) ([]byte, error) {
	if len(text) != keyChars {
		return nil, fmt.Errorf("%d characters, must be %d", len(text), keyChars)
	}
	raw, err := base64.StdEncoding.DecodeString(text + "=")
	var at base64.CorruptInputError
	if errors.As(err, &at) {
		return nil, fmt.Errorf("character %d is not base64", min(int(at), keyChars-1)+1)
	}
	if err != nil || len(raw) != keyBytes {
		return nil, errors.New("not base64")
	}
	return raw, nil
}
