package main

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/sim"
)

const (
	token  = "benchToken"
	appID  = "wxbench0000000001"
	secret = "bench-secret-0000000000000000001"
	aesKey = "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ"
)

var backendAddr string

// backend answers every push with a text.
func backend() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	backendAddr = l.Addr().String()
	s := &fasthttp.Server{NoDefaultServerHeader: true, Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`{"type":"text","msg":"the answer of the backend"}`)
	}}
	go s.Serve(l)
	return func() { s.Shutdown() }, nil
}

type wechat struct {
	url string
	p   *sim.Platform
}

func startPlatform() (*wechat, error) {
	p := sim.New(sim.Config{Log: slog.New(slog.DiscardHandler)})
	url, err := p.Start("127.0.0.1:0")
	return &wechat{url: url, p: p}, err
}

func (w *wechat) close() { w.p.Close() }

// scenario is one kind of load and the configuration it meets.
type scenario struct {
	name string
	next func() (query string, body []byte)
	conf func(addr, dir string) []byte
}

func scenarios(w *wechat) []scenario {
	plain := plainPushes()
	return []scenario{
		{"plain push", plain, config(w, options{})},
		{"sealed push", sealedPushes(), config(w, options{aes: true})},
		{"plain push, cached user info", plain, config(w, options{info: true})},
		{"plain push, with a data-dir", plain, config(w, options{store: true})},
	}
}

type options struct{ aes, info, store bool }

func config(w *wechat, o options) func(addr, dir string) []byte {
	return func(addr, dir string) []byte {
		host, port, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(port)
		params := map[string]any{"token": token, "app-id": appID}
		if o.aes {
			params["aes-key"] = aesKey
		}
		if o.info {
			params["app-secret"] = secret
		}
		c := map[string]any{
			"listen-host": host, "listen-port": n,
			"wx-api-base": w.url, "wx-open-base": w.url, "wx-mp-base": w.url,
			"log": map[string]any{"level": "warn"},
			"services": []any{map[string]any{
				"name": "bench", "wx-params": params,
				"listen-endpoints":   map[string]any{"service-path": "/wx"},
				"msg-proxy-pass":     "http://" + backendAddr,
				"require-encryption": o.aes,
			}},
		}
		if o.store {
			c["data-dir"] = dir
		}
		b, err := codec.Marshal(c)
		if err != nil {
			panic(err)
		}
		return b
	}
}

var msgID atomic.Int64

func xml(n int64) []byte {
	return fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_7c1d9e0b42af]]></ToUserName>\n<FromUserName><![CDATA[oBench%020d]]></FromUserName>\n<CreateTime>%d</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[你好，请问今天几点开门？]]></Content>\n<MsgId>%d</MsgId>\n</xml>",
		n%1000, 1767000000, 25381771430000000+n)
}

// plainPushes makes every push anew: a repeated one would not be forwarded.
func plainPushes() func() (string, []byte) {
	ts := strconv.FormatInt(time.Now().Unix(), 10)
	query := "signature=" + crypt.Sign(token, ts, "nonce") + "&timestamp=" + ts + "&nonce=nonce&openid=o"
	return func() (string, []byte) { return query, xml(msgID.Add(1)) }
}

// sealedPushes seals most pushes ahead, so that the load is not what is
// measured.
func sealedPushes() func() (string, []byte) {
	type push struct {
		query string
		body  []byte
	}
	ahead := make([]push, 300_000)
	fill := sync.OnceFunc(func() {
		for i := range ahead {
			ahead[i].query, ahead[i].body = sealed(msgID.Add(1))
		}
	})
	var at atomic.Int64
	return func() (string, []byte) {
		fill()
		if i := at.Add(1) - 1; i < int64(len(ahead)) {
			return ahead[i].query, ahead[i].body
		}
		return sealed(msgID.Add(1))
	}
}

var box, _ = crypt.New(crypt.Config{AppID: appID, Tokens: []string{token}, Keys: []string{aesKey}})

func sealed(n int64) (string, []byte) {
	now := time.Now().Unix()
	env, err := box.Seal(0, 0, xml(n), now, "nonce")
	if err != nil {
		panic(err)
	}
	ts := strconv.FormatInt(now, 10)
	query := "signature=" + crypt.Sign(token, ts, "nonce") + "&timestamp=" + ts + "&nonce=nonce&openid=o&encrypt_type=aes&msg_signature=" + env.MsgSignature
	body := fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_7c1d9e0b42af]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", env.Encrypt)
	return query, body
}
