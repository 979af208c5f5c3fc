package gateway

import (
	"net/netip"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/endpoint"
	"wx-gateway/gateway/guard"
	"wx-gateway/gateway/web"
)

// addEndpoints serves the internal endpoints that are configured: on
// internal.listen, or else on the main port.
func (s *site) addEndpoints(g *Gateway, cfg *conf.Config) {
	set := endpoint.New(endpoint.Config{
		Accounts: func(name string) (*endpoint.Account, bool) {
			a, ok := s.endpoints[name]
			return a, ok
		},
		Codes:  s.shared.grants,
		Pushes: g.engine,
		Log:    s.log,
		Now:    time.Now,
	})
	own := cfg.Internal.Listen != ""
	door := guard.New(guard.Config{
		Token:          cfg.Internal.Token.Reveal(),
		Allow:          append([]netip.Prefix(nil), cfg.Internal.Allow...),
		TrustedProxies: append([]netip.Prefix(nil), cfg.Internal.TrustedProxies...),
		OwnListener:    own,
	})
	on := s.public
	if own {
		on = s.internal
	}
	e := cfg.Endpoints
	for _, r := range []struct {
		path  string
		power bool // hands out power: the configuration demands a token or loopback
		serve web.Handler
	}{
		{e.WxQR, false, set.QR},
		{e.WxUser, false, set.User},
		{e.SNSAuth2, false, set.SNSAuth2},
		{e.ShortURL, false, set.ShortURL},
		{e.TmplMsg, false, set.TmplMsg},
		{e.SignJSAPI, false, set.SignJSAPI},
		{e.ChannelsECOrderDetail, false, set.OrderDetail},
		{e.ChannelsECRefundDetail, false, set.RefundDetail},
		{e.Reply, true, set.Reply},
		{e.Queue, true, set.Queue},
		{e.Metrics, false, metrics(g.meter)},
		{e.Ready, false, endpoint.Ready(func() endpoint.Readiness { return s.readiness(g) })},
	} {
		on.handle(r.path, endpoint.Guarded(door, r.power, r.serve))
	}
	on.handlePrefix(e.Pprof, endpoint.Guarded(door, true, pprofHandler(e.Pprof)))
	s.public.handle(e.HealthCheck, set.Health)
	s.internal.handle(e.HealthCheck, set.Health)
}
