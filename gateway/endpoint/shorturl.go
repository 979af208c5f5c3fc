package endpoint

import (
	"context"

	"github.com/valyala/fasthttp"
)

// ShortURL makes a short URL: POST s=<service>&u=<url>. WeChat has stopped the
// service for most accounts; its refusal is passed on.
func (s *Set) ShortURL(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.shortURL, fasthttp.MethodPost)
}

func (s *Set) shortURL(c context.Context, ctx *fasthttp.RequestCtx) error {
	a, err := s.account(ctx, param(ctx, "s"))
	if err != nil {
		return err
	}
	long := param(ctx, "u")
	if long == "" {
		return badRequest("u(rl) parameter expected")
	}
	if a.API == nil {
		return off(a)
	}
	short, err := a.API.ShortURL(c, long)
	if err != nil {
		return fault(err)
	}
	return ok(ctx, field{"short-url", text(short)})
}
