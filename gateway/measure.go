package gateway

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"

	"wx-gateway/gateway/backend"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/token"
	"wx-gateway/gateway/web"
)

// metrics serves the metrics endpoint in the Prometheus text format.
func metrics(m *meter.Meter) web.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		if !ctx.IsGet() {
			ctx.Response.Header.Set("Allow", "GET")
			return web.Fail(fasthttp.StatusMethodNotAllowed, "method not allowed", nil)
		}
		var b bytes.Buffer
		m.Write(&b)
		ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
		ctx.SetBody(b.Bytes())
		return nil
	}
}

// pprofHandler serves net/http/pprof's pages under the configured path.
func pprofHandler(path string) web.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		rest := strings.TrimPrefix(string(web.RawPath(ctx)), path)
		switch rest {
		case "":
			// The links of the list are relative to its address with a slash.
			ctx.Response.Header.Set("Location", path+"/")
			ctx.SetStatusCode(fasthttp.StatusMovedPermanently)
			return nil
		case "/":
			rest = "" // the list itself, which fasthttp serves at no other path
		}
		ctx.URI().SetPath("/debug/pprof" + rest)
		pprofhandler.PprofHandler(ctx)
		return nil
	}
}

// gauges writes what is read when it is asked for: the queue, the tokens and
// the breakers of the site served now.
func (g *Gateway) gauges(w io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	now := time.Now()
	if counts, err := g.store.Queue().Counts(ctx); err == nil {
		for service, c := range counts {
			for state, n := range map[string]int{"waiting": c.Waiting, "running": c.Running, "async": c.Async, "dead": c.Dead} {
				meter.Gauge(w, "wxgw_queue_items", float64(n), "service", service, "state", state)
			}
			age := 0.0
			if !c.Oldest.IsZero() {
				age = now.Sub(c.Oldest).Seconds()
			}
			meter.Gauge(w, "wxgw_queue_oldest_seconds", age, "service", service)
		}
	}
	stored := 1.0
	if g.store.Healthy() != nil {
		stored = 0
	}
	meter.Gauge(w, "wxgw_store_writable", stored)
	if g.tracer != nil {
		exported, dropped := g.tracer.Stats()
		meter.Counter(w, "wxgw_spans_total", exported, "result", "exported")
		meter.Counter(w, "wxgw_spans_total", dropped, "result", "dropped")
	}
	s := g.site.Load()
	for k, a := range s.accounts {
		st := a.token.State()
		left := 0.0
		if st.Have {
			left = st.Expires.Sub(now).Seconds()
		}
		meter.Gauge(w, "wxgw_token_expires_in_seconds", left, "appid", k.appID)
		if !st.Fetched.IsZero() {
			meter.Gauge(w, "wxgw_token_age_seconds", now.Sub(st.Fetched).Seconds(), "appid", k.appID)
		}
		for what, st := range map[string]token.State{"access_token": st, "jsapi_ticket": a.ticket.State()} {
			meter.Counter(w, "wxgw_token_asked_total", st.Hits, "appid", k.appID, "what", what, "result", "hit")
			meter.Counter(w, "wxgw_token_asked_total", st.Waited, "appid", k.appID, "what", what, "result", "waited")
		}
	}
	for name, svc := range s.services {
		if svc.Backend == nil {
			continue
		}
		limit := 0
		if svc.Policy.Hold && svc.Kind != delivery.Shop { // whose pushes are never held
			limit = svc.Policy.HoldLimit
		}
		meter.Gauge(w, "wxgw_hold_limit", float64(limit), "service", name)
		open := 0.0
		if svc.Backend.Open() {
			open = 1
		}
		meter.Gauge(w, "wxgw_breaker_open", open, "service", name)
		busy, waiting := s.shared.line(name, s.workers[name]).Load()
		meter.Gauge(w, "wxgw_backend_calls_in_flight", float64(busy), "service", name)
		meter.Gauge(w, "wxgw_backend_calls_waiting", float64(waiting), "service", name)
	}
}

// fate is the word of a backend call's end, for the metrics.
func fate(err error) string {
	if err == nil {
		return "ok"
	}
	return backend.FateOf(err).String()
}

// refused counts a request that reached no account.
func (g *Gateway) refused(reason string) { g.meter.Refused("", reason) }
