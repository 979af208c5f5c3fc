package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/backend"
	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/outbox"
	"wx-gateway/gateway/token"
	"wx-gateway/gateway/trace"
	"wx-gateway/gateway/user"
	"wx-gateway/gateway/weixin"
)

// accountKey is everything of the configuration that an account is made from.
// As long as it stays the same, a reload leaves the account alone.
type accountKey struct {
	appID, secret, apiBase, mpBase, tokenAPI, cacheDir string
}

// account is what an app-id owns once, however many services use it: its
// tokens, its cached users, its outgoing messages.
type account struct {
	client *weixin.Client
	sns    *weixin.SNS
	token  *token.Keeper
	ticket *token.Keeper
	users  *user.Directory
	outbox *outbox.Outbox

	once sync.Once
}

func newAccount(k accountKey, s *shared, log *slog.Logger) *account {
	cfg := weixin.Config{APIBase: k.apiBase, MPBase: k.mpBase, AppID: k.appID, Secret: k.secret, HTTP: s.wechat, Log: log,
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
	a := &account{sns: weixin.NewSNS(cfg)}
	a.token = token.New(token.Config{
		Name: "access_token " + k.appID, Fetch: issuer.Token, Policy: policy, Eager: true,
		Cache: cache(k.cacheDir, k.appID, "token"), Wait: weixin.Retry, Log: log,
		Observe: func(cause string, err error) { s.meter.Refresh(k.appID, "access_token", cause, err) },
	})
	a.client = weixin.New(cfg, a.token)
	a.ticket = token.New(token.Config{
		Name: "jsapi_ticket " + k.appID, Policy: token.Ticket(),
		Fetch: func(ctx context.Context, _ bool) (string, time.Duration, error) { return a.client.Ticket(ctx) },
		Cache: cache(k.cacheDir, k.appID+".ticket", "ticket"), Wait: weixin.Retry, Log: log,
		Observe: func(cause string, err error) { s.meter.Refresh(k.appID, "jsapi_ticket", cause, err) },
	})
	a.users = user.New(user.Config{
		Fetch:  a.client.UserInfo,
		Denied: func(err error) bool { return weixin.Code(err) == 48001 },
	})
	a.outbox = outbox.New(outbox.Config{AppID: k.appID, API: a.client, Log: log})
	return a
}

// cache is the file of one token, nil without token-cache-dir.
func cache(dir, name, key string) token.Cache {
	if dir == "" {
		return nil
	}
	return token.NewFile(dir, name, key)
}

func (a *account) start() {
	a.once.Do(func() {
		a.token.Start()
		a.ticket.Start()
	})
}

func (a *account) stop() {
	a.ticket.Stop()
	a.token.Stop()
	a.users.Close()
	a.outbox.Close()
}

// directory makes a user.Directory what delivery asks for, and counts.
type directory struct {
	meter *meter.Meter
	appID string
	*user.Directory
}

func (d directory) Info(ctx context.Context, openid string) (codec.RawMessage, error) {
	began := time.Now()
	info, ok := d.Cached(openid)
	if ok {
		d.meter.Lookup(d.appID, "hit", time.Since(began))
		return info, nil
	}
	info, err := d.Directory.Info(ctx, openid)
	result := "fetched"
	if err != nil {
		result = "failed"
	}
	d.meter.Lookup(d.appID, result, time.Since(began))
	return info, err
}

func (directory) Unsubscribed(openid string) codec.RawMessage { return user.Unsubscribed(openid) }

// noDirectory says in every push why it carries no user info.
type noDirectory struct{}

var errNoSecret = errors.New("cannot look up user info: services[].wx-params.app-secret is not set")

func (noDirectory) Info(context.Context, string) (codec.RawMessage, error) { return nil, errNoSecret }

func (noDirectory) Unsubscribed(openid string) codec.RawMessage { return user.Unsubscribed(openid) }

// poster makes a backend.Backend what delivery asks for, and counts.
type poster struct {
	meter   *meter.Meter
	tracer  *trace.Tracer
	service string
	*backend.Backend
}

func (p poster) Post(ctx context.Context, c delivery.Call) (msg.Answer, error) {
	began := time.Now()
	span := startCall(p.tracer, p.service, c, began)
	ans, err := p.Backend.Post(ctx, backend.Call{
		Path: c.Path, OpenID: c.OpenID, PushID: c.PushID, Body: c.Body,
		Attempt: c.Attempt, ReplyWithin: c.ReplyWithin, Late: string(c.Late),
		Traceparent: span.Traceparent(),
	})
	endCall(span, err)
	p.meter.Backend(p.service, fate(err), time.Since(began))
	if err == nil {
		return ans, nil
	}
	fate := backend.FateOf(err)
	return ans, &delivery.Failure{
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
