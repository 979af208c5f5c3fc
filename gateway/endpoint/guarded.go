package endpoint

import (
	"net"
	"net/netip"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/guard"
	"wx-gateway/gateway/web"
)

// Guarded is h behind the guard; power marks an endpoint that hands out power
// (tokens, sending). A refusal says which key of the configuration mends it;
// it and all faults of h come out as JSON.
func Guarded(g *guard.Guard, power bool, h web.Handler) web.Handler {
	return web.JSONFaults(func(ctx *fasthttp.RequestCtx) error {
		if no := g.Check(guardRequest(ctx, power)); no != nil {
			if no.Status == fasthttp.StatusUnauthorized {
				ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
			}
			return web.Fail(no.Status, no.Msg, nil)
		}
		return h(ctx)
	})
}

// guardRequest is what the guard judges of ctx.
func guardRequest(ctx *fasthttp.RequestCtx, power bool) guard.Request {
	values := func(name string) []string {
		lines := ctx.Request.Header.PeekAll(name)
		all := make([]string, len(lines))
		for i, line := range lines {
			all[i] = string(line)
		}
		return all
	}
	return guard.Request{
		Peer: peer(ctx.RemoteAddr()),
		Header: func(name string) (string, bool) {
			all := values(name)
			if len(all) == 0 {
				return "", false
			}
			return all[0], true
		},
		Values: values,
		Names: func(yield func(string) bool) {
			for name := range ctx.Request.Header.AllInOrder() {
				if !yield(string(name)) {
					return
				}
			}
		},
		Power: power,
	}
}

// peer is the address at the other end; the zero Addr when it has none, which
// is nobody's.
func peer(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}
