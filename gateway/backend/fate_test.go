package backend

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wx-gateway/gateway/httpc"
)

// newServed returns a backend of one worker whose calls h answers.
func newServed(t *testing.T, h http.HandlerFunc) *Backend {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return New(Config{
		Service: "s", AppID: "wx1", Base: s.URL, HTTP: httpc.New(httpc.Config{}), Line: NewLine(1),
		Log: slog.New(slog.DiscardHandler),
	})
}

// TestWaitingInLineIsNoFault: calls whose turn never came say nothing about the
// backend, and keep its breaker closed.
func TestWaitingInLineIsNoFault(t *testing.T) {
	t.Parallel()
	b := newServed(t, func(w http.ResponseWriter, _ *http.Request) {})
	if err := b.cfg.Line.Acquire(t.Context(), "somebody"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * breakAfter {
		_, err := b.Post(ctx, Call{Path: "/msg/text", OpenID: "user"})
		if FateOf(err) != Unreached || !strings.Contains(err.Error(), "workerNum") {
			t.Fatalf("Post = %v, want unreached for want of a worker", err)
		}
	}
	b.cfg.Line.Release()
	if _, err := b.Post(t.Context(), Call{Path: "/msg/text", OpenID: "user"}); b.Open() || err != nil {
		t.Errorf("breaker open %v, Post = %v; want a good call", b.Open(), err)
	}
}

// TestReplyWithinCountsTheLine: the time in line is gone when the call begins.
func TestReplyWithinCountsTheLine(t *testing.T) {
	t.Parallel()
	within := make(chan int, 1)
	b := newServed(t, func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.Header.Get("X-Wx-Reply-Within"))
		within <- n
	})
	if err := b.cfg.Line.Acquire(t.Context(), "somebody"); err != nil {
		t.Fatal(err)
	}
	const inLine = 50 * time.Millisecond
	go func() {
		for waiting := 0; waiting == 0; _, waiting = b.cfg.Line.Load() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(inLine)
		b.cfg.Line.Release()
	}()
	if _, err := b.Post(t.Context(), Call{Path: "/msg/text", OpenID: "user", ReplyWithin: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if n := <-within; n > 9_950 || n <= 0 {
		t.Errorf("X-Wx-Reply-Within %d after %s in line, want at most 9950", n, inLine)
	}
}

// TestFaultOfTheOldClickPathIsKept: where the backend has no /event/CLICK, a
// fault of its /event/event counts, not the 404.
func TestFaultOfTheOldClickPathIsKept(t *testing.T) {
	t.Parallel()
	f := func(first, status int, want Fate) {
		t.Helper()
		var n atomic.Int32
		b := newServed(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			if r.URL.Path == "/event/event" {
				w.WriteHeader(status)
				return
			}
			w.WriteHeader(first)
		})
		_, err := b.Post(t.Context(), Call{Path: "/event/CLICK", OpenID: "user"})
		got := Fate(0)
		if err != nil {
			got = FateOf(err)
		}
		if got != want || n.Load() != 2 {
			t.Errorf("%d: %v after %d calls, want %s after 2", status, err, n.Load(), want)
		}
	}
	for _, first := range []int{404, 405} {
		f(first, 200, 0)
		f(first, 202, 0)
		f(first, 404, Unhandled)
		f(first, 500, Failed)
		f(first, 503, Unreached)
	}
}

// TestShopTakesAny2xxAsDone: nobody waits for an answer, so a strange one is no
// fault, and neither 202 nor async announces one.
func TestShopTakesAny2xxAsDone(t *testing.T) {
	t.Parallel()
	f := func(status int, body string, want Fate, async bool, replies int) {
		t.Helper()
		b := newServed(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
		b.cfg.AnyDone = true
		ans, err := b.Post(t.Context(), Call{Path: "/event/channels_ec_order_pay"})
		got := Fate(0)
		if err != nil {
			got = FateOf(err)
		}
		if got != want || ans.Async != async || len(ans.Replies) != replies {
			t.Errorf("%d %s: %+v, %v", status, body, ans, err)
		}
	}
	f(200, "<html>", 0, false, 0)
	f(201, `{"type":"no such"}`, 0, false, 0)
	f(202, "", 0, false, 0)
	f(200, `{"type":"raw","msg":{"a":1}}`, 0, false, 1)
	f(200, `{"type":"async"}`, 0, false, 0)
	f(404, "<html>", Unhandled, false, 0)
	f(500, "<html>", Failed, false, 0)
}

// TestHugeAnswers: the status decides before the size does. A 500 with a page
// beyond every limit is a failure, and its push is kept.
func TestHugeAnswers(t *testing.T) {
	t.Parallel()
	f := func(status int, anyDone bool, want Fate, wantAsync bool) {
		t.Helper()
		b := newServed(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, strings.Repeat("<p>", 1<<20))
		})
		b.cfg.AnyDone = anyDone
		ans, err := b.Post(t.Context(), Call{Path: "/msg/text"})
		got := Fate(0)
		if err != nil {
			got = FateOf(err)
		}
		if got != want || ans.Async != wantAsync {
			t.Errorf("%d: %s, async %v, %v; want %s, %v", status, got, ans.Async, err, want, wantAsync)
		}
	}
	f(200, false, Unusable, false)
	f(202, false, 0, true)
	f(302, false, Failed, false)
	f(401, false, Failed, false)
	f(404, false, Unhandled, false)
	f(429, false, Failed, false)
	f(500, false, Failed, false)
	f(503, false, Unreached, false)
	f(200, true, 0, false)
	f(500, true, Failed, false)
}

// TestFirstSight: each path is logged once, and no number of them fills the log.
func TestFirstSight(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	b := New(Config{Service: "s", Log: slog.New(slog.NewTextHandler(&logged, nil))})
	for range 2 {
		for i := range maxSeen + 10 {
			b.firstSight("/event/"+strconv.Itoa(i), "seen")
		}
	}
	if n := strings.Count(logged.String(), "msg=seen"); n != maxSeen {
		t.Errorf("%d lines, want %d", n, maxSeen)
	}
}
