package webauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wx-gateway/gateway/weixin"
)

func TestServeTellsTheBackendWho(t *testing.T) {
	t.Parallel()
	f := func(uri string, prepare func(*fakeWeChat), change func(*Config), want map[string]any) {
		t.Helper()
		s := newSite(t, nil, change)
		if prepare != nil {
			prepare(s.wx)
		}
		if r := send(t, s.addr, "", request(uri)); r.status != 200 || r.body != "hello" {
			t.Fatalf("GET %s = %d %q", uri, r.status, r.body)
		}
		posts := s.posts()
		if len(posts) != 1 {
			t.Fatalf("%d posts, want 1", len(posts))
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(posts[0].body), &got); err != nil {
			t.Fatalf("body %q: %v", posts[0].body, err)
		}
		all := map[string]any{
			"requestURI": uri, "appId": "wxdemo", "openId": "oUser1", "state": "menu1",
			"userInfo": map[string]any{"openid": "oUser1", "subscribe": 1.0}, "userInfoError": "",
			"unionId": "", "scope": "snsapi_base", "isSnapshotUser": false,
		}
		for k, v := range want {
			all[k] = v
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("GET %s: posted (-want +got)\n%s", uri, diff)
		}
	}
	flag := func(c *Config) { c.UserInfoFlag = "login" }

	// a follower, by the account's token
	f(page, nil, nil, nil)
	f(page, nil, flag, nil)
	// what the user granted, where the request URI holds the flag
	f(page+"&login=1", nil, flag, map[string]any{"userInfo": map[string]any{"openid": "oUser1", "nickname": "granted"}})
	// no flag configured: no request URI holds it
	f(page+"&login=1", nil, nil, nil)
	// an empty state, or none
	f("/redirect?code="+testCode+"&state=", nil, nil, map[string]any{"state": ""})
	f("/redirect?code="+testCode, nil, nil, map[string]any{"state": ""})
	// the request URI is what the browser sent, the state is decoded
	f("/redirect/%e4?x=a+b&code="+testCode+"&state=%E4%BD%A0%2F&x=//", nil, nil, map[string]any{"state": "你/"})
	// bytes that are no text become text that says so
	f("/redirect?code="+testCode+"&state=%ff", nil, nil, map[string]any{"state": "\uFFFD"})
	// everything WeChat tells
	f(page, func(w *fakeWeChat) {
		w.grant = weixin.Grant{OpenID: "oSnap", UnionID: "uUnion", Scope: "snsapi_userinfo", AccessToken: testToken, Snapshot: true}
	}, nil, map[string]any{
		"openId": "oSnap", "unionId": "uUnion", "scope": "snsapi_userinfo", "isSnapshotUser": true,
		"userInfo": map[string]any{"openid": "oSnap", "subscribe": 1.0},
	})
	// user info is missed, not waited for
	f(page, func(w *fakeWeChat) {
		w.infoErr = &weixin.Error{Op: "cgi-bin/user/info", Code: 48001, Msg: "api unauthorized"}
	}, nil,
		map[string]any{"userInfo": nil, "userInfoError": "cgi-bin/user/info: 48001 api unauthorized"})
	f(page+"&login", func(w *fakeWeChat) { w.infoErr = errors.New("no answer") }, flag,
		map[string]any{"userInfo": nil, "userInfoError": "no answer"})
	f(page, nil, func(c *Config) { c.Users = nil },
		map[string]any{"userInfo": nil, "userInfoError": "user info is off for this service"})
}

func TestServeRequestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, func(c *Config) {
		c.Service = "演示"
		c.BackendSecret = testSecret
		c.Now = func() time.Time { return time.Unix(1714037059, 0) }
	})
	raw := "GET " + page + " HTTP/1.1\r\nHost: www.example.com:8443\r\n" + strings.Join([]string{
		"User-Agent: MicroMessenger/8",
		"Accept: text/html",
		"Accept: */*",
		"Accept-Encoding: gzip, br",
		"Cookie: a=1; b=\"x y\"; flag; a=2",
		"Authorization: Basic dTpw",
		"If-None-Match: \"v1\"",
		"X-Real-IP: 203.0.113.9",
		"X-Forwarded-For: 203.0.113.9",
		"X-Forwarded-For: 10.0.0.1, 10.0.0.2",
		"X-Forwarded-Proto: https",
		"X-Empty:",
		// the gateway's word
		"X-Wx-Openid: oSomebodyElse",
		"x-wx-anything: 1",
		"X_Wx_Openid: oSomebodyElse",
		"X_WX-appid: wxother",
		"X-Request-Id: mine",
		"webhook-id: mine",
		"Webhook_Signature: v1,mine",
		// of a body that is not sent on
		"Content-Type: text/evil",
		"Content-Encoding: gzip",
		"Content-Language: en",
		"Content-Length: 0",
		"Expect: 100-continue",
		// of the connection
		"Connection: close, X-Private , keep-alive",
		"Connection: x-also-private",
		"X-Private: 1",
		"X-Also-Private: 1",
		"Keep-Alive: timeout=5",
		"Proxy-Authorization: Basic x",
		"Proxy-Connection: keep-alive",
		"TE: trailers",
		"Upgrade: websocket",
		"", ""}, "\r\n")
	if r := send(t, s.addr, "", raw); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	posts := s.posts()
	if len(posts) != 1 {
		t.Fatalf("%d posts, want 1", len(posts))
	}
	got := posts[0]
	if got.method != "POST" || got.uri != "/back//end?x=%2F" || got.host != "www.example.com:8443" {
		t.Errorf("%s %s to %s, want POST /back//end?x=%%2F to the browser's host", got.method, got.uri, got.host)
	}
	id := got.header.Get("X-Request-Id")
	if len(id) < 20 {
		t.Errorf("X-Request-Id %q", id)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.1714037059.%s", id, got.body)
	want := http.Header{
		"User-Agent":        {"MicroMessenger/8"},
		"Accept":            {"text/html", "*/*"},
		"Accept-Encoding":   {"gzip, br"},
		"Cookie":            {`a=1; b="x y"; flag; a=2`},
		"Authorization":     {"Basic dTpw"},
		"If-None-Match":     {`"v1"`},
		"X-Real-Ip":         {"203.0.113.9"},
		"X-Forwarded-For":   {"203.0.113.9, 10.0.0.1, 10.0.0.2, 127.0.0.1"},
		"X-Forwarded-Proto": {"https"},
		"X-Empty":           {""},
		"X-Wx-Service":      {"%E6%BC%94%E7%A4%BA"},
		"X-Wx-Appid":        {"wxdemo"},
		"X-Wx-Openid":       {"oUser1"},
		"X-Request-Id":      {id},
		"Content-Type":      {"application/json; charset=UTF-8"},
		"Content-Length":    {fmt.Sprint(len(got.body))},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {"1714037059"},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	if diff := cmp.Diff(want, got.header); diff != "" {
		t.Errorf("header at the backend (-want +got)\n%s", diff)
	}
}

// Without the browser's own there is one address, and no signature without a
// secret.
func TestServeFewHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	send(t, s.addr, "127.0.0.9", request(page))
	h := s.posts()[0].header
	if got := h.Get("X-Forwarded-For"); got != "127.0.0.9" {
		t.Errorf("X-Forwarded-For %q, want 127.0.0.9", got)
	}
	for k := range h {
		if strings.HasPrefix(k, "Webhook-") || k == "Cookie" {
			t.Errorf("a %s header came from nowhere", k)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	f := func(raw string, prepare func(*site), change func(*Config), status int, body string) response {
		t.Helper()
		s := newSite(t, nil, change)
		if prepare != nil {
			prepare(s)
		}
		r := send(t, s.addr, "", raw)
		if r.status != status || r.body != body {
			t.Errorf("browser got %d %q, want %d %q", r.status, r.body, status, body)
		}
		if n := len(s.posts()); n != 0 {
			t.Errorf("%d posts, want 0", n)
		}
		return r
	}
	wechat := func(code int) func(*site) {
		return func(s *site) {
			s.wx.err = &weixin.Error{Op: "sns/oauth2/access_token", Code: code, Msg: "refused, rid: 1-2-3"}
		}
	}

	// the request
	f(request("/redirect?state=menu1"), nil, nil, 400, "code parameter expected")
	f(request("/redirect?code=&state=menu1"), nil, nil, 400, "code parameter expected")
	for _, method := range []string{"POST", "HEAD", "PUT", "OPTIONS"} {
		body := "method must be GET"
		if method == "HEAD" {
			body = ""
		}
		r := f(method+strings.TrimPrefix(request(page, "Content-Length: 0"), "GET"), nil, nil, 405, body)
		if r.header.Get("Allow") != "GET" {
			t.Errorf("%s: Allow %q", method, r.header.Get("Allow"))
		}
	}
	// the configuration
	f(request(page), nil, func(c *Config) { c.SNS = nil }, 503, "web authorization is off: services[].wx-params.app-secret is not set")
	// WeChat blames the code
	for _, code := range []int{40029, 40163, 41008, 42003} {
		f(request(page), wechat(code), nil, 400, textStale)
	}
	// WeChat blames the account, or itself
	for _, code := range []int{-1, 40001, 40013, 40125, 40164, 45011} {
		f(request(page), wechat(code), nil, 500, textWeChat)
	}
	f(request(page), func(s *site) { s.wx.err = errors.New("no answer") }, nil, 502, textWeChat)
	// the backend
	f(request(page), func(s *site) { s.backend.Close() }, nil, 502, textDown)
	f(request(page), nil, func(c *Config) { c.RedirectURL = "ftp://example.com/" }, 502, textDown)
}

// A browser cannot say where the call goes, not even when redirect-url does not.
func TestServeHostIsNoTarget(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, func(c *Config) { c.RedirectURL = "/path" })
	raw := strings.Replace(request(page), "www.example.com", s.backend.Listener.Addr().String(), 1)
	if r := send(t, s.addr, "", raw); r.status != 502 || len(s.posts()) != 0 {
		t.Errorf("browser got %d after %d posts, want 502 after none", r.status, len(s.posts()))
	}
}

func TestEnter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Slots: 1})
		leave, err := h.enter()
		if err != nil {
			t.Fatal(err)
		}
		// no slot within 5 s
		start := time.Now()
		if _, err := h.enter(); err == nil || time.Since(start) != slotWait {
			t.Errorf("enter = %v after %s, want busy after %s", err, time.Since(start), slotWait)
		}
		// one that comes free
		go func() {
			time.Sleep(time.Second)
			leave()
		}()
		leave, err = h.enter()
		if err != nil {
			t.Fatalf("enter = %v, want the slot that came free", err)
		}
		// a line that is too long
		for range 1000 {
			go h.enter()
		}
		synctest.Wait()
		start = time.Now()
		if _, err := h.enter(); err == nil || time.Since(start) != 0 {
			t.Errorf("enter = %v after %s, want busy at once", err, time.Since(start))
		}
		time.Sleep(slotWait)
		synctest.Wait()
		leave()
		if n := h.waiting.Load(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		if got := cap(New(Config{}).slots); got != defaultSlots {
			t.Errorf("%d slots by default, want %d", got, defaultSlots)
		}
	})
}

func TestServeBusy(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, func(c *Config) { c.Slots = 1 })
	s.handler.slots <- struct{}{}
	s.handler.waiting.Store(1000)
	r := send(t, s.addr, "", request(page))
	if r.status != 503 || r.body != textBusy || r.header.Get("Retry-After") != "1" {
		t.Errorf("browser got %d %q, Retry-After %q", r.status, r.body, r.header.Get("Retry-After"))
	}
}
