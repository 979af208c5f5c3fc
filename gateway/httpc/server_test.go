package httpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
	"golang.org/x/net/http/httpproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rawServer accepts connections and gives each to serve with its number, from
// 1. It closes the connection when serve returns.
type rawServer struct {
	net.Listener
	url string

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

type peer struct {
	net.Conn
	br *bufio.Reader
}

func (p peer) request() (*http.Request, []byte, error) {
	req, err := http.ReadRequest(p.br)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(req.Body)
	return req, body, err
}

func (p peer) send(s string) { io.WriteString(p.Conn, s) }

// reset makes Close send RST instead of FIN.
func (p peer) reset() {
	if tc, ok := p.Conn.(*net.TCPConn); ok {
		tc.SetLinger(0)
	}
}

var noProxy = &httpproxy.Config{}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func serve(t *testing.T, handle func(n int, p peer)) *rawServer {
	return serveOn(t, "127.0.0.1:0", nil, handle)
}

func serveOn(t *testing.T, addr string, cfg *tls.Config, handle func(n int, p peer)) *rawServer {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", addr, err)
	}
	s := &rawServer{Listener: ln, url: "http://" + ln.Addr().String() + "/"}
	if cfg != nil {
		s.url = "https://" + ln.Addr().String() + "/"
	}
	s.wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() {
				defer c.Close()
				conn := c
				if cfg != nil {
					tc := tls.Server(c, cfg)
					defer tc.Close()
					conn = tc
				}
				handle(n, peer{conn, bufio.NewReader(conn)})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// always answers every request of a connection with response.
func always(response string) func(int, peer) {
	return func(_ int, p peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.send(response)
		}
	}
}

// client is without any proxy, whatever the environment of the test says, and
// uses idle connections again however busy the machine.
func client(t *testing.T, cfg Config) *Client {
	if cfg.IdleReuse == 0 {
		cfg.IdleReuse = time.Minute
	}
	c := newClient(cfg, noProxy)
	t.Cleanup(c.CloseIdle)
	return c
}

type result struct {
	status int
	body   string
	resp   *fasthttp.Response
}

func call(ctx context.Context, c *Client, method, url, body string) (result, error) {
	req, resp := &fasthttp.Request{}, &fasthttp.Response{}
	req.Header.SetMethod(method)
	req.SetRequestURI(url)
	if body != "" {
		req.SetBodyString(body)
	}
	err := c.Do(ctx, req, resp)
	return result{resp.StatusCode(), string(resp.Body()), resp}, err
}

func mustAnswer(t *testing.T, c *Client, method, url, body, want string) {
	t.Helper()
	r, err := call(t.Context(), c, method, url, body)
	if err != nil || r.status != 200 || r.body != want {
		t.Fatalf("%s %s = %d %q, %v; want 200 %q", method, url, r.status, r.body, err, want)
	}
}

// mustFail wants the kind and exactly text, in which HOST stands for the
// address of url.
func mustFail(t *testing.T, err error, kind Kind, text string) {
	t.Helper()
	if err == nil || KindOf(err) != kind || err.Error() != text {
		t.Fatalf("error is %q (%s), want %q (%s)", err, KindOf(err), text, kind)
	}
}
