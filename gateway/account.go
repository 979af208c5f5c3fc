package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/backend"
	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/outbox"
	"wx-gateway/gateway/token"
	"wx-gateway/gateway/trace"
	"wx-gateway/gateway/user"
	"wx-gateway/gateway/weixin"
)

// accountKey is everything of the configuration that an account is made from.
// As long as it stays the same, a reload leaves the account alone; otherwise
// there is a new one, which takes over what belongs to the app-id.
type accountKey struct {
	appID, secret, apiBase, mpBase, tokenAPI, cacheDir string
}

// account is what an app-id owns once, however many services use it: its
// access to WeChat's API, its tokens, what is known of its users.
type account struct {
	http   *httpc.Client // its own: calls of one account that hang leave the others their connections
	client *weixin.Client
	sns    filledSNS
	token  *token.Keeper
	ticket *token.Keeper
	*audience

	once sync.Once
}

// filledSNS has the fields in a user info that backends of the reference rely
// on, as those that are looked up by openid have them.
type filledSNS struct{ *weixin.SNS }

func (s filledSNS) UserInfo(ctx context.Context, g weixin.Grant) (codec.RawMessage, error) {
	info, err := s.SNS.UserInfo(ctx, g)
	if err != nil {
		return nil, err
	}
	return user.Fill(info)
}

// audience is what is known of an app-id's users: user info, and what may be
// sent to them. It outlives a reload that changes the secret or the address of
// WeChat's API.
type audience struct {
	users  *user.Directory
	outbox *outbox.Outbox
	api    atomic.Pointer[weixin.Client] // of the account that is served
}

func newAudience(appID string, log *slog.Logger) *audience {
	a := &audience{}
	a.users = user.New(user.Config{
		Fetch: func(ctx context.Context, openid string) (codec.RawMessage, error) {
			return a.api.Load().UserInfo(ctx, openid)
		},
		Denied: func(err error) bool { return weixin.Code(err) == 48001 },
	})
	a.outbox = outbox.New(outbox.Config{AppID: appID, API: a, Log: log})
	return a
}

// SendCustom and Typing are what the outbox calls.
func (a *audience) SendCustom(ctx context.Context, body []byte) error {
	return a.api.Load().SendCustom(ctx, body)
}

func (a *audience) Typing(ctx context.Context, openid string, on bool) error {
	return a.api.Load().Typing(ctx, openid, on)
}

func (a *audience) close() {
	a.users.Close()
	a.outbox.Close()
}

func newAccount(k accountKey, s *shared, of *audience) *account {
	log := s.log
	wechat := httpc.New(httpc.Config{Name: "wechat", Proxy: true})
	cfg := weixin.Config{APIBase: k.apiBase, MPBase: k.mpBase, AppID: k.appID, Secret: k.secret, HTTP: wechat, Log: log,
		Observe: func(path string, code int, took time.Duration) {
			s.meter.WeChat(k.appID, path, code, took)
			traceWeChat(s.tracer, k.appID, path, code, took)
		},
	}
	issuer := weixin.NewIssuer(cfg, k.tokenAPI == "classic")
	policy := token.Stable()
	if k.tokenAPI == "classic" {
		policy = token.Classic()
	}
	a := &account{http: wechat, sns: filledSNS{weixin.NewSNS(cfg)}, audience: of}
	a.token = token.New(token.Config{
		Name: "access_token " + k.appID, Fetch: issuer.Token, Policy: policy, Eager: true,
		Cache: cache(k.cacheDir, k.appID, "token"), Wait: weixin.Retry, Log: log,
		Observe: func(cause string, err error) { s.meter.Refresh(k.appID, "access_token", cause, err) },
	})
	a.client = weixin.New(cfg, a.token)
	a.ticket = token.New(token.Config{
		Name: "jsapi_ticket " + k.appID, Policy: token.Ticket(),
		Fetch: func(ctx context.Context, _ bool) (string, time.Duration, error) { return a.client.Ticket(ctx) },
		Cache: cache(k.cacheDir, k.appID+".ticket", "ticket"), Wait: ticketWait, Log: log,
		Observe: func(cause string, err error) { s.meter.Refresh(k.appID, "jsapi_ticket", cause, err) },
	})
	of.api.CompareAndSwap(nil, a.client)
	return a
}

// ticketWait is how long to leave the ticket alone after err. A refusal of the
// access_token is that keeper's to wait for: until it asks again it fails at
// once, and as soon as it has one the ticket can be had.
func ticketWait(err error, now time.Time) time.Duration {
	if weixin.IssuesTokens(err) {
		return 0
	}
	return weixin.Retry(err, now)
}

// cache is the file of one token, nil without token-cache-dir.
func cache(dir, name, key string) token.Cache {
	if dir == "" {
		return nil
	}
	return token.NewFile(dir, name, key)
}

// start lets the account be the one that is served. prev is the one before with
// its key, nil if there is none. Another secret, or another way to ask, does not
// end a token; another API knows nothing of it, and what lies in the cache is
// from there.
func (a *account) start(k accountKey, prev *account, prevKey accountKey) {
	a.once.Do(func() {
		switch {
		case prev == nil:
		case prevKey.apiBase == k.apiBase:
			a.token.TakeOver(prev.token)
			a.ticket.TakeOver(prev.ticket)
		default:
			a.token.SkipCache()
			a.ticket.SkipCache()
		}
		a.token.Start()
		a.ticket.Start()
	})
	a.api.Store(a.client)
}

func (a *account) stop() {
	a.ticket.Stop()
	a.token.Stop()
	a.http.CloseIdle()
}

// directory makes a user.Directory what delivery asks for, and counts.
type directory struct {
	meter *meter.Meter
	appID string
	*user.Directory
}

func (d directory) Info(ctx context.Context, openid string) (codec.RawMessage, error) {
	began := time.Now()
	info, err := d.Directory.Info(ctx, openid)
	result := "fetched"
	if err != nil {
		result = "failed"
	}
	d.meter.Lookup(d.appID, result, time.Since(began))
	return info, err
}

func (d directory) AtHand(openid string) (info codec.RawMessage, ok bool, err error) {
	if info, ok = d.Cached(openid); ok {
		d.meter.Hit(d.appID)
	}
	return info, ok, nil
}

func (directory) Unsubscribed(openid string) codec.RawMessage { return user.Unsubscribed(openid) }

// noDirectory says in every push why it carries no user info.
type noDirectory struct{ why error }

// lacking is the directory of a service in whose wx-params key is not set.
func lacking(key string) noDirectory {
	return noDirectory{errors.New("cannot look up user info: services[].wx-params." + key + " is not set")}
}

func (n noDirectory) Info(context.Context, string) (codec.RawMessage, error) { return nil, n.why }

func (n noDirectory) AtHand(string) (codec.RawMessage, bool, error) { return nil, true, n.why }

func (noDirectory) Unsubscribed(openid string) codec.RawMessage { return user.Unsubscribed(openid) }

// poster makes a backend.Backend what delivery asks for, and counts.
type poster struct {
	meter   *meter.Service
	tracer  *trace.Tracer
	service string
	*backend.Backend
}

func (p *poster) Post(ctx context.Context, c delivery.Call) (msg.Answer, error) {
	span := startCall(p.tracer, p.service, &c)
	ans, err := p.Backend.Post(ctx, backendCall(&c, span))
	return ans, p.ended(span, c.At, err)
}

func (p *poster) Begin(c delivery.Call, patience time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	began := c.At
	span := startCall(p.tracer, p.service, &c)
	ans, rest, err := p.Backend.Begin(backendCall(&c, span), began, patience)
	if rest == nil {
		return ans, nil, p.ended(span, began, err)
	}
	return ans, func(ctx context.Context) (msg.Answer, error) {
		ans, err := rest(ctx)
		return ans, p.ended(span, began, err)
	}, nil
}

func backendCall(c *delivery.Call, span *trace.Span) backend.Call {
	return backend.Call{
		Path: c.Path, OpenID: c.OpenID, PushID: c.PushID, Body: c.Body,
		Attempt: c.Attempt, ReplyWithin: c.ReplyWithin, Late: string(c.Late),
		Traceparent: span.Traceparent(),
	}
}

// ended counts a call that is over, and tells delivery what its error means.
func (p *poster) ended(span *trace.Span, began time.Time, err error) error {
	endCall(span, err)
	p.meter.Backend(fate(err), time.Since(began))
	if err == nil {
		return nil
	}
	fate := backend.FateOf(err)
	var e *backend.Error
	return &delivery.Failure{
		Unsent:    errors.As(err, &e) && e.Unsent,
		Retry:     fate == backend.Unreached, // a full line counts as no connection
		Keep:      fate.Kept(),
		Timeout:   fate == backend.TimedOut,
		Unhandled: fate == backend.Unhandled,
		Err:       err,
	}
}

// policy is what the configuration says of late answers, for delivery.
func policy(s *conf.Service) delivery.Policy {
	l := s.LateReply
	p := delivery.Policy{
		Via: delivery.Via(l.Via), Ack: l.Ack, MaxWait: l.MaxWait, Hold: l.Hold, HoldLimit: l.HoldLimit,
		PickupWords: l.PickupWords, Keep: l.Keep,
		RedeliverFor: s.Redeliver.For, Timeouts: s.Redeliver.Timeouts, MaxAgeReply: s.Redeliver.MaxAgeReply,
	}
	if p.Via == delivery.Pickup && !l.AckSet {
		p.Ack = "正在为您准备答复，稍后发送「" + p.PickupWords[0] + "」即可查看。"
	}
	return p
}
