package endpoint

import (
	"context"

	"github.com/valyala/fasthttp"
)

// Health answers GET with "OK\n": the process is there. It needs no guard.
func (s *Set) Health(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, func(_ context.Context, ctx *fasthttp.RequestCtx) error {
		ctx.SetContentType("text/plain")
		ctx.SetBodyString("OK\n")
		return nil
	}, fasthttp.MethodGet, fasthttp.MethodHead)
}
