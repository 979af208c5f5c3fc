package push

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
)

// waiting answers with what the user wrote, after a wait in which other pushes
// come and go; those that say "panic" it does not survive.
type waiting struct{ t *testing.T }

func (w waiting) Deliver(p *delivery.Push, _ delivery.Arrival) delivery.Verdict {
	if strings.HasPrefix(p.Question, "panic") {
		panic(p.Question)
	}
	time.Sleep(time.Millisecond)
	if !strings.Contains(string(p.Body), `"Content":"`+p.Question+`"`) || p.OpenID != "user"+p.Question[:8] {
		w.t.Errorf("%.20q of %s has body %.200s", p.Question, p.OpenID, p.Body)
	}
	return delivery.Verdict{Do: delivery.Reply, Reply: &msg.Reply{Type: "text", Text: p.Question, Seal: true}, Attempt: 1}
}

// TestSpareBuffers: pushes share buffers, one after the other, and nothing of
// one reaches another: not its text and not its reply, also where some are
// refused or panic.
func TestSpareBuffers(t *testing.T) {
	const token, appID = "spareToken", "wx5d8f0a3b7c2e9146"
	const key, older = "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	box := func(appID string) *crypt.Box {
		b, err := crypt.New(crypt.Config{AppID: appID, Tokens: []string{token}, Keys: []string{key, older}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ours, foreign := box(appID), box("wxOther")
	h := New(Config{Service: "main", AppID: appID, Box: ours, Log: slog.New(slog.DiscardHandler), Deliver: waiting{t}})
	serve := func(n int) {
		wrote := fmt.Sprintf("%08d", n)
		switch {
		case n%25 == 0:
			wrote += strings.Repeat("x", maxSpare)
		case n%3 == 0:
			wrote += strings.Repeat("x", 5*(n%1000))
		}
		content, from := wrote, ours
		switch n % 11 {
		case 3:
			content = "panic"
		case 7:
			from = foreign
		}
		text := "<xml><ToUserName>gh_1</ToUserName><FromUserName>user" + wrote[:8] + "</FromUserName><CreateTime>1</CreateTime>" +
			"<MsgType>text</MsgType><Content><![CDATA[" + content + "]]></Content><MsgId>" + wrote[:8] + "</MsgId></xml>"
		env, err := from.Seal(n%2, 0, []byte(text), 1767000037, "n")
		if err != nil {
			t.Error(err)
			return
		}
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.Header.SetMethod(fasthttp.MethodPost)
		stamp := strconv.FormatInt(env.TimeStamp, 10)
		ctx.Request.SetRequestURI("/wx?signature=" + crypt.Sign(token, stamp, "n") + "&timestamp=" + stamp + "&nonce=n&encrypt_type=aes&msg_signature=" + env.MsgSignature)
		ctx.Request.SetBodyString("<xml><Encrypt><![CDATA[" + env.Encrypt + "]]></Encrypt></xml>")
		defer func() {
			if r := recover(); (r != nil) != (content == "panic") {
				t.Errorf("%.20q: panic %v", content, r)
			}
		}()
		if err := h.Serve(ctx); (err != nil) != (from == foreign) {
			t.Errorf("%.20q: %v", content, err)
		}
		if from == foreign {
			return
		}
		time.Sleep(time.Millisecond) // until it is written
		encrypt, _, err := msg.ParseEnvelope(ctx.Response.Body())
		if err != nil {
			t.Error(err)
			return
		}
		o, err := ours.Open(nil, encrypt)
		if err != nil || o.Key != n%2 || !strings.Contains(string(o.Msg), "<Content><![CDATA["+wrote+"]]></Content>") ||
			!strings.Contains(string(o.Msg), "<ToUserName><![CDATA[user"+wrote[:8]+"]]>") {
			t.Errorf("%.20q is answered %.200s (%v)", wrote, o.Msg, err)
		}
	}
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 100 {
				serve(worker*1000 + i)
			}
		})
	}
	all.Wait()
}
