package weixin

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
)

// request is one call of the API.
type request struct {
	path    string // without a leading slash
	query   url.Values
	body    []byte   // JSON of a POST; nil: GET
	again   bool     // a read or an idempotent call: repeated when WeChat is busy
	secrets []string // what must not appear in an error
}

// withToken returns r with access_token; r itself stays as it is.
func (r request) withToken(token string) request {
	query := url.Values{"access_token": {token}}
	for k, v := range r.query {
		query[k] = v
	}
	r.query = query
	r.secrets = append(r.secrets[:len(r.secrets):len(r.secrets)], token)
	return r
}

// busyPauses are the waits before a call that was answered -1 is repeated.
func busyPauses() []time.Duration {
	return []time.Duration{200 * time.Millisecond, 600 * time.Millisecond}
}

// caller makes HTTP calls and reads WeChat's answers.
type caller struct {
	cfg   Config
	pause func(ctx context.Context, d time.Duration) bool // false: ctx ends before d is over
	gate  *gate
	quota *quotas
}

func newCaller(cfg Config) caller {
	return caller{cfg: cfg.withDefaults(), pause: pause, gate: &gate{}, quota: &quotas{}}
}

// repeat makes r, a few times if it may be and WeChat is busy.
func (c *caller) repeat(ctx context.Context, r request) ([]byte, error) {
	body, err := c.once(ctx, r)
	if !r.again {
		return body, err
	}
	for _, d := range busyPauses() {
		if Code(err) != busy || !c.pause(ctx, d) {
			break
		}
		body, err = c.once(ctx, r)
	}
	return body, err
}

// once makes r and returns the answer, a JSON object whose errcode is absent
// or 0. An API whose quota is used up is not called.
func (c *caller) once(ctx context.Context, r request) ([]byte, error) {
	start := time.Now()
	if e := c.quota.refusal(r.path, start); e != nil {
		return nil, e
	}
	status, body, err := c.send(ctx, r)
	var refusal *Error
	if err == nil {
		body, refusal, err = r.read(status, body)
	}
	code := 0
	switch {
	case err != nil:
		code = NoAnswer
	case refusal != nil:
		code = refusal.Code
	}
	if c.cfg.Observe != nil {
		c.cfg.Observe(r.path, code, time.Since(start))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", r.path, err)
	}
	c.gate.notice(c.cfg.Log, c.cfg.AppID, refusal, time.Now())
	c.quota.notice(c.cfg.Log, c.cfg.AppID, r.path, refusal, time.Now())
	if refusal != nil {
		return nil, refusal
	}
	return body, nil
}

func (c *caller) send(ctx context.Context, r request) (status int, body []byte, err error) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	uri := c.cfg.APIBase + "/" + r.path
	if len(r.query) > 0 {
		uri += "?" + r.query.Encode()
	}
	req.SetRequestURI(uri)
	if r.body != nil {
		req.Header.SetMethod(fasthttp.MethodPost)
		req.Header.SetContentType("application/json; charset=utf-8")
		req.SetBodyRaw(r.body)
	}
	if err := c.cfg.HTTP.Do(ctx, req, resp); err != nil {
		return 0, nil, err
	}
	return resp.StatusCode(), bytes.Clone(resp.Body()), nil
}

// read splits an answer into WeChat's refusal and the body. WeChat refuses with
// status 200; other statuses come from what stands before the API. Answers are
// not quoted in errors: they may hold tokens.
func (r request) read(status int, body []byte) ([]byte, *Error, error) {
	if status != fasthttp.StatusOK {
		return nil, nil, fmt.Errorf("answered with HTTP status %d", status)
	}
	switch body = bytes.TrimSpace(body); {
	case len(body) == 0:
		return nil, nil, fmt.Errorf("answered with nothing")
	case body[0] == '<':
		return nil, nil, fmt.Errorf("answered with HTML instead of JSON")
	case body[0] != '{':
		return nil, nil, fmt.Errorf("answer is unreadable: no JSON object")
	}
	var answer struct {
		Code codec.RawMessage `json:"errcode"`
		Msg  codec.RawMessage `json:"errmsg"`
	}
	if codec.Unmarshal(body, &answer) != nil {
		body = clean(body)
		if codec.Unmarshal(body, &answer) != nil {
			return nil, nil, fmt.Errorf("answer is unreadable: broken JSON")
		}
	}
	digits := unquote(answer.Code)
	if digits == "" {
		return body, nil, nil
	}
	code, err := strconv.Atoi(digits)
	if err != nil {
		return nil, nil, fmt.Errorf("answer is unreadable: errcode is no number")
	}
	if code == 0 {
		return body, nil, nil
	}
	return nil, &Error{Op: r.path, Code: code, Msg: r.errmsg(answer.Msg)}, nil
}

// maxMsg limits an errmsg, in bytes. WeChat's are below 200.
const maxMsg = 500

// errmsg is WeChat's text on one line and without anything secret.
func (r request) errmsg(raw codec.RawMessage) string {
	msg := string(raw)
	var s string
	if codec.Unmarshal(raw, &s) == nil {
		msg = s
	}
	for _, secret := range r.secrets {
		if len(secret) >= 8 { // shorter ones are no secrets, and common words
			msg = strings.ReplaceAll(msg, secret, "[redacted]")
		}
	}
	if len(msg) > maxMsg {
		msg = strings.ToValidUTF8(msg[:maxMsg], "") + "…"
	}
	return strings.Join(strings.FieldsFunc(msg, func(c rune) bool { return c <= ' ' || c == 0x7f }), " ")
}

// clean mends JSON whose strings hold raw control characters or bad UTF-8:
// users choose such nicknames, and WeChat passes them on.
func clean(body []byte) []byte {
	body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	for i, b := range body {
		if b < ' ' {
			body[i] = ' '
		}
	}
	return body
}

// unquote is a JSON number or string of a number as digits; "" for null and for
// what is missing. WeChat sends the same field both ways.
func unquote(raw codec.RawMessage) string {
	s := strings.TrimSpace(string(raw))
	if s == "null" {
		return ""
	}
	return strings.Trim(s, `"`)
}

// field reads one field of an object, nil when it is missing or null.
func field(body []byte, name string) (codec.RawMessage, error) {
	var object map[string]codec.RawMessage
	if err := codec.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	if raw := object[name]; string(raw) != "null" {
		return raw, nil
	}
	return nil, nil
}

// pause waits for d. It does not begin a wait that ctx will not see the end of.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
