package httpc

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http/httpproxy"
)

// certificate returns a server's side and the roots that verify it for names.
func certificate(t *testing.T, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	cert, key, err := fasthttp.GenerateTestCertificate(name)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}}, roots
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server, roots := certificate(t, "backend.example")
	s := serveOn(t, "127.0.0.1:0", server, always(ok))

	_, err := call(t.Context(), client(t, Config{}), "POST", s.url+"?token=SECRET", "x")
	if KindOf(err) != Connect || !strings.Contains(err.Error(), "cannot agree on TLS: tls: failed to verify certificate") || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("unknown authority: error is %v (%s)", err, KindOf(err))
	}
	_, err = call(t.Context(), client(t, Config{TLS: &tls.Config{RootCAs: roots, ServerName: "other.example"}}), "POST", s.url, "x")
	if KindOf(err) != Connect || !strings.Contains(err.Error(), "backend.example, not other.example") {
		t.Errorf("wrong name: error is %v (%s)", err, KindOf(err))
	}
	mustAnswer(t, client(t, Config{TLS: &tls.Config{RootCAs: roots, ServerName: "backend.example"}}), "POST", s.url, "x", "ok")
	mustAnswer(t, client(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}}), "POST", s.url, "x", "ok")

	plain := strings.Replace(s.url, "https:", "http:", 1)
	if _, err = call(t.Context(), client(t, Config{}), "POST", plain, "x"); err == nil {
		t.Error("a TLS server answered plain HTTP")
	}
	p := serve(t, always(ok))
	_, err = call(t.Context(), client(t, Config{}), "POST", strings.Replace(p.url, "http:", "https:", 1), "x")
	if KindOf(err) != Connect {
		t.Errorf("TLS to a plain server: error is %v (%s)", err, KindOf(err))
	}
}

// The rule about reused connections holds under TLS, whether or not the server
// says good-bye.
func TestTLSRepeatsOnStaleConnection(t *testing.T) {
	t.Parallel()
	server, roots := certificate(t, "backend.example")
	f := func(farewell bool) {
		t.Helper()
		var conns atomic.Int32
		s := serveOn(t, "127.0.0.1:0", server, func(n int, p peer) {
			conns.Add(1)
			for {
				if _, _, err := p.request(); err != nil {
					return
				}
				p.send(ok)
				if n == 1 {
					if !farewell {
						p.Conn.(*tls.Conn).NetConn().Close()
					}
					return
				}
			}
		})
		c := client(t, Config{TLS: &tls.Config{RootCAs: roots, ServerName: "backend.example"}})
		for range 3 {
			mustAnswer(t, c, "POST", s.url, "x", "ok")
		}
		if conns.Load() != 2 {
			t.Errorf("farewell %v: %d connections, want 2", farewell, conns.Load())
		}
	}
	f(true)
	f(false)
}

// proxy answers CONNECT with status and then joins the caller to backend.
func connectProxy(t *testing.T, backend net.Addr, status string, saw chan<- string) *rawServer {
	return serve(t, func(_ int, p peer) {
		req, _, err := p.request()
		if err != nil {
			return
		}
		saw <- fmt.Sprintf("%s %s %s", req.Method, req.Host, req.Header.Get("Proxy-Authorization"))
		p.send("HTTP/1.1 " + status + "\r\n\r\n")
		if !strings.HasPrefix(status, "200") {
			return
		}
		join(p, backend)
	})
}

func join(p peer, backend net.Addr) {
	up, err := net.Dial("tcp", backend.String())
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan bool)
	go func() {
		io.Copy(up, p.br)
		up.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	io.Copy(p.Conn, up)
	p.Conn.Close()
	<-done
}

func TestProxy(t *testing.T) {
	t.Parallel()
	server, roots := certificate(t, "api.example")
	secure := serveOn(t, "127.0.0.1:0", server, always(ok))
	plain := serve(t, always(ok))
	trust := Config{TLS: &tls.Config{RootCAs: roots}}
	saw := make(chan string, 10)

	viaSecure := connectProxy(t, secure.Addr(), "200 OK", saw)
	viaPlain := connectProxy(t, plain.Addr(), "200 Connection established", saw)
	env := &httpproxy.Config{
		HTTPSProxy: "http://user:PASSWORD@" + viaSecure.Addr().String(),
		HTTPProxy:  viaPlain.Addr().String(),
		NoProxy:    ".direct.example",
	}
	c := newClient(trust, env)
	t.Cleanup(c.CloseIdle)

	mustAnswer(t, c, "POST", "https://api.example/", "x", "ok")
	mustAnswer(t, c, "POST", "https://api.example/", "x", "ok") // on the same tunnel
	want := "CONNECT api.example:443 Basic " + base64.StdEncoding.EncodeToString([]byte("user:PASSWORD"))
	if got := <-saw; got != want {
		t.Errorf("the proxy saw %q, want %q", got, want)
	}
	mustAnswer(t, c, "POST", "http://api.example:8080/", "x", "ok")
	if got, want := <-saw, "CONNECT api.example:8080 "; got != want {
		t.Errorf("the proxy saw %q, want %q", got, want)
	}
	mustAnswer(t, c, "POST", plain.url, "x", "ok") // loopback is never proxied
	if len(saw) != 0 {
		t.Errorf("the proxy also saw %q", <-saw)
	}
}

func TestProxyFailures(t *testing.T) {
	t.Parallel()
	saw := make(chan string, 10)
	f := func(env string, text string) {
		t.Helper()
		c := newClient(Config{}, &httpproxy.Config{HTTPSProxy: env})
		_, err := call(t.Context(), c, "POST", "https://api.example/?secret=SECRET", "x")
		mustFail(t, err, Connect, "api.example:443 cannot be reached: "+text)
	}
	refusing := connectProxy(t, nil, "407 Proxy Authentication Required", saw).Addr().String()
	f("http://user:SECRET@"+refusing, "proxy "+refusing+": CONNECT answered with 407")
	silent := serve(t, func(_ int, p peer) { p.request() }).Addr().String()
	f("http://"+silent, "proxy "+silent+": no HTTP answer to CONNECT")
	chatty := serve(t, func(_ int, p peer) { p.request(); p.send("HTTP/1.1 200 OK\r\n\r\nhello"); p.request() }).Addr().String()
	f("http://"+chatty, "proxy "+chatty+": data after the answer to CONNECT")
	f("gopher://user:SECRET@"+silent, `proxy `+silent+`: scheme "gopher" is not http, https or socks5`)
	closed := closedPort(t)
	f("http://"+closed, "proxy "+closed+": dial tcp "+closed+": connect: connection refused")
}

func TestSOCKSProxy(t *testing.T) {
	t.Parallel()
	plain := serve(t, always(ok))
	saw := make(chan string, 1)
	s := serve(t, func(_ int, p peer) { // RFC 1928, without authentication
		head := make([]byte, 3)
		io.ReadFull(p.br, head)
		p.send("\x05\x00")
		io.ReadFull(p.br, head)
		p.br.ReadByte()
		n, _ := p.br.ReadByte()
		name := make([]byte, int(n)+2)
		io.ReadFull(p.br, name)
		saw <- string(name[:n])
		p.send("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
		join(p, plain.Addr())
	})
	c := newClient(Config{}, &httpproxy.Config{HTTPProxy: "socks5://" + s.Addr().String()})
	t.Cleanup(c.CloseIdle)
	mustAnswer(t, c, "POST", "http://api.example/", "x", "ok")
	if got := <-saw; got != "api.example" {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().String()
}
