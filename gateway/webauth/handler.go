package webauth

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/guard"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/web"
	"wx-gateway/gateway/weixin"
)

// SNSAPI finds out who authorized with a code, without an access_token of the
// account.
type SNSAPI interface {
	Exchange(ctx context.Context, code string) (weixin.Grant, error)
	UserInfo(ctx context.Context, g weixin.Grant) (codec.RawMessage, error)
}

// Users knows who an openid is.
type Users interface {
	Lookup(ctx context.Context, openid string) (codec.RawMessage, error)
}

// Codes is the memory of exchanged OAuth codes. It is shared by all accounts,
// with sns-auth2, and across reloads: its keys are grant.Key(app-id, code).
type Codes = grant.Memory[weixin.Grant]

// NewCodes returns a memory of at most max codes, each kept for a minute.
func NewCodes(max int) *Codes { return grant.New[weixin.Grant](max, codeKeep) }

// Config of one account's Handler.
type Config struct {
	Service string // X-Wx-Service
	AppID   string // X-Wx-Appid, and appId of the JSON

	// RedirectURL is redirect-url: where the identity is posted. It may hold a
	// query; a fragment is not sent.
	RedirectURL string

	// UserInfoFlag is redirect-userinfo-flag: a request URI that holds it was
	// authorized with snsapi_userinfo. By default none is.
	UserInfoFlag string

	SNS   SNSAPI // nil: off, the account has no app-secret
	Users Users  // nil: userInfo is only what snsapi_userinfo grants

	// HTTP calls RedirectURL. Its MaxResponse limits what is relayed.
	HTTP *httpc.Client

	// BackendSecret signs the calls as those of pushes. By default they are
	// not signed.
	BackendSecret string

	// Slots is the most requests answered at once; more wait in line for up to
	// 5 s. By default 256.
	Slots int

	// Trusted are the proxies whose X-Forwarded-For is believed when a browser's
	// address block is judged. By default the peer is the browser.
	Trusted []netip.Prefix

	Log   *slog.Logger
	Now   func() time.Time // wall clock of signatures; by default time.Now
	Codes *Codes           // by default a memory of its own
}

// Limits.
const (
	defaultSlots    = 256
	slotWait        = 5 * time.Second  // in line for a slot
	exchangeTimeout = 10 * time.Second // of finding out who it is
	infoTimeout     = 5 * time.Second  // of looking up user info
	relayTimeout    = 30 * time.Second // of the backend
	codeKeep        = time.Minute      // a repeated code is given the stored identity
	maxCodes        = 10_000
	maxInfos        = 1_000 // user infos of repeated codes: at most a few KiB each
)

// Handler answers one redirect-path. It is safe for concurrent use and starts
// no goroutines.
type Handler struct {
	cfg     Config
	signer  *httpc.Signer                   // nil without BackendSecret
	slots   chan struct{}                   // a token for each request being answered
	waiting atomic.Int32                    // requests in line for a slot
	infos   *grant.Memory[codec.RawMessage] // user info by sns/userinfo, by the code's key
	down    atomic.Bool                     // the last call of RedirectURL failed
	proxies *guard.Guard                    // knows Trusted
	relayIn time.Duration                   // relayTimeout, less in tests
}

// New returns the handler of one account.
func New(cfg Config) *Handler {
	if cfg.Slots <= 0 {
		cfg.Slots = defaultSlots
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Codes == nil {
		cfg.Codes = NewCodes(maxCodes)
	}
	var signer *httpc.Signer
	if cfg.BackendSecret != "" {
		signer = httpc.NewSigner(cfg.BackendSecret)
	}
	return &Handler{
		cfg:     cfg,
		signer:  signer,
		slots:   make(chan struct{}, cfg.Slots),
		infos:   grant.New[codec.RawMessage](maxInfos, codeKeep),
		proxies: guard.New(guard.Config{TrustedProxies: cfg.Trusted}),
		relayIn: relayTimeout,
	}
}

// Serve answers GET redirect-path?code=…&state=…: a web.Handler.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) error {
	web.Note(ctx, slog.String("service", h.cfg.Service))
	if !ctx.IsGet() {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, fasthttp.MethodGet)
		return web.Fail(fasthttp.StatusMethodNotAllowed, "method must be GET", nil)
	}
	v := h.readVisit(ctx)
	if v.code == "" {
		// WeChat sends none when the user declined.
		return web.Fail(fasthttp.StatusBadRequest, "code parameter expected", nil)
	}
	if h.cfg.SNS == nil {
		missing := "app-secret"
		if h.cfg.AppID == "" {
			missing = "app-id"
		}
		return web.Fail(fasthttp.StatusServiceUnavailable, "web authorization is off: services[].wx-params."+missing+" is not set", nil)
	}
	leave, err := h.enter()
	if err != nil {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		return err
	}
	defer leave()

	who, err := h.identify(v)
	if err != nil {
		return err
	}
	if who.UserInfoError != "" {
		web.Note(ctx, slog.String("userinfo", who.UserInfoError))
	}
	return h.relay(ctx, who)
}

// enter waits for a slot; leave gives it back.
func (h *Handler) enter() (leave func(), err error) {
	leave = func() { <-h.slots }
	select {
	case h.slots <- struct{}{}:
		return leave, nil
	default:
	}
	busy := web.Fail(fasthttp.StatusServiceUnavailable, textBusy, errors.New("all slots are taken"))
	n := h.waiting.Add(1)
	defer h.waiting.Add(-1)
	if int(n) > max(1000, 20*h.cfg.Slots) {
		return nil, busy
	}
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, busy
	}
}

// What a person reads on the phone's screen when something is wrong. Neither
// the code nor any detail of the inside is told.
const (
	textBusy   = "访问的人太多，请稍后再试 / too many visitors just now, please try again"
	textStale  = "链接已失效，请重新打开 / this link has been used or is too old, please open it again"
	textWeChat = "暂时无法通过微信登录，请稍后再试 / WeChat cannot tell who you are just now, please try again later"
	textDown   = "页面暂时打不开，请稍后再试 / the page cannot be reached just now, please try again later"
	textSlow   = "页面响应超时，请稍后再试 / the page took too long to answer, please try again later"
)
