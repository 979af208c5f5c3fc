package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/httpc"
)

// TestStatuses is the contract's table of what an answer's status means.
func TestStatuses(t *testing.T) {
	t.Parallel()
	f := func(status int, contentType, body, want string) {
		t.Helper()
		b := newServed(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
		ans, err := b.Post(t.Context(), Call{Path: "/msg/text", OpenID: "user"})
		got := fmt.Sprint(len(ans.Replies))
		switch {
		case err != nil:
			got = FateOf(err).String()
			if strings.Contains(err.Error(), body) && body != "" {
				t.Errorf("%d: the error quotes the answer: %v", status, err)
			}
		case ans.Async:
			got = "async"
		}
		if got != want {
			t.Errorf("%d %q %.20q: %s (%v), want %s", status, contentType, body, got, err, want)
		}
	}
	const text, html, plain = `{"type":"text","msg":"hello"}`, "text/html", "text/plain; charset=utf-8"
	// the body decides, not the Content-Type
	f(200, html, text, "1")
	f(201, plain, "["+text+","+text+"]", "2")
	f(200, plain, "hello", "1")
	f(200, html, "hello", "unusable")
	f(200, "", "hello", "unusable") // without a Content-Type nobody says that it is text
	for _, nothing := range []string{"", "success", "null", "[]", `{"ok":true}`, `{"type":"success"}`} {
		f(200, html, nothing, "0")
	}
	f(204, html, "", "0")
	f(202, html, "", "async")
	f(202, html, text, "async")
	f(200, html, `{"type":"async"}`, "async")
	// delivered, but of no use
	f(200, html, `{"type":`, "unusable")
	f(200, html, "<html>", "unusable")
	f(200, html, `{"type":"no such type"}`, "unusable")
	f(200, plain, strings.Repeat("x", 1<<20+1), "unusable")
	// the backend did nothing
	for _, status := range []int{502, 503, 504} {
		f(status, html, "", "unreached")
	}
	// it failed, or is set up wrongly
	for _, status := range []int{500, 501, 505, 599, 408, 425, 429, 301, 302, 307, 401, 403, 407} {
		f(status, html, "secret body", "failed")
	}
	// it does not want such pushes
	for _, status := range []int{400, 404, 405, 410, 422, 451} {
		f(status, html, "", "unhandled")
	}
	for fate, kept := range map[Fate]bool{Unreached: true, Failed: true, TimedOut: true, Unhandled: false, Unusable: false} {
		if fate.Kept() != kept {
			t.Errorf("%s.Kept() = %v, want %v", fate, fate.Kept(), kept)
		}
	}
}

// TestMend: faults of the configuration say what to change.
func TestMend(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{302: "msg-proxy-pass", 401: "backend-secret", 403: "backend-secret"} {
		b := newServed(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if _, err := b.Post(t.Context(), Call{Path: "/msg/text"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want it to name %s", status, err, want)
		}
	}
}

// TestTransport: what a connection may do to a call.
func TestTransport(t *testing.T) {
	t.Parallel()
	slow := make(chan struct{})
	b := newServed(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/msg/reset":
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				c.Close()
			}
		case "/msg/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		case "/msg/slow":
			<-slow
		}
	})
	f := func(b *Backend, path string, want Fate) {
		t.Helper()
		within := time.Minute
		if want == TimedOut {
			within = time.Second // enough to connect, on a busy machine too
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		if _, err := b.Post(ctx, Call{Path: path}); FateOf(err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	f(b, "/msg/reset", Unreached)
	f(b, "/msg/cut", Failed)
	f(b, "/msg/slow", TimedOut)
	close(slow)
	dead := New(Config{Base: "http://127.0.0.1:1", HTTP: httpc.New(httpc.Config{}), Line: NewLine(1), Log: slog.New(slog.DiscardHandler)})
	f(dead, "/msg/text", Unreached)
}

// TestCall: what a backend is told beside the push, and that its address is
// msg-proxy-pass and the path, as they are.
func TestCall(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	cfg := newServed(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		body, _ = io.ReadAll(r.Body)
	}).cfg
	cfg.Base += "/in?to="
	cfg.Service, cfg.Secret = "主号 a", "a-secret-of-more-than-24-bytes another-secret-of-more-than-24"
	b := New(cfg)
	call := Call{
		Path: "/msg/text", OpenID: "oUser-1_x", PushID: [16]byte([]byte("D\xd0|\x1e\x16g\x1e\x89L\xa5\x8e\x07LC\xf8\xa1")), Body: []byte(`{"Content":"你好"}`),
		Attempt: 3, ReplyWithin: 4 * time.Second, Late: "pickup",
	}
	if _, err := b.Post(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.RequestURI != "/in?to=/msg/text" || string(body) != string(call.Body) {
		t.Errorf("%s %s %s", got.Method, got.RequestURI, body)
	}
	const pushID = "44d07c1e16671e894ca58e074c43f8a1"
	for key, want := range map[string]string{
		"Content-Type": "application/json; charset=UTF-8", "X-Wx-Service": "%E4%B8%BB%E5%8F%B7%20a", "X-Wx-Appid": "wx1",
		"X-Wx-Openid": "oUser-1_x", "X-Wx-Push-Id": pushID, "X-Wx-Attempt": "3", "X-Wx-Late": "pickup",
		"X-Request-Id": pushID + "-3", "Webhook-Id": pushID,
	} {
		if h := got.Header.Get(key); h != want {
			t.Errorf("%s: %q, want %q", key, h, want)
		}
	}
	if n := len(strings.Fields(got.Header.Get("Webhook-Signature"))); n != 2 {
		t.Errorf("%d signatures for two secrets", n)
	}
	cfg.Secret = ""
	b = New(cfg)
	if _, err := b.Post(t.Context(), Call{Path: "/msg/text", OpenID: "a\r\nX-Evil: 1", ReplyWithin: -time.Second}); err != nil {
		t.Fatal(err)
	}
	if h := got.Header; h.Get("Webhook-Id") != "" || h.Get("X-Evil") != "" || h.Get("X-Wx-Openid") != "a%0D%0AX-Evil:%201" || h.Get("X-Wx-Reply-Within") != "0" {
		t.Errorf("headers without a secret, of a hostile openid: %v", h)
	}
}

// TestBreakerCounts: the failures in a row count, also of calls that began when
// all was well, and one good call forgets them.
func TestBreakerCounts(t *testing.T) {
	failure := errors.New("no answer")
	f := func(name string, want bool, steps func(b *breaker)) {
		t.Helper()
		b := newBreaker("shop", slog.New(slog.DiscardHandler))
		steps(b)
		if b.open() != want {
			t.Errorf("%s: open is %v, want %v", name, b.open(), want)
		}
	}
	call := func(b *breaker, err error) {
		if done, no := b.allow(); no == nil {
			done(err)
		}
	}
	times := func(n int, b *breaker, err error) {
		for range n {
			call(b, err)
		}
	}
	f("20 failures", true, func(b *breaker) { times(breakAfter, b, failure) })
	f("19, a good one, 19", false, func(b *breaker) {
		times(breakAfter-1, b, failure)
		call(b, nil)
		times(breakAfter-1, b, failure)
	})
	f("19, one untried, 1", true, func(b *breaker) {
		times(breakAfter-1, b, failure)
		call(b, &Error{Err: failure, untried: true})
		call(b, failure)
	})
	// Calls that began at the same time, when all was well.
	together := func(n int, err func(i int) error) func(b *breaker) {
		return func(b *breaker) {
			var done []func(error)
			for range n {
				d, no := b.allow()
				if no != nil {
					t.Fatal(no)
				}
				done = append(done, d)
			}
			for i, d := range done {
				d(err(i))
			}
		}
	}
	f("30 failures together", true, together(30, func(int) error { return failure }))
	f("19 failures together, and good ones between", false, together(60, func(i int) error {
		if i%20 == 19 {
			return nil
		}
		return failure
	}))
	f("a good one that began before the failures", true, together(30, func(i int) error {
		if i == 25 {
			return nil // does not open what is broken
		}
		return failure
	}))
	// What began before the backend was left alone says nothing of one that is
	// back: of a hanging backend there may be hundreds of such calls.
	synctest.Test(t, func(t *testing.T) {
		f("failures of calls that began before it came back", false, func(b *breaker) {
			var stale []func(error)
			for range 2 * breakAfter {
				done, err := b.allow()
				if err != nil {
					t.Fatal(err)
				}
				stale = append(stale, done)
			}
			times(breakAfter, b, failure)
			if !b.open() {
				t.Error("not open after failures enough")
			}
			time.Sleep(breakFor + time.Millisecond)
			call(b, nil)
			for _, done := range stale {
				done(failure)
			}
		})
	})
}

// TestBreaker: after 20 failures in a row the backend is left alone; after 2 s
// one call finds out whether it is back.
func TestBreaker(t *testing.T) {
	var calls, status atomic.Int32
	status.Store(500)
	// Outside of the bubble: what waits for a network keeps its time from passing.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer s.Close()
	synctest.Test(t, func(t *testing.T) {
		client := httpc.New(httpc.Config{})
		defer client.CloseIdle()
		b := New(Config{Base: s.URL, HTTP: client, Line: NewLine(4), Log: slog.New(slog.DiscardHandler)})
		post := func() error {
			_, err := b.Post(t.Context(), Call{Path: "/msg/text", OpenID: "user"})
			return err
		}
		status.Store(404)
		for range 2 * breakAfter {
			post()
		}
		if b.Open() {
			t.Fatal("open after pushes that the backend does not want")
		}
		status.Store(500)
		for i := range breakAfter {
			if b.Open() {
				t.Fatalf("open after %d failures", i)
			}
			post()
		}
		before := calls.Load()
		if err := post(); !b.Open() || FateOf(err) != Unreached || calls.Load() != before {
			t.Errorf("open %v, %v, %d calls; want an open breaker and no call", b.Open(), err, calls.Load()-before)
		}
		time.Sleep(breakFor + time.Millisecond)
		if b.Open() {
			t.Error("still open after its time")
		}
		if err := post(); FateOf(err) != Failed || !b.Open() || calls.Load() != before+1 {
			t.Errorf("the trial of a dead backend: %v, open %v, %d calls", err, b.Open(), calls.Load()-before)
		}
		time.Sleep(breakFor + time.Millisecond)
		status.Store(200)
		for range 3 {
			if err := post(); err != nil || b.Open() {
				t.Errorf("the backend is back: %v, open %v", err, b.Open())
			}
		}
	})
}
