package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/guard"
	"wx-gateway/gateway/web"
)

// door serves h behind g on a real socket until the test ends.
func door(t *testing.T, g *guard.Guard, power bool, h web.Handler) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := web.NewServer(Guarded(g, power, h), web.Config{Name: "internal", MaxBody: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() {
		ln.Close()
		srv.Shutdown(context.Background())
		<-done
	})
	return "http://" + ln.Addr().String() + "/"
}

func TestGuarded(t *testing.T) {
	t.Parallel()
	prefixes := func(s ...string) (all []netip.Prefix) {
		for _, p := range s {
			all = append(all, netip.MustParsePrefix(p))
		}
		return all
	}
	f := func(cfg guard.Config, power bool, header string, status int, key string) {
		t.Helper()
		reached := false
		url := door(t, guard.New(cfg), power, func(ctx *fasthttp.RequestCtx) error {
			reached = true
			return ok(ctx)
		})
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(header) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			req.Header.Add(name, strings.TrimSpace(value))
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got struct {
			Code int
			Msg  string
		}
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || got.Code != status || !strings.Contains(got.Msg, key) || reached != (status == 200) {
			t.Errorf("%+v %q: %d %+v, reached: %v, want %d with %q", cfg, header, resp.StatusCode, got, reached, status, key)
		}
		if challenge := resp.Header.Get("WWW-Authenticate"); (challenge == "Bearer") != (status == 401) {
			t.Errorf("%d with WWW-Authenticate %q", status, challenge)
		}
	}

	// the peer
	f(guard.Config{}, false, "", 200, "OK")
	f(guard.Config{Allow: prefixes("10.0.0.0/8")}, false, "", 403, "internal.allow")
	f(guard.Config{Allow: prefixes("127.0.0.0/8")}, false, "", 200, "OK")
	// headers that hide somebody, empty ones and unusual ones too
	f(guard.Config{}, false, "X-Forwarded-For: 10.0.0.1", 403, "internal.trusted-proxies")
	f(guard.Config{}, false, "X-Real-IP:", 403, "internal.trusted-proxies")
	f(guard.Config{}, false, "X-Forwarded-Anything: 1", 403, "internal.trusted-proxies")
	f(guard.Config{}, false, "Origin: https://evil.example", 403, "Origin")
	f(guard.Config{}, false, "Sec-Fetch-Site: cross-site", 403, "Sec-Fetch-Site")
	// a trusted proxy, and all lines of what it says
	proxy := guard.Config{TrustedProxies: prefixes("127.0.0.0/8")}
	f(proxy, false, "X-Forwarded-For: 10.0.0.1", 200, "OK")
	f(proxy, false, "X-Forwarded-For: 203.0.113.1", 403, "internal.allow")
	f(proxy, false, "X-Forwarded-For: 10.0.0.1\nX-Forwarded-For: 203.0.113.1", 403, "internal.allow")
	f(proxy, false, "X-Forwarded-For: 203.0.113.1\nX-Forwarded-For: 10.0.0.1", 200, "OK")
	// the bearer token
	token := guard.Config{Token: "secret-token-of-internal"}
	f(token, false, "", 401, "internal.token")
	f(token, false, "Authorization: Bearer wrong", 401, "internal.token")
	f(token, false, "Authorization: Bearer secret-token-of-internal", 200, "OK")
	// power
	f(guard.Config{}, true, "", 403, "internal.token")
	f(guard.Config{OwnListener: true}, true, "", 200, "OK")
	f(token, true, "Authorization: bearer secret-token-of-internal", 200, "OK")
}

// A handler's own faults come out as JSON too.
func TestGuardedFault(t *testing.T) {
	t.Parallel()
	for _, err := range []error{web.Fail(418, "teapot", nil), errors.New("inside")} {
		url := door(t, guard.New(guard.Config{}), false, func(*fasthttp.RequestCtx) error { return err })
		req, _ := http.NewRequest("GET", url, nil)
		req.Close = true
		resp, doErr := http.DefaultClient.Do(req)
		if doErr != nil {
			t.Fatal(doErr)
		}
		var got map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got["code"] != float64(resp.StatusCode) || strings.Contains(got["msg"].(string), "inside") {
			t.Errorf("%v came out as %d %v", err, resp.StatusCode, got)
		}
	}
}

// A peer without an address is nobody's.
func TestPeer(t *testing.T) {
	t.Parallel()
	if got := peer(&net.UnixAddr{Name: "/run/x"}); got.IsValid() {
		t.Errorf("peer of a Unix socket = %s", got)
	}
	if no := guard.New(guard.Config{}).Check(guard.Request{Header: func(string) (string, bool) { return "", false }}); no == nil {
		t.Error("a peer without an address may call")
	}
}
