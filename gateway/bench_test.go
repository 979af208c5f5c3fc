package gateway

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"wx-gateway/conf"
	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/sim"
)

// BenchmarkPush is a whole push: the request read, verified, opened, forwarded
// to a backend over loopback, its answer written. The figures include the
// benchmark's own client and backend.
func BenchmarkPush(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchPush(b, false, false) })
	b.Run("sealed", func(b *testing.B) { benchPush(b, true, false) })
	b.Run("userinfo", func(b *testing.B) { benchPush(b, false, true) })
}

func benchPush(b *testing.B, sealed, userInfo bool) {
	dial := benchGateway(b, sealed, userInfo)
	var at atomic.Int64
	pushes := benchPushes(b, sealed)
	b.ReportAllocs()
	b.SetParallelism(8) // connections for each processor
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := dial()
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		resp := fasthttp.AcquireResponse()
		defer fasthttp.ReleaseResponse(resp)
		for pb.Next() {
			if _, err := conn.Write(pushes(at.Add(1))); err != nil {
				b.Error(err)
				return
			}
			if err := resp.Read(in); err != nil || resp.StatusCode() != fasthttp.StatusOK || len(resp.Body()) < 100 {
				b.Errorf("%v, status %d: %s", err, resp.StatusCode(), resp.Body())
				return
			}
		}
	})
}

// benchGateway starts a gateway of one account whose public door is in memory.
func benchGateway(b *testing.B, sealed, userInfo bool) (dial func() (net.Conn, error)) {
	platform := sim.New(sim.Config{Log: slog.New(slog.DiscardHandler)})
	wechat, err := platform.Start("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { platform.Close() })
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	backend := &fasthttp.Server{NoDefaultServerHeader: true, Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`{"type":"text","msg":"the answer of the backend"}`)
	}}
	go backend.Serve(door)
	b.Cleanup(func() { backend.Shutdown() })

	params := map[string]any{"token": testToken, "app-id": testAppID}
	if sealed {
		params["aes-key"] = testKey
	}
	if userInfo {
		params["app-secret"] = testSecret
	}
	raw, err := codec.Marshal(map[string]any{
		"listen-host": "127.0.0.1", "listen-port": 0, "wx-api-base": wechat,
		"services": []any{map[string]any{
			"name": "main", "wx-params": params, "msg-proxy-pass": "http://" + door.Addr().String(),
			"listen-endpoints": map[string]any{"service-path": "/wx"}, "require-encryption": sealed,
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	cfg, _, err := conf.Parse(raw, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	g, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { g.Stop() })
	front := fasthttputil.NewInmemoryListener()
	go g.public.Serve(front)
	return front.Dial
}

// benchPushes returns what makes the n-th push, no two alike: a repeat would
// not be forwarded.
func benchPushes(b *testing.B, sealed bool) func(n int64) []byte {
	now := time.Now().Unix()
	stamp := strconv.FormatInt(now, 10)
	query := "signature=" + crypt.Sign(testToken, stamp, "nonce") + "&timestamp=" + stamp + "&nonce=nonce&openid=o"
	text := func(n int64) []byte {
		return fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_7c1d9e0b42af]]></ToUserName>\n<FromUserName><![CDATA[oBench%020d]]></FromUserName>\n"+
			"<CreateTime>%d</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[你好，请问今天几点开门？]]></Content>\n<MsgId>%d</MsgId>\n</xml>",
			n%1000, now, 25381771430000000+n)
	}
	request := func(query string, body []byte) []byte {
		return append(fmt.Appendf(nil, "POST /wx?%s HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n", query, len(body)), body...)
	}
	if !sealed {
		return func(n int64) []byte { return request(query, text(n)) }
	}
	box, err := crypt.New(crypt.Config{AppID: testAppID, Tokens: []string{testToken}, Keys: []string{testKey}})
	if err != nil {
		b.Fatal(err)
	}
	return func(n int64) []byte {
		env, err := box.Seal(0, 0, text(n), now, "nonce")
		if err != nil {
			panic(err)
		}
		body := fmt.Appendf(nil, "<xml><ToUserName><![CDATA[gh_7c1d9e0b42af]]></ToUserName><Encrypt><![CDATA[%s]]></Encrypt></xml>", env.Encrypt)
		return request(query+"&encrypt_type=aes&msg_signature="+env.MsgSignature, body)
	}
}
