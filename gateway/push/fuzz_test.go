package push

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// FuzzReadQuery holds what is read from the request line to what fasthttp's
// own URI has in its query.
func FuzzReadQuery(f *testing.F) {
	for _, uri := range []string{
		"/wx", "/wx?", "/wx?signature=a&timestamp=1767000037&nonce=n&openid=o&encrypt_type=aes&msg_signature=b",
		"/wx?signature=&signature=a&signature=b&timestamp=+767000037&nonce=%41+b%", "/wx?nonce=n#&nonce=m?signature=x",
		"/wx#?nonce=n", "/wx?nonce=a?b=c&&=&nonce&timestamp=0000000000", "/wx?nonce=http://x/?nonce=y", "/wx?%6eonce=n&nonce==",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var uri fasthttp.URI
		if !strings.HasPrefix(line, "/") || strings.HasPrefix(line, "//") || uri.Parse([]byte("x"), []byte(line)) != nil {
			return // no route has such a path
		}
		want := map[string]string{}
		for pair := range strings.SplitSeq(string(uri.QueryString()), "&") {
			name, value, _ := strings.Cut(pair, "=")
			if plain, err := url.QueryUnescape(value); err == nil {
				value = plain
			}
			if want[name] == "" {
				want[name] = value
			}
		}
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.SetRequestURI(line)
		q := readQuery(ctx)
		for name, got := range map[string][]byte{
			"signature": q.signature, "timestamp": q.timestamp, "nonce": q.nonce, "encrypt_type": q.encryptType, "msg_signature": q.msgSignature,
		} {
			if string(got) != want[name] {
				t.Errorf("%q: %s is %q, want %q", line, name, got, want[name])
			}
		}
		stamp := time.Time{}
		if digits := want["timestamp"]; len(digits) == 10 && strings.Trim(digits, "0123456789") == "" {
			secs, _ := strconv.ParseInt(digits, 10, 64)
			stamp = time.Unix(secs, 0)
		}
		if !q.stamp.Equal(stamp) {
			t.Errorf("%q: stamp %v, want %v", line, q.stamp, stamp)
		}
	})
}
