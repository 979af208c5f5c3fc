package push

import (
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/web"
)

// ProbeType is the MsgType of a push that asks the gateway itself whether
// pushes arrive; `wx-gateway check --probe` sends it. WeChat has no such type.
// It has to be signed, and sealed, like any other.
const ProbeType = "wx_gateway_probe"

// ProbeAnswer is the Content of the text that answers a probe, as JSON.
type ProbeAnswer struct {
	Probe   string `json:"probe"`   // "ok"
	Service string `json:"service"` // name of the service that took the push
	Time    int64  `json:"time"`    // the gateway's clock, in Unix seconds
}

// probe answers a probe on the spot: no backend and no user hears of it, and
// nothing is remembered or counted.
func (h *Handler) probe(ctx *fasthttp.RequestCtx, q *query, o *opened, m *msg.Message) error {
	web.Note(ctx, slog.String("kind", m.Kind()), slog.String("outcome", "probe"))
	now := time.Now()
	content, err := codec.Marshal(ProbeAnswer{Probe: "ok", Service: h.cfg.Service, Time: now.Unix()})
	if err != nil {
		return web.Fail(fasthttp.StatusInternalServerError, "cannot answer the probe", err)
	}
	return h.writeReply(ctx, q, o, m, &msg.Reply{Type: "text", Text: string(content)}, now)
}

// badSignature refuses a request whose signature is not that of the account. A
// query that lacks parts of it was cut on its way: no token mends that.
func (h *Handler) badSignature(q *query, err error) error {
	if len(q.signature) == 0 || len(q.timestamp) == 0 || len(q.nonce) == 0 {
		return h.refuse(fasthttp.StatusForbidden, "the query lacks signature, timestamp or nonce", "a proxy in front must pass the whole query on", err)
	}
	return h.refuse(fasthttp.StatusForbidden, "bad signature", "compare services[].wx-params.token with the console's Token", err)
}
