package sim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"wx-gateway/gateway/codec"
)

// Limits of a request.
const (
	maxJSON  = 1 << 20
	maxMedia = 10<<20 + 64<<10 // the largest medium and its multipart frame
)

// call is one request on its way through the platform.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	path string // without the leading slash
	q    url.Values
	body []byte
	acct *account // of the access_token; nil where a route needs none
}

// json decodes the body into v, refusing as WeChat does.
func (c *call) json(v any) *apiError {
	if len(c.body) == 0 {
		return refuse(44002)
	}
	if err := codec.Unmarshal(c.body, v); err != nil {
		return refuse(47001)
	}
	return nil
}

// route is what a path does and what it asks for first.
type route struct {
	token bool // access_token in the query
	post  bool // POST only
	do    func(*call) (any, *apiError)
}

// blob is an answer that is not JSON.
type blob struct {
	status int
	header http.Header
	body   []byte
}

// table lists everything the platform answers; anything else is 40066, as WeChat says.
func (p *Platform) table() map[string]route {
	return map[string]route{
		"cgi-bin/token":                           {do: p.classicToken},
		"cgi-bin/stable_token":                    {post: true, do: p.stableToken},
		"cgi-bin/ticket/getticket":                {token: true, do: p.ticket},
		"cgi-bin/getcallbackip":                   {token: true, do: p.callbackIP},
		"cgi-bin/get_api_domain_ip":               {token: true, do: p.callbackIP},
		"cgi-bin/clear_quota":                     {token: true, post: true, do: p.clearQuota},
		"cgi-bin/clear_quota/v2":                  {post: true, do: p.clearQuotaV2},
		"cgi-bin/user/info":                       {token: true, do: p.userInfo},
		"cgi-bin/user/info/batchget":              {token: true, post: true, do: p.userBatch},
		"cgi-bin/user/get":                        {token: true, do: p.userList},
		"cgi-bin/qrcode/create":                   {token: true, post: true, do: p.createQR},
		"cgi-bin/showqrcode":                      {do: p.showQR},
		"cgi-bin/shorturl":                        {token: true, post: true, do: p.shortURL},
		"cgi-bin/menu/create":                     {token: true, post: true, do: p.createMenu},
		"cgi-bin/menu/get":                        {token: true, do: p.getMenu},
		"cgi-bin/menu/delete":                     {token: true, do: p.deleteMenu},
		"cgi-bin/media/upload":                    {token: true, post: true, do: p.uploadMedia},
		"cgi-bin/media/get":                       {token: true, do: p.getMedia},
		"cgi-bin/media/get/jssdk":                 {token: true, do: p.getMedia},
		"cgi-bin/message/template/send":           {token: true, post: true, do: p.sendTemplate},
		"cgi-bin/message/custom/send":             {token: true, post: true, do: p.sendCustom},
		"cgi-bin/message/custom/typing":           {token: true, post: true, do: p.typing},
		"channels/ec/order/get":                   {token: true, post: true, do: p.order},
		"channels/ec/aftersale/getaftersaleorder": {token: true, post: true, do: p.aftersale},
		"connect/oauth2/authorize":                {do: p.authorize},
		"connect/qrconnect":                       {do: p.authorize},
		"sns/oauth2/access_token":                 {do: p.exchange},
		"sns/oauth2/refresh_token":                {do: p.refreshGrant},
		"sns/userinfo":                            {do: p.snsUserInfo},
		"sns/auth":                                {do: p.snsAuth},
		"sns/jscode2session":                      {do: p.codeSession},
		"sim/media":                               {do: p.rawMedia},
		"sim/calls":                               {do: p.controlCalls},
		"sim/sent":                                {do: p.controlSent},
		"sim/fault":                               {do: p.controlFault},
		"sim/revoke":                              {post: true, do: p.controlRevoke},
		"sim/interacted":                          {post: true, do: p.controlInteracted},
	}
}

// ServeHTTP answers as api.weixin.qq.com, open.weixin.qq.com and
// mp.weixin.qq.com do; /sim/… is the simulator's own remote control.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c := &call{w: w, r: r, path: strings.TrimPrefix(r.URL.Path, "/"), q: r.URL.Query()}
	limit := int64(maxJSON)
	if c.path == "cgi-bin/media/upload" {
		limit = maxMedia
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusRequestEntityTooLarge)
		return
	}
	c.body = body

	appid := p.callerOf(c)
	own := strings.HasPrefix(c.path, "sim/")
	record := Call{Path: c.path, AppID: appid, Query: r.URL.RawQuery, Body: clip(body, maxCallBody), At: p.now()}
	if !own {
		if f := p.fault(appid, c.path); f != nil {
			if p.inject(c, f, &record) {
				p.log.Info("call", "appid", appid, "path", c.path, "fault", true, "errcode", record.Code, "took", time.Since(start))
				return
			}
			record.At = p.now() // it was only late
		}
	}

	p.mu.Lock()
	value, refusal := p.route(c)
	if refusal != nil {
		record.Code = refusal.code
	}
	if !own {
		p.calls.add(record)
	}
	p.mu.Unlock()

	p.answer(c, value, refusal)
	if !own {
		p.log.Info("call", "appid", appid, "path", c.path, "errcode", record.Code, "took", time.Since(start))
	}
}

// route runs the handler of c after the checks that are the same for all. Caller holds mu.
func (p *Platform) route(c *call) (any, *apiError) {
	rt, ok := p.routes[c.path]
	if !ok {
		return nil, refuse(40066)
	}
	if rt.post && c.r.Method != http.MethodPost {
		return nil, refuse(43002)
	}
	if rt.token {
		a, refusal := p.bearer(c.q.Get("access_token"))
		if refusal != nil {
			return nil, refusal
		}
		c.acct = a
	}
	return rt.do(c)
}

// answer writes what a route returned.
func (p *Platform) answer(c *call, value any, refusal *apiError) {
	if b, ok := value.(blob); ok && refusal == nil {
		for k, v := range b.header {
			c.w.Header()[k] = v
		}
		c.w.WriteHeader(b.status)
		c.w.Write(b.body)
		return
	}
	// sns answers as text/plain, cgi-bin with this unusual parameter.
	ctype := "application/json; encoding=utf-8"
	if strings.HasPrefix(c.path, "sns/") {
		ctype = "text/plain"
	}
	var body []byte
	switch {
	case refusal != nil:
		body = p.errorBody(refusal.code, refusal.msg, peerIP(c.r))
	case value == nil:
		body = []byte(`{"errcode":0,"errmsg":"ok"}`)
	default:
		var err error
		if body, err = codec.Marshal(value); err != nil {
			p.log.Error("cannot encode an answer", "path", c.path, "err", err)
			http.Error(c.w, "internal error", http.StatusInternalServerError)
			return
		}
	}
	c.w.Header().Set("Content-Type", ctype)
	c.w.Write(body)
}

func (p *Platform) errorBody(code int, msg, ip string) []byte {
	if msg == "" {
		msg = errText(code, ip) + " rid: " + p.rid()
	}
	b := append([]byte(nil), `{"errcode":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"errmsg":`...)
	b = codec.AppendString(b, msg)
	return append(b, '}')
}

func peerIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return "127.0.0.1"
}

// callerOf names the account a request belongs to, as far as it says; for
// faults and the history. A dead token still names its account.
func (p *Platform) callerOf(c *call) string {
	if id := c.q.Get("appid"); id != "" {
		return id
	}
	if token := c.q.Get("access_token"); token != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		if t := p.tokens[token]; t != nil {
			return t.acct.AppID
		}
		if g, ok := p.grants.get(token); ok {
			return g.appid
		}
		return ""
	}
	if c.path == "cgi-bin/stable_token" || c.path == "cgi-bin/clear_quota/v2" {
		var v struct {
			AppID string `json:"appid"`
		}
		if codec.Unmarshal(c.body, &v) == nil {
			return v.AppID
		}
	}
	return ""
}

// Start serves the platform on addr ("127.0.0.1:0" picks a free port) and
// returns its base address, to be used as wx-api-base, wx-open-base and
// wx-mp-base. It can be called once.
func (p *Platform) Start(addr string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return "", errors.New("cannot start the simulator: it runs already")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("cannot start the simulator on %s: %w", addr, err)
	}
	p.listener = ln
	p.served = make(chan struct{})
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	go func(s *http.Server, done chan<- struct{}) {
		defer close(done)
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("simulator stopped", "err", err)
		}
	}(p.server, p.served)
	return "http://" + ln.Addr().String(), nil
}

// Close stops what Start started, cuts open connections and ends the waiting
// of faults. It can be called more than once.
func (p *Platform) Close() {
	p.closeOne.Do(func() { close(p.closing) })
	p.mu.Lock()
	server, served := p.server, p.served
	p.mu.Unlock()
	if server != nil {
		server.Close()
		<-served
	}
}
