package sim

import (
	"strings"
	"testing"
	"time"
)

func TestClassicTokens(t *testing.T) {
	r := newRig(t, Config{})
	first := r.classic()
	if len(first) < 100 || r.works(first) != "0" {
		t.Fatalf("first token %q does not work: %s", first, r.works(first))
	}
	r.pass(time.Hour)
	second := r.classic()
	if second == first {
		t.Fatal("a classic call gave the same token")
	}
	r.pass(5*time.Minute - time.Second)
	if got := r.works(first); got != "0" {
		t.Errorf("the older token within the overlap: %s", got)
	}
	r.pass(2 * time.Second)
	if got := r.works(first); got != "40001" {
		t.Errorf("the older token after the overlap: %s, want 40001", got)
	}
	if got := r.works(second); got != "0" {
		t.Errorf("the newer token: %s", got)
	}
	r.pass(7200 * time.Second)
	if got := r.works(second); got != "42001" {
		t.Errorf("a token of age: %s, want 42001", got)
	}
	if got := r.CurrentToken(testApp); got != second {
		t.Errorf("CurrentToken = %q", got)
	}
}

func TestClassicDailyLimit(t *testing.T) {
	r := newRig(t, Config{})
	for range classicPerDay {
		if r.classic() == "" {
			t.Fatal("refused within the allowance")
		}
	}
	const q = "cgi-bin/token?grant_type=client_credential&appid=" + testApp + "&secret=" + testSecret
	if got := r.code(q, ""); got != "45009" {
		t.Errorf("beyond the allowance: %s, want 45009", got)
	}
	if n := len(r.tokens); n > maxIssued {
		t.Errorf("%d tokens are remembered, want at most %d", n, maxIssued)
	}
	// 00:00 Beijing is 16:00 UTC.
	r.now = time.Date(2026, 3, 1, 15, 59, 59, 0, time.UTC)
	if got := r.code(q, ""); got != "45009" {
		t.Errorf("before midnight in Beijing: %s", got)
	}
	r.pass(time.Second)
	if got := r.code(q, ""); got != "0" {
		t.Errorf("after midnight in Beijing: %s", got)
	}
}

func TestStableTokens(t *testing.T) {
	r := newRig(t, Config{})
	first, _ := r.stable(false)
	r.pass(7200*time.Second - 5*time.Minute - time.Second)
	if again, _ := r.stable(false); again != first {
		t.Fatal("a normal call gave another token before its time")
	}
	r.pass(time.Second)
	second, _ := r.stable(false)
	if second == first {
		t.Fatal("five minutes before its end the token is still the old one")
	}
	r.pass(5*time.Minute - time.Second)
	if a, b := r.works(first), r.works(second); a != "0" || b != "0" {
		t.Errorf("old and new in the last minutes: %s, %s", a, b)
	}
	r.pass(time.Second)
	if got := r.works(first); got != "42001" {
		t.Errorf("the old one after its end: %s", got)
	}

	// A forced refresh kills at once; at most one in 30 s and 20 a day.
	third, _ := r.stable(true)
	if third == second || r.works(second) != "40001" || r.works(third) != "0" {
		t.Errorf("after a forced refresh: old %s, new %s", r.works(second), r.works(third))
	}
	r.pass(29 * time.Second)
	if _, code := r.stable(true); code != "45011" {
		t.Errorf("forced again after 29 s: %s, want 45011", code)
	}
	for range 19 {
		r.pass(31 * time.Second)
		if _, code := r.stable(true); code != "" {
			t.Fatalf("forced within the allowance: %s", code)
		}
	}
	r.pass(31 * time.Second)
	if _, code := r.stable(true); code != "45009" {
		t.Errorf("forced 21 times: %s, want 45009", code)
	}
	if r.classic(); r.works(r.CurrentToken(testApp)) != "0" {
		t.Error("a classic call hurt the stable token")
	}
}

func TestStableRemaining(t *testing.T) {
	r := newRig(t, Config{TokenLife: time.Hour, Overlap: time.Minute})
	const body = `{"grant_type":"client_credential","appid":"` + testApp + `","secret":"` + testSecret + `"}`
	f := func(want string) {
		t.Helper()
		if m := r.call("cgi-bin/stable_token", body); m["expires_in"] == nil || m["expires_in"].(interface{ String() string }).String() != want {
			t.Errorf("expires_in = %v, want %s", m["expires_in"], want)
		}
	}
	f("3600")
	r.pass(10 * time.Minute)
	f("3000")
	r.pass(49 * time.Minute)
	f("3600")
}

func TestRevokeToken(t *testing.T) {
	r := newRig(t, Config{})
	r.RevokeToken(testApp) // nothing is out: nothing to do
	r.RevokeToken("wxUnknown")
	old, _ := r.stable(false)
	oldClassic := r.classic()
	r.RevokeToken(testApp)
	if a, b := r.works(old), r.works(oldClassic); a != "40001" || b != "40001" {
		t.Errorf("revoked tokens: %s, %s, want 40001", a, b)
	}
	fresh, _ := r.stable(false)
	if fresh == old || fresh != r.CurrentToken(testApp) || r.works(fresh) != "0" {
		t.Error("the normal call after it does not give the new token")
	}
}

func TestBreakToken(t *testing.T) {
	r := newRig(t, Config{})
	old, _ := r.stable(false)
	r.BreakToken(testApp)
	if got := r.works(old); got != "40001" {
		t.Errorf("broken token: %s", got)
	}
	if same, _ := r.stable(false); same != old {
		t.Error("the normal call gave another token")
	}
	fresh, _ := r.stable(true)
	if fresh == old || r.works(fresh) != "0" {
		t.Error("a forced refresh does not mend it")
	}
}

func TestTokenRefusals(t *testing.T) {
	r := newRig(t, Config{})
	f := func(path, body, wantCode, wantMsg string) {
		t.Helper()
		m := r.call(path, body)
		msg, _ := m["errmsg"].(string)
		if got := m["errcode"].(interface{ String() string }).String(); got != wantCode || !strings.HasPrefix(msg, wantMsg+" rid: ") {
			t.Errorf("%s = %s %q, want %s %q with a rid", path, got, msg, wantCode, wantMsg)
		}
		if _, rid, _ := strings.Cut(msg, " rid: "); len(rid) != 26 || strings.Count(rid, "-") != 2 {
			t.Errorf("rid %q", rid)
		}
	}
	f("cgi-bin/token?appid=x&secret=y", "", "40002", "invalid grant_type")
	f("cgi-bin/token?grant_type=client_credential&secret=y", "", "41002", "appid missing")
	f("cgi-bin/token?grant_type=client_credential&appid="+testApp, "", "41004", "appsecret missing")
	f("cgi-bin/token?grant_type=client_credential&appid=wxOther&secret=y", "", "40013", "invalid appid")
	f("cgi-bin/token?grant_type=client_credential&appid="+testApp+"&secret=y", "", "40125", "invalid appsecret")
	f("cgi-bin/stable_token", "", "43002", "require POST method")
	f("cgi-bin/stable_token", "{", "47001", "data format error")
	f("cgi-bin/stable_token", `{"grant_type":"client_credential","appid":"`+testApp+`","secret":"y"}`, "40125", "invalid appsecret")
	f("cgi-bin/user/info?openid="+testUser, "", "41001", "access_token missing")
	f("cgi-bin/user/info?access_token=made-up&openid="+testUser, "", "40001", "invalid credential, access_token is invalid or not latest")
	f("cgi-bin/nothing", "", "40066", "invalid url")
}

func TestAnyAccount(t *testing.T) {
	p := New(Config{})
	r := &rig{Platform: p, t: t}
	m := r.call("cgi-bin/token?grant_type=client_credential&appid=wxAnybody&secret=whatever", "")
	token, _ := m["access_token"].(string)
	if got := r.works(token); got != "0" {
		t.Errorf("a platform without a list refuses: %v, then %s", m, got)
	}
	for i := range maxAccounts + 10 {
		p.mu.Lock()
		p.account("wx" + random(8))
		p.mu.Unlock()
		_ = i
	}
	if len(p.accounts) > maxAccounts {
		t.Errorf("%d accounts, want at most %d", len(p.accounts), maxAccounts)
	}
}

func TestTicket(t *testing.T) {
	r := newRig(t, Config{})
	token := r.classic()
	path := "cgi-bin/ticket/getticket?access_token=" + token + "&type="
	first := r.call(path+"jsapi", "")
	r.pass(time.Hour)
	second := r.call(path+"jsapi", "")
	if first["ticket"] != second["ticket"] || first["ticket"] != r.CurrentTicket(testApp) {
		t.Errorf("tickets differ within their life: %v, %v", first, second)
	}
	if second["expires_in"].(interface{ String() string }).String() != "7200" {
		t.Errorf("expires_in = %v, want the whole life as WeChat says", second["expires_in"])
	}
	if card := r.call(path+"wx_card", ""); card["ticket"] == first["ticket"] {
		t.Error("card and jsapi share a ticket")
	}
	r.pass(time.Hour)
	path = "cgi-bin/ticket/getticket?access_token=" + r.classic() + "&type="
	if third := r.call(path+"jsapi", ""); third["ticket"] == first["ticket"] {
		t.Error("the ticket outlived its life")
	}
	if got := r.code(path+"other", ""); got != "40097" {
		t.Errorf("unknown type: %s", got)
	}
}

func TestClearQuota(t *testing.T) {
	r := newRig(t, Config{})
	token := r.classic()
	if got := r.code("cgi-bin/clear_quota?access_token="+token, `{"appid":"wxOther"}`); got != "40013" {
		t.Errorf("another account: %s", got)
	}
	for i := range 10 {
		path, body := "cgi-bin/clear_quota?access_token="+token, `{"appid":"`+testApp+`"}`
		if i%2 == 1 {
			path, body = "cgi-bin/clear_quota/v2", `{"appid":"`+testApp+`","appsecret":"`+testSecret+`"}`
		}
		if got := r.code(path, body); got != "0" {
			t.Fatalf("clear %d: %s", i+1, got)
		}
	}
	if got := r.code("cgi-bin/clear_quota?access_token="+token, `{"appid":"`+testApp+`"}`); got != "48006" {
		t.Errorf("eleventh of the month: %s, want 48006", got)
	}
	if got := r.code("cgi-bin/clear_quota/v2", `{"appid":"`+testApp+`","appsecret":"no"}`); got != "40125" {
		t.Errorf("bad secret: %s", got)
	}
}
