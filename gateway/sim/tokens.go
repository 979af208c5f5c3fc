package sim

import (
	"fmt"
	"net/http"
	"time"

	"wx-gateway/gateway/codec"
)

// Allowances of the token calls (developers.weixin.qq.com, getAccessToken and
// getStableAccessToken).
const (
	classicPerDay  = 2000
	forcePerDay    = 20
	forceSpacing   = 30 * time.Second
	clearsPerMonth = 10

	maxIssued = 64 // access_tokens remembered per account, dead ones included
)

// issued is one access_token that was handed out.
type issued struct {
	value   string
	acct    *account
	until   time.Time // refused from then on
	revoked bool      // refused since somebody refreshed, not by age
}

// tokenLine is a succession of access_tokens. Those of token and of
// stable_token do not touch each other.
type tokenLine struct {
	cur       *issued
	all       []*issued // oldest first, cur last
	day       tally     // classic: calls; stable: forced refreshes
	lastForce time.Time
}

// jsTicket is a jsapi or wx_card ticket.
type jsTicket struct {
	value string
	until time.Time
}

// tally counts within a period, such as a Beijing day.
type tally struct {
	period int64
	n      int
}

// take counts one more, unless limit is reached in this period.
func (t *tally) take(period int64, limit int) bool {
	if t.period != period {
		t.period, t.n = period, 0
	}
	if t.n >= limit {
		return false
	}
	t.n++
	return true
}

// WeChat's quotas turn at 00:00 Beijing, which knows no summer time.
func beijingDay(t time.Time) int64 { return (t.Unix() + 8*3600) / 86400 }

func beijingMonth(t time.Time) int64 {
	b := t.UTC().Add(8 * time.Hour)
	return int64(b.Year())*12 + int64(b.Month())
}

// issue makes a new current token for a and lets the old one live on for keep.
// Caller holds mu.
func (p *Platform) issue(a *account, l *tokenLine, keep time.Duration) *issued {
	now := p.now()
	p.supersede(l, now.Add(keep))
	t := &issued{value: fmt.Sprintf("%d_%s", 60+len(l.all)%40, random(134)), acct: a, until: now.Add(p.life)}
	p.tokens[t.value] = t
	l.cur, l.all = t, append(l.all, t)
	for len(l.all) > maxIssued {
		delete(p.tokens, l.all[0].value)
		l.all = l.all[1:]
	}
	return t
}

// supersede ends every token of l at the given time at the latest.
func (p *Platform) supersede(l *tokenLine, end time.Time) {
	for _, t := range l.all {
		if t.until.After(end) {
			t.until, t.revoked = end, true
		}
	}
}

// credentials checks app-id and secret as the token calls do.
func (p *Platform) credentials(appid, secret string) (*account, *apiError) {
	switch {
	case appid == "":
		return nil, refuse(41002)
	case secret == "":
		return nil, refuse(41004)
	}
	a := p.account(appid)
	if a == nil {
		return nil, refuse(40013)
	}
	if a.Secret != "" && a.Secret != secret {
		return nil, refuse(40125)
	}
	return a, nil
}

// classicToken is GET cgi-bin/token: always a new token, the older one dies
// after the overlap.
func (p *Platform) classicToken(c *call) (any, *apiError) {
	if c.q.Get("grant_type") != "client_credential" {
		return nil, refuse(40002)
	}
	a, refusal := p.credentials(c.q.Get("appid"), c.q.Get("secret"))
	if refusal != nil {
		return nil, refusal
	}
	if !a.classic.day.take(beijingDay(p.now()), classicPerDay) {
		return nil, refuse(45009)
	}
	t := p.issue(a, &a.classic, p.overlap)
	return map[string]any{"access_token": t.value, "expires_in": int(p.life.Seconds())}, nil
}

// stableToken is POST cgi-bin/stable_token: the same token until shortly before
// its end; a forced refresh kills the old one at once.
func (p *Platform) stableToken(c *call) (any, *apiError) {
	var q struct {
		GrantType string `json:"grant_type"`
		AppID     string `json:"appid"`
		Secret    string `json:"secret"`
		Force     bool   `json:"force_refresh"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if q.GrantType != "client_credential" {
		return nil, refuse(40002)
	}
	a, refusal := p.credentials(q.AppID, q.Secret)
	if refusal != nil {
		return nil, refusal
	}
	now, l := p.now(), &a.stable
	switch {
	case q.Force:
		if !l.lastForce.IsZero() && now.Sub(l.lastForce) < forceSpacing {
			return nil, refuse(45011)
		}
		if !l.day.take(beijingDay(now), forcePerDay) {
			return nil, refuse(45009)
		}
		l.lastForce = now
		p.issue(a, l, 0)
	case l.cur == nil || l.cur.until.Sub(now) <= p.overlap && !l.cur.revoked:
		// Both work until the old one's natural end.
		p.issue(a, l, p.life)
	}
	left := int(l.cur.until.Sub(now).Seconds())
	if l.cur.revoked { // BreakToken: still handed out, as if it were good
		left = int(p.life.Seconds())
	}
	return map[string]any{"access_token": l.cur.value, "expires_in": left}, nil
}

// bearer finds the account of an access_token, or says why it is refused.
func (p *Platform) bearer(token string) (*account, *apiError) {
	if token == "" {
		return nil, refuse(41001)
	}
	t := p.tokens[token]
	switch {
	case t == nil:
		return nil, refuse(40001)
	case !p.now().Before(t.until) && t.revoked:
		return nil, refuse(40001)
	case !p.now().Before(t.until):
		return nil, refuse(42001)
	}
	return t.acct, nil
}

// RevokeToken does what somebody else's refresh does: every token of appid that
// is out is dead at once, and WeChat holds new ones that the gateway has not seen.
func (p *Platform) RevokeToken(appid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoke(appid)
}

func (p *Platform) revoke(appid string) {
	a := p.accounts[appid]
	if a == nil {
		return
	}
	for _, l := range []*tokenLine{&a.classic, &a.stable} {
		if l.cur != nil {
			p.issue(a, l, 0)
		}
	}
}

// BreakToken makes every call refuse the tokens of appid while stable_token
// goes on handing out the same one, until a forced refresh.
func (p *Platform) BreakToken(appid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.accounts[appid]; a != nil {
		p.supersede(&a.classic, p.now())
		p.supersede(&a.stable, p.now())
	}
}

// CurrentToken returns the newest token of appid that a token call or
// RevokeToken made, "" if there was none. Of an account that uses both kinds it
// is the stable one.
func (p *Platform) CurrentToken(appid string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.accounts[appid]
	switch {
	case a == nil:
		return ""
	case a.stable.cur != nil:
		return a.stable.cur.value
	case a.classic.cur != nil:
		return a.classic.cur.value
	}
	return ""
}

// CurrentTicket returns the jsapi ticket of appid, "" if none was asked for.
func (p *Platform) CurrentTicket(appid string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.accounts[appid]; a != nil {
		return a.tickets["jsapi"].value
	}
	return ""
}

// ticket is GET cgi-bin/ticket/getticket. It reports the whole life however old
// the ticket is, as WeChat was seen to do.
func (p *Platform) ticket(c *call) (any, *apiError) {
	kind := c.q.Get("type")
	if kind != "jsapi" && kind != "wx_card" {
		return nil, refuse(40097)
	}
	t := c.acct.tickets[kind]
	if now := p.now(); !now.Before(t.until) {
		t = jsTicket{value: random(86), until: now.Add(p.life)}
		c.acct.tickets[kind] = t
	}
	return map[string]any{"errcode": 0, "errmsg": "ok", "ticket": t.value, "expires_in": int(p.life.Seconds())}, nil
}

func (p *Platform) callbackIP(*call) (any, *apiError) {
	return map[string]any{"ip_list": []string{"127.0.0.1", "127.0.0.2"}}, nil
}

// clearQuota is POST cgi-bin/clear_quota {"appid":…}: the account's daily
// counters start anew, ten times a month.
func (p *Platform) clearQuota(c *call) (any, *apiError) {
	var q struct {
		AppID string `json:"appid"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if q.AppID != c.acct.AppID {
		return nil, refuse(40013)
	}
	return p.clearCounters(c.acct)
}

// clearQuotaV2 is the same by app-id and secret, for when no token can be had.
func (p *Platform) clearQuotaV2(c *call) (any, *apiError) {
	var q struct {
		AppID  string `json:"appid"`
		Secret string `json:"appsecret"`
	}
	if c.r.Method == http.MethodPost && len(c.body) > 0 && codec.Unmarshal(c.body, &q) != nil {
		return nil, refuse(47001)
	}
	a, refusal := p.credentials(q.AppID, q.Secret)
	if refusal != nil {
		return nil, refusal
	}
	return p.clearCounters(a)
}

func (p *Platform) clearCounters(a *account) (any, *apiError) {
	if !a.quotaClears.take(beijingMonth(p.now()), clearsPerMonth) {
		return nil, refuse(48006)
	}
	a.classic.day, a.stable.day = tally{}, tally{}
	return nil, nil
}
