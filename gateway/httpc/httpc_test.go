package httpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestDoReusesConnections(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	s := serve(t, func(n int, p peer) {
		conns.Store(int32(n))
		always(ok)(n, p)
	})
	c := client(t, Config{})
	for range 20 {
		mustAnswer(t, c, "POST", s.url, "x", "ok")
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("20 calls took %d connections, want 1", n)
	}
}

// The request line and the headers arrive as the caller gave them.
func TestDoSendsTheURLAsGiven(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	s := serve(t, func(_ int, p peer) {
		for {
			req, body, err := p.request()
			if err != nil {
				return
			}
			got.Store(fmt.Sprintf("%s %s host=%s ua=%q auth=%q enc=%q body=%s", req.Method, req.RequestURI, req.Host,
				req.Header.Get("User-Agent"), req.Header.Get("Authorization"), req.Header.Get("Accept-Encoding"), body))
			p.send(ok)
		}
	})
	c := client(t, Config{})
	host := s.Addr().String()
	f := func(uri, want string) {
		t.Helper()
		mustAnswer(t, c, "POST", "http://"+uri, "b", "ok")
		if got.Load() != "POST "+want {
			t.Errorf("%s arrived as %s, want %s", uri, got.Load(), want)
		}
	}
	rest := ` host=` + host + ` ua="" auth="" enc="" body=b`
	f(host, "/"+rest)
	f(host+"/a//b/../c%2fd?x=1&y=%20", "/a//b/../c%2fd?x=1&y=%20"+rest)
	f(host+"?x=1", "/?x=1"+rest)
	f(host+"/?to=/msg/text#frag", "/?to=/msg/text"+rest)
	f("u:p@"+host+"/", `/ host=`+host+` ua="" auth="Basic dTpw" enc="" body=b`)

	req, resp := &fasthttp.Request{}, &fasthttp.Response{}
	req.SetRequestURI(s.url)
	req.Header.SetHost("browser.example")
	req.UseHostHeader = true
	if err := c.Do(t.Context(), req, resp); err != nil {
		t.Fatal(err)
	}
	if want := `GET / host=browser.example ua="" auth="" enc="" body=`; got.Load() != want {
		t.Errorf("with a Host of its own it arrived as %s, want %s", got.Load(), want)
	}
}

func TestDoRefusesURLs(t *testing.T) {
	t.Parallel()
	c := client(t, Config{})
	f := func(url, want string) {
		t.Helper()
		_, err := call(t.Context(), c, "GET", url, "")
		mustFail(t, err, Connect, want)
	}
	f("", "cannot call a URL without a host")
	f("/path", "cannot call a URL without a host")
	f("ftp://h/", `cannot call a URL of scheme "ftp": only http and https`)
	f("http://h/a b", "cannot call a URL with blanks or control characters")
	f("http:///x", "cannot call a URL without a host")
	f("http://h/a\r\nX: y", "cannot call a URL with blanks or control characters")
}

func TestDoRefusesUnwritableRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, always(ok))
	c := client(t, Config{})
	send := func(body string, promised int) error {
		req, resp := &fasthttp.Request{}, &fasthttp.Response{}
		req.Header.SetMethod("POST")
		req.SetRequestURI(s.url)
		req.SetBodyStream(strings.NewReader(body), promised)
		return c.Do(t.Context(), req, resp)
	}
	mustFail(t, send(strings.Repeat("x", 9<<10), 10<<10), Cut,
		s.Addr().String()+" was not sent the whole request: the body ended early")
	mustFail(t, send("short", 8), Connect, s.Addr().String()+" cannot be called: the request cannot be written as HTTP")
}

// onStaleConnection has call make two calls, "first" and "again", the second on
// a connection that the server has ended in one way or another: it must cost
// nothing but one more connection, on which "again" comes once.
func onStaleConnection(t *testing.T, call func(t *testing.T, c *Client, url, body string)) {
	f := func(name string, end func(p peer)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen atomic.Int32
			s := serve(t, func(n int, p peer) {
				if n == 1 {
					p.request()
					p.send(ok)
					end(p)
					return
				}
				for {
					if _, body, err := p.request(); err != nil || string(body) != "again" {
						return
					}
					seen.Add(1)
					p.send(ok)
				}
			})
			c := client(t, Config{})
			call(t, c, s.url, "first")
			call(t, c, s.url, "again")
			if seen.Load() != 1 {
				t.Errorf("the fresh connection saw %d requests, want 1", seen.Load())
			}
		})
	}
	f("closed while idle", func(p peer) {})
	f("reset while idle", func(p peer) { p.reset() })
	f("closed after reading the request", func(p peer) { p.request() })
	f("reset after reading the request", func(p peer) { p.request(); p.reset() })
	f("reset in the middle of the request", func(p peer) { p.br.ReadByte(); p.reset() })
}

// An idle connection that the server closed costs nothing: the request, POST
// too, is sent once more on a fresh one.
func TestDoRepeatsOnStaleConnection(t *testing.T) {
	t.Parallel()
	onStaleConnection(t, func(t *testing.T, c *Client, url, body string) {
		mustAnswer(t, c, "POST", url, body, "ok")
	})
}

func TestDoRepeatsOnlyOnce(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	s := serve(t, func(n int, p peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			if requests.Add(1) > 1 {
				return
			}
			p.send(ok)
		}
	})
	c := client(t, Config{})
	mustAnswer(t, c, "POST", s.url, "x", "ok")
	_, err := call(t.Context(), c, "POST", s.url, "x")
	mustFail(t, err, Reset, s.Addr().String()+" closed the connection before it answered: EOF")
	if requests.Load() != 3 {
		t.Errorf("the server saw %d requests, want 3: one, then one and its repeat", requests.Load())
	}
}

func TestDoNeverRepeatsAStream(t *testing.T) {
	t.Parallel()
	s := serve(t, func(n int, p peer) {
		p.request()
		p.send(ok)
		p.request()
	})
	c := client(t, Config{})
	mustAnswer(t, c, "POST", s.url, "x", "ok")
	req, resp := &fasthttp.Request{}, &fasthttp.Response{}
	req.Header.SetMethod("POST")
	req.SetRequestURI(s.url)
	req.SetBodyStream(strings.NewReader("streamed"), 8)
	err := c.Do(t.Context(), req, resp)
	mustFail(t, err, Reset, s.Addr().String()+" closed the connection before it answered: idle connection was closed")
}

// What a server does wrong, on a fresh connection, and never tried again.
func TestDoFailures(t *testing.T) {
	t.Parallel()
	f := func(name string, handle func(p peer), kind Kind, text string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int32
			s := serve(t, func(n int, p peer) {
				conns.Add(1)
				p.request()
				handle(p)
			})
			c := client(t, Config{Name: "backend", MaxResponse: 1000})
			_, err := call(t.Context(), c, "POST", s.url+"?access_token=SECRET", "x")
			mustFail(t, err, kind, "backend at "+s.Addr().String()+" "+text)
			if conns.Load() != 1 {
				t.Errorf("tried %d times, want once", conns.Load())
			}
		})
	}
	f("closed", func(p peer) {}, Reset, "closed the connection before it answered: EOF")
	f("half a header", func(p peer) { p.send("HTTP/1.1 200 OK\r\nContent-Le") },
		Cut, "broke off its response: unexpected EOF after 27 bytes")
	f("half a body", func(p peer) { p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour") },
		Cut, "broke off its response: unexpected EOF after 42 bytes")
	f("half a chunk", func(p peer) { p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nfour") },
		Cut, "broke off its response: unexpected EOF after 54 bytes")
	f("only an interim response", func(p peer) { p.send("HTTP/1.1 100 Continue\r\n\r\n") },
		Cut, "broke off its response: unexpected EOF after 25 bytes")
	f("not HTTP", func(p peer) { p.send("SSH-2.0-OpenSSH_9.2 SECRET\r\n\r\n"); p.request() },
		Cut, "sent something that is not an HTTP response: 30 bytes")
	f("too large by its length", func(p peer) { p.send("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"); p.request() },
		TooLarge, "answered more than allowed: body over 1000 bytes")
	f("too large in chunks", func(p peer) {
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 100 {
			p.send("40\r\n" + strings.Repeat("x", 64) + "\r\n")
		}
		p.request()
	}, TooLarge, "answered more than allowed: body over 1000 bytes")
	f("too large until the end", func(p peer) { p.send("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 5000)); p.request() },
		TooLarge, "answered more than allowed: body over 1000 bytes")
	f("headers too large", func(p peer) {
		p.send("HTTP/1.1 200 OK\r\nSet-Cookie: " + strings.Repeat("x", 17<<10) + "\r\n\r\n")
		p.request()
	}, TooLarge, "answered more than allowed: headers over 16384 bytes")
}

// TestTooLargeKeepsTheStatus: what the server said counts, however much of it
// there was.
func TestTooLargeKeepsTheStatus(t *testing.T) {
	t.Parallel()
	f := func(response string, want int) {
		t.Helper()
		s := serve(t, func(_ int, p peer) {
			p.request()
			p.send(response)
			p.request()
		})
		_, err := call(t.Context(), client(t, Config{MaxResponse: 1000}), "POST", s.url, "x")
		if got := StatusOf(err); got != want {
			t.Errorf("StatusOf(%v) = %d, want %d", err, got, want)
		}
	}
	headers := "X: " + strings.Repeat("x", 17<<10) + "\r\n\r\n"
	f("HTTP/1.1 500 Oops\r\nContent-Length: 1001\r\n\r\n", 500)
	f("HTTP/1.1 404 No\r\n\r\n"+strings.Repeat("x", 5000), 404)
	f("HTTP/1.1 500 Oops\r\n"+headers, 500)
	f("HTTP/1.1 200 OK\r\n"+headers, 200)
	f("HTTP/1.1 "+headers, 0)
	if StatusOf(nil) != 0 {
		t.Error("no error has a status")
	}
}

func TestDoReset(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ int, p peer) { p.request(); p.reset() })
	_, err := call(t.Context(), client(t, Config{}), "POST", s.url, "x")
	if KindOf(err) != Reset || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error is %v (%s), want a connection reset (%s)", err, KindOf(err), Reset)
	}
}

func TestDoResponses(t *testing.T) {
	t.Parallel()
	f := func(name, response, wantBody string, wantReuse bool) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int32
			s := serve(t, func(n int, p peer) {
				conns.Add(1)
				p.request()
				p.send(response)
				if wantReuse {
					p.request()
					p.send(response)
				}
			})
			c := client(t, Config{})
			for range 2 {
				r, err := call(t.Context(), c, "POST", s.url, "x")
				if err != nil || r.body != wantBody {
					t.Fatalf("answered %q, %v; want %q", r.body, err, wantBody)
				}
			}
			if reused := conns.Load() == 1; reused != wantReuse {
				t.Errorf("connection reused: %v, want %v", reused, wantReuse)
			}
		})
	}
	cookie := "Set-Cookie: a=" + strings.Repeat("x", 6<<10) + "\r\n"
	f("length", ok, "ok", true)
	f("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", true)
	f("after an interim response", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok, "ok", true)
	f("no content", "HTTP/1.1 204 No Content\r\n\r\n", "", true)
	f("redirect is not followed", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nmove", "move", true)
	f("6 KB cookie", "HTTP/1.1 200 OK\r\n"+cookie+"Content-Length: 2\r\n\r\nok", "ok", true)
	f("until the end", "HTTP/1.1 200 OK\r\n\r\nok", "ok", false)
	f("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", false)
	f("connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", false)
	f("more than the response", ok+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ok", false)
}

// A refusal sent before the body was read is an answer, not a broken pipe.
func TestDoReadsEarlyRefusal(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ int, p peer) {
		p.br.ReadString('\n')
		p.send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
		p.Conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, p.br)
	})
	r, err := call(t.Context(), client(t, Config{}), "POST", s.url, strings.Repeat("x", 8<<20))
	if err != nil || r.status != 413 || r.body != "big" {
		t.Errorf("answered %d %q, %v; want 413 big", r.status, r.body, err)
	}
}

func TestDoHead(t *testing.T) {
	t.Parallel()
	s := serve(t, always("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"))
	c := client(t, Config{})
	mustAnswer(t, c, "HEAD", s.url, "", "")
	mustAnswer(t, c, "HEAD", s.url, "", "")
}

func TestConnectFailures(t *testing.T) {
	t.Parallel()
	addr := closedPort(t)
	_, err := call(t.Context(), client(t, Config{}), "POST", "http://u:SECRET@"+addr+"/?token=SECRET", "x")
	mustFail(t, err, Connect, addr+" cannot be reached: dial tcp "+addr+": connect: connection refused")
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	s := serveOn(t, "[::1]:0", nil, always(ok))
	mustAnswer(t, client(t, Config{}), "POST", s.url, "x", "ok")
}

// echoAFew answers one to five requests of a connection with their bodies, then
// closes it.
func echoAFew(n int, p peer) {
	for range 1 + n%5 {
		_, body, err := p.request()
		if err != nil {
			return
		}
		p.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	}
}

// Every caller gets the answer to its own question, while connections are
// closed under their feet.
func TestDoConcurrently(t *testing.T) {
	t.Parallel()
	s := serve(t, echoAFew)
	c := client(t, Config{})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%10 == 9 {
					go cancel()
				}
				want := fmt.Sprintf("%d/%d", g, i)
				r, err := call(ctx, c, http.MethodPost, s.url, want)
				cancel()
				if i%10 == 9 && KindOf(err) == Canceled {
					continue
				}
				if err != nil || r.body != want {
					t.Errorf("answered %q, %v; want %q", r.body, err, want)
				}
			}
		})
	}
	wg.Wait()
}
