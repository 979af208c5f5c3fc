package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/backend"
	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/endpoint"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/push"
	"wx-gateway/gateway/token"
	"wx-gateway/gateway/webauth"
)

// site is everything that one configuration describes: routes and accounts. A
// reload builds the next one completely before it swaps.
type site struct {
	public, internal *routes
	services         map[string]*delivery.Service
	endpoints        map[string]*endpoint.Account // by service name
	accounts         map[accountKey]*account
	boxes            map[string]*crypt.Box    // by the paths that strangers call; nil where no body is signed
	workers          map[string]int           // by service name: workerNum
	tokens           map[string]*token.Keeper // by service name, where there is an app-secret
	maxBody          int                      // bytes of a request's body
	shared           *shared
	log              *slog.Logger
	inFlight         atomic.Int64 // requests that use this site
}

// newShared makes what outlives reloads.
func newShared(log *slog.Logger, m *meter.Meter) *shared {
	return &shared{
		backend:   httpc.New(httpc.Config{Name: "backend", MaxConns: maxBackendConns}),
		accounts:  map[accountKey]*account{},
		audiences: map[string]*audience{},
		lines:     map[string]*backend.Line{},
		grants:    webauth.NewCodes(maxGrants),
		log:       log,
		meter:     m,
		users:     newAliases(),
	}
}

const (
	maxBackendConns = 1 << 16 // workerNum is what limits calls
	maxRelay        = 10 << 20
	maxGrants       = 10_000 // OAuth codes remembered for a minute
	minPages        = 256    // pages of web authorization at a time: a small workerNum is meant for pushes
)

// newSite builds a site from a validated configuration. Nothing it makes runs
// before start.
func newSite(g *Gateway, cfg *conf.Config) (*site, error) {
	s := &site{
		public: newRoutes(g.refused), internal: newRoutes(g.refused),
		services: map[string]*delivery.Service{}, endpoints: map[string]*endpoint.Account{},
		accounts: map[accountKey]*account{}, boxes: map[string]*crypt.Box{}, workers: map[string]int{}, tokens: map[string]*token.Keeper{},
		maxBody: cfg.MaxBody, shared: g.shared, log: g.log,
	}
	for i := range cfg.Services {
		if err := s.addService(g, cfg, &cfg.Services[i]); err != nil {
			s.discard()
			return nil, fmt.Errorf("cannot set up service %q: %w", cfg.Services[i].Name, err)
		}
	}
	s.addEndpoints(g, cfg)
	return s, nil
}

// addService sets up one account: its push handler, its web authorization, and
// what the endpoints may do with it.
func (s *site) addService(g *Gateway, cfg *conf.Config, sc *conf.Service) error {
	client, err := s.backendClient(sc)
	if err != nil {
		return err
	}
	acc := s.account(cfg, sc)
	ep := &endpoint.Account{Name: sc.Name, AppID: sc.AppID}
	svc := &delivery.Service{
		Name: sc.Name, Kind: delivery.Kind(sc.Kind), KeyTTL: keyTTL(sc), Policy: policy(sc),
	}
	if acc != nil {
		ep.API, ep.SNS, ep.Users, ep.Ticket = acc.client, acc.sns, acc.users, acc.ticket
		svc.Outbox = acc.outbox
		s.tokens[sc.Name] = acc.token
	}
	switch {
	case !sc.AppendUserInfo:
	case acc != nil:
		svc.Users = directory{s.shared.meter, sc.AppID, acc.users}
	case sc.AppID == "":
		svc.Users = lacking("app-id")
	default:
		svc.Users = lacking("app-secret")
	}
	s.endpoints[sc.Name] = ep
	count := g.meter.Service(sc.Name)
	if sc.MsgProxyPass != "" {
		s.workers[sc.Name] = sc.WorkerNum
		svc.Backend = &poster{count, s.shared.tracer, sc.Name, backend.New(backend.Config{
			Service: sc.Name, AppID: sc.AppID, Base: sc.MsgProxyPass, Secret: sc.BackendSecret.Reveal(),
			AnyDone: sc.Kind == conf.Shop, HTTP: client, Line: s.shared.line(sc.Name, sc.WorkerNum), Log: g.log,
		})}
	}
	s.services[sc.Name] = svc
	if sc.ServicePath != "" {
		if err := s.addPushes(g, sc, acc, count); err != nil {
			return err
		}
	}
	if sc.RedirectLive() {
		s.addWebauth(cfg, sc, acc)
	}
	return nil
}

func (s *site) addPushes(g *Gateway, sc *conf.Service, acc *account, count *meter.Service) error {
	box, err := crypt.New(crypt.Config{AppID: sc.AppID, Tokens: reveal(sc.Token, sc.TokensOld), Keys: reveal(sc.AESKey, sc.AESKeysOld)})
	if err != nil {
		return err
	}
	pc := push.Config{
		Service: sc.Name, AppID: sc.AppID, Kind: delivery.Kind(sc.Kind), Box: box,
		Timeout: sc.Timeout, RequireEncryption: sc.RequireEncryption,
		UserInfo: sc.AppendUserInfo, Echo: sc.MsgProxyPass == "",
		Deliver: g.engine, Intercept: []push.Interceptor{g.engine}, Log: g.log,
		Refused:   func(reason string) { g.meter.Refused(sc.Name, reason) },
		Answered:  count.Push,
		Step:      g.meter.Step,
		Alias:     g.shared.alias,
		OldSecret: func(what string) { g.meter.OldSecret(sc.Name, what, time.Now()) },
	}
	if g.tracer != nil {
		pc.Trace = pushTracer(g.tracer, g.meter, sc.Name)
	}
	if acc != nil {
		pc.Forget, pc.Interacted = acc.users.Forget, acc.outbox.Interacted
	}
	s.public.handle(sc.ServicePath, push.New(pc).Serve)
	s.boxes[sc.ServicePath] = box
	return nil
}

func (s *site) addWebauth(cfg *conf.Config, sc *conf.Service, acc *account) {
	tlsConfig, _ := backendTLS(sc) // an unreadable file was reported by backendClient
	wc := webauth.Config{
		Service: sc.Name, AppID: sc.AppID, RedirectURL: sc.RedirectURL, UserInfoFlag: sc.RedirectUserInfoFlag,
		HTTP:          httpc.New(httpc.Config{Name: "redirect-url", TLS: tlsConfig, MaxResponse: maxRelay}),
		BackendSecret: sc.BackendSecret.Reveal(), Slots: max(sc.WorkerNum, minPages),
		Log: s.log, Now: time.Now, Codes: s.shared.grants, Trusted: cfg.Internal.TrustedProxies,
	}
	if acc != nil {
		wc.SNS, wc.Users = acc.sns, acc.users
	}
	s.public.handle(sc.RedirectPath, webauth.New(wc).Serve)
	s.boxes[sc.RedirectPath] = nil
}

// account finds or makes what the service's app-id owns; nil without app-id and
// secret: WeChat's API cannot be called then.
func (s *site) account(cfg *conf.Config, sc *conf.Service) *account {
	if sc.AppID == "" || sc.AppSecret == "" {
		return nil
	}
	k := accountKey{
		appID: sc.AppID, secret: sc.AppSecret.Reveal(), apiBase: cfg.WXAPIBase, mpBase: cfg.WXMPBase,
		tokenAPI: cfg.TokenAPI, cacheDir: cfg.TokenCacheDir,
	}
	a := s.accounts[k]
	if a == nil {
		a = s.shared.account(k)
		s.accounts[k] = a
	}
	return a
}

// backendClient is the shared client, or one of the service's own where it has
// TLS settings.
func (s *site) backendClient(sc *conf.Service) (*httpc.Client, error) {
	tlsConfig, err := backendTLS(sc)
	if err != nil || tlsConfig == nil {
		return s.shared.backend, err
	}
	return httpc.New(httpc.Config{Name: "backend", TLS: tlsConfig, MaxConns: maxBackendConns}), nil
}

// backendTLS is the service's backend-tls, nil where the defaults hold.
func backendTLS(sc *conf.Service) (*tls.Config, error) {
	t := sc.BackendTLS
	if t.CAFile == "" && !t.Insecure {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read backend-tls.ca-file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot read backend-tls.ca-file %s: no PEM certificate in it", t.CAFile)
		}
	}
	return c, nil
}

// keyTTL is how long a push is known: WeChat repeats within 15 s, a shop's
// pushes for hours.
func keyTTL(sc *conf.Service) time.Duration {
	if sc.Kind == conf.Shop {
		return 4 * time.Hour
	}
	return max(2*sc.Timeout, 10*time.Minute)
}

func reveal(first conf.Secret, more []conf.Secret) []string {
	var all []string
	for _, s := range append([]conf.Secret{first}, more...) {
		if s != "" {
			all = append(all, s.Reveal())
		}
	}
	return all
}

// start sets going what the site has made new. prev is the site served until
// now, nil at first.
func (s *site) start(prev *site) {
	for k, a := range s.accounts {
		s.shared.keep(k, a)
		before, key := prev.accountOf(k.appID)
		a.start(k, before, key)
	}
	for name, n := range s.workers {
		s.shared.line(name, n).Resize(n)
	}
}

// accountOf finds the account of an app-id, which has one in a site at most.
func (s *site) accountOf(appID string) (*account, accountKey) {
	if s != nil {
		for k, a := range s.accounts {
			if k.appID == appID {
				return a, k
			}
		}
	}
	return nil, accountKey{}
}

func (s *site) leave() { s.inFlight.Add(-1) }

// retireWait bounds how long a replaced site waits for its requests.
const retireWait = 2 * time.Minute

// retire waits until the last request of a replaced site is over, then ends
// what the site served now does not use. A gateway that stops does not wait.
func (g *Gateway) retire(s *site) {
	g.awaitLast(s)
	g.reload.Lock()
	defer g.reload.Unlock()
	now := g.site.Load()
	for k, a := range s.accounts {
		if now.accounts[k] != a {
			s.shared.drop(k, a)
			a.stop()
		}
	}
	s.shared.tidy()
}

func (g *Gateway) awaitLast(s *site) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); s.inFlight.Load() > 0 && time.Since(began) < retireWait; {
		select {
		case <-tick.C:
		case <-g.stopping:
			return
		}
	}
}

// discard ends what a site that is never served has made.
func (s *site) discard() {
	for k, a := range s.accounts {
		if !s.shared.running(k, a) {
			a.stop()
		}
	}
	s.shared.tidy()
}

// stop ends everything of the last site.
func (s *site) stop() {
	for _, a := range s.accounts {
		a.stop()
	}
}
