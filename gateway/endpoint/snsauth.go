package endpoint

import (
	"context"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/weixin"
)

// SNSAuth2 tells who authorized with a code:
// GET ?s=<service>&code=<code>[&scope=base|userinfo|snsapi_base|snsapi_userinfo].
//
// A code is exchanged once; whoever repeats it within a minute gets the same
// identity. With the scope userinfo the user info is what the user granted,
// else what the account knows of a follower. That the user info is missing is
// no fault: userInfo is null then, and error says why.
func (s *Set) SNSAuth2(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.snsAuth2, fasthttp.MethodGet)
}

func (s *Set) snsAuth2(c context.Context, ctx *fasthttp.RequestCtx) error {
	a, err := s.account(ctx, param(ctx, "s"))
	if err != nil {
		return err
	}
	var granted bool
	switch param(ctx, "scope") {
	case "", "base", "snsapi_base":
	case "userinfo", "snsapi_userinfo":
		granted = true
	default:
		return badRequest(`scope must be "userinfo", "base", "snsapi_userinfo" or "snsapi_base"`)
	}
	code := param(ctx, "code")
	if code == "" {
		return badRequest("code parameter expected")
	}
	if a.SNS == nil || a.Users == nil {
		return off(a)
	}

	key := grant.Key(a.AppID, code)
	g, err := s.cfg.Codes.Do(c, key, "", func() (weixin.Grant, error) { return a.SNS.Exchange(c, code) })
	if err != nil {
		return fault(err)
	}
	var info codec.RawMessage
	if granted {
		info, err = s.infos.Do(c, key, "", func() (codec.RawMessage, error) { return a.SNS.UserInfo(c, g) })
	} else {
		info, err = a.Users.Lookup(c, g.OpenID)
	}
	var why string
	if err != nil {
		info, why = nil, err.Error()
		s.cfg.Log.Warn("sns-auth2 answered without user info", "service", a.Name, "err", err)
	}
	return ok(ctx, field{"openId", text(g.OpenID)}, field{"userInfo", info}, field{"error", text(why)})
}
