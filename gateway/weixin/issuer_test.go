package weixin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestIssuer(t *testing.T) {
	t.Parallel()
	f := func(classic, force bool, want string) {
		t.Helper()
		w := newWechat(t, `{"access_token":"T-1","expires_in":7200}`)
		value, life, err := NewIssuer(w.config(), classic).Token(t.Context(), force)
		if value != "T-1" || life != 2*time.Hour || err != nil {
			t.Errorf("Token = %q, %v, %v", value, life, err)
		}
		w.wantAsked(t, want)
	}
	f(false, false, `POST cgi-bin/stable_token {"grant_type":"client_credential","appid":"`+appID+`","secret":"`+secret+`","force_refresh":false}`)
	f(false, true, `POST cgi-bin/stable_token {"grant_type":"client_credential","appid":"`+appID+`","secret":"`+secret+`","force_refresh":true}`)
	f(true, false, `GET cgi-bin/token?appid=`+appID+`&grant_type=client_credential&secret=`+secret)
	f(true, true, `GET cgi-bin/token?appid=`+appID+`&grant_type=client_credential&secret=`+secret)
}

func TestIssuerRefusals(t *testing.T) {
	t.Parallel()
	f := func(answer, want string) {
		t.Helper()
		_, _, err := NewIssuer(newWechat(t, answer).config(), false).Token(t.Context(), false)
		wantError(t, err, want)
	}
	f(`{"errcode":40125,"errmsg":"invalid appsecret `+secret+` rid: 1"}`, "cgi-bin/stable_token: 40125 invalid appsecret [redacted] rid: 1")
	f(`{"expires_in":7200}`, "cannot read the answer of cgi-bin/stable_token: no access_token in it")
	f(`{"access_token":"","expires_in":7200}`, "cannot read the answer of cgi-bin/stable_token: no access_token in it")
	f(`{"access_token":7,"expires_in":7200}`, "cannot read the answer of cgi-bin/stable_token: no access_token in it")
	f(`{"access_token":"TOKEN-ONE"}`, "cannot read the answer of cgi-bin/stable_token: expires_in is no number of seconds")
	f(`{"access_token":"TOKEN-ONE","expires_in":-5}`, "cannot read the answer of cgi-bin/stable_token: expires_in is no number of seconds")

	w := newWechat(t, `{"access_token":"T","expires_in":"9223372036854775807"}`)
	if _, life, err := NewIssuer(w.config(), false).Token(t.Context(), false); life != maxLife || err != nil {
		t.Errorf("an endless token lives %v, %v; want %v", life, err, maxLife)
	}
}

// 40001 of the token call means the secret: there is no token to renew.
func TestIssuerBusy(t *testing.T) {
	t.Parallel()
	f := func(code int, classic, force bool, want int) {
		t.Helper()
		w := newWechat(t, refusal(code))
		i := NewIssuer(w.config(), classic)
		i.pause = w.noPause
		if _, _, err := i.Token(t.Context(), force); Code(err) != code {
			t.Errorf("error is %v, want %d", err, code)
		}
		if len(w.asked) != want {
			t.Errorf("%d, classic %v, force %v: asked %d times, want %d", code, classic, force, len(w.asked), want)
		}
	}
	f(-1, false, false, 3)
	f(-1, false, true, 1)
	f(-1, true, false, 3)
	f(40001, false, false, 1)
	f(40164, false, false, 1)
}

func TestTicket(t *testing.T) {
	t.Parallel()
	w := newWechat(t, `{"errcode":0,"errmsg":"ok","ticket":"sM4A-x","expires_in":"7200"}`, `{"errcode":0}`)
	c, _ := w.client()
	if value, life, err := c.Ticket(t.Context()); value != "sM4A-x" || life != 2*time.Hour || err != nil {
		t.Errorf("Ticket = %q, %v, %v", value, life, err)
	}
	w.wantAsked(t, "GET cgi-bin/ticket/getticket?access_token=TOKEN-ONE&type=jsapi")
	_, _, err := c.Ticket(t.Context())
	wantError(t, err, "cannot read the answer of cgi-bin/ticket/getticket: no ticket in it")
}

func TestSNS(t *testing.T) {
	t.Parallel()
	w := newWechat(t,
		`{"access_token":"SNS-TOKEN-1","expires_in":7200,"refresh_token":"R","openid":"o1","scope":"snsapi_userinfo","unionid":"u1","is_snapshotuser":1}`,
		`{"openid":"o1","nickname":"名","privilege":[]}`)
	s := NewSNS(w.config())
	g, err := s.Exchange(t.Context(), "the-code")
	if want := (Grant{OpenID: "o1", UnionID: "u1", Scope: "snsapi_userinfo", AccessToken: "SNS-TOKEN-1", Snapshot: true}); err != nil || g != want {
		t.Errorf("Exchange = %+v, %v", g, err)
	}
	for _, text := range []string{fmt.Sprint(g), fmt.Sprintf("%+v %#v", g, g), g.LogValue().String()} {
		if strings.Contains(text, "SNS-TOKEN") || !strings.Contains(text, "o1") {
			t.Errorf("a grant is printed as %s", text)
		}
	}
	info, err := s.UserInfo(t.Context(), g)
	if err != nil || string(info) != `{"openid":"o1","nickname":"名","privilege":[]}` {
		t.Errorf("UserInfo = %s, %v", info, err)
	}
	w.wantAsked(t,
		"GET sns/oauth2/access_token?appid="+appID+"&code=the-code&grant_type=authorization_code&secret="+secret,
		"GET sns/userinfo?access_token=SNS-TOKEN-1&lang=zh_CN&openid=o1")
}

func TestSNSRefusals(t *testing.T) {
	t.Parallel()
	f := func(answer, want string, wantAsked int) {
		t.Helper()
		w := newWechat(t, answer)
		s := NewSNS(w.config())
		s.pause = func(context.Context, time.Duration) bool { return true }
		_, err := s.Exchange(t.Context(), "the-long-code")
		wantError(t, err, want)
		if len(w.asked) != wantAsked {
			t.Errorf("%s: asked %d times, want %d", answer, len(w.asked), wantAsked)
		}
	}
	f(refusal(40163), "sns/oauth2/access_token: 40163 no rid: 1-2-3", 1)
	f(refusal(-1), "sns/oauth2/access_token: -1 no rid: 1-2-3", 1)
	f(refusal(40001), "sns/oauth2/access_token: 40001 no rid: 1-2-3", 1)
	f(`{"errcode":40029,"errmsg":"invalid code the-long-code"}`, "sns/oauth2/access_token: 40029 invalid code [redacted]", 1)
	f(`{"access_token":"T"}`, "cannot read the answer of sns/oauth2/access_token: no openid or access_token in it", 1)
	f(`{"openid":5}`, "cannot read the answer of sns/oauth2/access_token: a field has the wrong type", 1)

	w := newWechat(t, refusal(-1), refusal(-1), `{"errcode":40001,"errmsg":"bad SNS-TOKEN-1"}`)
	s := NewSNS(w.config())
	s.pause = w.noPause
	_, err := s.UserInfo(t.Context(), Grant{OpenID: "o1", AccessToken: "SNS-TOKEN-1"})
	wantError(t, err, "sns/userinfo: 40001 bad [redacted]")
	if len(w.asked) != 3 {
		t.Errorf("asked %d times, want 3", len(w.asked))
	}
}
