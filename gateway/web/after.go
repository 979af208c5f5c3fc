package web

import (
	"io"

	"github.com/valyala/fasthttp"
)

// afterKey is where a request keeps what follows its answer.
type afterKey struct{}

// AfterWrite closes c once the answer's bytes have been handed to the kernel,
// or the connection is found broken. Close must not use ctx and must not block.
// fasthttp does that with user values when it resets the request.
func AfterWrite(ctx *fasthttp.RequestCtx, c io.Closer) {
	ctx.SetUserValue(afterKey{}, c)
}
