package httpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func route(t *testing.T, c *Client, url string) *Route {
	t.Helper()
	r, err := c.Route(url)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// post makes one Post: begun says that Begin brought it to its end.
func post(ctx context.Context, r *Route, body string, patience time.Duration) (answer string, begun bool, err error) {
	p := r.Post()
	defer p.Release()
	p.Header("X-Name", "a", "b")
	p.Number("X-Number", -7)
	p.Body([]byte(body))
	begun, err = p.Begin(time.Now(), patience)
	if !begun {
		err = p.Finish(ctx)
	}
	return fmt.Sprint(p.Response.Status, " ", string(p.Response.Body)), begun, err
}

// The first Post makes a connection, which is Finish's work; those after it
// find one.
func TestPost(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	s := serve(t, func(_ int, p peer) {
		for {
			req, body, err := p.request()
			if err != nil {
				return
			}
			got.Store(fmt.Sprintf("%s %s %s %v %q %s", req.Method, req.RequestURI, req.Host, req.ContentLength, req.Header, body))
			p.send("HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nfine")
		}
	})
	c := client(t, Config{})
	for i := range 3 {
		answer, begun, err := post(t.Context(), route(t, c, s.url+"a//b?x=1"), "body", time.Minute)
		if answer != "201 fine" || begun != (i > 0) || err != nil {
			t.Errorf("post %d: %q, begun %v, %v", i, answer, begun, err)
		}
		want := fmt.Sprintf(`POST /a//b?x=1 %s 4 map["Content-Length":["4"] "X-Name":["ab"] "X-Number":["-7"]] body`, s.Addr())
		if got.Load() != want {
			t.Errorf("post %d arrived as\n%s, want\n%s", i, got.Load(), want)
		}
	}
}

// A Route is called as Client.Do would call the URL.
func TestRoute(t *testing.T) {
	t.Parallel()
	c := client(t, Config{})
	f := func(url, head string) {
		t.Helper()
		if got := string(route(t, c, url).head); got != head {
			t.Errorf("Route(%q) begins with %q, want %q", url, got, head)
		}
	}
	f("http://h", "POST / HTTP/1.1\r\nHost: h\r\n")
	f("http://h:81/a//b/../c%2fd?x=1&y=%20", "POST /a//b/../c%2fd?x=1&y=%20 HTTP/1.1\r\nHost: h:81\r\n")
	f("http://h/?to=/msg/text#frag", "POST /?to=/msg/text HTTP/1.1\r\nHost: h\r\n")
	f("http://u:p@h/", "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic dTpw\r\n")
	refused := func(url, want string) {
		t.Helper()
		_, err := c.Route(url)
		mustFail(t, err, Connect, want)
	}
	refused("", "cannot call a URL without a host")
	refused("ftp://h/", `cannot call a URL of scheme "ftp": only http and https`)
	refused("http://h/a b", "cannot call a URL with blanks or control characters")
	refused("http://h/a\r\nX: y", "cannot call a URL with blanks or control characters")
}

// What Begin does not bring to its end, Finish does.
func TestPostSlowly(t *testing.T) {
	f := func(name string, handle func(p peer), begun bool, want string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				c, wait := inMemory(Config{}, func(p peer) {
					n.Add(1)
					p.request()
					p.send(ok)
					if _, _, err := p.request(); err == nil {
						handle(p)
					}
				})
				r := route(t, c, "http://h/")
				post(t.Context(), r, "warm", time.Second)
				answer, got, err := post(t.Context(), r, "x", time.Second)
				if answer != want || got != begun || err != nil {
					t.Errorf("%q, begun %v, %v; want %q, %v", answer, got, err, want, begun)
				}
				if n.Load() != 1 {
					t.Errorf("%d connections, want 1", n.Load())
				}
				c.CloseIdle()
				wait()
			})
		})
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
	f("in time", func(p peer) { time.Sleep(900 * time.Millisecond); p.send(head + "answer") }, true, "200 answer")
	f("too late", func(p peer) { time.Sleep(3 * time.Second); p.send(head + "answer") }, false, "200 answer")
	f("in two parts", func(p peer) { p.send(head + "ans"); time.Sleep(time.Second); p.send("wer") }, false, "200 answer")
	f("headers in two parts", func(p peer) { p.send(head[:30]); time.Sleep(time.Second); p.send(head[30:] + "answer") }, false, "200 answer")
	f("byte by byte", func(p peer) {
		for i := range head {
			time.Sleep(100 * time.Millisecond)
			p.send(head[i : i+1])
		}
		p.send("answer")
	}, false, "200 answer")
	f("in chunks", func(p peer) { p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n") }, true, "200 ok")
	f("half a chunk", func(p peer) {
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no")
		time.Sleep(time.Second)
		p.send("k\r\n0\r\n\r\n")
	}, false, "200 ok")
	f("until the end", func(p peer) { p.send("HTTP/1.1 200 OK\r\n\r\nok"); time.Sleep(time.Second) }, false, "200 ok")
	f("after an interim response", func(p peer) { p.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok) }, true, "200 ok")
	f("after a pause behind it", func(p peer) {
		p.send("HTTP/1.1 103 Early Hints\r\n\r\n")
		time.Sleep(time.Second)
		p.send(ok)
	}, false, "200 ok")
	f("no content", func(p peer) { p.send("HTTP/1.1 204 No Content\r\n\r\n") }, true, "204 ")
	f("larger than one read", func(p peer) {
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000))
	}, false, "200 "+strings.Repeat("x", 9000))
}

// A connection that was closed while it was idle costs a Post nothing either.
func TestPostOnStaleConnection(t *testing.T) {
	t.Parallel()
	onStaleConnection(t, func(t *testing.T, c *Client, url, body string) {
		answer, begun, err := post(t.Context(), route(t, c, url), body, time.Minute)
		if answer != "200 ok" || begun || err != nil {
			t.Errorf("%s: %q, begun %v, %v", body, answer, begun, err)
		}
	})
}

// A connection that a Post leaves is good for Do, though the time that the Post
// had is over.
func TestDoAfterPost(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	s := serve(t, func(_ int, p peer) {
		conns.Add(1)
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.send(ok)
		}
	})
	c := client(t, Config{IdleReuse: time.Minute})
	const patience = 50 * time.Millisecond
	for range 2 { // the first leaves its work to Finish
		if answer, _, err := post(t.Context(), route(t, c, s.url), "x", patience); answer != "200 ok" || err != nil {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	time.Sleep(3 * patience)
	if got, err := call(t.Context(), c, "POST", s.url, "x"); got.body != "ok" || err != nil {
		t.Errorf("%q, %v", got.body, err)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// An answer that nobody asked for is not taken for that to the next request,
// which may be another account's.
func TestUnaskedAnswer(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("sockets cannot be looked into here")
	}
	f := func(name string, call func(t *testing.T, c *Client, url string) string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idle, said := make(chan struct{}), make(chan struct{})
			s := serve(t, func(n int, p peer) {
				for i := 0; ; i++ {
					if _, _, err := p.request(); err != nil {
						return
					}
					p.send(ok)
					if n == 1 && i == 0 {
						<-idle
						p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")
						close(said)
					}
				}
			})
			c := client(t, Config{})
			call(t, c, s.url)
			close(idle)
			<-said
			for range 3 {
				if got := call(t, c, s.url); got != "ok" {
					t.Errorf("got %q, want ok", got)
				}
			}
		})
	}
	f("Post", func(t *testing.T, c *Client, url string) string {
		answer, _, err := post(t.Context(), route(t, c, url), "x", time.Minute)
		if err != nil {
			t.Error(err)
		}
		return strings.TrimPrefix(answer, "200 ")
	})
	f("Post that had no time left to begin", func(t *testing.T, c *Client, url string) string {
		p := route(t, c, url).Post()
		defer p.Release()
		p.Body(nil)
		if over, err := p.Begin(time.Now().Add(-time.Minute), time.Second); over {
			t.Errorf("Begin ended it, %v", err)
		} else if err := p.Finish(t.Context()); err != nil {
			t.Error(err)
		}
		return string(p.Response.Body)
	})
	f("Do", func(t *testing.T, c *Client, url string) string {
		got, err := call(t.Context(), c, "POST", url, "x")
		if err != nil {
			t.Error(err)
		}
		return got.body
	})
}

// What goes wrong behind the first byte is the call's end, as with Do.
func TestPostFailures(t *testing.T) {
	t.Parallel()
	f := func(name string, handle func(p peer), kind Kind, text string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(n int, p peer) {
				p.request()
				p.send(ok)
				p.request()
				handle(p)
			})
			c := client(t, Config{Name: "backend", MaxResponse: 1000})
			r := route(t, c, s.url+"?access_token=SECRET")
			post(t.Context(), r, "warm", time.Minute)
			answer, _, err := post(t.Context(), r, "x", time.Minute)
			mustFail(t, err, kind, "backend at "+s.Addr().String()+" "+text)
			if answer != "0 " { // an empty Response
				t.Errorf("with the error came %q", answer)
			}
		})
	}
	f("half a body", func(p peer) { p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour") },
		Cut, "broke off its response: unexpected EOF after 42 bytes")
	f("not HTTP", func(p peer) { p.send("SSH-2.0-OpenSSH_9.2 SECRET\r\n\r\n"); p.request() },
		Cut, "sent something that is not an HTTP response: 30 bytes")
	f("too large by its length", func(p peer) { p.send("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"); p.request() },
		TooLarge, "answered more than allowed: body over 1000 bytes")
}

// A call that is given up takes its connection with it.
func TestPostGivenUp(t *testing.T) {
	f := func(name string, handle func(p peer), kind Kind, text string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var conns atomic.Int32
				c, wait := inMemory(Config{}, func(p peer) {
					conns.Add(1)
					p.request()
					p.send(ok)
					handle(p)
				})
				r := route(t, c, "http://h/")
				post(t.Context(), r, "warm", time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if kind == Canceled {
					gone := errors.New("the user left")
					var stop context.CancelCauseFunc
					ctx, stop = context.WithCancelCause(ctx)
					time.AfterFunc(4*time.Second, func() { stop(gone) })
				}
				began := time.Now()
				_, begun, err := post(ctx, r, "x", time.Second)
				mustFail(t, err, kind, "h:80 "+text)
				if took := time.Since(began); begun || took > 7*time.Second {
					t.Errorf("begun %v, it took %v", begun, took)
				}
				post(t.Context(), r, "y", time.Second)
				if conns.Load() != 2 {
					t.Errorf("%d connections, want a second one for the call that followed", conns.Load())
				}
				c.CloseIdle()
				wait()
			})
		})
	}
	silent := func(p peer) { p.request(); time.Sleep(time.Minute) }
	f("timeout", silent, Timeout, "did not answer in time: context deadline exceeded after 0 bytes of response")
	f("timeout of the body", func(p peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nans")
		time.Sleep(time.Minute)
	},
		Timeout, "did not answer in time: context deadline exceeded after 41 bytes of response")
	f("timeout of the request", func(p peer) { time.Sleep(time.Minute) },
		Timeout, "did not answer in time: context deadline exceeded after 0 bytes of response")
	f("canceled", silent, Canceled, "was no longer waited for: the user left")
}

// A Post that is released before its end gives its place back.
func TestPostReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wait := inMemory(Config{MaxConns: 1}, func(p peer) {
			p.request()
			p.send(ok)
			if _, _, err := p.request(); err == nil {
				time.Sleep(time.Minute)
			}
		})
		r := route(t, c, "http://h/")
		for range 3 {
			if answer, _, err := post(t.Context(), r, "warm", time.Second); answer != "200 ok" {
				t.Fatalf("%q, %v", answer, err)
			}
			p := r.Post()
			p.Body(nil)
			if over, err := p.Begin(time.Now(), time.Second); over || err != nil {
				t.Errorf("over %v, %v", over, err)
			}
			if _, _, err := post(t.Context(), r, "x", time.Second); KindOf(err) != Connect {
				t.Errorf("a second call at once: %v, want a busy host", err)
			}
			p.Release()
		}
		wait()
	})
}

func TestPostLargeAndTLS(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 1<<20)
	f := func(s *rawServer, c *Client) {
		t.Helper()
		for range 3 {
			if answer, begun, err := post(t.Context(), route(t, c, s.url), body, time.Minute); answer != "200 ok" || begun || err != nil {
				t.Errorf("%s: %q, begun %v, %v", s.url, answer, begun, err)
			}
		}
	}
	f(serve(t, always(ok)), client(t, Config{}))
	cfg, _ := certificate(t, "backend.example")
	s := serveOn(t, "127.0.0.1:0", cfg, always(ok))
	f(s, client(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}}))
}

// Every caller gets the answer to its own question, while connections are
// closed under their feet.
func TestPostConcurrently(t *testing.T) {
	t.Parallel()
	s := serve(t, echoAFew)
	c := client(t, Config{})
	r := route(t, c, s.url)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				body := fmt.Sprintf("%d/%d", g, i)
				if answer, _, err := post(t.Context(), r, body, time.Millisecond); err != nil || answer != "200 "+body {
					t.Errorf("answered %q, %v; want %q", answer, err, body)
				}
			}
		})
	}
	wg.Wait()
}

// Posts to any path of a host share its connections, with Do too, before and
// after a time in which it had none.
func TestRoutesShareAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns atomic.Int32
		c, wait := inMemory(Config{}, func(p peer) {
			conns.Add(1)
			always(ok)(0, p)
		})
		a, b := route(t, c, "http://h/a"), route(t, c, "http://h/b")
		for want := range int32(3) {
			for _, r := range []*Route{a, b} {
				if answer, _, err := post(t.Context(), r, "x", time.Second); answer != "200 ok" {
					t.Fatalf("%q, %v", answer, err)
				}
			}
			mustAnswer(t, c, "POST", "http://h/", "x", "ok")
			if conns.Load() != want+1 {
				t.Errorf("%d connections, want %d", conns.Load(), want+1)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if n := len(c.pool.hosts); n != 1 || c.pool.timer != nil {
				t.Errorf("%d hosts while nothing is idle, timer %v; want the one of the routes", n, c.pool.timer)
			}
		}
		wait()
	})
}
