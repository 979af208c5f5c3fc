package httpc

import (
	"context"
	"encoding/base64"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// A Route is where Posts go: a URL that is read once. Its client remembers its
// host for good.
type Route struct {
	c    *Client
	host *host
	head []byte // request line, Host and what else all Posts begin with
}

// Route reads a URL, which is called as it is given. The error is always an
// *Error.
func (c *Client) Route(url string) (*Route, error) {
	req := fasthttp.AcquireRequest()
	defer fasthttp.ReleaseRequest(req)
	req.SetRequestURI(url)
	uri := req.URI()
	at, err := targetOf(uri)
	if err != nil {
		return nil, &Error{Kind: Connect, Err: err}
	}
	r := &Route{c: c, host: c.pool.hold(at)}
	r.head = append(append(append(r.head, "POST "...), uri.RequestURI()...), " HTTP/1.1\r\nHost: "...)
	r.head = append(append(r.head, uri.Host()...), "\r\n"...)
	if user := uri.Username(); len(user) > 0 {
		login := string(user) + ":" + string(uri.Password())
		r.head = append(r.head, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(login))+"\r\n"...)
	}
	return r, nil
}

// Header adds a header to all Posts that are made from then on, as Post.Header
// does to one.
func (r *Route) Header(name, value string) {
	r.head = append(append(append(append(r.head, name...), ": "...), value...), "\r\n"...)
}

// A Post is a POST request with the response to it. Most servers answer within
// milliseconds: Begin makes the call on the caller's goroutine as long as that
// is so, and Finish is for the others, on a goroutine that has the time.
//
//	p := route.Post()
//	defer p.Release()
//	p.Header("Content-Type", "application/json")
//	p.Body(body)
//	over, err := p.Begin(time.Now(), patience)
//	if !over {
//		err = p.Finish(ctx)
//	}
//	… p.Response
type Post struct {
	Response Response // empty when there was an error

	c    *Client
	host *host
	raw  []byte // the whole request
	sent int    // bytes of it

	slot bool               // a place in the pool is taken
	cn   *conn              // the connection that the request went out on
	in   *[]byte            // what Begin has read; nil while a slow answer is waited for
	slow *fasthttp.Response // where the response is not plain
}

// Response is what a Post was answered. Its bytes are good until Release.
type Response struct {
	Status      int
	ContentType []byte // nil without one
	Body        []byte
}

// Bounds of what Begin does on its own.
const (
	eagerSize  = 16 << 10 // a request that a socket takes at once
	eagerRead  = 4 << 10  // of a response
	keepBuffer = 64 << 10 // a larger one is not kept for the next Post
)

var (
	posts = sync.Pool{New: func() any { return &Post{} }}
	reads = sync.Pool{New: func() any { b := make([]byte, eagerRead); return &b }}
)

// Post begins a request to r; Header and then Body complete it. Release gives
// it back.
func (r *Route) Post() *Post {
	p := posts.Get().(*Post)
	p.c, p.host = r.c, r.host
	p.raw = append(p.raw[:0], r.head...)
	return p
}

// Release ends the use of p and of its Response.
func (p *Post) Release() {
	if p.slot { // begun, and never finished
		p.over(false, time.Time{})
	}
	if p.slow != nil {
		fasthttp.ReleaseResponse(p.slow)
	}
	raw := p.raw
	if cap(raw) > keepBuffer {
		raw = nil
	}
	*p = Post{raw: raw, in: p.in}
	posts.Put(p)
}

// Header adds a header whose value has the given parts. Neither they nor name
// may hold line ends.
func (p *Post) Header(name string, value ...string) {
	raw := append(append(p.raw, name...), ": "...)
	for _, part := range value {
		raw = append(raw, part...)
	}
	p.raw = append(raw, "\r\n"...)
}

// Number adds a header with a number.
func (p *Post) Number(name string, value int64) {
	raw := append(append(p.raw, name...), ": "...)
	p.raw = append(strconv.AppendInt(raw, value, 10), "\r\n"...)
}

// Body completes the request.
func (p *Post) Body(body []byte) {
	p.Number("Content-Length", int64(len(body)))
	p.raw = append(append(p.raw, "\r\n"...), body...)
}

// Begin sends the request on an idle connection, if there is one, and waits up
// to twice patience from now for a response. over is false when the call has
// not come to its end by then: Finish brings it there.
func (p *Post) Begin(now time.Time, patience time.Duration) (over bool, err error) {
	if p.host.at.tls || len(p.raw) > eagerSize {
		return false, nil // a TLS connection does not survive a write given up
	}
	cn, err := p.c.pool.take(p.host, false, now)
	if err != nil {
		return true, p.c.fail(Connect, p.host.at, "cannot be reached", err)
	}
	p.slot, p.cn = true, cn
	if cn == nil {
		return false, nil
	}
	cn.begin()
	if cn.until.Sub(now) < patience {
		cn.until = now.Add(2 * patience)
		if cn.SetDeadline(cn.until) != nil {
			return false, nil
		}
	}
	if p.in == nil {
		p.in = reads.Get().(*[]byte)
	}
	written, n := cn.exchange(p.raw, *p.in)
	p.sent = written
	if n == 0 {
		reads.Put(p.in)
		p.in = nil
		return false, nil
	}
	return p.parse((*p.in)[:n], now)
}

// parse takes read for the response, if it is all of it. The connection is then
// idle from the beginning of the call, now, on: a little early is safe, and
// saves a look at the clock.
func (p *Post) parse(read []byte, now time.Time) (over bool, err error) {
	cn := p.cn
	if resp, closes, ok := plain(read, p.c.cfg.MaxResponse); ok {
		p.Response = resp
		p.over(!closes && cn.failed == nil, now)
		return true, nil
	}
	cn.ahead, cn.dry, cn.short = read, true, false
	resp := p.parsed()
	unread, status, err := p.c.read(cn, resp)
	cn.ahead, cn.dry = nil, false
	if cn.short {
		cn.ahead = read
		return false, nil
	}
	if err != nil {
		err = p.c.broken(context.Background(), cn, p.host.at, status, err)
	}
	p.over(err == nil && reusable(cn, p, resp, unread), now)
	return true, p.answered(err)
}

// parsed is what fasthttp reads a response into.
func (p *Post) parsed() *fasthttp.Response {
	if p.slow == nil {
		p.slow = fasthttp.AcquireResponse()
	}
	return p.slow
}

// answered takes over what fasthttp has read of a call that ended with err.
func (p *Post) answered(err error) error {
	if err == nil {
		p.Response = Response{p.slow.StatusCode(), p.slow.Header.ContentType(), p.slow.Body()}
	}
	return err
}

// Finish ends a call that Begin left open, as Client.Do would have made it.
func (p *Post) Finish(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	return p.answered(p.finish(ctx, p.parsed()))
}

func (p *Post) finish(ctx context.Context, resp *fasthttp.Response) error {
	if !p.slot {
		return p.c.do(ctx, p.host, p, resp)
	}
	if p.cn == nil {
		cn, err := p.c.open(ctx, p.host)
		if err != nil {
			p.slot = false
			return err
		}
		p.cn = cn
		cn.begin()
	}
	if p.stale() {
		p.over(false, time.Time{})
		return p.c.repeat(ctx, p.host, p, resp, errStale)
	}
	p.cn.failed = nil
	healthy, err := p.c.exchange(ctx, p.cn, p.host.at, p, resp)
	p.over(healthy, time.Now())
	return p.c.repeat(ctx, p.host, p, resp, err)
}

// stale reports that the reused connection of a call has ended before the first
// byte of the response, or is not clean and nothing was sent on it.
func (p *Post) stale() bool {
	cn := p.cn
	switch {
	case !cn.reused || cn.got > 0:
		return false
	case cn.failed == nil || isTimeout(cn.failed):
		return p.sent == 0 && cn.unclean()
	}
	return true
}

// over gives back what the call held of the pool.
func (p *Post) over(healthy bool, now time.Time) {
	if p.cn == nil {
		p.c.pool.give(p.host, nil, now)
	} else {
		p.c.settle(p.host, p.cn, healthy, now)
	}
	p.slot, p.cn = false, nil
}

func (p *Post) write(cn *conn) error {
	if p.sent == len(p.raw) {
		return nil
	}
	n, err := cn.Write(p.raw[p.sent:])
	p.sent += n
	return err
}

func (p *Post) rewind() bool { p.sent = 0; return true }
func (p *Post) last() bool   { return false }
