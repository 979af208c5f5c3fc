// Package push answers one push of WeChat's: verify, open, parse, let an
// interceptor or the backend answer, seal, write. It reads like the protocol;
// when and how often a backend is called is the business of delivery.
package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/web"
)

// Deliverer answers a push, from its backend or from what it knows.
type Deliverer interface {
	Deliver(p *delivery.Push, in delivery.Arrival) delivery.Verdict
}

// Interceptor may answer a push before the backend does; false leaves it to
// the next one. text is what the user wrote, "" for other kinds.
type Interceptor interface {
	Intercept(p *delivery.Push, text string, in delivery.Arrival) (delivery.Verdict, bool)
}

// Config is one account as far as its pushes are concerned.
type Config struct {
	Service           string
	AppID             string
	Kind              delivery.Kind
	Box               *crypt.Box
	Timeout           time.Duration // how old, or ahead, a timestamp may be; 0: not judged
	RequireEncryption bool          // plaintext pushes are refused
	UserInfo          bool          // user info is appended to XML pushes
	Echo              bool          // there is no backend: the account echoes
	Deliver           Deliverer
	Intercept         []Interceptor
	Forget            func(openid string) // drops cached user info; nil where there is none
	// Interacted notes what a user did, since it opens a window for messages
	// to them; nil where none can be sent.
	Interacted func(openid, kind string, at time.Time)
	Log        *slog.Logger
	// Refused counts refusals by reason; may be nil.
	Refused func(reason string)
	// Answered counts and times pushes: mode is "plain" or "sealed"; may be nil.
	Answered func(kind, mode, outcome string, attempt int, took time.Duration)
	// Step times a part of a push that went well: "open", "parse", "seal"; may be nil.
	Step func(step string, took time.Duration)
	// Alias is what the log calls a user; nil: the log names none.
	Alias func(openid string) string
	// Trace begins the span of a push whose sender is proven, under the
	// traceparent that the request came with; nil: there is no tracing.
	Trace func(traceparent, kind string, at time.Time) Span
	// OldSecret hears that an earlier "token" or "aes-key" was used; may be nil.
	OldSecret func(what string)
}

// Handler serves the service-path of one account.
type Handler struct{ cfg Config }

// New returns the handler of one account.
func New(cfg Config) *Handler {
	if cfg.Refused == nil {
		cfg.Refused = func(string) {}
	}
	if cfg.Answered == nil {
		cfg.Answered = func(_, _, _ string, _ int, _ time.Duration) {}
	}
	if cfg.Step == nil {
		cfg.Step = func(string, time.Duration) {}
	}
	if cfg.OldSecret == nil {
		cfg.OldSecret = func(string) {}
	}
	return &Handler{cfg: cfg}
}

// Serve is a web.Handler: GET answers WeChat's verification of the URL, POST a
// push.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) error {
	web.Note(ctx, slog.String("service", h.cfg.Service))
	switch {
	case ctx.IsGet():
		return h.verify(ctx)
	case ctx.IsPost():
		return h.push(ctx)
	}
	ctx.Response.Header.Set("Allow", "GET, POST")
	return h.refuse(fasthttp.StatusMethodNotAllowed, "method not allowed", "", nil)
}

// query is what WeChat puts into the URL of a push.
type query struct {
	signature, timestamp, nonce, encryptType, msgSignature []byte
	stamp                                                  time.Time
}

// readQuery takes the query from the request line, where it stays as long as
// the attempt waits: ctx.URI and ctx.QueryArgs would each keep a copy.
func readQuery(ctx *fasthttp.RequestCtx) query {
	uri, _ := cut(ctx.Request.Header.RequestURI(), '#')
	_, rest := cut(uri, '?')
	escaped := bytes.IndexByte(rest, '%') >= 0 || bytes.IndexByte(rest, '+') >= 0
	var q query
	for len(rest) > 0 {
		var pair []byte
		pair, rest = cut(rest, '&')
		name, value := cut(pair, '=')
		var field *[]byte
		switch string(name) {
		case "signature":
			field = &q.signature
		case "timestamp":
			field = &q.timestamp
		case "nonce":
			field = &q.nonce
		case "encrypt_type":
			field = &q.encryptType
		case "msg_signature":
			field = &q.msgSignature
		}
		if field != nil && len(*field) == 0 { // the first of a name counts
			*field = value
			if escaped {
				*field = unescape(value)
			}
		}
	}
	// Ten plain digits and nothing else: the signature covers timestamp and
	// nonce as one string, so a digit could be moved from one to the other.
	if secs, err := strconv.ParseUint(string(q.timestamp), 10, 64); err == nil && len(q.timestamp) == 10 {
		q.stamp = time.Unix(int64(secs), 0)
	}
	return q
}

// cut is bytes.Cut for one byte: without the search for more of them.
func cut(b []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// unescape decodes a value of a query as forms do; what cannot be decoded is
// taken as it is.
func unescape(value []byte) []byte {
	plain, err := url.QueryUnescape(string(value))
	if err != nil {
		return value
	}
	return []byte(plain)
}

// verify answers the echostr of a GET whose signature is right.
func (h *Handler) verify(ctx *fasthttp.RequestCtx) error {
	q := readQuery(ctx)
	if _, err := h.cfg.Box.Verify(q.signature, q.timestamp, q.nonce); err != nil {
		return h.badSignature(&q, err)
	}
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBody(ctx.QueryArgs().Peek("echostr"))
	return nil
}

// opened is a push whose sender is proven.
type opened struct {
	body       []byte
	room       *[]byte // a spare buffer that holds body; nil where body is the request's
	sealed     bool
	key, token int // which ones opened it: the reply uses the same
}

// release lets the body go.
func (o *opened) release() {
	if o.room != nil {
		giveBack(o.room, *o.room)
	}
	o.body, o.room = nil, nil
}

func (h *Handler) push(ctx *fasthttp.RequestCtx) error {
	q := readQuery(ctx)
	o, err := h.open(ctx, &q)
	if err != nil {
		return err
	}
	proven := time.Now()
	m, err := msg.Parse(o.body)
	if err != nil {
		return h.refuse(fasthttp.StatusBadRequest, "cannot read the message", "", err)
	}
	if m.MsgType == ProbeType {
		return h.probe(ctx, &q, &o, m)
	}
	path, err := m.Path()
	if err != nil {
		return h.refuse(fasthttp.StatusBadRequest, "cannot forward a message of that name", "", err)
	}
	parsed := time.Now()
	h.cfg.Step("open", proven.Sub(ctx.Time()))
	h.cfg.Step("parse", parsed.Sub(proven))
	if m.Injected {
		h.cfg.Refused("injected")
		h.cfg.Log.Warn("a push names a header twice: the first one counts", "service", h.cfg.Service, "kind", m.Kind())
	}
	id := delivery.MakeID(h.cfg.Service, m.FromUserName, m.CreateTime, m.MsgType, m.Event, m.MsgID, o.body)
	// The attempt may stay open for 6 s, thousands with it; m is all it needs
	// of what came.
	o.release()
	ctx.Request.ResetBody()
	span := h.span(ctx, path[1:])
	web.Note(ctx, slog.Any("push", id), slog.String("kind", path[1:]))
	v := h.answer(ctx, q.stamp, id, m, path, traceparentOf(span), parsed)
	answered := time.Now()
	h.tell(ctx, &o, m, path[1:], v, answered)
	endSpan(span, id, v)
	return h.write(ctx, &q, &o, m, v, answered)
}

// tell says in the log and in the metrics how a push was answered.
func (h *Handler) tell(ctx *fasthttp.RequestCtx, o *opened, m *msg.Message, kind string, v delivery.Verdict, at time.Time) {
	web.Note(ctx, slog.Int("attempt", v.Attempt), slog.String("outcome", v.Outcome))
	h.noteUser(ctx, m.FromUserName)
	h.count(o, kind, v, at.Sub(ctx.Time()))
}

// maxUser bounds an openid in the log; WeChat's have 28 bytes.
const maxUser = 64

// noteUser says in the log whose push it was, by what the log may call them.
func (h *Handler) noteUser(ctx *fasthttp.RequestCtx, openid string) {
	if h.cfg.Alias == nil || openid == "" || !h.cfg.Log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	web.Note(ctx, slog.String("openid", h.cfg.Alias(openid[:min(len(openid), maxUser)])))
}

// count notes how a push was answered, and whether it still came with an
// earlier token or key.
func (h *Handler) count(o *opened, kind string, v delivery.Verdict, took time.Duration) {
	mode := "plain"
	if o.sealed {
		mode = "sealed"
	}
	h.cfg.Answered(kind, mode, v.Outcome, v.Attempt, took)
	if o.token > 0 {
		h.cfg.OldSecret("token")
	}
	if o.key > 0 {
		h.cfg.OldSecret("aes-key")
	}
}

// open verifies the request and opens its envelope, in the order of the
// protocol: signature, timestamp, then what the body needs.
func (h *Handler) open(ctx *fasthttp.RequestCtx, q *query) (opened, error) {
	token, err := h.cfg.Box.Verify(q.signature, q.timestamp, q.nonce)
	if err != nil {
		return opened{}, h.badSignature(q, err)
	}
	if err := h.checkAge(q, ctx.Time()); err != nil {
		return opened{}, err
	}
	body := ctx.PostBody()
	switch string(q.encryptType) {
	case "aes":
		return h.unseal(q, body)
	case "", "raw":
	default:
		return opened{}, h.refuse(fasthttp.StatusBadRequest, "unknown encrypt_type", "", fmt.Errorf("encrypt_type %.20q", q.encryptType))
	}
	if bytes.Contains(body, []byte("Encrypt")) {
		if _, _, err := msg.ParseEnvelope(body); err == nil {
			return opened{}, h.refuse(fasthttp.StatusBadRequest, "the body is encrypted, but the query lacks encrypt_type=aes", "a proxy in front must pass the whole query on", nil)
		}
	}
	if h.cfg.RequireEncryption {
		return opened{}, h.refuse(fasthttp.StatusForbidden, "plaintext is not accepted",
			fmt.Sprintf("account %s sends plaintext: choose 安全模式 in the console, or set require-encryption to false", h.cfg.Service), nil)
	}
	return opened{body: body, token: token}, nil
}

// checkAge refuses a push that is too old or too far ahead. WeChat repeats
// pushes to the letter, so a nonce seen before is no reason.
func (h *Handler) checkAge(q *query, now time.Time) error {
	if h.cfg.Timeout == 0 {
		return nil
	}
	if q.stamp.IsZero() {
		return h.refuse(fasthttp.StatusForbidden, "bad timestamp", "", nil)
	}
	if age := now.Sub(q.stamp); age > h.cfg.Timeout || age < -h.cfg.Timeout {
		return h.refuse(fasthttp.StatusForbidden, "timestamp out of range",
			"check this machine's clock, or raise services[].timeout (0 switches the check off)",
			fmt.Errorf("the push is %s old, allowed are %s", age.Round(time.Second), h.cfg.Timeout))
	}
	return nil
}

func (h *Handler) unseal(q *query, body []byte) (opened, error) {
	if !h.cfg.Box.HasKey() {
		return opened{}, h.refuse(fasthttp.StatusBadRequest, "the push is encrypted, but the account has no aes-key",
			"set services[].wx-params.aes-key to the console's EncodingAESKey", nil)
	}
	encrypt, _, err := msg.ParseEnvelope(body)
	if err != nil {
		return opened{}, h.refuse(fasthttp.StatusBadRequest, "cannot find Encrypt in the body", "", err)
	}
	token, err := h.cfg.Box.VerifyMsg(q.msgSignature, q.timestamp, q.nonce, encrypt)
	if err != nil {
		return opened{}, h.refuse(fasthttp.StatusForbidden, "bad msg_signature", "compare services[].wx-params.token with the console's Token", err)
	}
	room := spare.Get().(*[]byte)
	*room = slices.Grow((*room)[:0], len(encrypt))
	plain, err := h.cfg.Box.Open(*room, encrypt)
	switch {
	case errors.Is(err, crypt.ErrAppID):
		return opened{}, h.refuse(fasthttp.StatusForbidden, "sealed for another app-id", "compare services[].wx-params.app-id with the console's AppID", err)
	case err != nil:
		return opened{}, h.refuse(fasthttp.StatusBadRequest, "cannot open the envelope", "compare services[].wx-params.aes-key with the console's EncodingAESKey", err)
	}
	return opened{body: plain.Msg, room: room, sealed: true, key: plain.Key, token: token}, nil
}

// refuse makes the error of a push that is not accepted: the caller hears the
// step, the log also what to mend.
func (h *Handler) refuse(status int, step, mend string, err error) error {
	h.cfg.Refused(step)
	if mend != "" {
		if err == nil {
			err = errors.New(mend)
		} else {
			err = fmt.Errorf("%w: %s", err, mend)
		}
	}
	return web.Fail(status, step, err)
}
