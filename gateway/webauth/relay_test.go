package webauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServeRelaysTheResponse(t *testing.T) {
	t.Parallel()
	f := func(answer func(http.ResponseWriter), status int, body string, want http.Header) {
		t.Helper()
		s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			answer(w)
		}, nil)
		r := send(t, s.addr, "", request(page))
		if r.status != status || r.body != body {
			t.Errorf("browser got %d and %d bytes %.40q, want %d and %d bytes %.40q", r.status, len(r.body), r.body, status, len(body), body)
		}
		if diff := cmp.Diff(want, r.header); diff != "" {
			t.Errorf("header at the browser (-want +got)\n%s", diff)
		}
	}
	type H = http.Header

	// headers of every kind; several cookies, even of one name
	f(func(w http.ResponseWriter) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=gbk")
		h.Add("Set-Cookie", "sid=1; Path=/; HttpOnly; SameSite=Lax")
		h.Add("Set-Cookie", "sid=2; Path=/app; Expires=Wed, 21 Oct 2026 07:28:00 GMT")
		h.Add("Set-Cookie", "odd")
		h.Set("Server", "backend/1")
		h.Set("ETag", `W/"x"`)
		h.Add("Vary", "Cookie")
		h.Add("Vary", "Accept")
		h.Set("X-Wx-Anything", "the backend's own")
		fmt.Fprint(w, "<p>\xc4\xe3")
	}, 200, "<p>\xc4\xe3", H{
		"Content-Type": {"text/html; charset=gbk"}, "Content-Length": {"5"},
		"Set-Cookie":    {"sid=1; Path=/; HttpOnly; SameSite=Lax", "sid=2; Path=/app; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "odd"},
		"Server":        {"backend/1"},
		"Etag":          {`W/"x"`},
		"Vary":          {"Cookie", "Accept"},
		"X-Wx-Anything": {"the backend's own"},
	})
	// what concerns the backend's connection stays there
	f(func(w http.ResponseWriter) {
		h := w.Header()
		h.Set("Content-Type", "text/plain")
		h.Add("Connection", "X-Private, close")
		h.Add("Connection", "X-Also")
		h.Set("X-Private", "1")
		h.Set("X-Also", "1")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Proxy-Authenticate", "Basic")
		h.Set("Upgrade", "h2c")
		h.Set("Trailer", "X-Late")
		fmt.Fprint(w, "a")
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "b")
		h.Set("X-Late", "1")
	}, 200, "ab", H{"Content-Type": {"text/plain"}, "Content-Length": {"2"}, "X-Late": {"1"}})
	// redirects are the browser's to follow
	for _, status := range []int{301, 302, 303, 307, 308} {
		f(func(w http.ResponseWriter) {
			w.Header().Set("Location", "../next?a=1#frag")
			w.Header().Set("Set-Cookie", "sid=1")
			w.WriteHeader(status)
		}, status, "", H{"Location": {"../next?a=1#frag"}, "Set-Cookie": {"sid=1"}, "Content-Length": {"0"}})
	}
	// any status, with its body
	for _, status := range []int{201, 202, 400, 401, 404, 418, 500, 503, 599} {
		f(func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprint(w, "{}")
		}, status, "{}", H{"Content-Type": {"application/problem+json"}, "Content-Length": {"2"}})
	}
	f(func(w http.ResponseWriter) { w.WriteHeader(204) }, 204, "", H{})
	f(func(w http.ResponseWriter) {
		w.Header().Set("ETag", `"v1"`)
		w.WriteHeader(304)
	}, 304, "", H{"Etag": {`"v1"`}})
	// early hints are not the answer
	f(func(w http.ResponseWriter) {
		w.WriteHeader(103)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "late")
	}, 200, "late", H{"Content-Type": {"text/plain"}, "Content-Length": {"4"}})
	// packed bodies are not unpacked
	f(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "\x1f\x8b\x08 not even gzip")
	}, 200, "\x1f\x8b\x08 not even gzip", H{"Content-Type": {"text/html"}, "Content-Encoding": {"gzip"}, "Content-Length": {"17"}})
	// no Content-Type is made up
	f(func(w http.ResponseWriter) {
		w.Header()["Content-Type"] = nil
		fmt.Fprint(w, "?")
	}, 200, "?", H{"Content-Length": {"1"}})
	// as large as allowed
	big := strings.Repeat("x", 10<<20)
	f(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "image/png")
		fmt.Fprint(w, big)
	}, 200, big, H{"Content-Type": {"image/png"}, "Content-Length": {fmt.Sprint(10 << 20)}})
}

// The connection of a browser that keeps it is kept, whatever the backend says
// of its own.
func TestServeKeepsTheBrowsersConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "hello")
	}, nil)
	r := send(t, s.addr, "", strings.Replace(request(page), "Connection: close\r\n", "", 1))
	if r.status != 200 || r.close {
		t.Errorf("browser got %d and a closed connection: %v", r.status, r.close)
	}
}

func TestServeBadBackend(t *testing.T) {
	t.Parallel()
	f := func(answer http.HandlerFunc, status int, body string) {
		t.Helper()
		s := newSite(t, answer, nil)
		if status == 504 {
			s.handler.relayIn = 2 * time.Second // enough to connect, on a busy machine too
		}
		if r := send(t, s.addr, "", request(page)); r.status != status || r.body != body {
			t.Errorf("browser got %d %q, want %d %q", r.status, r.body, status, body)
		}
		if got := strings.Count(s.logged(), "redirect-url does not answer"); got != 1 {
			t.Errorf("the log says %d times that the backend is down, want once:\n%s", got, s.logged())
		}
	}
	// no answer in time
	f(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, textSlow)
	// half an answer
	f(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "half")
	}, 502, textDown)
	// none at all, and no HTTP
	hijack := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(conn, text)
			conn.Close()
		}
	}
	f(hijack(""), 502, textDown)
	f(hijack("SSH-2.0\r\n\r\n"), 502, textDown)
}

func TestServeTooLarge(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 10<<20+1))
	}, nil)
	if r := send(t, s.addr, "", request(page)); r.status != 502 || r.body != textDown {
		t.Errorf("browser got %d %.40q, want 502", r.status, r.body)
	}
}

func TestServeSwitchingProtocols(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		conn.Close()
	}, nil)
	if r := send(t, s.addr, "", request(page)); r.status != 502 || r.body != textDown {
		t.Errorf("browser got %d %q, want 502", r.status, r.body)
	}
}

// A backend that is down is told once, and that it came back too.
func TestServeLogsStateChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	for _, err := range []error{nil, errors.New("down"), errors.New("down"), nil, nil} {
		s.handler.noteDown(err)
	}
	if n := strings.Count(s.logged(), "\n"); n != 2 || !strings.Contains(s.logged(), "does not answer") || !strings.Contains(s.logged(), "answers again") {
		t.Errorf("logged\n%s", s.logged())
	}
}
