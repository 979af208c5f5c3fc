package web

import (
	"errors"
	"strconv"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
)

// Error is a failed request: what the caller is told and, apart from that,
// what happened. Only Status, Public and Errcode leave the process.
type Error struct {
	Status  int    // HTTP status
	Public  string // told to the caller; never holds a secret
	Errcode int    // WeChat's errcode where WeChat refused, else 0
	Err     error  // the cause, for the log; may be nil

	json bool // written as {"code","msg"}, as the internal endpoints do
}

// Fail makes an Error. err may be nil where public says it all.
func Fail(status int, public string, err error) *Error {
	return &Error{Status: status, Public: public, Err: err}
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Public
	}
	return e.Public + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// asError finds the Error inside err; any other error becomes a 500 that tells
// the caller nothing.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: fasthttp.StatusInternalServerError, Public: "internal error", Err: err}
}

// JSONFaults makes the errors of h come out as {"code":…,"msg":"…"}, with
// "errcode" where WeChat gave one: the form of the internal endpoints.
func JSONFaults(h Handler) Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		err := h(ctx)
		if err == nil {
			return nil
		}
		e := *asError(err)
		e.json = true
		return &e
	}
}

// write answers ctx with e. Headers set before (Allow, Retry-After) stay.
func (e *Error) write(ctx *fasthttp.RequestCtx) {
	ctx.Response.ResetBody()
	ctx.SetStatusCode(e.Status)
	if !e.json {
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString(e.Public)
		return
	}
	b := append(make([]byte, 0, 64+len(e.Public)), `{"code":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, `,"msg":`...)
	b = codec.AppendString(b, e.Public)
	if e.Errcode != 0 {
		b = append(b, `,"errcode":`...)
		b = strconv.AppendInt(b, int64(e.Errcode), 10)
	}
	JSON(ctx, e.Status, append(b, '}'))
}

// JSON answers ctx with a JSON body.
func JSON(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json; charset=UTF-8")
	ctx.SetBody(body)
}
