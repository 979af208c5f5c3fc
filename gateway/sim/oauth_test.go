package sim

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"wx-gateway/gateway/codec"
)

func (r *rig) exchangePath(code string) string {
	return "sns/oauth2/access_token?appid=" + testApp + "&secret=" + testSecret + "&code=" + code + "&grant_type=authorization_code"
}

func TestAuthorizePage(t *testing.T) {
	r := newRig(t, Config{})
	f := func(path, back, scope, extra string) url.Values {
		t.Helper()
		w := r.raw(path+"?appid="+testApp+"&redirect_uri="+url.QueryEscape(back)+"&response_type=code&scope="+scope+extra, "")
		u, err := url.Parse(w.Header().Get("Location"))
		if err != nil || w.Code != 302 || !strings.HasPrefix(u.String(), back) {
			t.Fatalf("%s answered %d to %q: %s", path, w.Code, u, w.Body)
		}
		return u.Query()
	}
	q := f("connect/oauth2/authorize", "https://example.com/login?from=a%26b", "snsapi_base", "&state=s%201%262&sim_openid="+testUser)
	if q.Get("from") != "a&b" || q.Get("state") != "s 1&2" {
		t.Errorf("query went wrong: %v", q)
	}
	m := r.call(r.exchangePath(q.Get("code")), "")
	if m["openid"] != testUser || m["scope"] != "snsapi_base" {
		t.Errorf("exchange: %v", m)
	}
	if q := f("connect/qrconnect", "http://127.0.0.1/x", "snsapi_login", "&state="); q.Get("code") == "" || !q.Has("state") {
		t.Errorf("website login: %v", q)
	}
	if q := f("connect/oauth2/authorize", "http://127.0.0.1/x", "snsapi_userinfo", "&state=z&sim_deny=1"); q.Has("code") || q.Get("state") != "z" {
		t.Errorf("refused: %v", q)
	}

	bad := func(query, want string) {
		t.Helper()
		w := r.raw("connect/oauth2/authorize?"+query, "")
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %q, want 400 %q", query, w.Code, w.Body, want)
		}
	}
	const back = "https%3A%2F%2Fexample.com%2F"
	bad("redirect_uri="+back+"&appid="+testApp+"&response_type=code&scope=snsapi_base", "in this order: look at appid")
	bad("appid="+testApp+"&redirect_uri="+back+"&scope=snsapi_base&response_type=code", "look at response_type")
	bad("appid=wxOther&redirect_uri="+back+"&response_type=code&scope=snsapi_base&state=", "unknown appid")
	bad("appid="+testApp+"&redirect_uri="+back+"&response_type=token&scope=snsapi_base&state=", "response_type must be code")
	bad("appid="+testApp+"&redirect_uri="+back+"&response_type=code&scope=snsapi_login&state=", "scope does not fit")
	bad("appid="+testApp+"&redirect_uri=javascript%3Ax&response_type=code&scope=snsapi_base&state=", "absolute http")
	bad("appid="+testApp+"&redirect_uri="+back+"&response_type=code&scope=snsapi_base&state="+strings.Repeat("s", 129), "state is longer")
}

func TestCodes(t *testing.T) {
	r := newRig(t, Config{Accounts: []Account{{AppID: testApp, Secret: testSecret}, {AppID: "wxOther", Secret: "s"}}})
	f := func(path, want string) {
		t.Helper()
		if got := r.code(path, ""); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	code := r.NewCode(testApp, testUser, "snsapi_userinfo")
	f(r.exchangePath(code), "0")
	f(r.exchangePath(code), "40163")
	f(r.exchangePath("made-up"), "40029")
	f(r.exchangePath(""), "41008")
	f(r.exchangePath(r.NewCode("wxOther", testUser, "snsapi_base")), "40029")
	late := r.NewCode(testApp, testUser, "snsapi_base")
	r.pass(5 * time.Minute)
	f(r.exchangePath(late), "42003")
	f("sns/oauth2/access_token?appid="+testApp+"&secret=x&code=y&grant_type=authorization_code", "40125")
	f("sns/oauth2/access_token?appid="+testApp+"&secret="+testSecret+"&code=y", "40002")
}

func TestSNSUserInfo(t *testing.T) {
	r := newRig(t, Config{})
	info := func(m map[string]any, openid string) string {
		return "sns/userinfo?access_token=" + m["access_token"].(string) + "&openid=" + openid + "&lang=zh_CN"
	}
	base := r.call(r.exchangePath(r.NewCode(testApp, testUser, "snsapi_base")), "")
	if got := r.code(info(base, testUser), ""); got != "48001" || base["unionid"] != nil {
		t.Errorf("snsapi_base: %s, %v", got, base)
	}
	full := r.call(r.exchangePath(r.NewCode(testApp, testUser, "snsapi_userinfo")), "")
	u := r.call(info(full, testUser), "")
	if u["openid"] != testUser || u["nickname"] == "" || u["unionid"] != full["unionid"] || u["privilege"] == nil {
		t.Errorf("snsapi_userinfo: %v after %v", u, full)
	}
	follower := r.call("cgi-bin/user/info?access_token="+r.classic()+"&openid="+testUser, "")
	if follower["unionid"] != u["unionid"] {
		t.Errorf("one user, two union ids: %v, %v", follower["unionid"], u["unionid"])
	}
	r.SetUser(testApp, map[string]any{"openid": testUser, "nickname": "另一个", "subscribe": 1})
	if u := r.call(info(full, testUser), ""); u["nickname"] != "另一个" || u["subscribe"] != nil {
		t.Errorf("user that was set: %v", u)
	}
	if got := r.code(info(full, "oSomebodyElse"), ""); got != "40003" {
		t.Errorf("another openid: %s", got)
	}
	if got := r.code("sns/auth?access_token="+full["access_token"].(string)+"&openid="+testUser, ""); got != "0" {
		t.Errorf("sns/auth: %s", got)
	}
	// An account's token is no user's token.
	if got := r.code("sns/userinfo?access_token="+r.classic()+"&openid="+testUser, ""); got != "40001" {
		t.Errorf("account token: %s", got)
	}
	if got := r.code("sns/userinfo?openid="+testUser, ""); got != "41001" {
		t.Errorf("no token: %s", got)
	}
	r.pass(2 * time.Hour)
	if got := r.code(info(full, testUser), ""); got != "42001" {
		t.Errorf("token of age: %s", got)
	}
	again := r.call("sns/oauth2/refresh_token?appid="+testApp+"&grant_type=refresh_token&refresh_token="+full["refresh_token"].(string), "")
	if got := r.code(info(again, testUser), ""); got != "0" {
		t.Errorf("refreshed token: %s", got)
	}
	if got := r.code("sns/oauth2/refresh_token?appid="+testApp+"&grant_type=refresh_token&refresh_token=x", ""); got != "40030" {
		t.Errorf("unknown refresh_token: %s", got)
	}
	r.pass(31 * 24 * time.Hour)
	if got := r.code("sns/oauth2/refresh_token?appid="+testApp+"&grant_type=refresh_token&refresh_token="+full["refresh_token"].(string), ""); got != "42002" {
		t.Errorf("old refresh_token: %s", got)
	}
}

func TestSnapshotUser(t *testing.T) {
	r := newRig(t, Config{})
	r.SetUser(testApp, map[string]any{"openid": testUser, "is_snapshotuser": 1})
	m := r.call(r.exchangePath(r.NewCode(testApp, testUser, "snsapi_userinfo")), "")
	if n, _ := m["is_snapshotuser"].(codec.Number); n != "1" {
		t.Errorf("exchange: %v", m)
	}
	if got := r.code("sns/userinfo?access_token="+m["access_token"].(string)+"&openid="+testUser, ""); got != "48001" {
		t.Errorf("userinfo of a snapshot user: %s", got)
	}
}

func TestCodeSession(t *testing.T) {
	r := newRig(t, Config{})
	path := "sns/jscode2session?appid=" + testApp + "&secret=" + testSecret + "&grant_type=authorization_code&js_code="
	code := r.NewCode(testApp, "", "")
	m := r.call(path+code, "")
	if m["openid"] == "" || len(m["session_key"].(string)) != 24 {
		t.Errorf("jscode2session: %v", m)
	}
	if got := r.code(path+code, ""); got != "40163" {
		t.Errorf("code used twice: %s", got)
	}
}
