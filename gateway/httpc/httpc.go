// Package httpc makes the gateway's outgoing HTTP calls: requests and responses
// are fasthttp's, the connections are its own. fasthttp's client knows neither
// whether a connection had been used before nor whether a response byte came,
// and it cannot give up a call; the rule below and prompt cancelling need all
// three.
//
// The one-repeat rule: backends close idle connections whenever they like, and
// a request sent at that moment is lost. A request (POST too) whose reused
// connection ended before the first response byte is therefore sent once more
// on a fresh connection; that is never a failure. A fresh connection that ends
// so is a Reset, left to the caller.
//
// It speaks HTTP/1.1, follows no redirects, asks for no compression and knows
// nothing of what it carries.
package httpc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http/httpproxy"
)

// Config sets up a Client. The zero value is good.
type Config struct {
	// Name stands before the host in errors, like "backend of shop".
	Name string

	// TLS is cloned for each host. By default servers are verified against
	// the system's roots.
	TLS *tls.Config

	// Proxy honours HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment,
	// read once by New. Every connection through an http proxy is a CONNECT
	// tunnel.
	Proxy bool

	// MaxConns limits the connections to one host; a call beyond it fails at
	// once as Connect. By default 512.
	MaxConns int

	// MaxResponse limits a response body, in bytes. By default 1 MiB.
	MaxResponse int

	// IdleReuse is how long an idle connection is used again. By default 1.5 s:
	// servers close theirs after 2 s and more.
	IdleReuse time.Duration

	// DialTimeout covers name look-up, connecting, the proxy and TLS together.
	// By default 3 s.
	DialTimeout time.Duration
}

const (
	defaultTimeout = 30 * time.Second // of a call whose context has no deadline
	readBuffer     = 16 << 10         // also the limit of a response's headers
	writeBuffer    = 4 << 10
	tlsSessions    = 64 // remembered for resumption: idle connections are short-lived here
)

// Client is safe for concurrent use. It starts no goroutines; connections left
// idle are closed by a timer.
type Client struct {
	cfg     Config
	tls     *tls.Config // with a session cache; cloned for each connection
	proxy   func(*url.URL) (*url.URL, error)
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	pool    pool
	readers sync.Pool // *bufio.Reader
	writers sync.Pool // *bufio.Writer
}

// New returns a client.
func New(cfg Config) *Client {
	proxies := &httpproxy.Config{}
	if cfg.Proxy {
		proxies = httpproxy.FromEnvironment()
	}
	return newClient(cfg, proxies)
}

func newClient(cfg Config, proxies *httpproxy.Config) *Client {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = fasthttp.DefaultMaxConnsPerHost
	}
	if cfg.MaxResponse <= 0 {
		cfg.MaxResponse = 1 << 20
	}
	if cfg.IdleReuse <= 0 {
		cfg.IdleReuse = 1500 * time.Millisecond
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = 3 * time.Second
	}
	c := &Client{cfg: cfg, proxy: proxies.ProxyFunc(), dial: new(net.Dialer).DialContext}
	c.tls = &tls.Config{}
	if cfg.TLS != nil {
		c.tls = cfg.TLS.Clone()
	}
	if c.tls.ClientSessionCache == nil {
		c.tls.ClientSessionCache = tls.NewLRUClientSessionCache(tlsSessions)
	}
	c.pool.maxConns, c.pool.keep = cfg.MaxConns, cfg.IdleReuse
	return c
}

// Do sends req to the host of its URI and reads the whole response into resp.
// It gives up at ctx's deadline (30 s without one) or as soon as ctx is
// canceled, and touches neither req nor resp after it returned. Any HTTP status
// is a success. The error is always an *Error; resp is then empty. A request
// whose body is a stream is never repeated.
func (c *Client) Do(ctx context.Context, req *fasthttp.Request, resp *fasthttp.Response) error {
	t, err := targetOf(req.URI())
	if err != nil {
		return &Error{Kind: Connect, Err: err}
	}
	resp.SkipBody = resp.SkipBody || req.Header.IsHead()
	h := c.pool.hold(t)
	defer c.pool.letGo(h)
	return c.do(ctx, h, request{c, req, req.IsBodyStream()}, resp)
}

// outgoing is a request in the form in which it is sent: a fasthttp.Request,
// or a Post.
type outgoing interface {
	// write sends what has not been sent yet.
	write(cn *conn) error
	// rewind makes the next write begin anew; false when it cannot.
	rewind() bool
	// last reports that the connection is to carry no further request.
	last() bool
}

func (c *Client) do(ctx context.Context, h *host, out outgoing, resp *fasthttp.Response) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	return c.repeat(ctx, h, out, resp, c.try(ctx, h, out, resp, false))
}

// repeat is the one-repeat rule: err is how the first try ended.
func (c *Client) repeat(ctx context.Context, h *host, out outgoing, resp *fasthttp.Response, err error) error {
	if !errors.Is(err, errStale) {
		return err
	}
	if !out.rewind() {
		return c.fail(Reset, h.at, "closed the connection before it answered", errStale)
	}
	return c.try(ctx, h, out, resp, true)
}

// withDeadline gives ctx the deadline that every call has.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultTimeout)
}

// CloseIdle closes the connections nobody is using.
func (c *Client) CloseIdle() { c.pool.closeIdle() }

// errStale is a reused connection that ended before the first response byte.
var errStale = errors.New("idle connection was closed")

// try sends a request once, on a fresh connection only if fresh.
func (c *Client) try(ctx context.Context, h *host, out outgoing, resp *fasthttp.Response, fresh bool) error {
	cn, err := c.pool.take(h, fresh, time.Now())
	if err != nil {
		return c.fail(Connect, h.at, "cannot be reached", err)
	}
	if cn == nil {
		if cn, err = c.open(ctx, h); err != nil {
			return err
		}
	}
	cn.begin()
	if cn.reused && cn.unclean() {
		c.settle(h, cn, false, time.Time{})
		return errStale
	}
	return c.finish(ctx, cn, h, out, resp)
}

// open makes the connection for a slot of the pool, which it gives back when
// it cannot.
func (c *Client) open(ctx context.Context, h *host) (*conn, error) {
	nc, err := c.connect(ctx, h.at)
	if err == nil {
		return &conn{Conn: nc}, nil
	}
	c.pool.give(h, nil, time.Time{})
	if ctx.Err() == context.Canceled {
		return nil, c.canceled(ctx, h.at)
	}
	return nil, c.fail(Connect, h.at, "cannot be reached", err)
}

// finish brings the exchange on cn to its end, and cn back into the pool if it
// may carry another one.
func (c *Client) finish(ctx context.Context, cn *conn, h *host, out outgoing, resp *fasthttp.Response) error {
	healthy, err := c.exchange(ctx, cn, h.at, out, resp)
	c.settle(h, cn, healthy, time.Now())
	return err
}

// settle gives the slot of cn back to the pool.
func (c *Client) settle(h *host, cn *conn, healthy bool, now time.Time) {
	if !healthy {
		cn.Close()
		cn = nil
	}
	c.pool.give(h, cn, now)
}

// exchange sends what of out has not been sent and reads the response; healthy
// says that the connection may carry another request.
func (c *Client) exchange(ctx context.Context, cn *conn, t target, out outgoing, resp *fasthttp.Response) (healthy bool, err error) {
	deadline, _ := ctx.Deadline()
	cn.until = time.Time{}
	if err := cn.SetDeadline(deadline); err != nil {
		cn.failed = err
		return false, c.broken(ctx, cn, t, 0, err)
	}
	// A deadline in the past wakes whatever waits in Read or Write.
	stop := context.AfterFunc(ctx, func() { cn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			healthy = false // its deadline is, or is about to be, in the past
		}
	}()

	writeErr := out.write(cn)
	if writeErr != nil && (cn.failed == nil || isTimeout(cn.failed)) {
		return false, c.broken(ctx, cn, t, 0, writeErr)
	}
	// Even after a failed write there may be a response: a server that refuses
	// a body answers and closes while it is still being sent.
	if err := cn.await(); err != nil {
		return false, c.broken(ctx, cn, t, 0, err)
	}
	unread, status, err := c.read(cn, resp)
	if err != nil {
		return false, c.broken(ctx, cn, t, status, err)
	}
	return writeErr == nil && reusable(cn, out, resp, unread), nil
}

// read parses one response from cn. unread counts the bytes behind it; status
// is that of a response that is too large.
func (c *Client) read(cn *conn, resp *fasthttp.Response) (unread, status int, err error) {
	skipBody := resp.SkipBody
	resp.Reset()
	resp.SkipBody = skipBody
	resp.Header.SetNoDefaultContentType(true) // one without a Content-Type has none
	br := c.reader(cn)
	err = resp.ReadLimitBody(br, c.cfg.MaxResponse)
	unread = br.Buffered()
	if err != nil {
		status = statusSeen(err, resp, br)
		resp.Reset()
		resp.SkipBody = skipBody
	}
	br.Reset(nil)
	c.readers.Put(br)
	return unread, status, err
}

// reusable reports whether cn may carry another request after this one: bytes
// behind the response would be taken for the next one.
func reusable(cn *conn, out outgoing, resp *fasthttp.Response, unread int) bool {
	return unread == 0 && cn.failed == nil && !out.last() && !resp.ConnectionClose() &&
		resp.StatusCode() != fasthttp.StatusSwitchingProtocols
}

// request is a fasthttp.Request on its way.
type request struct {
	c *Client
	*fasthttp.Request
	streamed bool // its body cannot be sent again
}

func (r request) write(cn *conn) error {
	bw := r.c.writer(cn)
	err := r.Write(bw)
	if err == nil {
		err = bw.Flush()
	}
	bw.Reset(nil)
	r.c.writers.Put(bw)
	return err
}

func (r request) rewind() bool { return !r.streamed }
func (r request) last() bool   { return r.ConnectionClose() }

// statusSeen is the status of a response that is too large to be read: its
// size does not undo what the server said. 0 with any other err.
func statusSeen(err error, resp *fasthttp.Response, br *bufio.Reader) int {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return resp.StatusCode()
	case errors.As(err, &small):
		line, _ := br.Peek(min(len("HTTP/1.1 200"), br.Buffered()))
		if _, code, ok := bytes.Cut(line, []byte(" ")); ok {
			status, _ := strconv.Atoi(string(code))
			return status
		}
	}
	return 0
}

// broken says how an exchange on cn failed; status is that of a response that
// is too large. fasthttp's own parse errors quote what the server sent, so their
// text goes no further.
func (c *Client) broken(ctx context.Context, cn *conn, t target, status int, err error) error {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case ctx.Err() == context.Canceled:
		return c.canceled(ctx, t)
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return c.tooLarge(t, status, fmt.Errorf("body over %d bytes", c.cfg.MaxResponse))
	case errors.As(err, &small):
		return c.tooLarge(t, status, fmt.Errorf("headers over %d bytes", readBuffer))
	case isTimeout(cn.failed) || ctx.Err() != nil:
		return c.fail(Timeout, t, "did not answer in time", fmt.Errorf("%w after %d bytes of response", context.DeadlineExceeded, cn.got))
	case cn.got == 0 && cn.failed != nil && cn.reused:
		return errStale
	case cn.got == 0 && cn.failed != nil:
		return c.fail(Reset, t, "closed the connection before it answered", cn.failed)
	case cn.got == 0 && cn.sent == 0:
		return c.fail(Connect, t, "cannot be called", errors.New("the request cannot be written as HTTP"))
	case cn.got == 0:
		return c.fail(Cut, t, "was not sent the whole request", errors.New("the body ended early"))
	case cn.failed != nil:
		return c.fail(Cut, t, "broke off its response", fmt.Errorf("%w after %d bytes", cutCause(cn.failed), cn.got))
	}
	return c.fail(Cut, t, "sent something that is not an HTTP response", fmt.Errorf("%d bytes", cn.got))
}

func (c *Client) fail(k Kind, t target, what string, err error) *Error {
	who := t.addr
	if c.cfg.Name != "" {
		who = c.cfg.Name + " at " + t.addr
	}
	return &Error{Kind: k, Err: fmt.Errorf("%s %s: %w", who, what, err)}
}

func (c *Client) tooLarge(t target, status int, err error) error {
	e := c.fail(TooLarge, t, "answered more than allowed", err)
	e.Status = status
	return e
}

func (c *Client) canceled(ctx context.Context, t target) error {
	return c.fail(Canceled, t, "was no longer waited for", context.Cause(ctx))
}

func (c *Client) reader(cn *conn) *bufio.Reader {
	if br, ok := c.readers.Get().(*bufio.Reader); ok {
		br.Reset(cn)
		return br
	}
	return bufio.NewReaderSize(cn, readBuffer)
}

func (c *Client) writer(cn *conn) *bufio.Writer {
	if bw, ok := c.writers.Get().(*bufio.Writer); ok {
		bw.Reset(cn)
		return bw
	}
	return bufio.NewWriterSize(cn, writeBuffer)
}

// cutCause makes io.EOF, which callers take for a good end, an unexpected one.
func cutCause(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
