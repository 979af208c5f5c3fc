package webauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/web"
	"wx-gateway/gateway/weixin"
)

// visit is one request of a browser, in copies.
type visit struct {
	uri   string // raw, as in the request line
	code  string
	state string
	owner string // who may repeat the code: browser, address block, state
}

func (h *Handler) readVisit(ctx *fasthttp.RequestCtx) visit {
	q := ctx.QueryArgs()
	v := visit{
		uri:   string(ctx.Request.Header.RequestURI()),
		code:  string(q.Peek("code")),
		state: string(q.Peek("state")),
	}
	block := addressBlock(h.browser(ctx))
	v.owner = grant.Key(string(ctx.Request.Header.UserAgent()), block.String(), v.state)
	return v
}

// browser is the address of whoever asks: the peer, or, when that is a trusted
// proxy, the last X-Forwarded-For entry that is none.
func (h *Handler) browser(ctx *fasthttp.RequestCtx) netip.Addr {
	lines := ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedFor)
	chain := make([]string, len(lines))
	for i, line := range lines {
		chain[i] = string(line)
	}
	return h.proxies.Client(peer(ctx), chain)
}

// peer is the address at the other end of the connection; the zero Addr when
// the connection has none.
func peer(ctx *fasthttp.RequestCtx) netip.Addr {
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// addressBlock is the /24 or /48 around a: phones change their address within
// it, and a stranger's is likely to be another.
func addressBlock(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// identity is what the backend is told of a visitor.
type identity struct {
	RequestURI    string           `json:"requestURI"`
	AppID         string           `json:"appId"`
	OpenID        string           `json:"openId"`
	State         string           `json:"state"`
	UserInfo      codec.RawMessage `json:"userInfo"` // null when it cannot be had
	UserInfoError string           `json:"userInfoError"`
	UnionID       string           `json:"unionId"`
	Scope         string           `json:"scope"`
	Snapshot      bool             `json:"isSnapshotUser"` // openId is a placeholder: WeChat's snapshot page
}

// identify exchanges the code of v, unless it is known, and looks up who that
// is. Only the exchange can fail: user info is left out when it cannot be had.
func (h *Handler) identify(v visit) (identity, error) {
	key := grant.Key(h.cfg.AppID, v.code)
	g, err := h.exchange(key, v)
	if err != nil {
		return identity{}, exchangeFault(err)
	}
	who := identity{
		RequestURI: v.uri,
		AppID:      h.cfg.AppID,
		OpenID:     g.OpenID,
		State:      v.state,
		UserInfo:   codec.RawMessage("null"),
		UnionID:    g.UnionID,
		Scope:      g.Scope,
		Snapshot:   g.Snapshot,
	}
	info, err := h.userInfo(key, v, g)
	if err != nil {
		who.UserInfoError = err.Error()
	} else if len(info) > 0 {
		who.UserInfo = info
	}
	return who, nil
}

func (h *Handler) exchange(key string, v visit) (weixin.Grant, error) {
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTimeout)
	defer cancel()
	return h.cfg.Codes.Do(ctx, key, v.owner, func() (weixin.Grant, error) {
		return h.cfg.SNS.Exchange(ctx, v.code)
	})
}

// userInfo asks for what the user granted when the request URI says so, else
// for what the account knows of its follower.
func (h *Handler) userInfo(key string, v visit, g weixin.Grant) (codec.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), infoTimeout)
	defer cancel()
	if h.cfg.UserInfoFlag != "" && strings.Contains(v.uri, h.cfg.UserInfoFlag) {
		return h.infos.Do(ctx, key, v.owner, func() (codec.RawMessage, error) {
			return h.cfg.SNS.UserInfo(ctx, g)
		})
	}
	if h.cfg.Users == nil {
		return nil, errors.New("user info is off for this service")
	}
	return h.cfg.Users.Lookup(ctx, g.OpenID)
}

// exchangeFault is what the browser is told of a failed exchange.
func exchangeFault(err error) error {
	var refused *weixin.Error
	switch {
	case errors.Is(err, grant.ErrOwner):
		return web.Fail(fasthttp.StatusBadRequest, textStale, errors.New("the code was used by another browser, address block or state"))
	case errors.Is(err, grant.ErrFull):
		return web.Fail(fasthttp.StatusServiceUnavailable, textBusy, err)
	case errors.As(err, &refused) && codeRefused(refused.Code):
		return web.Fail(fasthttp.StatusBadRequest, textStale, err)
	case errors.As(err, &refused):
		return web.Fail(fasthttp.StatusInternalServerError, textWeChat, err)
	}
	return web.Fail(fasthttp.StatusBadGateway, textWeChat, err)
}

// codeRefused reports an errcode that blames the code and nothing else:
// invalid, missing, expired, used (sns/oauth2/access_token).
func codeRefused(errcode int) bool {
	switch errcode {
	case 40029, 40163, 41008, 42003:
		return true
	}
	return false
}
