package endpoint

import (
	"context"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/web"
	"wx-gateway/gateway/weixin"
)

// field is one key of an answer beside code and msg; value is its JSON, nil
// for null. It is copied as it is, so that ids keep their digits.
type field struct {
	key   string
	value []byte
}

// text is s as the value of a field.
func text(s string) []byte { return codec.AppendString(nil, s) }

// ok answers {"code":200,"msg":"OK", …}.
func ok(ctx *fasthttp.RequestCtx, fields ...field) error {
	b := []byte(`{"code":200,"msg":"OK"`)
	for _, f := range fields {
		b = append(b, ',')
		b = codec.AppendString(b, f.key)
		b = append(b, ':')
		if f.value == nil {
			b = append(b, "null"...)
		}
		b = append(b, f.value...)
	}
	web.JSON(ctx, fasthttp.StatusOK, append(b, '}'))
	return nil
}

func badRequest(msg string) error { return web.Fail(fasthttp.StatusBadRequest, msg, nil) }

// fault is what a caller is told of a failed call to WeChat. The text of err
// is public: neither weixin nor httpc put a token into one, and the callers are
// the gateway's own systems.
func fault(err error) error {
	e := &web.Error{Status: fasthttp.StatusInternalServerError, Public: clip(err.Error(), maxMsg)}
	var refused *weixin.Error
	switch {
	case errors.As(err, &refused):
		e.Errcode = refused.Code
	case errors.Is(err, context.DeadlineExceeded), httpc.KindOf(err) == httpc.Timeout:
		e.Status = fasthttp.StatusGatewayTimeout
	case httpc.KindOf(err) != 0:
		e.Status = fasthttp.StatusBadGateway
	}
	return e
}

// clip shortens s to n bytes where a message repeats what others wrote.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
