package endpoint

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/web"
)

// allowMethods refuses a request whose method is none of methods.
func allowMethods(ctx *fasthttp.RequestCtx, methods []string) error {
	if slices.Contains(methods, string(ctx.Method())) {
		return nil
	}
	allow := strings.Join(methods, ", ")
	ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
	return web.Fail(fasthttp.StatusMethodNotAllowed, "method must be "+allow, nil)
}

// param is the parameter called name, "" when there is none: a form's comes
// before the query's, as with FormValue of net/http, which the reference used.
func param(ctx *fasthttp.RequestCtx, name string) string {
	if ctx.IsPost() {
		if v := ctx.PostArgs().Peek(name); len(v) > 0 {
			return string(v)
		}
		// The limit holds for what a compressed form unpacks to.
		form, err := ctx.Request.MultipartFormWithLimit(maxForm)
		if err == nil && len(form.Value[name]) > 0 && form.Value[name][0] != "" {
			return form.Value[name][0]
		}
	}
	return string(ctx.QueryArgs().Peek(name))
}
