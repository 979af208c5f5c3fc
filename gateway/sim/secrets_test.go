package sim

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// recorder is a test that only notes its failures.
type recorder struct{ said []string }

func (*recorder) Helper()                     {}
func (r *recorder) Errorf(f string, a ...any) { r.said = append(r.said, fmt.Sprintf(f, a...)) }

func TestNoSecrets(t *testing.T) {
	const secret = `k+y/9=Zq "ä`
	f := func(text, want string) {
		t.Helper()
		var r recorder
		NoSecrets(&r, []string{"another-secret", secret}, "harmless", text)
		got := strings.Join(r.said, "; ")
		if got != want {
			t.Errorf("NoSecrets(%q) said %q, want %q", text, got, want)
		}
		if strings.Contains(got, secret) {
			t.Error("the failure prints the secret")
		}
	}
	f("nothing here", "")
	f("token="+secret+"!", "text 1 holds secret 1 (raw)")
	f("?secret="+url.QueryEscape(secret), "text 1 holds secret 1 (URL-escaped)")
	f("/"+url.PathEscape(secret), "text 1 holds secret 1 (URL-escaped)")
	f(strings.ToLower(url.QueryEscape(secret)), "text 1 holds secret 1 (URL-escaped)")
	f(`{"s":"k+y/9=Zq \"ä"}`, "text 1 holds secret 1 (in JSON)")
	f(strings.ToUpper(hex.EncodeToString([]byte(secret))), "text 1 holds secret 1 (in hex)")
	for _, before := range []string{"", "a", "ab", "abc", "user:"} {
		f(base64.StdEncoding.EncodeToString([]byte(before+secret+"tail")), "text 1 holds secret 1 (in base64)")
		f(base64.URLEncoding.EncodeToString([]byte(before+secret)), "text 1 holds secret 1 (in base64)")
	}
	var r recorder
	if NoSecrets(&r, []string{""}, "x"); len(r.said) != 1 || r.said[0] != "secret 0 is empty: nothing was looked for" {
		t.Errorf("empty secret: %q", r.said)
	}
}
