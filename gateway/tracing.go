package gateway

import (
	"cmp"
	"errors"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/backend"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/push"
	"wx-gateway/gateway/trace"
)

// newTracer is the tracer of the configuration, nil without tracing.endpoint.
func newTracer(cfg *conf.Config, opt Options) *trace.Tracer {
	if cfg.Tracing.Endpoint == "" {
		return nil
	}
	t := trace.New(trace.Config{
		Endpoint: cfg.Tracing.Endpoint, Sample: cfg.Tracing.Sample, Version: cmp.Or(opt.Version, "dev"), Log: opt.Log,
		HTTP: httpc.New(httpc.Config{Name: "collector", MaxConns: 2}),
	})
	t.SetHeaders(collectorHeaders(cfg))
	return t
}

// collectorHeaders are tracing.headers, which a reload may change: a collector's
// key is replaced now and then.
func collectorHeaders(cfg *conf.Config) []trace.Header {
	var list []trace.Header
	for _, h := range cfg.Tracing.Headers {
		list = append(list, trace.Header{Name: h.Name, Value: h.Value.Reveal()})
	}
	return list
}

// The attributes of spans, beside OpenTelemetry's own names. None holds an
// openid, and none a message.
const (
	attrService = "wxgw.service"
	attrKind    = "wxgw.kind"
	attrPush    = "wxgw.push.id"
	attrAttempt = "wxgw.attempt"
	attrOutcome = "wxgw.outcome"
	attrFate    = "wxgw.fate"
	attrOrigin  = "wxgw.origin.trace_id"
	attrAppID   = "wxgw.appid"
	attrErrcode = "wxgw.errcode"
	attrStatus  = "http.response.status_code"
)

// pushTracer makes the spans of a service's pushes. Names are bounded, as the
// metrics' are.
func pushTracer(t *trace.Tracer, m *meter.Meter, service string) func(string, string, time.Time) push.Span {
	return func(traceparent, kind string, at time.Time) push.Span {
		s := t.Start("push "+m.Kind(kind), trace.Server, traceparent, at)
		s.Set(attrService, service)
		s.Set(attrKind, kind)
		return pushSpan{s}
	}
}

// pushSpan is one attempt of WeChat's.
type pushSpan struct{ s *trace.Span }

func (p pushSpan) Traceparent() string { return p.s.Traceparent() }

func (p pushSpan) End(id, outcome string, attempt int) {
	p.s.Set(attrPush, id)
	p.s.Set(attrOutcome, outcome)
	p.s.SetInt(attrAttempt, attempt)
	if outcome == "failed" || outcome == "refused" {
		p.s.Fail(outcome)
	}
	p.s.End(time.Now())
}

// startCall begins the span of a backend call: a child of the attempt that
// brought the push, or, of a redelivery, a trace of its own that names the first.
func startCall(t *trace.Tracer, service string, c *delivery.Call) *trace.Span {
	if t == nil {
		return nil
	}
	s := t.Start("backend call", trace.Client, c.Traceparent, c.At)
	s.Set(attrService, service)
	s.Set(attrKind, c.Path[min(1, len(c.Path)):])
	s.Set(attrPush, c.PushID.String())
	s.SetInt(attrAttempt, c.Attempt)
	if id := trace.TraceID(c.Origin); id != "" {
		s.Set(attrOrigin, id)
	}
	return s
}

func endCall(s *trace.Span, err error) {
	if s == nil {
		return
	}
	s.Set(attrFate, fate(err))
	if err != nil {
		s.Fail(fate(err))
	}
	var e *backend.Error
	if errors.As(err, &e) && e.Status != 0 {
		s.SetInt(attrStatus, e.Status)
	}
	s.End(time.Now())
}

// traceWeChat notes a call of WeChat's API that is over. Such calls serve many
// pushes, or none: each is a trace of its own.
func traceWeChat(t *trace.Tracer, appID, path string, code int, took time.Duration) {
	if t == nil {
		return
	}
	now := time.Now()
	s := t.Start("wechat "+path, trace.Client, "", now.Add(-took))
	s.Set(attrAppID, appID)
	s.SetInt(attrErrcode, code)
	if code != 0 {
		s.Fail("errcode")
	}
	s.End(now)
}
