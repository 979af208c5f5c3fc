package gateway

import (
	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/web"
)

// routes is what one listener serves, by exact raw path.
type routes struct {
	exact map[string]web.Handler
}

func newRoutes() *routes { return &routes{exact: map[string]web.Handler{}} }

// handle serves path, if it is configured.
func (r *routes) handle(path string, h web.Handler) {
	if path != "" {
		r.exact[path] = h
	}
}

// serve finds the handler by the raw path, byte for byte.
func (r *routes) serve(ctx *fasthttp.RequestCtx) error {
	path := web.RawPath(ctx)
	if h, ok := r.exact[string(path)]; ok {
		return h(ctx)
	}
	return web.Fail(fasthttp.StatusNotFound, "not found", nil)
}
