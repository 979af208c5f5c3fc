package web

import "github.com/valyala/fasthttp"

// afterKey is where a request keeps what follows its answer.
type afterKey struct{}

// after runs when fasthttp resets the request: the answer has been flushed, or
// the connection has failed.
type after func()

// Close implements io.Closer, which fasthttp calls on user values.
func (f after) Close() error {
	f()
	return nil
}

// AfterWrite runs f once the answer's bytes have been handed to the kernel, or
// the connection is found broken. f must not use ctx and must not block.
func AfterWrite(ctx *fasthttp.RequestCtx, f func()) {
	ctx.SetUserValue(afterKey{}, after(f))
}
