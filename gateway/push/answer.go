package push

import (
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/web"
)

// forgetUser drops cached user info that a push makes stale.
func (h *Handler) forgetUser(m *msg.Message, kind string) {
	switch {
	case kind == "event/subscribe", kind == "event/unsubscribe", kind == "event/SCAN":
		h.cfg.Forget(m.FromUserName)
	case kind == "event/user_info_modified", strings.HasPrefix(kind, "event/user_authorization_"):
		h.cfg.Forget(m.FromUserName)
		// The platform sends these in a name of its own and says of whom.
		var of struct {
			OpenID string `json:"OpenID"`
			Older  string `json:"openid"`
		}
		if err := codec.Unmarshal(m.JSON, &of); err != nil {
			return
		}
		for _, openid := range [...]string{of.OpenID, of.Older} {
			if openid != "" && openid != m.FromUserName {
				h.cfg.Forget(openid)
			}
		}
	}
}

// answer lets an interceptor, the echo or the backend decide what WeChat hears.
func (h *Handler) answer(ctx *fasthttp.RequestCtx, stamp time.Time, id delivery.ID, m *msg.Message, path, traceparent string, now time.Time) delivery.Verdict {
	kind := path[1:]
	if h.cfg.Forget != nil {
		h.forgetUser(m, kind)
	}
	if h.cfg.Interacted != nil {
		h.cfg.Interacted(m.FromUserName, kind, ctx.Time())
	}
	if h.cfg.Echo {
		return h.echo(m, kind)
	}
	wrote := ""
	if kind == "msg/text" {
		wrote = m.Content
	}
	body, info := m.JSON, h.info(m, kind)
	if info != delivery.NoInfo {
		body = m.WithoutUserInfo()
	}
	p := &delivery.Push{
		ID: id, Service: h.cfg.Service, OpenID: m.FromUserName, Kind: kind, Path: path,
		Body: body, Info: info, Question: wrote, Created: now, Traceparent: traceparent,
	}
	in := delivery.Arrival{At: ctx.Time(), Stamp: stamp, Gone: func() bool { return web.PeerGone(ctx) }}
	for _, i := range h.cfg.Intercept {
		if v, ok := i.Intercept(p, wrote, in); ok {
			return v
		}
	}
	return h.cfg.Deliver.Deliver(p, in)
}

// info says which user info the push carries: XML pushes of official accounts
// only, as the reference does.
func (h *Handler) info(m *msg.Message, kind string) delivery.InfoMode {
	switch {
	case !h.cfg.UserInfo || m.Format != msg.XML || m.FromUserName == "":
		return delivery.NoInfo
	case kind == "event/unsubscribe":
		return delivery.Unsubscribed
	}
	return delivery.LookUp
}

// welcome greets a new follower of an account without a backend.
const welcome = "欢迎关注！Welcome!"

// echo answers for an account without a backend: enough to enable the server
// configuration in the console and to see it work.
func (h *Handler) echo(m *msg.Message, kind string) delivery.Verdict {
	v := delivery.Verdict{Do: delivery.Reply, Attempt: 1, Outcome: "echo"}
	switch {
	case h.cfg.Kind != delivery.Official:
		v.Do = delivery.Success
	case kind == "msg/text" && m.Content != "": // WeChat shows a fault for an empty reply
		v.Reply = &msg.Reply{Type: "text", Text: msg.SplitText(m.Content, msg.TextLimit)[0]}
	case kind == "msg/image", kind == "msg/voice", kind == "msg/video":
		var media struct{ MediaId string }
		if err := codec.Unmarshal(m.JSON, &media); err != nil || media.MediaId == "" {
			v.Do = delivery.Success
			break
		}
		v.Reply = &msg.Reply{Type: m.MsgType, MediaID: media.MediaId}
	case kind == "event/subscribe":
		v.Reply = &msg.Reply{Type: "text", Text: welcome}
	default:
		v.Do = delivery.Success
	}
	return v
}

// write tells WeChat the verdict, sealed when the push came sealed.
func (h *Handler) write(ctx *fasthttp.RequestCtx, q *query, o *opened, m *msg.Message, v delivery.Verdict, now time.Time) error {
	if v.Written != nil {
		web.AfterWrite(ctx, v.Written)
	}
	switch v.Do {
	case delivery.Hang:
		web.Drop(ctx)
		return nil
	case delivery.Refuse:
		return web.Fail(fasthttp.StatusServiceUnavailable, "not accepted, please repeat", nil)
	case delivery.Success:
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString("success")
		return nil
	}
	return h.writeReply(ctx, q, o, m, v.Reply, now)
}

// writeReply writes and seals the reply in a spare buffer, of which fasthttp
// copies the outcome: handed over instead, the buffer would be lost, for
// fasthttp's pool takes none back that has much more room than its text needs.
func (h *Handler) writeReply(ctx *fasthttp.RequestCtx, q *query, o *opened, m *msg.Message, r *msg.Reply, began time.Time) error {
	now := began.Unix()
	buf := spare.Get().(*[]byte)
	text := (*buf)[:0]
	if m.Format == msg.JSON {
		text = r.AppendJSON(text, m.FromUserName, m.ToUserName, now)
	} else {
		text = r.AppendXML(text, m.FromUserName, m.ToUserName, now)
	}
	body := text
	if o.sealed && (r.Type != "raw" || r.Seal) && len(text) > 0 {
		n, err := len(text), error(nil)
		if m.Format == msg.JSON {
			text, err = h.cfg.Box.AppendJSON(text, o.key, o.token, text, now, string(q.nonce))
		} else {
			text, err = h.cfg.Box.AppendXML(text, o.key, o.token, text, now, string(q.nonce))
		}
		if err != nil {
			return web.Fail(fasthttp.StatusInternalServerError, "cannot seal the reply", err)
		}
		body = text[n:]
	}
	if m.Format == msg.JSON {
		ctx.SetContentType("application/json; charset=UTF-8")
	} else {
		ctx.SetContentType("text/xml; charset=UTF-8")
	}
	ctx.SetBody(body)
	giveBack(buf, text)
	h.cfg.Step("seal", time.Since(began))
	return nil
}
