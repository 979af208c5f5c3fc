package web

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

// served is a server in memory and its log.
type served struct {
	ln *fasthttputil.InmemoryListener

	mu   sync.Mutex
	text strings.Builder
}

func (s *served) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *served) logs() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func newServed(t *testing.T, level slog.Level, h Handler) *served {
	t.Helper()
	s := &served{ln: fasthttputil.NewInmemoryListener()}
	server := NewServer(h, Config{
		Name: "public", MaxBody: 1000,
		Log: slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: level})),
	})
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.ln) }()
	t.Cleanup(func() {
		if err := s.ln.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// talk sends raw and returns all that comes back.
func (s *served) talk(t *testing.T, raw string) string {
	t.Helper()
	c, err := s.ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	return string(b)
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
}

func wantAnswer(t *testing.T, got, status, body string) {
	t.Helper()
	if !strings.HasPrefix(got, "HTTP/1.1 "+status+" ") || !strings.HasSuffix(got, "\r\n\r\n"+body) {
		t.Errorf("answer %q, want %s %q", got, status, body)
	}
}

// TestErrors: the caller hears what is meant for it and nothing else.
func TestErrors(t *testing.T) {
	cause := errors.New("the cause")
	s := newServed(t, slog.LevelInfo, func(ctx *fasthttp.RequestCtx) error {
		switch string(ctx.Path()) {
		case "/fail":
			return Fail(403, "not you", cause)
		case "/json":
			return JSONFaults(func(*fasthttp.RequestCtx) error {
				return &Error{Status: 502, Public: `WeChat says "no"`, Errcode: 40013, Err: cause}
			})(ctx)
		case "/other":
			return cause
		case "/panic":
			panic("the cause")
		}
		ctx.SetBodyString("fine")
		return nil
	})
	wantAnswer(t, s.talk(t, get("/")), "200", "fine")
	wantAnswer(t, s.talk(t, get("/fail")), "403", "not you")
	wantAnswer(t, s.talk(t, get("/json")), "502", `{"code":502,"msg":"WeChat says \"no\"","errcode":40013}`)
	wantAnswer(t, s.talk(t, get("/other")), "500", "internal error")
	wantAnswer(t, s.talk(t, get("/panic")), "500", "internal error")
	for _, part := range []string{"level=INFO msg=request method=GET path=/ status=200", "status=403", `not you: the cause`, "BUG: a handler panicked"} {
		if !strings.Contains(s.logs(), part) {
			t.Errorf("the log lacks %q:\n%s", part, s.logs())
		}
	}
}

// TestRefusedBeforeTheHandler: of what never reaches a handler only what may
// have been a push is shown to the operator.
func TestRefusedBeforeTheHandler(t *testing.T) {
	s := newServed(t, slog.LevelInfo, func(*fasthttp.RequestCtx) error { return nil })
	wantAnswer(t, s.talk(t, "nonsense\r\n\r\n"), "400", "malformed request")
	wantAnswer(t, s.talk(t, "GET / HTTP/1.1\r\nHost: x\r\nCookie: "+strings.Repeat("c", headerBuffer)+"\r\n\r\n"), "431", "headers too large")
	if s.logs() != "" {
		t.Errorf("scanners fill the log:\n%s", s.logs())
	}
	wantAnswer(t, s.talk(t, "POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"), "413", "body too large")
	for _, part := range []string{"level=WARN", "body too large", "raise max-body"} {
		if !strings.Contains(s.logs(), part) {
			t.Errorf("the log lacks %q:\n%s", part, s.logs())
		}
	}
}

// TestAmbiguousRequests: what a proxy may have read in another way is refused
// with the connection; what hides in it is not answered.
func TestAmbiguousRequests(t *testing.T) {
	s := newServed(t, slog.LevelError, func(ctx *fasthttp.RequestCtx) error {
		ctx.SetBodyString("served")
		return nil
	})
	f := func(head string, plain bool) {
		t.Helper()
		got := s.talk(t, "POST / HTTP/1.1\r\nHost: x\r\n"+head+"\r\n\r\n0\r\n\r\n"+get("/"))
		if served := strings.Count(got, "served"); served != 0 || strings.Count(got, "HTTP/1.1 ") != 1 {
			if !plain || served != 2 {
				t.Errorf("%q: answered %q", head, got)
			}
			return
		}
		wantAnswer(t, got, "400", "malformed request")
		if plain {
			t.Errorf("%q is refused", head)
		}
	}
	const length, chunked = "Content-Length: 5", "Transfer-Encoding: chunked"
	f(length+"\r\n"+chunked, false)
	f(chunked+"\r\n"+length, false)
	f(chunked+"\r\ncontent-LENGTH:5", false)
	f("transfer-encoding:identity\r\n"+length, false)
	f("X: y\r\n Transfer-Encoding: chunked\r\n"+length, false)
	f("X: y\r\n\tTransfer-Encoding: chunked\r\n"+length, false)
	f("Transfer-Encoding:\r\n chunked", false)
	f("X: y\nTransfer-Encoding: chunked", false)
	f(length+"\nX: y", false)
	f(length, true)
	f(chunked, true)
	f("Content: x\r\nTransfer: y\r\nContent-Length-Of: 3\r\n"+chunked, true)
}

// TestRawPath: no decoding, no dot segments, no merged slashes.
func TestRawPath(t *testing.T) {
	s := newServed(t, slog.LevelError, func(ctx *fasthttp.RequestCtx) error {
		ctx.SetBody(RawPath(ctx))
		return nil
	})
	for _, path := range []string{"/wx", "/wx/../x", "/wx/%2e%2e/x", "//wx", "/wx%2fx", "/WX"} {
		wantAnswer(t, s.talk(t, get(path+"?q=/y")), "200", path)
	}
}

// TestDrop: not a byte.
func TestDrop(t *testing.T) {
	s := newServed(t, slog.LevelError, func(ctx *fasthttp.RequestCtx) error {
		Drop(ctx)
		return nil
	})
	if got := s.talk(t, get("/")); got != "" {
		t.Errorf("answer %q, want none", got)
	}
}

// closer notes when it is closed.
type closer chan struct{}

func (c closer) Close() error {
	c <- struct{}{}
	return nil
}

// TestAfterWrite: it runs once, after the answer.
func TestAfterWrite(t *testing.T) {
	ran := make(chan struct{}, 2)
	s := newServed(t, slog.LevelError, func(ctx *fasthttp.RequestCtx) error {
		AfterWrite(ctx, closer(ran))
		ctx.SetBodyString("fine")
		return nil
	})
	wantAnswer(t, s.talk(t, get("/")), "200", "fine")
	select {
	case <-ran:
	case <-time.After(5 * time.Second):
		t.Fatal("it did not run")
	}
	if len(ran) > 0 {
		t.Error("it ran twice")
	}
}

// TestExpectGainsNoTime: a client that wants to be asked for its body has no more
// time for the request than any other.
func TestExpectGainsNoTime(t *testing.T) {
	t.Parallel()
	client, nc := net.Pipe() // a write to it ends when it has been read
	defer client.Close()
	by := make(chan time.Time, 1)
	server := NewServer(func(ctx *fasthttp.RequestCtx) error {
		by <- ctx.Conn().(*limited).by
		return nil
	}, Config{MaxBody: 10, Log: slog.New(slog.DiscardHandler)})
	go server.http.ServeConn(&limited{nc, phase{limits: &usual}})

	io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	read := time.Now()
	if _, err := io.ReadFull(client, make([]byte, len(goOn))); err != nil {
		t.Fatal(err)
	}
	io.WriteString(client, "x")
	if at := <-by; at.IsZero() || at.After(read.Add(usual.read)) {
		t.Errorf("the request has %v from when its headers were read, want at most %v", at.Sub(read), usual.read)
	}
}
