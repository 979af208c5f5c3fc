package main

import (
	"log/slog"
	"net"
	"os"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/sim"
)

// world is what every measured program meets: a backend that answers each
// push with a text, WeChat's API, and a folder for its files.
type world struct {
	dir      string
	backend  string       // host:port
	wechat   string       // URL
	profiles bool         // every gateway serves its profiles
	ids      atomic.Int64 // pushes made so far: each has a MsgId of its own
	server   *fasthttp.Server
	platform *sim.Platform
}

func newWorld(profiles bool) (*world, error) {
	dir, err := os.MkdirTemp("", "wx-bench")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, profiles: profiles, platform: sim.New(sim.Config{Log: slog.New(slog.DiscardHandler)})}
	w.server = &fasthttp.Server{NoDefaultServerHeader: true, NoDefaultDate: true, Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`{"type":"text","msg":"the answer of the backend"}`)
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		w.backend = l.Addr().String()
		go w.server.Serve(l)
		w.wechat, err = w.platform.Start("127.0.0.1:0")
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) close() {
	w.server.Shutdown()
	w.platform.Close()
	os.RemoveAll(w.dir)
}
