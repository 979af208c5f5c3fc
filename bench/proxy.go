package main

import (
	"github.com/valyala/fasthttp"
)

// bareProxy forwards every POST to one backend: what any gateway has to cost
// at the least.
func bareProxy(listen, to string) error {
	client := &fasthttp.HostClient{Addr: to, MaxConns: 4096, NoDefaultUserAgentHeader: true}
	s := &fasthttp.Server{
		NoDefaultServerHeader: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			req.Header.SetMethod("POST")
			req.SetRequestURI("http://" + to + "/msg/text")
			req.Header.SetContentType("application/json")
			req.SetBodyRaw(ctx.PostBody())
			if err := client.Do(req, resp); err != nil {
				ctx.Error("backend: "+err.Error(), fasthttp.StatusBadGateway)
				return
			}
			ctx.SetContentType("text/xml")
			ctx.SetBody(resp.Body())
		},
	}
	return s.ListenAndServe(listen)
}
