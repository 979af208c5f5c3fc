package endpoint

import (
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/web"
)

// Readiness is what the ready endpoint tells of a gateway.
type Readiness struct {
	// Faults keep the whole gateway from working as promised: it stops, or its
	// store cannot be written. Any of them makes the answer 503.
	Faults []string
	// Accounts are told one by one: one account's trouble is no reason to take
	// the others out of service.
	Accounts []AccountState
}

// AccountState is one account's access_token in words.
type AccountState struct {
	Name    string     `json:"name"`
	AppID   string     `json:"appId"`
	OK      bool       `json:"ok"`
	Token   string     `json:"token"`             // "ok", "off", "none yet", or why there is none
	Expires *time.Time `json:"expires,omitempty"` // of the token
}

// Ready serves the ready endpoint: GET, 200 while the gateway works as
// promised, else 503 with the faults in msg; the accounts in both cases.
func Ready(state func() Readiness) web.Handler {
	return func(ctx *fasthttp.RequestCtx) error {
		if !ctx.IsGet() && !ctx.IsHead() {
			ctx.Response.Header.Set("Allow", "GET, HEAD")
			return web.Fail(fasthttp.StatusMethodNotAllowed, "method not allowed", nil)
		}
		r := state()
		answer := struct {
			Code     int            `json:"code"`
			Msg      string         `json:"msg"`
			Accounts []AccountState `json:"accounts"`
		}{fasthttp.StatusOK, "OK", r.Accounts}
		if len(r.Faults) > 0 {
			answer.Code, answer.Msg = fasthttp.StatusServiceUnavailable, strings.Join(r.Faults, "; ")
		}
		if answer.Accounts == nil {
			answer.Accounts = []AccountState{}
		}
		b, err := codec.Marshal(answer)
		if err != nil {
			return err
		}
		web.JSON(ctx, answer.Code, b)
		return nil
	}
}
