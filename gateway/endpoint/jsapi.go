package endpoint

import (
	"context"
	"crypto/rand"
	"strconv"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/crypt"
)

// SignJSAPI signs a page for wx.config: POST or GET s=<service>&u=<url of the
// page>. The fragment of the URL is cut off, as WeChat's own check does.
func (s *Set) SignJSAPI(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.signJSAPI, fasthttp.MethodPost, fasthttp.MethodGet)
}

func (s *Set) signJSAPI(c context.Context, ctx *fasthttp.RequestCtx) error {
	a, err := s.account(ctx, param(ctx, "s"))
	if err != nil {
		return err
	}
	page := param(ctx, "u")
	if page == "" {
		return badRequest("u(rl) parameter expected")
	}
	if a.Ticket == nil {
		return off(a)
	}
	ticket, err := a.Ticket.Token(c)
	if err != nil {
		return fault(err)
	}
	nonce, now := rand.Text(), s.cfg.Now().Unix()
	// nonce is the reference's name, nonceStr and appId are those of wx.config.
	b := append([]byte(`{"nonce":`), text(nonce)...)
	b = strconv.AppendInt(append(b, `,"timestamp":`...), now, 10)
	b = append(append(b, `,"signature":`...), text(crypt.SignJSAPI(ticket, nonce, now, page))...)
	b = append(append(b, `,"appId":`...), text(a.AppID)...)
	b = append(append(b, `,"nonceStr":`...), text(nonce)...)
	return ok(ctx, field{"params", append(b, '}')})
}
