package weixin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wx-gateway/gateway/httpc"
)

func TestUserInfo(t *testing.T) {
	t.Parallel()
	info := `{"subscribe":1,"openid":"o1","subscribe_time":1434093047,"tagid_list":[128,2],"qr_scene":98765432109876543210}`
	w := newWechat(t, info)
	c, _ := w.client()
	got, err := c.UserInfo(t.Context(), "o-1&x=y")
	if err != nil || string(got) != info {
		t.Errorf("UserInfo = %s, %v; want %s", got, err, info)
	}
	w.wantAsked(t, "GET cgi-bin/user/info?access_token=TOKEN-ONE&lang=zh_CN&openid=o-1%26x%3Dy")
	if diff := cmp.Diff([]string{"cgi-bin/user/info 0"}, w.seen); diff != "" {
		t.Error("Observe (-want +got):\n", diff)
	}
}

func TestCreateQR(t *testing.T) {
	t.Parallel()
	f := func(scene string, temp bool, expire time.Duration, want string) {
		t.Helper()
		w := newWechat(t, `{"ticket":"gQH+/8=&x","expire_seconds":60,"url":"http:\/\/weixin.qq.com\/q\/k"}`)
		c, _ := w.client()
		got, err := c.CreateQR(t.Context(), scene, temp, expire)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(QR{
			Ticket:  "gQH+/8=&x",
			URL:     "http://weixin.qq.com/q/k",
			ShowURL: "https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=gQH%2B%2F8%3D%26x",
		}, got); diff != "" {
			t.Error("CreateQR (-want +got):\n", diff)
		}
		w.wantAsked(t, "POST cgi-bin/qrcode/create?access_token=TOKEN-ONE "+want)
	}
	f("a<b", true, 30*time.Second, `{"expire_seconds":30,"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"a<b"}}}`)
	f("0", true, 0, `{"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"0"}}}`)
	f("场景", false, time.Hour, `{"action_name":"QR_LIMIT_STR_SCENE","action_info":{"scene":{"scene_str":"场景"}}}`)

	c, _ := newWechat(t, `{"url":"x"}`).client()
	_, err := c.CreateQR(t.Context(), "0", true, 0)
	wantError(t, err, "cannot read the answer of cgi-bin/qrcode/create: no ticket in it")
}

func TestShortURL(t *testing.T) {
	t.Parallel()
	w := newWechat(t, `{"errcode":0,"errmsg":"ok","short_url":"https:\/\/w.url.cn\/s\/A"}`, `{"errcode":0}`, refusal(45009))
	c, _ := w.client()
	if got, err := c.ShortURL(t.Context(), "https://a.example/?x=1&y=2"); err != nil || got != "https://w.url.cn/s/A" {
		t.Errorf("ShortURL = %q, %v", got, err)
	}
	w.wantAsked(t, `POST cgi-bin/shorturl?access_token=TOKEN-ONE {"action":"long2short","long_url":"https://a.example/?x=1&y=2"}`)
	_, err := c.ShortURL(t.Context(), "x")
	wantError(t, err, "cannot read the answer of cgi-bin/shorturl: no short_url in it")
	_, err = c.ShortURL(t.Context(), "x")
	wantError(t, err, "cgi-bin/shorturl: 45009 no rid: 1-2-3")
}

func TestSendTemplate(t *testing.T) {
	t.Parallel()
	f := func(answer, want string) {
		t.Helper()
		w := newWechat(t, answer)
		c, _ := w.client()
		got, err := c.SendTemplate(t.Context(), []byte(`{"touser":"o1"}`))
		if err != nil || got != want {
			t.Errorf("SendTemplate with %s = %q, %v; want %q", answer, got, err, want)
		}
		w.wantAsked(t, `POST cgi-bin/message/template/send?access_token=TOKEN-ONE {"touser":"o1"}`)
	}
	f(`{"errcode":0,"errmsg":"ok","msgid":9007199254740993123}`, "9007199254740993123")
	f(`{"errcode":"0","errmsg":"ok","msgid":"200228332"}`, "200228332")
	f(`{"errcode":0,"errmsg":"ok"}`, "")
}

func TestSendCustomAndTyping(t *testing.T) {
	t.Parallel()
	w := newWechat(t, `{"errcode":0,"errmsg":"ok"}`)
	c, _ := w.client()
	if err := c.SendCustom(t.Context(), []byte(`{"touser":"o1","msgtype":"text","text":{"content":"<a>"}}`)); err != nil {
		t.Error(err)
	}
	if err := c.Typing(t.Context(), "o1", true); err != nil {
		t.Error(err)
	}
	if err := c.Typing(t.Context(), "o1", false); err != nil {
		t.Error(err)
	}
	w.wantAsked(t,
		`POST cgi-bin/message/custom/send?access_token=TOKEN-ONE {"touser":"o1","msgtype":"text","text":{"content":"<a>"}}`,
		`POST cgi-bin/message/custom/typing?access_token=TOKEN-ONE {"touser":"o1","command":"Typing"}`,
		`POST cgi-bin/message/custom/typing?access_token=TOKEN-ONE {"touser":"o1","command":"CancelTyping"}`)
}

func TestOrders(t *testing.T) {
	t.Parallel()
	w := newWechat(t,
		`{"errcode":0,"errmsg":"ok","order":{"order_id":3704612354559743232,"price":1.10}}`,
		`{"errcode":0,"after_sale_order":{"id":"2000000000000000001"}}`,
		`{"errcode":0,"order":null}`)
	c, _ := w.client()
	if got, err := c.Order(t.Context(), "3704612354559743232"); err != nil || string(got) != `{"order_id":3704612354559743232,"price":1.10}` {
		t.Errorf("Order = %s, %v", got, err)
	}
	if got, err := c.AftersaleOrder(t.Context(), "20"); err != nil || string(got) != `{"id":"2000000000000000001"}` {
		t.Errorf("AftersaleOrder = %s, %v", got, err)
	}
	_, err := c.Order(t.Context(), "1")
	wantError(t, err, "cannot read the answer of channels/ec/order/get: no order in it")
	w.wantAsked(t,
		`POST channels/ec/order/get?access_token=TOKEN-ONE {"order_id":"3704612354559743232"}`,
		`POST channels/ec/aftersale/getaftersaleorder?access_token=TOKEN-ONE {"after_sale_order_id":"20"}`,
		`POST channels/ec/order/get?access_token=TOKEN-ONE {"order_id":"1"}`)
}

// A refused token is renewed once and the call made again, whatever the call.
func TestInvalidTokenHeals(t *testing.T) {
	t.Parallel()
	f := func(code int) {
		t.Helper()
		w := newWechat(t, refusal(code), `{"errcode":0}`)
		c, k := w.client()
		if err := c.SendCustom(t.Context(), []byte(`{}`)); err != nil {
			t.Errorf("after %d: %v", code, err)
		}
		w.wantAsked(t,
			"POST cgi-bin/message/custom/send?access_token=TOKEN-ONE {}",
			"POST cgi-bin/message/custom/send?access_token=TOKEN-TWO {}")
		if diff := cmp.Diff([]string{"TOKEN-ONE"}, k.stale); diff != "" {
			t.Errorf("after %d Renew was told (-want +got):\n%s", code, diff)
		}
	}
	f(40001)
	f(40014)
	f(42001)
	f(41001)

	// only once
	w := newWechat(t, refusal(40001))
	c, k := w.client()
	_, err := c.UserInfo(t.Context(), "o1")
	wantError(t, err, "cgi-bin/user/info: 40001 no rid: 1-2-3")
	if len(w.asked) != 2 || len(k.stale) != 1 {
		t.Errorf("called %d times and renewed %d times, want 2 and 1", len(w.asked), len(k.stale))
	}

	// renewing fails
	c, k = newWechat(t, refusal(42001)).client()
	k.err = &Error{Op: "cgi-bin/stable_token", Code: 40164, Msg: "invalid ip 1.2.3.4"}
	_, err = c.UserInfo(t.Context(), "o1")
	wantError(t, err, "cannot call cgi-bin/user/info: its access_token was refused with 42001: cgi-bin/stable_token: 40164 invalid ip 1.2.3.4")
	if Code(err) != 40164 {
		t.Errorf("Code = %d, want that of the renewal", Code(err))
	}

	// other refusals leave the token alone
	c, k = newWechat(t, refusal(40003)).client()
	_, err = c.UserInfo(t.Context(), "o1")
	wantError(t, err, "cgi-bin/user/info: 40003 no rid: 1-2-3")
	if len(k.stale) != 0 {
		t.Error("40003 renewed the token")
	}

	// no token at all
	c, k = newWechat(t, "").client()
	k.current = ""
	_, err = c.UserInfo(t.Context(), "o1")
	wantError(t, err, "cannot call cgi-bin/user/info: cannot fetch access_token")
}

func TestBusyIsRepeatedForReadsOnly(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := func(name string, want int, call func(c *Client) error) {
		t.Helper()
		w := newWechat(t, refusal(-1))
		c, _ := w.client()
		if err := call(c); Code(err) != -1 {
			t.Errorf("%s: %v, want -1", name, err)
		}
		if len(w.asked) != want {
			t.Errorf("%s was called %d times, want %d", name, len(w.asked), want)
		}
	}
	f("user/info", 3, func(c *Client) error { _, err := c.UserInfo(ctx, "o1"); return err })
	f("getticket", 3, func(c *Client) error { _, _, err := c.Ticket(ctx); return err })
	f("order/get", 3, func(c *Client) error { _, err := c.Order(ctx, "1"); return err })
	f("getaftersaleorder", 3, func(c *Client) error { _, err := c.AftersaleOrder(ctx, "1"); return err })
	f("shorturl", 3, func(c *Client) error { _, err := c.ShortURL(ctx, "x"); return err })
	f("qrcode/create", 1, func(c *Client) error { _, err := c.CreateQR(ctx, "0", false, 0); return err })
	f("custom/send", 1, func(c *Client) error { return c.SendCustom(ctx, []byte("{}")) })
	f("template/send", 1, func(c *Client) error { _, err := c.SendTemplate(ctx, []byte("{}")); return err })
	f("custom/typing", 1, func(c *Client) error { return c.Typing(ctx, "o1", true) })

	// busy, busy, then a dead token, then fine
	w := newWechat(t, refusal(-1), refusal(-1), refusal(40001), `{"openid":"o1"}`)
	c, _ := w.client()
	if _, err := c.UserInfo(ctx, "o1"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]time.Duration{200 * time.Millisecond, 600 * time.Millisecond}, w.pauses); diff != "" {
		t.Error("pauses (-want +got):\n", diff)
	}
}

// What is no answer of WeChat's is named and not quoted.
func TestUnreadableAnswers(t *testing.T) {
	t.Parallel()
	f := func(status int, answer, want string) {
		t.Helper()
		w := newWechat(t, answer)
		w.status = status
		c, k := w.client()
		_, err := c.UserInfo(t.Context(), "o1")
		wantError(t, err, "cannot call cgi-bin/user/info: "+want)
		if len(w.asked) != 1 || len(k.stale) != 0 {
			t.Errorf("%s: called %d times, renewed %d times", answer, len(w.asked), len(k.stale))
		}
		if diff := cmp.Diff([]string{"cgi-bin/user/info -999"}, w.seen); diff != "" {
			t.Error("Observe (-want +got):\n", diff)
		}
	}
	f(200, " <html>TOKEN-ONE</html>", "answered with HTML instead of JSON")
	f(200, "", "answered with nothing")
	f(200, "[]", "answer is unreadable: no JSON object")
	f(200, "null", "answer is unreadable: no JSON object")
	f(200, `{"openid":"TOKEN-ONE`, "answer is unreadable: broken JSON")
	f(200, `{"errcode":{}}`, "answer is unreadable: errcode is no number")
	f(200, `{"errcode":1e3}`, "answer is unreadable: errcode is no number")
	f(502, "<html>Bad Gateway</html>", "answered with HTTP status 502")
	f(http.StatusFound, "", "answered with HTTP status 302")
	f(500, `{"errcode":40001}`, "answered with HTTP status 500")
}

func TestErrcodeForms(t *testing.T) {
	t.Parallel()
	f := func(answer, wantErr string) {
		t.Helper()
		c, _ := newWechat(t, answer).client()
		err := c.SendCustom(t.Context(), []byte("{}"))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != wantErr {
			t.Errorf("%q: error is %q, want %q", answer, got, wantErr)
		}
	}
	const op = "cgi-bin/message/custom/send: "
	f(`{}`, "")
	f(`{"errcode":null,"errmsg":null}`, "")
	f(`{"errcode":"0","errmsg":"ok"}`, "")
	f(`{"errcode":"45015","errmsg":"too late"}`, op+"45015 too late")
	f(`{"errcode":45015,"errmsg":{"a":1}}`, op+`45015 {"a":1}`)
	f(`{"errcode":45015}`, op+"45015 ")
	f(`{"errcode":45015,"errmsg":" two\nlines\u0000 "}`, op+"45015 two lines")
	f(`{"errcode":45015,"errmsg":"bad token TOKEN-ONE rid: 7"}`, op+"45015 bad token [redacted] rid: 7")
	f(`{"errcode":45015,"errmsg":"`+strings.Repeat("错", 300)+`"}`, op+"45015 "+strings.Repeat("错", 166)+"…")
}

// Users put control characters and broken UTF-8 into their names, and WeChat
// passes them on.
func TestNicknamesAreMended(t *testing.T) {
	t.Parallel()
	c, _ := newWechat(t, "{\"openid\":\"o1\",\n\"nickname\":\"a\x01b\tc\xff\"}").client()
	got, err := c.UserInfo(t.Context(), "o1")
	if want := "{\"openid\":\"o1\", \"nickname\":\"a b c\uFFFD\"}"; err != nil || string(got) != want {
		t.Errorf("UserInfo = %q, %v; want %q", got, err, want)
	}
}

// Token and secret stand in the query: no transport error shows it.
func TestTransportErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWechat(t, "")
	host := strings.TrimPrefix(w.URL, "http://")
	w.Close()
	c, _ := w.client()
	_, err := c.UserInfo(t.Context(), "o1")
	wantError(t, err, "cannot call cgi-bin/user/info: "+host+" cannot be reached: dial tcp "+host+": connect: connection refused")
	if httpc.KindOf(err) != httpc.Connect {
		t.Errorf("kind is %s", httpc.KindOf(err))
	}
	_, _, err = NewIssuer(w.config(), true).Token(t.Context(), false)
	wantError(t, err, "cannot call cgi-bin/token: "+host+" cannot be reached: dial tcp "+host+": connect: connection refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.UserInfo(ctx, "o1")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestWhitelistIsLoggedOnce(t *testing.T) {
	t.Parallel()
	const refused = `{"errcode":40164,"errmsg":"invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1"}`
	w := newWechat(t, refused, refused, refused, refusal(40003), `{"errcode":0}`, `{"errcode":0}`)
	c, _ := w.client()
	for range 6 {
		c.SendCustom(t.Context(), []byte("{}"))
	}
	logs := w.logs.String()
	if strings.Count(logs, "\n") != 2 || strings.Count(logs, "level=ERROR") != 1 || strings.Count(logs, "level=INFO") != 1 ||
		!strings.Contains(logs, "ip=203.0.113.7") || !strings.Contains(logs, "appid="+appID) || !strings.Contains(logs, "IP白名单") {
		t.Errorf("log is\n%s", logs)
	}
}
