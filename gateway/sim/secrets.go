package sim

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"

	"wx-gateway/gateway/codec"
)

// NoSecrets fails t when one of secrets occurs in one of texts: raw, escaped
// for a URL or for JSON, in hex, or in base64, also inside a longer base64 run.
// It names secrets by their place in the list and never prints them. Empty
// secrets are a mistake of the test and fail too.
func NoSecrets(t interface {
	Helper()
	Errorf(string, ...any)
}, secrets []string, texts ...string) {
	t.Helper()
	for i, secret := range secrets {
		if secret == "" {
			t.Errorf("secret %d is empty: nothing was looked for", i)
			continue
		}
		for j, text := range texts {
			if form := leak(secret, text); form != "" {
				t.Errorf("text %d holds secret %d (%s)", j, i, form)
			}
		}
	}
}

// leak names the form in which text holds secret, "" if it does not.
func leak(secret, text string) string {
	has := func(forms ...string) bool {
		for _, f := range forms {
			if f != "" && strings.Contains(text, f) {
				return true
			}
		}
		return false
	}
	quoted := string(codec.AppendString(nil, secret))
	encoded := hex.EncodeToString([]byte(secret))
	switch {
	case has(secret):
		return "raw"
	case has(url.QueryEscape(secret), url.PathEscape(secret), strings.ToLower(url.QueryEscape(secret))):
		return "URL-escaped"
	case has(quoted[1 : len(quoted)-1]):
		return "in JSON"
	case has(encoded, strings.ToUpper(encoded)):
		return "in hex"
	case has(inBase64(base64.RawStdEncoding, secret)...), has(inBase64(base64.RawURLEncoding, secret)...):
		return "in base64"
	}
	return ""
}

// inBase64 returns what secret looks like within base64 text, for each of the
// three places it can have in a group of three bytes; the characters it shares
// with its neighbours are cut off.
func inBase64(enc *base64.Encoding, secret string) []string {
	var forms []string
	for shift := range 3 {
		s := enc.EncodeToString(append(make([]byte, shift), secret...))
		from := (shift*8 + 5) / 6
		to := (shift + len(secret)) * 8 / 6
		// Fewer than six characters would be found by chance.
		if to-from >= 6 {
			forms = append(forms, s[from:to])
		}
	}
	return forms
}
