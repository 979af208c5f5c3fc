package gateway

import (
	"bytes"
	"context"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wx-gateway/gateway/sim"
)

// TestReloadTakesUpMaxBody: max-body is none of the keys that need a restart.
func TestReloadTakesUpMaxBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	big := bytes.Repeat([]byte("x"), 8<<10)
	post(t, "within the limit", "http://"+w.g.PublicAddr()+"/wx", big, 403, "the query lacks signature, timestamp or nonce")
	w.conf["max-body"] = "4KiB"
	w.write()
	if err := w.g.Reload(); err != nil {
		t.Fatal(err)
	}
	post(t, "beyond the limit", "http://"+w.g.PublicAddr()+"/wx", big, 413, "body too large")
}

// TestReloadKeepsState: a push in flight is answered by the backend it began
// with, and neither tokens nor user info are asked for again.
func TestReloadKeepsState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if status, body := w.get("/user?s=main&o=user1"); status != 200 {
		t.Fatalf("user: %d %s", status, body)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	w.backend.on("/msg/text", func(rw http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		echoText(rw, r)
	})
	w.backend.answer("/moved/msg/text", `{"msg":"from the new place"}`)
	answer := make(chan string, 1)
	go func() {
		r, err := w.push(sim.Safe, text("x")).Send(context.Background(), sim.WeChat())
		if err != nil || r.Answer == nil {
			answer <- "no answer"
			return
		}
		answer <- string(r.Answer.Opened)
	}()
	<-entered
	service(w.conf)["msg-proxy-pass"] = w.backend.URL + "/moved"
	service(w.conf)["listen-endpoints"].(map[string]any)["service-path"] = "/wx-new"
	w.write()
	if err := w.g.Reload(); err != nil {
		t.Fatal(err)
	}
	to := w.push(sim.Safe, text("y"))
	to.URL += "-new"
	if r, err := to.Send(context.Background(), sim.WeChat()); err != nil || r.Answer == nil || !strings.Contains(string(r.Answer.Opened), "from the new place") {
		t.Errorf("after the reload: %+v, %v", r, err)
	}
	close(release)
	if got := <-answer; !strings.Contains(got, "echo: x") {
		t.Errorf("the push in flight got %s", got)
	}
	if status, body := w.get("/user?s=main&o=user1"); status != 200 {
		t.Errorf("user: %d %s", status, body)
	}
	// Once for user1, and once for whoever sends the simulator's pushes.
	for path, want := range map[string]int{"cgi-bin/stable_token": 1, "cgi-bin/user/info": 2} {
		if n := w.platform.CountCalls(path, testAppID); n != want {
			t.Errorf("%d calls of %s, want %d", n, path, want)
		}
	}
}

// TestReloadKeepsStateOverANewSecret: state belongs to the app-id, so neither
// another secret nor another address of WeChat's makes the gateway forget
// users, or that the account may not send.
func TestReloadKeepsStateOverANewSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setTop("token-cache-dir", t.TempDir()))
	w.platform.Fault(sim.Fault{Path: "cgi-bin/message/custom/send", Code: 48001})
	w.backend.answer("/msg/text", `[{"msg":"one"},{"msg":"two"}]`)
	use := func(step string) {
		t.Helper()
		if status, body := w.get("/user?s=main&o=user1"); status != 200 {
			t.Errorf("%s: user: %d %s", step, status, body)
		}
		if status, body := w.get("/sign-jsapi?s=main&u=http://x/"); status != 200 {
			t.Errorf("%s: sign-jsapi: %d %s", step, status, body)
		}
		wantContains(t, step, w.send(sim.Plain, text(step)), "one")
	}
	wantCalls := func(p *sim.Platform, step, path string, want int) {
		t.Helper()
		if n := p.CountCalls(path, testAppID); n != want {
			t.Errorf("%s: %d calls of %s, want %d", step, n, path, want)
		}
	}
	reload := func() {
		t.Helper()
		w.write()
		if err := w.g.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	all := func(step string) {
		t.Helper()
		for path, n := range map[string]int{
			"cgi-bin/stable_token": 1, "cgi-bin/ticket/getticket": 1, "cgi-bin/message/custom/send": 1,
			"cgi-bin/user/info": 2, // user1, and whoever sends the pushes
		} {
			wantCalls(w.platform, step, path, n)
		}
		for _, a := range w.g.site.Load().accounts {
			if !a.outbox.Refused() {
				t.Errorf("%s: forgotten that the account may not send", step)
			}
		}
	}
	use("at first")
	eventually(t, "the second message", func() bool {
		return w.platform.CountCalls("cgi-bin/message/custom/send", testAppID) == 1 && strings.Contains(w.logs.String(), "48001")
	})
	service(w.conf)["wx-params"].(map[string]any)["app-secret"] = "another-secret-000000000000000001"
	w.conf["wx-mp-base"] = "http://127.0.0.1:1"
	reload()
	use("with another secret")
	all("with another secret")

	other := sim.New(sim.Config{Log: slog.New(slog.DiscardHandler)})
	url, err := other.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	w.conf["wx-api-base"] = url
	reload()
	use("from another address")
	all("from another address")
	// Tokens are those of an address: a ticket of another one signs nothing.
	for path, n := range map[string]int{
		"cgi-bin/stable_token": 1, "cgi-bin/ticket/getticket": 1, "cgi-bin/message/custom/send": 0, "cgi-bin/user/info": 0,
	} {
		wantCalls(other, "the other address", path, n)
	}
	if status, body := w.get("/user?s=main&o=user2"); status != 200 {
		t.Errorf("user: %d %s", status, body)
	}
	wantCalls(other, "the other address", "cgi-bin/user/info", 1)
}

// TestStopDoesNotWaitForAReplacedSite: a browser that waits for redirect-url
// under a replaced configuration does not keep a gateway from stopping.
func TestStopDoesNotWaitForAReplacedSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	w.backend.on("/login", func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	code := w.platform.NewCode(testAppID, "user7", "snsapi_base")
	go func() {
		if resp, err := http.Get("http://" + w.g.PublicAddr() + "/redirect?code=" + code); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	replaced := w.g.site.Load()
	service(w.conf)["workerNum"] = 7
	w.write()
	if err := w.g.Reload(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	if n := replaced.inFlight.Load(); n != 1 {
		t.Errorf("%d requests in flight after Stop, want the one that it did not wait for", n)
	}
}

// TestReloadThatFailsKeepsTheAccounts: what a failed reload has made ends, what
// is served goes on.
func TestReloadThatFailsKeepsTheAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	tls := httptest.NewTLSServer(nil)
	defer tls.Close()
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	service(w.conf)["wx-params"].(map[string]any)["app-secret"] = "another-secret-000000000000000001"
	w.conf["services"] = append(w.conf["services"].([]any), map[string]any{
		"name": "tls", "wx-params": map[string]any{"token": testToken, "app-id": "wx0123456789abcdef"},
		"listen-endpoints": map[string]any{"service-path": "/tls"},
		"msg-proxy-pass":   "https://127.0.0.1:1", "backend-tls": map[string]any{"ca-file": ca},
	})
	w.write()
	cfg, _ := w.options()
	made, err := newSite(w.g, cfg)
	if err != nil {
		t.Fatal(err)
	}
	made.discard()
	for _, a := range made.accounts {
		if _, err := a.token.Token(context.Background()); err == nil {
			t.Error("an account of a discarded site still fetches tokens")
		}
	}

	// The file vanishes after it was validated.
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if _, err := newSite(w.g, cfg); err == nil || !strings.Contains(err.Error(), `cannot set up service "tls"`) {
		t.Errorf("newSite = %v, want an error about the service tls", err)
	}
	if status, body := w.get("/user?s=main&o=user1"); status != 200 {
		t.Errorf("the account served now: %d %s", status, body)
	}
	if got := w.send(sim.Safe, text("x")); !strings.Contains(got, "echo: x") {
		t.Errorf("a push after it: %s", got)
	}
}
