package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/codec"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testApp    = "wx5d8f0a3b7c2e9146"
	testSecret = "a-secret-of-the-account"
	testToken  = "wxgwCorpusToken"
	testKey    = "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ"
	testUser   = "oK9gGyX8OAK8aH8Myj6djqSaXI8j"
	testGH     = "gh_7c1d9e0b42af"
)

// rig is a platform with a clock of its own.
type rig struct {
	*Platform
	t   *testing.T
	now time.Time
}

func newRig(t *testing.T, cfg Config) *rig {
	r := &rig{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	if cfg.Accounts == nil {
		cfg.Accounts = []Account{{AppID: testApp, Secret: testSecret}}
	}
	cfg.Now = func() time.Time { return r.now }
	r.Platform = New(cfg)
	return r
}

func (r *rig) pass(d time.Duration) { r.now = r.now.Add(d) }

// raw sends one request; a body makes it a POST.
func (r *rig) raw(path, body string) *httptest.ResponseRecorder {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(method, "/"+path, strings.NewReader(body)))
	return w
}

// call sends one request and reads the JSON answer.
func (r *rig) call(path, body string) map[string]any {
	r.t.Helper()
	w := r.raw(path, body)
	var m map[string]any
	if err := codec.Unmarshal(w.Body.Bytes(), &m); err != nil {
		r.t.Fatalf("%s answered %d %q: %v", path, w.Code, w.Body, err)
	}
	return m
}

// code is the errcode of an answer, "0" when it has none.
func (r *rig) code(path, body string) string {
	r.t.Helper()
	if n, ok := r.call(path, body)["errcode"].(codec.Number); ok {
		return string(n)
	}
	return "0"
}

// stable asks stable_token; the token is empty when it is refused.
func (r *rig) stable(force bool) (token, code string) {
	r.t.Helper()
	body := `{"grant_type":"client_credential","appid":"` + testApp + `","secret":"` + testSecret + `"`
	if force {
		body += `,"force_refresh":true`
	}
	m := r.call("cgi-bin/stable_token", body+"}")
	token, _ = m["access_token"].(string)
	n, _ := m["errcode"].(codec.Number)
	return token, string(n)
}

func (r *rig) classic() string {
	r.t.Helper()
	m := r.call("cgi-bin/token?grant_type=client_credential&appid="+testApp+"&secret="+testSecret, "")
	s, _ := m["access_token"].(string)
	return s
}

// works is the errcode a cheap call gets with token.
func (r *rig) works(token string) string {
	r.t.Helper()
	return r.code("cgi-bin/getcallbackip?access_token="+token, "")
}

// memory is a listener without sockets, so that synctest can tell when
// everybody waits.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.conns <- theirs:
		return ours, nil
	case <-m.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs h in memory until the test ends.
func serve(t *testing.T, h http.HandlerFunc) (m *memory, stop func()) {
	m = newMemory()
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(m) }()
	return m, func() { server.Close(); <-done }
}

func httptestDelete(r *rig, path string) int {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/"+path, nil))
	return w.Code
}
