package httpc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// minKey is the least a signing key may hold, in bytes: the Standard Webhooks
// specification, "Signature scheme".
const minKey = 24

// A Signer signs requests as the Standard Webhooks specification 1.0 defines
// it. It is safe for concurrent use.
type Signer struct {
	keys []*sync.Pool // of *signature, a pool for each key
}

// signature makes signatures with one key: hashing that begins anew costs less
// than a new hash.
type signature struct {
	mac hash.Hash
	buf []byte
}

// NewSigner returns what signs with each of the space-separated secrets, but for
// those that CheckSecret refuses.
func NewSigner(secrets string) *Signer {
	s := &Signer{}
	for secret := range strings.FieldsSeq(secrets) {
		key, err := signingKey(secret)
		if err != nil {
			continue
		}
		s.keys = append(s.keys, &sync.Pool{New: func() any { return &signature{mac: hmac.New(sha256.New, key)} }})
	}
	return s
}

// Sign sets the headers webhook-id, webhook-timestamp and, with a signature by
// each secret, webhook-signature. id must hold no dot.
func (s *Signer) Sign(set func(name, value string), id string, now time.Time, body []byte) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	set("webhook-id", id)
	set("webhook-timestamp", stamp)
	if len(s.keys) == 0 {
		return
	}
	all := make([]byte, 0, len(s.keys)*(len("v1, ")+base64.StdEncoding.EncodedLen(sha256.Size)))
	for i, key := range s.keys {
		if i > 0 {
			all = append(all, ' ')
		}
		sig := key.Get().(*signature)
		all = sig.append(all, id, stamp, body)
		key.Put(sig)
	}
	set("webhook-signature", string(all))
}

// append appends the signature of a request to b.
func (s *signature) append(b []byte, id, stamp string, body []byte) []byte {
	s.buf = append(append(append(append(s.buf[:0], id...), '.'), stamp...), '.')
	s.mac.Reset()
	s.mac.Write(s.buf)
	s.mac.Write(body)
	s.buf = s.mac.Sum(s.buf[:0])
	return base64.StdEncoding.AppendEncode(append(b, "v1,"...), s.buf)
}

// CheckSecret says why s cannot sign: every one of its space-separated secrets
// is "whsec_" and base64 of a key, or a string that is the key, of at least 24
// bytes. The error does not quote s.
func CheckSecret(s string) error {
	n := 0
	for secret := range strings.FieldsSeq(s) {
		n++
		if _, err := signingKey(secret); err != nil {
			return fmt.Errorf("secret %d: %w", n, err)
		}
	}
	if n == 0 {
		return errors.New("holds no secret")
	}
	return nil
}

func signingKey(secret string) ([]byte, error) {
	key := []byte(secret)
	if coded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		// Some tools leave the padding out.
		if key, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(coded, "=")); err != nil {
			return nil, errors.New("what follows whsec_ is not base64")
		}
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("the key has %d bytes, at least %d are needed", len(key), minKey)
	}
	return key, nil
}
