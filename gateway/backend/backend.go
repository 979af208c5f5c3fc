// Package backend calls the business service behind an account: one POST of
// plain JSON under a deadline, its answer read into replies. It decides what a
// failure means for the push (Fate) and leaves the consequences to its caller.
package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
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
	PushID      string // the same for WeChat's retries and our redeliveries
	Body        []byte // JSON
	Attempt     int    // how often this push has been sent, from 1
	ReplyWithin time.Duration
	Late        string // how an answer beyond ReplyWithin reaches the user, or "none"
	Traceparent string // W3C Trace Context of the call's span; "" sends none
}

// Backend is safe for concurrent use.
type Backend struct {
	cfg            Config
	service, appID string // of cfg, as header values
	breaker        *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu   sync.Mutex
	seen map[string]bool // paths whose 4xx was logged, at most maxSeen
}

// A dead backend is left alone after breakAfter failures in a row; after
// breakFor one call tries whether it has come back. breakFor is short since
// pushes wait inline for a backend that restarts.
const (
	breakAfter = 20
	breakFor   = 2 * time.Second
	maxSeen    = 1000
)

// statusTooEarly is 425 (RFC 8470), which fasthttp has no name for.
const statusTooEarly = 425

// New returns the backend of one service.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, service: headerValue(cfg.Service), appID: headerValue(cfg.AppID), seen: map[string]bool{}}
	b.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        cfg.Service,
		MaxRequests: 1,
		Timeout:     breakFor,
		IsExcluded: func(err error) bool {
			var e *Error
			return errors.As(err, &e) && e.untried
		},
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			cfg.Log.Warn("backend breaker changed", "service", cfg.Service, "from", from.String(), "to", to.String())
		},
	})
	return b
}

// Open reports whether the breaker keeps calls away from a dead backend.
func (b *Backend) Open() bool { return b.breaker.State() == gobreaker.StateOpen }

// Post delivers one push and reads the answer. It waits for a slot in the line
// and for the backend until ctx ends. The error is always an *Error.
func (b *Backend) Post(ctx context.Context, c Call) (msg.Answer, error) {
	ans, err := b.post(ctx, c)
	var e *Error
	if !errors.As(err, &e) || e.Fate != Unhandled {
		return ans, err
	}
	if c.Path == "/event/CLICK" && (e.Status == fasthttp.StatusNotFound || e.Status == fasthttp.StatusMethodNotAllowed) {
		// The reference posts a menu click to /event/event; its backends listen there.
		c.Path = "/event/event"
		second, again := b.post(ctx, c)
		if again == nil {
			b.firstSight(c.Path, "the backend takes clicks at /event/event: move its handler to /event/CLICK")
		}
		if again == nil || FateOf(again) != Unhandled {
			return second, again // a fault there is no 404: the push is kept
		}
		c.Path = "/event/CLICK"
	}
	b.firstSight(c.Path, fmt.Sprintf("the backend answers %d to this path: such pushes are answered with success and not repeated", e.Status))
	return ans, err
}

func (b *Backend) post(ctx context.Context, c Call) (msg.Answer, error) {
	done, err := b.breaker.Allow()
	if err != nil {
		return msg.Answer{}, &Error{Fate: Unreached, Err: errors.New("left alone after repeated failures")}
	}
	ans, err := b.exchange(ctx, c)
	fate := Fate(0)
	if err != nil {
		fate = FateOf(err)
	}
	if fate.Kept() {
		done(err) // neither good nor bad where it was not tried
	} else {
		done(nil)
	}
	return ans, err
}

func (b *Backend) exchange(ctx context.Context, c Call) (msg.Answer, error) {
	began := time.Now()
	if err := b.cfg.Line.Acquire(ctx, c.OpenID); err != nil {
		if !errors.Is(err, ErrFull) {
			err = fmt.Errorf("waited in line behind workerNum other calls: %w", err)
		}
		return msg.Answer{}, &Error{Fate: Unreached, Err: err, untried: true}
	}
	defer b.cfg.Line.Release()
	c.ReplyWithin -= time.Since(began)

	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	b.fill(req, c)
	if err := b.cfg.HTTP.Do(ctx, req, resp); err != nil {
		status := httpc.StatusOf(err)
		done := status >= 200 && status < 300
		if status == 0 || done && !b.cfg.AnyDone && status != fasthttp.StatusAccepted {
			return msg.Answer{}, transportError(err)
		}
		// The status alone decides: a push that a 500 with a huge page failed
		// is kept like any other.
		resp.SetStatusCode(status)
	}
	return b.read(c, resp)
}

// fill writes the call into req: section "Calls to a backend" of the contract.
func (b *Backend) fill(req *fasthttp.Request, c Call) {
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(b.cfg.Base + c.Path)
	req.Header.SetContentType("application/json; charset=UTF-8")
	h := &req.Header
	h.Set("X-Wx-Service", b.service)
	h.Set("X-Wx-Appid", b.appID)
	h.Set("X-Wx-Openid", headerValue(c.OpenID))
	h.Set("X-Wx-Push-Id", c.PushID)
	if c.Traceparent != "" {
		h.Set("traceparent", c.Traceparent)
	}
	h.Set("X-Wx-Attempt", strconv.Itoa(c.Attempt))
	h.Set("X-Wx-Reply-Within", strconv.FormatInt(max(0, c.ReplyWithin.Milliseconds()), 10))
	h.Set("X-Wx-Late", c.Late)
	h.Set("X-Request-Id", c.PushID+"-"+strconv.Itoa(c.Attempt))
	req.SetBodyRaw(c.Body)
	if b.cfg.Secret != "" {
		httpc.Sign(h, b.cfg.Secret, c.PushID, time.Now(), c.Body)
	}
}

// read turns the backend's response into an answer or a fate: the table "What
// a backend may answer".
func (b *Backend) read(c Call, resp *fasthttp.Response) (msg.Answer, error) {
	status := resp.StatusCode()
	switch {
	case status == fasthttp.StatusAccepted && !b.cfg.AnyDone:
		return msg.Answer{Async: true}, nil
	case status >= 200 && status < 300:
		ans, err := msg.ParseAnswer(string(resp.Header.ContentType()), resp.Body())
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
	case httpc.Connect, httpc.Reset:
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
