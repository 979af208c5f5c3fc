package httpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/proxy"

	"wx-gateway/gateway/socket"
)

// target is where a request goes: connections to equal targets are
// interchangeable.
type target struct {
	tls  bool
	addr string // host:port
}

// targetOf reads the target from a URI and settles how the URI is sent: as it
// was given, without decoding or merging slashes.
func targetOf(uri *fasthttp.URI) (target, error) {
	uri.DisablePathNormalizing = true
	t := target{}
	port := "80"
	switch string(uri.Scheme()) {
	case "http":
	case "https":
		t.tls, port = true, "443"
	default:
		return t, fmt.Errorf("cannot call a URL of scheme %q: only http and https", uri.Scheme())
	}
	// fasthttp writes the URI as it is: a blank or line end in it would end the
	// request line.
	for _, b := range uri.RequestURI() {
		if b <= ' ' || b == 0x7f {
			return t, errors.New("cannot call a URL with blanks or control characters")
		}
	}
	hostname := string(uri.Host())
	if h, p, err := net.SplitHostPort(hostname); err == nil {
		hostname, port = h, p
	} else if n := len(hostname); n > 2 && hostname[0] == '[' && hostname[n-1] == ']' {
		hostname = hostname[1 : n-1]
	}
	if hostname == "" || port == "" {
		return t, errors.New("cannot call a URL without a host")
	}
	t.addr = net.JoinHostPort(hostname, port)
	return t, nil
}

// connect makes a connection to t that a request can be written to.
func (c *Client) connect(ctx context.Context, t target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	nc, err := c.connectTCP(ctx, t)
	if err != nil {
		return nil, err
	}
	if !t.tls {
		return socket.Wrap(nc), nil
	}
	return c.handshake(ctx, nc, t.addr, c.tls)
}

func (c *Client) connectTCP(ctx context.Context, t target) (net.Conn, error) {
	u := &url.URL{Scheme: "http", Host: t.addr}
	if t.tls {
		u.Scheme = "https"
	}
	via, err := c.proxy(u)
	if err != nil { // HTTP_PROXY in a CGI environment; its text may hold the proxy's URL
		return nil, errors.New("the environment's HTTP_PROXY cannot be used")
	}
	if via == nil {
		return c.dial(ctx, "tcp", t.addr) // both IPv4 and IPv6
	}
	nc, err := c.connectProxy(ctx, via, t.addr)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", via.Host, err)
	}
	return nc, nil
}

func (c *Client) connectProxy(ctx context.Context, via *url.URL, addr string) (net.Conn, error) {
	switch via.Scheme {
	case "socks5", "socks5h":
		var auth *proxy.Auth
		if via.User != nil {
			password, _ := via.User.Password()
			auth = &proxy.Auth{User: via.User.Username(), Password: password}
		}
		d, err := proxy.SOCKS5("tcp", withPort(via, "1080"), auth, forward(c.dial))
		if err != nil {
			return nil, err
		}
		return d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	case "http":
		nc, err := c.dial(ctx, "tcp", withPort(via, "80"))
		if err != nil {
			return nil, err
		}
		return tunnel(ctx, nc, via, addr)
	case "https":
		at := withPort(via, "443")
		nc, err := c.dial(ctx, "tcp", at)
		if err != nil {
			return nil, err
		}
		// The TLS settings are those of the server behind the proxy.
		if nc, err = c.handshake(ctx, nc, at, &tls.Config{}); err != nil {
			return nil, err
		}
		return tunnel(ctx, nc, via, addr)
	}
	return nil, fmt.Errorf("scheme %q is not http, https or socks5", via.Scheme)
}

// handshake puts TLS on nc, which is closed on failure.
func (c *Client) handshake(ctx context.Context, nc net.Conn, addr string, base *tls.Config) (net.Conn, error) {
	cfg := base.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("cannot agree on TLS: %w", err)
	}
	return tc, nil
}

// tunnel asks the proxy behind nc for a connection to addr; nc is closed on
// failure.
func tunnel(ctx context.Context, nc net.Conn, via *url.URL, addr string) (_ net.Conn, err error) {
	defer func() {
		if err != nil {
			nc.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	head := "CONNECT " + addr + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	if via.User != nil {
		password, _ := via.User.Password()
		head += "Proxy-Authorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+password)) + "\r\n"
	}
	if _, err := nc.Write([]byte(head + "\r\n")); err != nil {
		return nil, err
	}
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	resp.SkipBody = true
	br := bufio.NewReaderSize(nc, writeBuffer)
	if err := resp.Read(br); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no answer to CONNECT: %w", context.Cause(ctx))
		}
		return nil, errors.New("no HTTP answer to CONNECT")
	}
	if code := resp.StatusCode(); code != fasthttp.StatusOK {
		return nil, fmt.Errorf("CONNECT answered with %d", code)
	}
	if br.Buffered() > 0 {
		return nil, errors.New("data after the answer to CONNECT")
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return nc, nil
}

func withPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// forward is a dial function as the SOCKS package wants it.
type forward func(ctx context.Context, network, addr string) (net.Conn, error)

func (f forward) Dial(network, addr string) (net.Conn, error) {
	return f(context.Background(), network, addr)
}

func (f forward) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}
