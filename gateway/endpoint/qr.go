package endpoint

import (
	"context"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// QR makes a QR code with a string scene:
// GET ?s=<service>&t=temp|forever[&sceneid=<scene>][&e=<seconds>].
func (s *Set) QR(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.qr, fasthttp.MethodGet)
}

const (
	defaultExpire = 30      // seconds, as in the reference
	maxExpire     = 2592000 // seconds: qrcode/create, expire_seconds
)

func (s *Set) qr(c context.Context, ctx *fasthttp.RequestCtx) error {
	a, err := s.account(ctx, param(ctx, "s"))
	if err != nil {
		return err
	}
	var temp bool
	var expire time.Duration
	switch param(ctx, "t") {
	case "":
		return badRequest("t(type) parameter expected")
	case "forever":
	case "temp":
		temp = true
		if expire, err = expireOf(param(ctx, "e")); err != nil {
			return err
		}
	default:
		return badRequest(`t(ype) value must be "temp" or "forever"`)
	}
	scene := param(ctx, "sceneid")
	if scene == "" {
		scene = "0"
	}
	if a.API == nil {
		return off(a)
	}
	qr, err := a.API.CreateQR(c, scene, temp, expire)
	if err != nil {
		return fault(err)
	}
	result := append([]byte(`{"ticketURL2ShowQrCode":`), text(qr.ShowURL)...)
	result = append(result, `,"urlIncluedInQrcode":`...) // spelled as the reference does
	result = append(result, text(qr.URL)...)
	return ok(ctx, field{"result", append(result, '}')})
}

// expireOf reads the parameter e. Zero and less mean the default, as the
// reference meant it.
func expireOf(e string) (time.Duration, error) {
	secs := defaultExpire
	if e != "" {
		n, err := strconv.Atoi(e)
		if err != nil || n > maxExpire {
			return 0, badRequest("e(xpire seconds) value must be a number up to " + strconv.Itoa(maxExpire))
		}
		if n > 0 {
			secs = n
		}
	}
	return time.Duration(secs) * time.Second, nil
}
