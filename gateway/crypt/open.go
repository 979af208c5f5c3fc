package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// The layout of an opened envelope:
//
//	16 random bytes | length of msg, 4 bytes big-endian | msg | app-id | padding
//
// padded as PKCS#7 does, but to whole blocks of 32 although AES has 16.
const (
	randomSize = 16
	headerSize = randomSize + 4
	padBlock   = 32
	maxAppID   = 64 // the longest app-id that an error quotes
)

// Opened is the content of an envelope.
type Opened struct {
	Msg []byte // XML or JSON, the caller's own to keep
	Key int    // index of the key that opened it, for the reply
}

// Open opens the Encrypt text of a push. The keys are tried in order; the
// error is that of the current key, unless an earlier key opens the envelope
// and finds another app-id in it. Errors wrap ErrEnvelope or ErrAppID. Open
// does not check signatures: call VerifyMsg first.
func (b *Box) Open(encrypt []byte) (Opened, error) {
	if len(b.keys) == 0 {
		return Opened{}, fmt.Errorf("%w: no aes-key is set", ErrEnvelope)
	}
	buf := make([]byte, base64.StdEncoding.DecodedLen(len(encrypt)))
	var first error
	for i := range b.keys {
		// Decrypted in place, so decoded anew for each key.
		n, err := base64.StdEncoding.Decode(buf, encrypt)
		if err != nil {
			return Opened{}, fmt.Errorf("%w: %w", ErrEnvelope, err)
		}
		if n == 0 {
			return Opened{}, fmt.Errorf("%w: it is empty", ErrEnvelope)
		}
		if n%aes.BlockSize != 0 {
			return Opened{}, fmt.Errorf("%w: %d bytes is not a whole number of blocks", ErrEnvelope, n)
		}
		msg, err := b.open(&b.keys[i], buf[:n])
		if err == nil {
			return Opened{msg, i}, nil
		}
		// A wrong key gives noise; noise does not pass for an app-id.
		if first == nil || errors.Is(err, ErrAppID) && !errors.Is(first, ErrAppID) {
			first = err
		}
	}
	return Opened{}, first
}

// open decrypts buf in place and returns the message in it.
func (b *Box) open(k *key, buf []byte) ([]byte, error) {
	cipher.NewCBCDecrypter(k.block, k.iv[:]).CryptBlocks(buf, buf)

	pad := int(buf[len(buf)-1])
	if pad < 1 || pad > padBlock || pad > len(buf) {
		return nil, fmt.Errorf("%w: padding of %d bytes, must be 1 to %d (is the aes-key right?)", ErrEnvelope, pad, min(padBlock, len(buf)))
	}
	buf, padding := buf[:len(buf)-pad], buf[len(buf)-pad:]
	for _, p := range padding {
		if int(p) != pad {
			return nil, fmt.Errorf("%w: uneven padding (is the aes-key right?)", ErrEnvelope)
		}
	}
	if len(buf) < headerSize {
		return nil, fmt.Errorf("%w: %d bytes cannot hold the header of %d", ErrEnvelope, len(buf), headerSize)
	}
	size, rest := binary.BigEndian.Uint32(buf[randomSize:]), buf[headerSize:]
	if uint64(size) > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: length field says %d bytes, %d are left", ErrEnvelope, size, len(rest))
	}
	msg, id := rest[:size:size], rest[size:]
	if string(id) != b.appID {
		return nil, fmt.Errorf("%w: found %s, expected %q", ErrAppID, quoteID(id), b.appID)
	}
	return msg, nil
}

// quoteID quotes what stands where the app-id should. Only what could be one:
// with a wrong length field this is the message itself.
func quoteID(id []byte) string {
	if len(id) > maxAppID {
		return fmt.Sprintf("%d bytes", len(id))
	}
	for _, c := range id {
		switch {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '_', c == '-':
		default:
			return fmt.Sprintf("%d bytes that are no app-id", len(id))
		}
	}
	return fmt.Sprintf("%q", id)
}
