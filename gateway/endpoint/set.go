package endpoint

import (
	"context"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/web"
	"wx-gateway/gateway/weixin"
)

// Account is what one service offers to the endpoints. A nil member is off,
// since the service has no app-id or no app-secret; who asks for it is told so.
type Account struct {
	Name, AppID string

	API    WeixinAPI
	SNS    SNSAPI
	Users  Users
	Ticket Ticket
}

// WeixinAPI is what the endpoints call with the account's access_token.
type WeixinAPI interface {
	CreateQR(ctx context.Context, scene string, temp bool, expire time.Duration) (weixin.QR, error)
	ShortURL(ctx context.Context, long string) (string, error)
	SendTemplate(ctx context.Context, body []byte) (string, error)
	Order(ctx context.Context, id string) (codec.RawMessage, error)
	AftersaleOrder(ctx context.Context, id string) (codec.RawMessage, error)
}

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

// Ticket is the account's jsapi_ticket.
type Ticket interface {
	Token(ctx context.Context) (string, error)
}

// Accounts finds the account of a service by its name.
type Accounts func(name string) (*Account, bool)

// Codes is the memory of exchanged OAuth codes, shared with web authorization:
// its keys are grant.Key(app-id, code).
type Codes = grant.Memory[weixin.Grant]

// Config is what a Set needs. Accounts and Log must be given.
type Config struct {
	Accounts Accounts
	// Codes is by default a memory of its own.
	Codes *Codes
	// Pushes is what Reply and Queue are about; needed by these two alone.
	Pushes Pushes
	Log    *slog.Logger
	// Now is the wall clock that signatures carry. By default time.Now.
	Now func() time.Time
}

// Limits.
const (
	callTimeout = 10 * time.Second // of all that one request asks WeChat
	codeKeep    = time.Minute      // how long a repeated OAuth code is given the same answer
	maxCodes    = 10_000
	maxInfos    = 1_000    // user infos of repeated codes: at most a few KiB each
	maxJSON     = 64 << 10 // bytes of a JSON request
	maxForm     = 64 << 10 // bytes of a multipart form, unpacked
	maxEcho     = 100      // bytes of a parameter that a message repeats
	maxMsg      = 1_000    // bytes of a message
)

// Set is the endpoints over one set of accounts. Its methods are of the type
// web.Handler and may be called at the same time; each of them writes its own
// faults as JSON.
type Set struct {
	cfg   Config
	infos *grant.Memory[codec.RawMessage] // user info by sns/userinfo, by the code's key
}

// New returns the endpoints.
func New(cfg Config) *Set {
	if cfg.Codes == nil {
		cfg.Codes = grant.New[weixin.Grant](maxCodes, codeKeep)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Set{cfg: cfg, infos: grant.New[codec.RawMessage](maxInfos, codeKeep)}
}

// serve answers one request by h if its method is one of methods. The context
// of h ends after callTimeout; it is not fasthttp's, whose end is the server's.
func serve(ctx *fasthttp.RequestCtx, h func(context.Context, *fasthttp.RequestCtx) error, methods ...string) error {
	return web.JSONFaults(func(ctx *fasthttp.RequestCtx) error {
		if err := allowMethods(ctx, methods); err != nil {
			return err
		}
		c, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		return h(c, ctx)
	})(ctx)
}

// account finds the account of the service called name.
func (s *Set) account(ctx *fasthttp.RequestCtx, name string) (*Account, error) {
	if name == "" {
		return nil, badRequest("s(ervice) parameter expected")
	}
	a, ok := s.cfg.Accounts(name)
	if !ok {
		return nil, web.Fail(fasthttp.StatusNotFound, "unknown service name "+clip(name, maxEcho), nil)
	}
	web.Note(ctx, slog.String("service", a.Name))
	return a, nil
}

// off is the fault of a service that has no access to WeChat's API.
func off(a *Account) error {
	missing := "app-secret"
	if a.AppID == "" {
		missing = "app-id"
	}
	return web.Fail(fasthttp.StatusServiceUnavailable,
		"service "+a.Name+" cannot call WeChat: set its services[].wx-params."+missing, nil)
}
