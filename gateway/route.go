package gateway

import (
	"strings"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/web"
)

// routes is what one listener serves: exact raw paths, and a few prefixes for
// endpoints that take a path of their own.
type routes struct {
	exact    map[string]web.Handler
	prefixes []prefix
}

type prefix struct {
	path string // without the slash that follows it
	h    web.Handler
}

func newRoutes() *routes { return &routes{exact: map[string]web.Handler{}} }

// handle serves path, if it is configured.
func (r *routes) handle(path string, h web.Handler) {
	if path != "" {
		r.exact[path] = h
	}
}

func (r *routes) handlePrefix(path string, h web.Handler) {
	if path != "" {
		r.prefixes = append(r.prefixes, prefix{strings.TrimSuffix(path, "/"), h})
	}
}

// serve finds the handler by the raw path, byte for byte.
func (r *routes) serve(ctx *fasthttp.RequestCtx) error {
	path := web.RawPath(ctx)
	if h, ok := r.exact[string(path)]; ok {
		return h(ctx)
	}
	for _, p := range r.prefixes {
		if rest, ok := strings.CutPrefix(string(path), p.path); ok && strings.HasPrefix(rest, "/") {
			return p.h(ctx)
		}
	}
	return web.Fail(fasthttp.StatusNotFound, "not found", nil)
}
