package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/sim"
)

// The account of the tests.
const (
	testToken  = "wxgwCorpusToken"
	testKey    = "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ"
	testAppID  = "wx5d8f0a3b7c2e9146"
	testSecret = "test-secret-0000000000000000000001"
)

// world is a gateway between a simulated WeChat and a backend, all on real
// sockets.
type world struct {
	t        *testing.T
	g        *Gateway
	platform *sim.Platform
	wechat   string // its URL
	backend  *testBackend
	file     string // the configuration
	logs     *syncBuffer
	conf     map[string]any
}

// testBackend notes what it receives and answers by path.
type testBackend struct {
	*httptest.Server
	mu      sync.Mutex
	got     []received
	answers map[string]http.HandlerFunc
}

type received struct {
	path   string
	header http.Header
	body   []byte
	at     time.Time
}

func newTestBackend(t *testing.T) *testBackend {
	b := &testBackend{answers: map[string]http.HandlerFunc{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.got = append(b.got, received{r.URL.Path, r.Header.Clone(), body, time.Now()})
		answer := b.answers[r.URL.Path]
		b.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		if answer == nil {
			answer = echoText
		}
		answer(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

// echoText answers a text push with its own text, anything else with success.
func echoText(w http.ResponseWriter, r *http.Request) {
	var p struct{ Content string }
	json.NewDecoder(r.Body).Decode(&p)
	if p.Content == "" {
		fmt.Fprint(w, "success")
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"type": "text", "msg": "echo: " + p.Content})
}

func (b *testBackend) on(path string, h http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[path] = h
}

func (b *testBackend) answer(path, body string) {
	b.on(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

// calls are the requests at path, "" for all.
func (b *testBackend) calls(path string) []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	var some []received
	for _, r := range b.got {
		if path == "" || r.path == path {
			some = append(some, r)
		}
	}
	return some
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// edit changes the configuration of a world before it starts.
type edit func(c map[string]any)

// service is the one service of the test configuration.
func service(c map[string]any) map[string]any { return c["services"].([]any)[0].(map[string]any) }

func set(key string, value any) edit { return func(c map[string]any) { service(c)[key] = value } }

func setTop(key string, value any) edit { return func(c map[string]any) { c[key] = value } }

func param(key string, value any) edit {
	return func(c map[string]any) { service(c)["wx-params"].(map[string]any)[key] = value }
}

func withoutKey() edit {
	return func(c map[string]any) { delete(service(c)["wx-params"].(map[string]any), "aes-key") }
}

// newWorld starts a world. Its one service "main" is an official account in
// safe mode whose plaintext pushes are accepted too.
func newWorld(t *testing.T, edits ...edit) *world {
	t.Helper()
	w := &world{t: t, backend: newTestBackend(t), logs: &syncBuffer{}}
	w.platform = sim.New(sim.Config{Log: slog.New(slog.DiscardHandler)})
	url, err := w.platform.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.wechat = url
	t.Cleanup(func() { w.platform.Close() })
	w.conf = map[string]any{
		"listen-host": "127.0.0.1", "listen-port": 0,
		"wx-api-base": url, "wx-open-base": url, "wx-mp-base": url,
		"internal": map[string]any{"listen": "127.0.0.1:0"},
		"services": []any{map[string]any{
			"name":               "main",
			"wx-params":          map[string]any{"token": testToken, "app-id": testAppID, "app-secret": testSecret, "aes-key": testKey},
			"listen-endpoints":   map[string]any{"service-path": "/wx", "redirect-path": "/redirect"},
			"msg-proxy-pass":     w.backend.URL,
			"redirect-url":       w.backend.URL + "/login",
			"require-encryption": false,
		}},
		"common-endpoints": map[string]any{
			"health-check": "/health", "wx-qr": "/qr", "wx-user": "/user", "sns-auth2": "/sns-auth2", "short-url": "/short-url",
			"tmpl-msg": "/tmpl-msg", "sign-jsapi": "/sign-jsapi",
			"channels-ec-order-detail": "/order", "channels-ec-refund-detail": "/refund",
		},
	}
	for _, e := range edits {
		e(w.conf)
	}
	w.file = filepath.Join(t.TempDir(), "conf.json")
	w.write()
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) write() {
	w.t.Helper()
	b, err := json.Marshal(w.conf)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.file, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// options reads the world's configuration.
func (w *world) options() (*conf.Config, Options) {
	w.t.Helper()
	load := func() (*conf.Config, []conf.Problem, error) { return conf.Load(w.file, os.LookupEnv) }
	cfg, _, err := load()
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg, Options{Log: slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Load: load}
}

func (w *world) start() {
	w.t.Helper()
	cfg, opt := w.options()
	g, err := New(cfg, opt)
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.g = g
}

// stop ends the gateway and checks that no secret was logged.
func (w *world) stop() {
	w.t.Helper()
	if w.g == nil {
		return
	}
	if err := w.g.Stop(); err != nil {
		w.t.Errorf("Stop: %v", err)
	}
	w.g = nil
	w.noSecrets(w.logs.String())
}

func (w *world) noSecrets(texts ...string) {
	w.t.Helper()
	secrets := []string{testToken, testKey, testSecret}
	if tok := w.platform.CurrentToken(testAppID); tok != "" {
		secrets = append(secrets, tok)
	}
	sim.NoSecrets(w.t, secrets, texts...)
}

// push makes a push to the world's service.
func (w *world) push(mode sim.Mode, body []byte) sim.Push {
	return sim.Push{URL: "http://" + w.g.PublicAddr() + "/wx", Token: testToken, AppID: testAppID, AESKey: testKey, Mode: mode, Body: body}
}

// send pushes body as WeChat does and returns the opened answer it took.
func (w *world) send(mode sim.Mode, body []byte) string {
	w.t.Helper()
	return w.sendBy(sim.WeChat(), mode, body)
}

func (w *world) sendBy(s sim.Schedule, mode sim.Mode, body []byte) string {
	w.t.Helper()
	r, err := w.push(mode, body).Send(context.Background(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Answer == nil {
		w.t.Fatalf("WeChat took no answer: %+v\n%s", r.Attempts, w.logs)
	}
	return string(r.Answer.Opened)
}

// text is a text push.
func text(content string) []byte { return sim.Fields{Type: "text", Content: content}.XML() }

func event(name, key string) []byte {
	return sim.Fields{Type: "event", Event: name, EventKey: key}.XML()
}

// get calls an internal endpoint.
func (w *world) get(path string) (int, string) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.g.InternalAddr() + path)
	if err != nil {
		w.t.Fatal(err)
	}
	return readAll(w.t, resp)
}

func (w *world) post(path, contentType, body string) (int, string) {
	w.t.Helper()
	resp, err := http.Post("http://"+w.g.InternalAddr()+path, contentType, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	return readAll(w.t, resp)
}

func readAll(t *testing.T, resp *http.Response) (int, string) {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func wantContains(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s = %q, want it to hold %q", what, got, p)
		}
	}
}

// eventually waits until ok holds, for much longer than it should take: the
// machine may be busy.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("%s did not happen within a minute", what)
		}
	}
}
