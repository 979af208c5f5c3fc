package endpoint

import (
	"context"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
)

// OrderDetail is a shop's order: GET ?s=<service>&o=<order id>.
func (s *Set) OrderDetail(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, func(c context.Context, ctx *fasthttp.RequestCtx) error {
		return s.detail(c, ctx, "order", WeixinAPI.Order)
	}, fasthttp.MethodGet)
}

// RefundDetail is a shop's aftersale order: GET ?s=<service>&o=<aftersale order id>.
func (s *Set) RefundDetail(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, func(c context.Context, ctx *fasthttp.RequestCtx) error {
		return s.detail(c, ctx, "aftersaleOrder", WeixinAPI.AftersaleOrder)
	}, fasthttp.MethodGet)
}

func (s *Set) detail(c context.Context, ctx *fasthttp.RequestCtx, key string, ask func(WeixinAPI, context.Context, string) (codec.RawMessage, error)) error {
	a, err := s.account(ctx, param(ctx, "s"))
	if err != nil {
		return err
	}
	id := param(ctx, "o")
	if id == "" {
		return badRequest("o(rder id) parameter expected")
	}
	if a.API == nil {
		return off(a)
	}
	order, err := ask(a.API, c, id)
	if err != nil {
		return fault(err)
	}
	return ok(ctx, field{key, order})
}
