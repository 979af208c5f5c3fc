package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// aliases names users in the log: the same user has the same name until the
// process ends, and without the key nobody can tell whose it is, not even by
// trying all openids.
type aliases struct{ key [16]byte }

func newAliases() (a aliases) {
	rand.Read(a.key[:]) // never fails
	return a
}

// of is "#" and 12 hex digits: enough to tell the users of a log apart. An
// event without a user has none.
func (a *aliases) of(openid string) string {
	if openid == "" {
		return ""
	}
	// The key comes first and has a fixed length, and most of the sum is
	// thrown away: a plain hash serves as well as an HMAC.
	sum := sha256.Sum256(append(append(make([]byte, 0, 64), a.key[:]...), openid...))
	return "#" + hex.EncodeToString(sum[:6])
}
