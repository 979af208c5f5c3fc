package gateway

import (
	"net/http"
	"testing"
)

// TestHealthIsExempt: the health check answers on every listener, to whoever
// the guard would refuse.
func TestHealthIsExempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setTop("internal", map[string]any{"listen": "127.0.0.1:0", "token": "a-bearer-token-of-some-length", "allow": []any{"192.0.2.1"}}))
	for _, addr := range []string{w.g.PublicAddr(), w.g.InternalAddr()} {
		req, err := http.NewRequest("GET", "http://"+addr+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "198.51.100.7")
		req.Header.Set("Origin", "https://example.com")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := readAll(t, resp); status != 200 || body != "OK\n" {
			t.Errorf("health at %s: %d %q", addr, status, body)
		}
	}
}
