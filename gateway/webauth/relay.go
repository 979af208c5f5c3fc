package webauth

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/web"
)

// relay posts who to redirect-url and writes the response to the browser.
func (h *Handler) relay(ctx *fasthttp.RequestCtx, who identity) error {
	body, err := codec.Marshal(who)
	if err != nil {
		return web.Fail(fasthttp.StatusBadGateway, textWeChat, err)
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	h.fill(req, ctx, who.OpenID, body)

	c, cancel := context.WithTimeout(context.Background(), h.relayIn)
	defer cancel()
	err = h.cfg.HTTP.Do(c, req, resp)
	h.noteDown(err)
	if err != nil {
		if httpc.KindOf(err) == httpc.Timeout {
			return web.Fail(fasthttp.StatusGatewayTimeout, textSlow, err)
		}
		return web.Fail(fasthttp.StatusBadGateway, textDown, err)
	}
	if resp.StatusCode() < 200 {
		return web.Fail(fasthttp.StatusBadGateway, textDown, errors.New("redirect-url answered with no final HTTP status"))
	}
	copyResponse(&ctx.Response, resp)
	return nil
}

// noteDown logs when redirect-url stops answering, and when it answers again.
func (h *Handler) noteDown(err error) {
	switch down := err != nil; {
	case h.down.Swap(down) == down:
	case down:
		h.cfg.Log.Error("redirect-url does not answer", "service", h.cfg.Service, "err", err)
	default:
		h.cfg.Log.Info("redirect-url answers again", "service", h.cfg.Service)
	}
}

// fill writes the call into req: the browser's headers, then ours.
func (h *Handler) fill(req *fasthttp.Request, ctx *fasthttp.RequestCtx, openid string, body []byte) {
	in, out := &ctx.Request.Header, &req.Header
	out.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(h.cfg.RedirectURL)
	req.URI() // parsed before Host is the browser's: only redirect-url says where the call goes
	copyRequestHeader(out, in, peer(ctx))
	if host := in.Host(); len(host) > 0 {
		req.UseHostHeader = true
		out.SetHostBytes(host)
	}
	id := rand.Text()
	out.SetContentType("application/json; charset=UTF-8")
	out.Set("X-Wx-Service", headerValue(h.cfg.Service))
	out.Set("X-Wx-Appid", headerValue(h.cfg.AppID))
	out.Set("X-Wx-Openid", headerValue(openid))
	out.Set("X-Request-Id", id)
	req.SetBodyRaw(body)
	if h.signer != nil {
		h.signer.Sign(out.Set, id, h.cfg.Now(), body)
	}
}

// headerValue makes s safe as a header: printable ASCII goes as it is, anything
// else as percent-encoded UTF-8.
func headerValue(s string) string {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return url.PathEscape(s)
		}
	}
	return s
}
