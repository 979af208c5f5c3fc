package endpoint

import (
	"context"

	"github.com/valyala/fasthttp"
)

// User tells who an openid is: GET ?s=<service>&o=<openid>.
func (s *Set) User(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.user, fasthttp.MethodGet)
}

func (s *Set) user(c context.Context, ctx *fasthttp.RequestCtx) error {
	a, err := s.account(ctx, param(ctx, "s"))
	if err != nil {
		return err
	}
	openid := param(ctx, "o")
	if openid == "" {
		return badRequest("o(penId) parameter expected")
	}
	if a.Users == nil {
		return off(a)
	}
	info, err := a.Users.Lookup(c, openid)
	if err != nil {
		return fault(err)
	}
	return ok(ctx, field{"userInfo", info})
}
