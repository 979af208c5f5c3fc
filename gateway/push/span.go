package push

import (
	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/delivery"
)

// Span is one attempt to deliver a push, as tracing sees it.
type Span interface {
	// Traceparent is the W3C header that makes other spans its children.
	Traceparent() string
	// End ends the span with what WeChat hears.
	End(push, outcome string, attempt int)
}

// span begins the span of a push, nil without tracing. A proxy in front may
// have begun the trace; WeChat itself sends no traceparent.
func (h *Handler) span(ctx *fasthttp.RequestCtx, kind string) Span {
	if h.cfg.Trace == nil {
		return nil
	}
	return h.cfg.Trace(string(ctx.Request.Header.Peek("traceparent")), kind, ctx.Time())
}

func traceparentOf(s Span) string {
	if s == nil {
		return ""
	}
	return s.Traceparent()
}

func endSpan(s Span, id delivery.ID, v delivery.Verdict) {
	if s != nil {
		s.End(id.String(), v.Outcome, v.Attempt)
	}
}
