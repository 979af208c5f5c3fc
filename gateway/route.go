package gateway

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/web"
)

// routes is what one listener serves: exact raw paths, and the few endpoints
// that take a path of their own behind their prefix.
type routes struct {
	exact    map[string]web.Handler
	prefixes []prefix
	refused  func(reason string) // counts requests that find nothing
}

type prefix struct {
	path []byte // ends in a slash
	h    web.Handler
}

func newRoutes(refused func(reason string)) *routes {
	return &routes{exact: map[string]web.Handler{}, refused: refused}
}

// handle serves path, if it is configured.
func (r *routes) handle(path string, h web.Handler) {
	if path != "" {
		r.exact[path] = h
	}
}

// handlePrefix serves everything below path, and path itself.
func (r *routes) handlePrefix(path string, h web.Handler) {
	r.handle(path, h)
	if path != "" {
		r.prefixes = append(r.prefixes, prefix{[]byte(path + "/"), h})
	}
}

// find is the handler of a raw path, byte for byte; nil where there is none.
func (r *routes) find(path []byte) web.Handler {
	if h, ok := r.exact[string(path)]; ok {
		return h
	}
	for _, p := range r.prefixes {
		if bytes.HasPrefix(path, p.path) {
			return p.h
		}
	}
	return nil
}

// serve answers by the raw path.
func (r *routes) serve(ctx *fasthttp.RequestCtx) error {
	if h := r.find(web.RawPath(ctx)); h != nil {
		return h(ctx)
	}
	const reason = "not found"
	r.refused(reason)
	return web.Fail(fasthttp.StatusNotFound, reason, nil)
}
