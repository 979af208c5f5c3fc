package conf

import (
	"net"
	"strconv"
	"strings"
)

// checker looks at what the services and endpoints of a whole configuration mean to each other.
type checker struct {
	r *reader
	c *Config
}

// servicePath is where service i stands.
func servicePath(i int) string { return index("services", i) }

func (k *checker) all() {
	k.names()
	k.accounts()
	k.routes()
	k.listeners()
	k.guard()
	k.unserved()
}

func (k *checker) names() {
	first := map[string]int{}
	for i, s := range k.c.Services {
		if s.Name == "" {
			continue
		}
		if j, taken := first[s.Name]; taken {
			k.r.fault(servicePath(i)+".name", "%s is already the name of services[%d]; rename one of them", quote(s.Name), j)
			continue
		}
		first[s.Name] = i
	}
}

// accounts holds services of one app-id together: they share one token keeper.
func (k *checker) accounts() {
	type account struct {
		kind    int // index of the first service that has the app-id
		secret  int // index of the first that also has a secret
		secrets bool
	}
	first := map[string]*account{}
	for i, s := range k.c.Services {
		if s.AppID == "" {
			continue
		}
		a := first[s.AppID]
		if a == nil {
			a = &account{kind: i}
			first[s.AppID] = a
		}
		if other := k.c.Services[a.kind].Kind; s.Kind != other {
			k.r.fault(servicePath(i)+".kind", "is %q, but %s with the same app-id is %q; an account is of one kind", s.Kind, k.r.named(servicePath(a.kind)), other)
		}
		switch {
		case s.AppSecret == "":
		case !a.secrets:
			a.secret, a.secrets = i, true
		case s.AppSecret != k.c.Services[a.secret].AppSecret:
			k.r.fault(servicePath(i)+".wx-params.app-secret", "differs from that of %s, which has the same app-id; an account has one secret, copy the current one to both", k.r.named(servicePath(a.secret)))
		}
	}
}

// route is one path of a listener and where the configuration says so.
type route struct {
	path   string
	owner  string
	prefix bool // everything beneath path too
}

// under reports whether path is served by the prefix route r.
func (r route) under(path string) bool {
	return r.prefix && (path == r.path || strings.HasPrefix(path, r.path+"/"))
}

// routes refuses live paths that clash. Common endpoints share the services' port only without internal.listen;
// the health check is on every listener.
func (k *checker) routes() {
	var public []route
	for i, s := range k.c.Services {
		if s.ServicePath != "" {
			public = append(public, route{path: s.ServicePath, owner: servicePath(i) + ".listen-endpoints.service-path"})
		}
		// One whose redirect-url is bad will be live once that is mended.
		if s.RedirectLive() || s.RedirectPath != "" && k.r.bad[servicePath(i)+".redirect-url"] {
			public = append(public, route{path: s.RedirectPath, owner: servicePath(i) + ".listen-endpoints.redirect-path"})
		}
	}
	internal := endpoints(&k.c.Endpoints)
	if k.c.Internal.Listen == "" {
		k.clashes(append(internal, public...))
		return
	}
	k.clashes(internal)
	if health := k.c.Endpoints.HealthCheck; health != "" {
		public = append([]route{{path: health, owner: "common-endpoints.health-check"}}, public...)
	}
	k.clashes(public)
}

func (k *checker) clashes(routes []route) {
	taken := map[string]string{} // path → owner
	var prefixes []route
	for _, r := range routes {
		if r.prefix {
			prefixes = append(prefixes, r)
		}
	}
	for _, r := range routes {
		if first, ok := taken[r.path]; ok {
			k.r.fault(r.owner, "%s is already served by %s; choose another path", quote(r.path), k.r.named(first))
			continue
		}
		taken[r.path] = r.owner
		for _, p := range prefixes {
			if p.owner != r.owner && p.path != r.path && p.under(r.path) {
				k.r.fault(r.owner, "%s lies under %s %s, which takes every path beneath it; choose another path", quote(r.path), p.owner, quote(p.path))
			}
		}
	}
}

// endpoints lists the common endpoints that are served.
func endpoints(e *Endpoints) []route {
	var list []route
	for _, r := range []route{
		{path: e.HealthCheck, owner: "health-check"},
		{path: e.WxQR, owner: "wx-qr"},
		{path: e.WxUser, owner: "wx-user"},
		{path: e.SNSAuth2, owner: "sns-auth2"},
		{path: e.ShortURL, owner: "short-url"},
		{path: e.TmplMsg, owner: "tmpl-msg"},
		{path: e.SignJSAPI, owner: "sign-jsapi"},
		{path: e.ChannelsECOrderDetail, owner: "channels-ec-order-detail"},
		{path: e.ChannelsECRefundDetail, owner: "channels-ec-refund-detail"},
		{path: e.AccessToken, owner: "access-token"},
		{path: e.WxAPI, owner: "wx-api", prefix: true},
		{path: e.Reply, owner: "reply"},
		{path: e.Queue, owner: "queue"},
		{path: e.Metrics, owner: "metrics"},
		{path: e.Ready, owner: "ready"},
		{path: e.Pprof, owner: "pprof", prefix: true},
	} {
		if r.path != "" {
			r.owner = "common-endpoints." + r.owner
			list = append(list, r)
		}
	}
	return list
}

func (k *checker) listeners() {
	host, port, err := net.SplitHostPort(k.c.Internal.Listen)
	if err == nil && overlap(host, port, k.c.ListenHost, strconv.Itoa(k.c.ListenPort)) {
		k.r.fault("internal.listen", "is the address of listen-host and listen-port; choose another port")
	}
}

// unserved warns of endpoints that are for a later version.
func (k *checker) unserved() {
	e := &k.c.Endpoints
	for _, p := range []struct{ key, path string }{{"access-token", e.AccessToken}, {"wx-api", e.WxAPI}} {
		if p.path != "" {
			k.r.warn("common-endpoints."+p.key, "is not served by this version; remove it unless it is meant for a later one")
		}
	}
}

// guard refuses endpoints that hand out power to whoever reaches them, and warns about sharing the public port.
func (k *checker) guard() {
	in := &k.c.Internal
	if in.Listen == "" && !k.r.bad["internal.listen"] && k.c.Endpoints != (Endpoints{HealthCheck: k.c.Endpoints.HealthCheck}) {
		k.r.warn("common-endpoints", `share the public port, where a proxy in front can make strangers look private; set internal.listen, for example to "127.0.0.1:7081"`)
	}
	host, _, err := net.SplitHostPort(in.Listen)
	if in.Token != "" || err == nil && loopback(host) || k.r.bad["internal.token"] || k.r.bad["internal.listen"] {
		return // or there will be a guard once that is mended
	}
	e := &k.c.Endpoints
	for _, p := range []struct{ key, path string }{
		{"access-token", e.AccessToken}, {"wx-api", e.WxAPI}, {"reply", e.Reply}, {"queue", e.Queue}, {"pprof", e.Pprof},
	} {
		if p.path != "" {
			k.r.fault("common-endpoints."+p.key, `hands out power to every caller; set internal.token, or internal.listen to a loopback address like "127.0.0.1:7081"`)
		}
	}
}
