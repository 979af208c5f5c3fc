// Package backend calls the business service behind an account: one POST of
// plain JSON under a deadline, its answer read into replies. It decides what a
// failure means for the push (Fate) and leaves the consequences to its caller.
package backend

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/msg"
)

// Config says which service is called, and on whose behalf.
type Config struct {
	Service string // X-Wx-Service
	AppID   string // X-Wx-Appid
	Base    string // msg-proxy-pass: the path of a push is appended as it is
	Secret  string // backend-secret; "" leaves calls unsigned
	// AnyDone takes every 2xx as done, whatever its body, 202 and async too: a
	// shop's backend has nobody to answer.
	AnyDone bool
	HTTP    *httpc.Client
	Line    *Line // limits the calls in flight
	Log     *slog.Logger
}

// Call is one push on its way to the backend.
type Call struct {
	Path        string // "/msg/text"
	OpenID      string
	PushID      [16]byte // the same for WeChat's retries and our redeliveries
	Body        []byte   // JSON
	Attempt     int      // how often this push has been sent, from 1
	ReplyWithin time.Duration
	Late        string // how an answer beyond ReplyWithin reaches the user, or "none"
	Traceparent string // W3C Trace Context of the call's span; "" sends none
}

// at is c with another path.
func (c Call) at(path string) Call {
	c.Path = path
	return c
}

// Backend is safe for concurrent use.
type Backend struct {
	cfg     Config
	signer  *httpc.Signer // nil without a secret
	breaker *breaker

	mu     sync.Mutex
	seen   map[string]bool         // paths whose 4xx was logged, at most maxSeen
	routes map[string]*httpc.Route // by path, at most maxSeen
}

// maxSeen bounds the paths that are remembered.
const maxSeen = 1000

// statusTooEarly is 425 (RFC 8470), which fasthttp has no name for.
const statusTooEarly = 425

// New returns the backend of one service.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, breaker: newBreaker(cfg.Service, cfg.Log), seen: map[string]bool{}, routes: map[string]*httpc.Route{}}
	if cfg.Secret != "" {
		b.signer = httpc.NewSigner(cfg.Secret)
	}
	return b
}

// Open reports whether the breaker keeps calls away from a dead backend.
func (b *Backend) Open() bool { return b.breaker.open() }

// Post delivers one push and reads the answer. It waits for a slot in the line
// and for the backend until ctx ends. The error is always an *Error.
func (b *Backend) Post(ctx context.Context, c Call) (msg.Answer, error) {
	ans, rest, err := b.Begin(c, time.Time{}, 0)
	if rest != nil {
		return rest(ctx)
	}
	return ans, err
}

// Begin is Post as far as it comes within twice patience from now, on the
// caller's goroutine. rest is nil when that was the end; otherwise it must be
// called once and brings the end, as Post would.
func (b *Backend) Begin(c Call, now time.Time, patience time.Duration) (ans msg.Answer, rest func(context.Context) (msg.Answer, error), err error) {
	done, err := b.breaker.allow()
	if err != nil {
		return msg.Answer{}, nil, err
	}
	x, ans, err := b.begin(&c, now, patience)
	switch {
	case x != nil:
		return msg.Answer{}, x.later(done), nil
	case isUnhandled(err):
		done(nil)
		return msg.Answer{}, b.later(&c, err), nil
	}
	done(judged(err))
	return ans, nil, err
}

// later is what brings x to its end.
func (x *exchange) later(done func(error)) func(context.Context) (msg.Answer, error) {
	return func(ctx context.Context) (msg.Answer, error) {
		ans, err := x.finish(ctx)
		done(judged(err))
		if isUnhandled(err) {
			return x.b.unhandled(ctx, &x.c, err)
		}
		return ans, err
	}
}

// later is what follows a call that the backend did not want. Only a copy of c
// outlives it, so that other calls stay on the stack.
func (b *Backend) later(c *Call, err error) func(context.Context) (msg.Answer, error) {
	kept := *c
	return func(ctx context.Context) (msg.Answer, error) { return b.unhandled(ctx, &kept, err) }
}

// judged is what the breaker hears of a call that ended with err: neither good
// nor bad where the backend was not tried, good where it took the push.
func judged(err error) error {
	if err != nil && FateOf(err).Kept() {
		return err
	}
	return nil
}

func isUntried(err error) bool {
	if err == nil {
		return false
	}
	var e *Error
	return errors.As(err, &e) && e.untried
}

func isUnhandled(err error) bool { return err != nil && FateOf(err) == Unhandled }

// unhandled follows a call that ended with err, since the backend does not want
// it: it is tried where the reference would have sent it, and said once.
func (b *Backend) unhandled(ctx context.Context, c *Call, err error) (msg.Answer, error) {
	var e *Error
	errors.As(err, &e)
	if c.Path == "/event/CLICK" && (e.Status == fasthttp.StatusNotFound || e.Status == fasthttp.StatusMethodNotAllowed) {
		// The reference posts a menu click to /event/event; its backends listen there.
		second, again := b.once(ctx, c.at("/event/event"))
		if again == nil {
			b.firstSight("/event/event", "the backend takes clicks at /event/event: move its handler to /event/CLICK")
		}
		if again == nil || FateOf(again) != Unhandled {
			return second, again // a fault there is no 404: the push is kept
		}
	}
	b.firstSight(c.Path, fmt.Sprintf("the backend answers %d to this path: such pushes are answered with success and not repeated", e.Status))
	return msg.Answer{}, err
}

// once is a call whose answer stands, whatever it is.
func (b *Backend) once(ctx context.Context, c Call) (msg.Answer, error) {
	done, err := b.breaker.allow()
	if err != nil {
		return msg.Answer{}, err
	}
	ans, err := (&exchange{b: b, c: c}).finish(ctx)
	done(judged(err))
	return ans, err
}

// fill writes the call into p, behind what its route says of all calls: section
// "Calls to a backend" of the contract.
func (b *Backend) fill(p *httpc.Post, c *Call) {
	id := hex.EncodeToString(c.PushID[:])
	p.Header("X-Wx-Openid", headerValue(c.OpenID))
	p.Header("X-Wx-Push-Id", id)
	if c.Traceparent != "" {
		p.Header("traceparent", c.Traceparent)
	}
	p.Number("X-Wx-Attempt", int64(c.Attempt))
	p.Number("X-Wx-Reply-Within", max(0, c.ReplyWithin.Milliseconds()))
	p.Header("X-Wx-Late", c.Late)
	p.Header("X-Request-Id", id, "-", strconv.Itoa(c.Attempt))
	if b.signer != nil {
		id := hex.EncodeToString(c.PushID[:]) // again: Sign would take the other one to the heap
		b.signer.Sign(func(name, value string) { p.Header(name, value) }, id, time.Now(), c.Body)
	}
	p.Body(c.Body)
}

// route is the URL of a path, read once for each of the first maxSeen paths.
func (b *Backend) route(path string) (*httpc.Route, error) {
	b.mu.Lock()
	r := b.routes[path]
	b.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r, err := b.cfg.HTTP.Route(b.cfg.Base + path)
	if err != nil {
		return nil, err
	}
	r.Header("Content-Type", "application/json; charset=UTF-8")
	r.Header("X-Wx-Service", headerValue(b.cfg.Service))
	r.Header("X-Wx-Appid", headerValue(b.cfg.AppID))
	b.mu.Lock()
	if len(b.routes) < maxSeen {
		b.routes[strings.Clone(path)] = r
	}
	b.mu.Unlock()
	return r, nil
}

// read turns the backend's response into an answer or a fate: the table "What
// a backend may answer".
func (b *Backend) read(c *Call, resp *httpc.Response) (msg.Answer, error) {
	status := resp.Status
	switch {
	case status == fasthttp.StatusAccepted && !b.cfg.AnyDone:
		return msg.Answer{Async: true}, nil
	case status >= 200 && status < 300:
		ans, err := msg.ParseAnswer(string(resp.ContentType), resp.Body)
		if b.cfg.AnyDone && (err != nil || ans.Async) {
			return msg.Answer{}, nil
		}
		if err != nil {
			return msg.Answer{}, &Error{Fate: Unusable, Status: status, Err: err}
		}
		return ans, nil
	case status >= 500:
		fate := Failed
		if status == fasthttp.StatusBadGateway || status == fasthttp.StatusServiceUnavailable || status == fasthttp.StatusGatewayTimeout {
			fate = Unreached
		}
		return msg.Answer{}, &Error{Fate: fate, Status: status}
	case status >= 300 && status < 400:
		return msg.Answer{}, &Error{Fate: Failed, Status: status, Mend: "redirects are not followed: let msg-proxy-pass name the final address"}
	case status == fasthttp.StatusUnauthorized, status == fasthttp.StatusForbidden, status == fasthttp.StatusProxyAuthRequired:
		return msg.Answer{}, &Error{Fate: Failed, Status: status, Mend: "the backend refuses the gateway: let it accept calls from here, or check backend-secret"}
	case status == fasthttp.StatusRequestTimeout, status == statusTooEarly, status == fasthttp.StatusTooManyRequests:
		return msg.Answer{}, &Error{Fate: Failed, Status: status}
	case status >= 400:
		return msg.Answer{}, &Error{Fate: Unhandled, Status: status}
	}
	return msg.Answer{}, &Error{Fate: Unusable, Status: status, Err: errors.New("not a final HTTP status")}
}

// firstSight logs text once for each path, of the first maxSeen paths.
func (b *Backend) firstSight(path, text string) {
	b.mu.Lock()
	first := !b.seen[path] && len(b.seen) < maxSeen
	if first {
		b.seen[path] = true
	}
	b.mu.Unlock()
	if first {
		b.cfg.Log.Warn(text, "service", b.cfg.Service, "path", path)
	}
}

func transportError(err error) *Error {
	switch httpc.KindOf(err) {
	case httpc.Connect:
		return &Error{Fate: Unreached, Unsent: true, Err: err}
	case httpc.Reset:
		return &Error{Fate: Unreached, Err: err}
	case httpc.Timeout:
		return &Error{Fate: TimedOut, Err: err}
	case httpc.TooLarge:
		return &Error{Fate: Unusable, Err: err}
	}
	return &Error{Fate: Failed, Err: err}
}

// headerValue makes s safe as a header: printable ASCII goes as it is, anything
// else as percent-encoded UTF-8.
func headerValue(s string) string {
	ascii := true
	for i := 0; i < len(s); i++ {
		ascii = ascii && s[i] >= 0x20 && s[i] < 0x7f
	}
	if ascii {
		return s
	}
	return url.PathEscape(s)
}
