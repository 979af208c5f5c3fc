package push

import (
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/msg"
)

// benchHandler is an account with a key, and what makes its requests.
func benchHandler(tb testing.TB) (h *Handler, request func(sealed bool) *fasthttp.RequestCtx) {
	const token, appID, key = "benchToken", "wx5d8f0a3b7c2e9146", "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ"
	box, err := crypt.New(crypt.Config{AppID: appID, Tokens: []string{token}, Keys: []string{key}})
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now().Unix()
	stamp := strconv.FormatInt(now, 10)
	plain := fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n<FromUserName><![CDATA[oK9gGyX8OAK8aH8Myj6djqSaXI8j]]></FromUserName>\n"+
		"<CreateTime>%d</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[你好]]></Content>\n<MsgId>25381771430000001</MsgId>\n</xml>", now)
	env, err := box.Seal(0, 0, plain, now, "nonce")
	if err != nil {
		tb.Fatal(err)
	}
	request = func(sealed bool) *fasthttp.RequestCtx {
		ctx := &fasthttp.RequestCtx{}
		uri := "/wx?signature=" + crypt.Sign(token, stamp, "nonce") + "&timestamp=" + stamp + "&nonce=nonce&openid=o"
		body := plain
		if sealed {
			uri += "&encrypt_type=aes&msg_signature=" + env.MsgSignature
			body = fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", env.Encrypt)
		}
		ctx.Request.Header.SetMethod(fasthttp.MethodPost)
		ctx.Request.SetRequestURI(uri)
		ctx.Request.SetBody(body)
		return ctx
	}
	return New(Config{Service: "main", AppID: appID, Box: box, Log: slog.New(slog.DiscardHandler)}), request
}

// BenchmarkOpen is the way from a request to a push whose sender is proven.
func BenchmarkOpen(b *testing.B) {
	h, request := benchHandler(b)
	for name, sealed := range map[string]bool{"plain": false, "sealed": true} {
		b.Run(name, func(b *testing.B) {
			ctx := request(sealed)
			b.ReportAllocs()
			for b.Loop() {
				q := readQuery(ctx)
				o, err := h.open(ctx, &q)
				if err != nil {
					b.Fatal(err)
				}
				o.release()
			}
		})
	}
}

// BenchmarkReply is the way from a reply to the body of the response.
func BenchmarkReply(b *testing.B) {
	for name, sealed := range map[string]bool{"plain": false, "sealed": true} {
		b.Run(name, func(b *testing.B) {
			reply := benchReply(b)
			b.ReportAllocs()
			for b.Loop() {
				reply(sealed)
			}
		})
	}
}

// benchReply is what answers a push and lets its response go.
func benchReply(tb testing.TB) func(sealed bool) {
	h, request := benchHandler(tb)
	ctx := request(true)
	q := readQuery(ctx)
	m := &msg.Message{Format: msg.XML, FromUserName: "oK9gGyX8OAK8aH8Myj6djqSaXI8j", ToUserName: "gh_1"}
	r := &msg.Reply{Type: "text", Text: "the answer of the backend"}
	return func(sealed bool) {
		if err := h.writeReply(ctx, &q, &opened{sealed: sealed}, m, r, time.Now()); err != nil {
			tb.Fatal(err)
		}
		ctx.Response.ResetBody()
	}
}
