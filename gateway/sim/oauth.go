package sim

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	codeLife    = 5 * time.Minute
	renewalLife = 30 * 24 * time.Hour
)

// code is a web-authorization or mini-program login code.
type code struct {
	appid, openid, scope string
	until                time.Time
	used                 bool
}

// grant is what a code was exchanged for.
type grant struct {
	appid, openid, scope string
	token, renewal       string
	until, renewUntil    time.Time
}

// NewCode returns a code with which openid ("" an invented one) authorizes
// appid: single use, 5 minutes. Scope is snsapi_base, snsapi_userinfo,
// snsapi_login, or anything for jscode2session.
func (p *Platform) NewCode(appid, openid, scope string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newCode(appid, openid, scope)
}

func (p *Platform) newCode(appid, openid, scope string) string {
	if openid == "" {
		openid = invent("o", 28, appid, "visitor")
	}
	v := "0" + random(31)
	p.codes.put(v, &code{appid: appid, openid: openid, scope: scope, until: p.now().Add(codeLife)})
	return v
}

// authorize is connect/oauth2/authorize and connect/qrconnect: it sends the
// browser back with a code. Its own parameters, which WeChat does not have:
// sim_openid chooses who authorizes, sim_deny=1 refuses.
func (p *Platform) authorize(c *call) (any, *apiError) {
	page := func(text string) (any, *apiError) {
		return blob{
			status: http.StatusBadRequest,
			header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
			body:   []byte(text + "\n"),
		}, nil
	}
	// WeChat matches the order strictly and shows an error page otherwise
	// (developers.weixin.qq.com, Wechat_webpage_authorization).
	if missing := outOfOrder(c.r.URL.RawQuery, "appid", "redirect_uri", "response_type", "scope"); missing != "" {
		return page("the authorize link needs appid, redirect_uri, response_type, scope, state in this order: look at " + missing)
	}
	appid := c.q.Get("appid")
	if p.account(appid) == nil {
		return page("unknown appid")
	}
	if c.q.Get("response_type") != "code" {
		return page("response_type must be code")
	}
	scope := c.q.Get("scope")
	login := c.path == "connect/qrconnect"
	if login && scope != "snsapi_login" || !login && scope != "snsapi_base" && scope != "snsapi_userinfo" {
		return page("scope does not fit this page")
	}
	if len(c.q.Get("state")) > 128 {
		return page("state is longer than 128 bytes")
	}
	back, err := url.Parse(c.q.Get("redirect_uri"))
	if err != nil || back.Host == "" || back.Scheme != "http" && back.Scheme != "https" {
		return page("redirect_uri must be an absolute http or https address")
	}
	var extra []string
	if c.q.Get("sim_deny") != "1" {
		extra = append(extra, "code="+p.newCode(appid, c.q.Get("sim_openid"), scope))
	}
	extra = append(extra, "state="+url.QueryEscape(c.q.Get("state")))
	if back.RawQuery != "" {
		extra = append([]string{back.RawQuery}, extra...)
	}
	back.RawQuery = strings.Join(extra, "&")
	return blob{status: http.StatusFound, header: http.Header{"Location": {back.String()}}}, nil
}

// outOfOrder returns the first of names that rawQuery lacks at its place.
func outOfOrder(rawQuery string, names ...string) string {
	pairs := strings.Split(rawQuery, "&")
	for i, name := range names {
		if i >= len(pairs) || !strings.HasPrefix(pairs[i], name+"=") {
			return name
		}
	}
	return ""
}

// redeem spends a code.
func (p *Platform) redeem(value, appid string) (*code, *apiError) {
	if value == "" {
		return nil, refuse(41008)
	}
	k, ok := p.codes.get(value)
	switch {
	case !ok || k.appid != appid:
		return nil, refuse(40029)
	case k.used:
		return nil, refuse(40163)
	case !p.now().Before(k.until):
		return nil, refuse(42003)
	}
	k.used = true
	return k, nil
}

// exchange is GET sns/oauth2/access_token.
func (p *Platform) exchange(c *call) (any, *apiError) {
	a, refusal := p.credentials(c.q.Get("appid"), c.q.Get("secret"))
	if refusal != nil {
		return nil, refusal
	}
	if c.q.Get("grant_type") != "authorization_code" {
		return nil, refuse(40002)
	}
	k, refusal := p.redeem(c.q.Get("code"), a.AppID)
	if refusal != nil {
		return nil, refusal
	}
	now := p.now()
	g := &grant{
		appid: k.appid, openid: k.openid, scope: k.scope,
		token: "9_" + random(86), renewal: "9_" + random(86),
		until: now.Add(p.life), renewUntil: now.Add(renewalLife),
	}
	p.grants.put(g.token, g)
	p.renewals.put(g.renewal, g)
	out := p.grantAnswer(g)
	if g.scope != "snsapi_base" {
		out["unionid"] = p.webUser(a, g.openid)["unionid"]
	}
	if p.snapshot(a, g.openid) {
		out["is_snapshotuser"] = 1
	}
	return out, nil
}

func (p *Platform) grantAnswer(g *grant) map[string]any {
	return map[string]any{
		"access_token":  g.token,
		"expires_in":    int(p.life.Seconds()),
		"refresh_token": g.renewal,
		"openid":        g.openid,
		"scope":         g.scope,
	}
}

// refreshGrant is GET sns/oauth2/refresh_token: the grant lives on under a new token.
func (p *Platform) refreshGrant(c *call) (any, *apiError) {
	if c.q.Get("grant_type") != "refresh_token" {
		return nil, refuse(40002)
	}
	g, ok := p.renewals.get(c.q.Get("refresh_token"))
	if !ok || g.appid != c.q.Get("appid") {
		return nil, refuse(40030)
	}
	now := p.now()
	if !now.Before(g.renewUntil) {
		return nil, refuse(42002)
	}
	next := *g
	next.token, next.until = "9_"+random(86), now.Add(p.life)
	p.grants.put(next.token, &next)
	return p.grantAnswer(&next), nil
}

// holder finds the grant of an sns access_token that fits openid.
func (p *Platform) holder(c *call) (*grant, *apiError) {
	token := c.q.Get("access_token")
	if token == "" {
		return nil, refuse(41001)
	}
	g, ok := p.grants.get(token)
	switch {
	case !ok:
		return nil, refuse(40001)
	case !p.now().Before(g.until):
		return nil, refuse(42001)
	case g.openid != c.q.Get("openid"):
		return nil, refuse(40003)
	}
	return g, nil
}

func (p *Platform) snsAuth(c *call) (any, *apiError) {
	_, refusal := p.holder(c)
	return nil, refusal
}

// snsUserInfo is GET sns/userinfo, for those who agreed to snsapi_userinfo.
func (p *Platform) snsUserInfo(c *call) (any, *apiError) {
	g, refusal := p.holder(c)
	if refusal != nil {
		return nil, refusal
	}
	if g.scope == "snsapi_base" {
		return nil, refuse(48001)
	}
	a := p.account(g.appid)
	if a == nil || p.snapshot(a, g.openid) {
		return nil, refuse(48001)
	}
	return p.webUser(a, g.openid), nil
}

func (p *Platform) snapshot(a *account, openid string) bool {
	u, ok := a.users.get(openid)
	if !ok {
		return false
	}
	switch v := u["is_snapshotuser"].(type) {
	case nil:
		return false
	case int:
		return v != 0
	case bool:
		return v
	}
	return true
}

// webUser is what sns/userinfo says of openid.
func (p *Platform) webUser(a *account, openid string) map[string]any {
	h := hash(a.AppID, openid)
	u := map[string]any{
		"openid":     openid,
		"nickname":   []string{"微信用户", "微信用户🌟", "微信 <b>用户</b> & 'Co'", "\"微信\" 用户"}[int(h[0])%4],
		"sex":        0,
		"language":   "",
		"province":   "",
		"city":       "",
		"country":    "",
		"headimgurl": "https://thirdwx.qlogo.cn/mmopen/vi_32/" + invent("", 24, openid) + "/132",
		"privilege":  []string{},
		"unionid":    invent("o6", 28, "union", openid),
	}
	if set, ok := a.users.get(openid); ok {
		set = maps.Clone(set)
		maps.DeleteFunc(set, func(k string, _ any) bool { _, has := u[k]; return !has })
		maps.Copy(u, set)
	}
	return u
}

// codeSession is GET sns/jscode2session, the login of mini programs.
func (p *Platform) codeSession(c *call) (any, *apiError) {
	a, refusal := p.credentials(c.q.Get("appid"), c.q.Get("secret"))
	if refusal != nil {
		return nil, refusal
	}
	if c.q.Get("grant_type") != "authorization_code" {
		return nil, refuse(40002)
	}
	k, refusal := p.redeem(c.q.Get("js_code"), a.AppID)
	if refusal != nil {
		return nil, refusal
	}
	return map[string]any{
		"openid":      k.openid,
		"session_key": invent("", 22, "session", k.openid) + "==",
		"unionid":     p.webUser(a, k.openid)["unionid"],
	}, nil
}
