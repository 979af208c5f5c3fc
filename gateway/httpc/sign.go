package httpc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// minKey is the least a signing key may hold, in bytes: the Standard Webhooks
// specification, "Signature scheme".
const minKey = 24

// Sign sets the headers webhook-id, webhook-timestamp and webhook-signature as
// the Standard Webhooks specification 1.0 defines them. Each of the space-separated secrets
// adds a signature; one that CheckSecret refuses adds none. id must hold no dot.
func Sign(set func(name, value string), secrets string, id string, now time.Time, body []byte) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	set("webhook-id", id)
	set("webhook-timestamp", stamp)
	var sigs []string
	for secret := range strings.FieldsSeq(secrets) {
		key, err := signingKey(secret)
		if err != nil {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		sigs = append(sigs, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if len(sigs) > 0 {
		set("webhook-signature", strings.Join(sigs, " "))
	}
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
