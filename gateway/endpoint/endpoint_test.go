package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/weixin"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, method := range []string{"GET", "HEAD"} {
		got := o.call(t, method+" /health")
		body := "OK\n"
		if method == "HEAD" {
			body = ""
		}
		if got.status != 200 || got.body != body || got.header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s = %d %q %q", method, got.status, got.body, got.header.Get("Content-Type"))
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := func(path, allow string, wrong ...string) {
		t.Helper()
		for _, method := range wrong {
			got := o.want(t, method+" "+path, 405, `{"code":405,"msg":"method must be `+allow+`"}`)
			if a := got.header.Get("Allow"); a != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, a, allow)
			}
		}
	}
	f("/health", "GET, HEAD", "POST", "PUT")
	for _, path := range []string{"/qr", "/user", "/snsauth2", "/orderdetail", "/refunddetail"} {
		f(path, "GET", "POST", "PUT", "DELETE")
	}
	f("/shorturl", "POST", "GET", "PUT")
	f("/tmplmsg", "POST", "GET", "PUT")
	f("/signjsapi", "POST, GET", "PUT", "DELETE")
}

func TestServiceParameter(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := func(line string) {
		t.Helper()
		// line holds %s for the service
		with := func(s string) string { return fmt.Sprintf(line, s) }
		o.want(t, with(""), 400, `{"code":400,"msg":"s(ervice) parameter expected"}`)
		o.want(t, with("nobody"), 404, `{"code":404,"msg":"unknown service name nobody"}`)
		o.want(t, with(strings.Repeat("n", 200)), 404, `{"code":404,"msg":"unknown service name `+strings.Repeat("n", 100)+`…"}`)
		o.want(t, with("bare"), 503, `{"code":503,"msg":"service bare cannot call WeChat: set its services[].wx-params.app-secret"}`)
	}
	f("GET /qr?t=temp&s=%s")
	f("GET /user?o=oUser1&s=%s")
	f("GET /snsauth2?code=" + testCode + "&s=%s")
	f("POST /shorturl u=http://example.com&s=%s")
	f(`POST /tmplmsg {"to":"o","tid":"t","data":{"k":"v"},"s":"%s"}`)
	f("POST /signjsapi u=http://example.com&s=%s")
	f("GET /orderdetail?o=1&s=%s")
	f("GET /refunddetail?o=1&s=%s")
	// a name that is no text
	o.want(t, "GET /user?s=%ff", 404, "{\"code\":404,\"msg\":\"unknown service name \uFFFD\"}")
	o.asked(t)
}

func TestQR(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const answer = `{"code":200,"msg":"OK","result":{` +
		`"ticketURL2ShowQrCode":"https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=gQH%2F7%2Bw%3D%3D",` +
		`"urlIncluedInQrcode":"http://weixin.qq.com/q/kZgfwMTm72WWPkovabbI"}}`
	f := func(query, asked string) {
		t.Helper()
		o.want(t, "GET /qr?s=demo&"+query, 200, answer)
		o.asked(t, asked)
	}
	f("t=temp", "qr 0 temp 30s")
	f("t=temp&sceneid=&e=", "qr 0 temp 30s")
	f("t=temp&sceneid=123&e=600", "qr 123 temp 10m0s")
	f("t=temp&sceneid=%E5%9C%BA+1&e=2592000", "qr 场 1 temp 720h0m0s")
	f("t=temp&e=0", "qr 0 temp 30s")
	f("t=temp&e=-5", "qr 0 temp 30s")
	f("t=forever&sceneid=shop", "qr shop forever 0s")
	f("t=forever&e=nonsense", "qr 0 forever 0s")

	f = func(query, msg string) {
		t.Helper()
		quoted, _ := json.Marshal(msg)
		o.want(t, "GET /qr?s=demo"+query, 400, `{"code":400,"msg":`+string(quoted)+`}`)
		o.asked(t)
	}
	f("", "t(type) parameter expected")
	f("&t=", "t(type) parameter expected")
	f("&t=once", `t(ype) value must be "temp" or "forever"`)
	f("&t=temp&e=soon", "e(xpire seconds) value must be a number up to 2592000")
	f("&t=temp&e=2592001", "e(xpire seconds) value must be a number up to 2592000")
	f("&t=temp&e=99999999999999999999", "e(xpire seconds) value must be a number up to 2592000")
}

func TestUser(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.want(t, "GET /user?s=demo&o=oUser1", 200, `{"code":200,"msg":"OK","userInfo":{"openid":"oUser1","tagid_list":[9007199254740993]}}`)
	o.asked(t, "lookup oUser1")
	o.want(t, "GET /user?s=demo", 400, `{"code":400,"msg":"o(penId) parameter expected"}`)
	o.asked(t)
}

func TestSNSAuth2(t *testing.T) {
	t.Parallel()
	f := func(query, body string, asked ...string) {
		t.Helper()
		o := newOffice(t)
		o.want(t, "GET /snsauth2?s=demo&code="+testCode+query, 200, body)
		o.asked(t, asked...)
	}
	const (
		follower = `{"code":200,"msg":"OK","openId":"oUser1","userInfo":{"openid":"oUser1","tagid_list":[9007199254740993]},"error":""}`
		granted  = `{"code":200,"msg":"OK","openId":"oUser1","userInfo":{"openid":"oUser1","nickname":"granted"},"error":""}`
	)
	f("", follower, "exchange "+testCode, "lookup oUser1")
	f("&scope=", follower, "exchange "+testCode, "lookup oUser1")
	f("&scope=base", follower, "exchange "+testCode, "lookup oUser1")
	f("&scope=snsapi_base", follower, "exchange "+testCode, "lookup oUser1")
	f("&scope=userinfo", granted, "exchange "+testCode, "granted oUser1")
	f("&scope=snsapi_userinfo", granted, "exchange "+testCode, "granted oUser1")

	o := newOffice(t)
	o.want(t, "GET /snsauth2?s=demo", 400, `{"code":400,"msg":"code parameter expected"}`)
	o.want(t, "GET /snsauth2?s=demo&scope=all&code="+testCode, 400,
		`{"code":400,"msg":"scope must be \"userinfo\", \"base\", \"snsapi_userinfo\" or \"snsapi_base\""}`)
	o.asked(t)

	// who it is is known even when nothing more is
	o.wx.noWho = &weixin.Error{Op: "sns/userinfo", Code: 48001, Msg: "api unauthorized"}
	const nothing = `{"code":200,"msg":"OK","openId":"oUser1","userInfo":null,"error":"sns/userinfo: 48001 api unauthorized"}`
	o.want(t, "GET /snsauth2?s=demo&scope=userinfo&code="+testCode, 200, nothing)
	o.want(t, "GET /snsauth2?s=demo&code="+testCode, 200, nothing)
}

func TestSNSAuth2RepeatedCode(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ask := func(scope, who string) {
		t.Helper()
		got := o.call(t, "GET /snsauth2?s=demo&scope="+scope+"&code="+testCode)
		if got.status != 200 || !strings.Contains(got.body, who) {
			t.Errorf("scope %s: %d %s", scope, got.status, got.body)
		}
	}
	// by code alone, whoever asks and for whatever scope
	ask("userinfo", "granted")
	ask("userinfo", "granted")
	ask("base", "tagid_list")
	o.asked(t, "exchange "+testCode, "granted oUser1", "lookup oUser1")

	// a code that a browser brought to the web authorization of this account
	_, err := o.set.cfg.Codes.Do(context.Background(), grant.Key("wxdemo", "other"), "a phone", func() (weixin.Grant, error) {
		return weixin.Grant{OpenID: "oPhone"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.call(t, "GET /snsauth2?s=demo&code=other"); !strings.Contains(got.body, `"openId":"oPhone"`) {
		t.Errorf("%d %s, want the browser's identity", got.status, got.body)
	}
	o.asked(t, "lookup oPhone")

	// a refusal is not remembered
	o.wx.err = &weixin.Error{Op: "sns/oauth2/access_token", Code: -1, Msg: "system error"}
	o.want(t, "GET /snsauth2?s=demo&code=third", 500, `{"code":500,"msg":"sns/oauth2/access_token: -1 system error","errcode":-1}`)
	o.wx.err = nil
	if got := o.call(t, "GET /snsauth2?s=demo&code=third"); got.status != 200 {
		t.Errorf("%d %s, want 200", got.status, got.body)
	}
}

func TestShortURL(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const answer = `{"code":200,"msg":"OK","short-url":"https://w.url.cn/s/AvCo6Ih"}`
	// in a form, in the query, in both: the form comes first
	o.want(t, "POST /shorturl s=demo&u=http%3A%2F%2Fa.b%2F%3Fx%3D1%26y%3D2", 200, answer)
	o.asked(t, "short http://a.b/?x=1&y=2")
	o.want(t, "POST /shorturl?s=demo&u=http%3A%2F%2Fa.b", 200, answer)
	o.asked(t, "short http://a.b")
	o.want(t, "POST /shorturl?s=nobody&u=http://query s=demo&u=http://form", 200, answer)
	o.asked(t, "short http://form")
	o.want(t, "POST /shorturl?u=http://query s=demo&u=", 200, answer)
	o.asked(t, "short http://query")

	// as curl -F sends it
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	w.WriteField("s", "demo")
	w.WriteField("u", "http://multipart")
	w.Close()
	if got := o.send(t, "POST", "/shorturl", w.FormDataContentType(), body.String()); got.status != 200 || got.body != answer {
		t.Errorf("multipart: %d %s", got.status, got.body)
	}
	o.asked(t, "short http://multipart")

	// not what a form looks like
	for _, contentType := range []string{"multipart/form-data; boundary=x", "multipart/form-data", "text/plain", ""} {
		got := o.send(t, "POST", "/shorturl", contentType, "s=demo&u=x")
		if got.status != 400 || got.body != `{"code":400,"msg":"s(ervice) parameter expected"}` {
			t.Errorf("Content-Type %q: %d %s", contentType, got.status, got.body)
		}
	}
	o.want(t, "POST /shorturl s=demo", 400, `{"code":400,"msg":"u(rl) parameter expected"}`)
	o.asked(t)
}

func TestSignJSAPI(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := func(line, signed string) string {
		t.Helper()
		got := o.call(t, line)
		var a struct {
			Code   int
			Msg    string
			Params struct {
				Nonce, NonceStr, Signature, AppID string
				Timestamp                         json.Number
			}
		}
		if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.status != 200 || a.Code != 200 || a.Msg != "OK" {
			t.Fatalf("%s: %d %s", line, got.status, got.body)
		}
		p := a.Params
		if p.AppID != "wxdemo" || p.Timestamp != "1414587457" || p.Nonce == "" || p.NonceStr != p.Nonce {
			t.Errorf("%s: %s", line, got.body)
		}
		if want := crypt.SignJSAPI(testTicket, p.Nonce, 1414587457, signed); p.Signature != want {
			t.Errorf("%s: signature %s, want that of %s, %s", line, p.Signature, signed, want)
		}
		for _, key := range []string{"nonce", "timestamp", "signature", "appId", "nonceStr"} {
			if !strings.Contains(got.body, `"`+key+`":`) {
				t.Errorf("%s: no %s in %s", line, key, got.body)
			}
		}
		return p.Nonce
	}
	a := f("POST /signjsapi s=demo&u=http%3A%2F%2Fmp.weixin.qq.com%3Fparams%3Dvalue", "http://mp.weixin.qq.com?params=value")
	b := f("GET /signjsapi?s=demo&u=http%3A%2F%2Fmp.weixin.qq.com%3Fparams%3Dvalue%23part", "http://mp.weixin.qq.com?params=value")
	if a == b {
		t.Errorf("the nonce %s was used twice", a)
	}
	o.asked(t, "ticket", "ticket")
	o.want(t, "GET /signjsapi?s=demo", 400, `{"code":400,"msg":"u(rl) parameter expected"}`)
}

func TestOrders(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.want(t, "GET /orderdetail?s=demo&o=3704612354559743232", 200, `{"code":200,"msg":"OK","order":{"order_id":3704612354559743232,"price":1.50}}`)
	o.want(t, "GET /refunddetail?s=demo&o=2000000192838475665", 200, `{"code":200,"msg":"OK","aftersaleOrder":{"after_sale_order_id":2000000192838475665}}`)
	o.asked(t, "order 3704612354559743232", "aftersale 2000000192838475665")
	o.want(t, "GET /orderdetail?s=demo", 400, `{"code":400,"msg":"o(rder id) parameter expected"}`)
	o.want(t, "GET /refunddetail?s=demo", 400, `{"code":400,"msg":"o(rder id) parameter expected"}`)
}

// Every endpoint passes WeChat's refusal on, and says when there was no answer.
func TestFaults(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	lines := []string{
		"GET /qr?s=demo&t=temp",
		"GET /user?s=demo&o=oUser1",
		"GET /snsauth2?s=demo&code=" + testCode,
		"POST /shorturl s=demo&u=http://example.com",
		`POST /tmplmsg {"s":"demo","to":"o","tid":"t","data":{"k":"v"}}`,
		"POST /signjsapi s=demo&u=http://example.com",
		"GET /orderdetail?s=demo&o=1",
		"GET /refunddetail?s=demo&o=1",
	}
	f := func(err error, status int, body string) {
		t.Helper()
		o.wx.err = err
		for _, line := range lines {
			o.want(t, line, status, body)
		}
	}
	f(fmt.Errorf("cannot ask: %w", &weixin.Error{Op: "cgi-bin/x", Code: 40003, Msg: "invalid openid, rid: 1-2-3"}), 500,
		`{"code":500,"msg":"cannot ask: cgi-bin/x: 40003 invalid openid, rid: 1-2-3","errcode":40003}`)
	f(&httpc.Error{Kind: httpc.Connect, Err: errors.New("api.weixin.qq.com cannot be reached")}, 502, `{"code":502,"msg":"api.weixin.qq.com cannot be reached"}`)
	f(&httpc.Error{Kind: httpc.Timeout, Err: errors.New("did not answer in time")}, 504, `{"code":504,"msg":"did not answer in time"}`)
	f(fmt.Errorf("cannot renew: %w", context.DeadlineExceeded), 504, `{"code":504,"msg":"cannot renew: context deadline exceeded"}`)
	f(errors.New("cannot read the answer"), 500, `{"code":500,"msg":"cannot read the answer"}`)
	f(errors.New(strings.Repeat("x", 5000)), 500, `{"code":500,"msg":"`+strings.Repeat("x", 1000)+`…"}`)
}

func TestTmplMsg(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const answer = `{"code":200,"msg":"OK","errcode":0,"errmsg":"ok","msgid":3141592653589793238}`
	f := func(fields, sent string) {
		t.Helper()
		o.want(t, `POST /tmplmsg {"s":"demo","to":"oUser1","tid":"T1",`+fields+`}`, 200, answer)
		if o.wx.sent != sent {
			t.Errorf("%s\nsent %s\nwant %s", fields, o.wx.sent, sent)
		}
	}
	const head = `{"touser":"oUser1","template_id":"T1",`

	// values as text, whatever they were; numbers digit for digit
	f(`"data":{"k":"v"}`, head+`"data":{"k":{"value":"v"}}}`)
	f(`"data":{"a":9007199254740993,"b":1.50,"c":-1e3,"d":true,"e":null,"f":""}`,
		head+`"data":{"a":{"value":"9007199254740993"},"b":{"value":"1.50"},"c":{"value":"-1e3"},"d":{"value":"true"},"e":{"value":""},"f":{"value":""}}}`)
	f(`"data":{"k":"<a> & \"你\"\n"}`, head+`"data":{"k":{"value":"<a> & \"你\"\n"}}}`)
	// as WeChat takes them
	f(`"data":{"a":{"value":"v","color":"#173177"},"b":{"value":39.80,"other":[1]},"c":{"value":null}}`,
		head+`"data":{"a":{"value":"v","color":"#173177"},"b":{"value":"39.80"},"c":{"value":""}}}`)
	// where it leads
	f(`"url":"https://e.x/?a=1&b=2","data":{"k":"v"}`, head+`"url":"https://e.x/?a=1&b=2","data":{"k":{"value":"v"}}}`)
	f(`"url":"","mp":{"appid":"wxmini","pagepath":"p/i?x=1"},"data":{"k":"v"}`,
		head+`"miniprogram":{"appid":"wxmini","pagepath":"p/i?x=1"},"data":{"k":{"value":"v"}}}`)
	f(`"mp":{"appid":"wxmini"},"data":{"k":"v"}`, head+`"miniprogram":{"appid":"wxmini"},"data":{"k":{"value":"v"}}}`)
	f(`"mp":{"pagepath":"p"},"data":{"k":"v"}`, head+`"data":{"k":{"value":"v"}}}`)
	// fields that mean nothing here, and null
	f(`"url":null,"mp":null,"x":{"y":[]},"data":{"k":"v"}`, head+`"data":{"k":{"value":"v"}}}`)

	// an id that is none
	for id, want := range map[string]string{"": `""`, "x1": `"x1"`, "007": `"007"`, "0": `0`} {
		o.wx.msgID = id
		o.want(t, `POST /tmplmsg {"s":"demo","to":"o","tid":"T","data":{"k":"v"}}`, 200,
			`{"code":200,"msg":"OK","errcode":0,"errmsg":"ok","msgid":`+want+`}`)
	}
}

func TestTmplMsgRefuses(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	f := func(body, msg string) {
		t.Helper()
		quoted, _ := json.Marshal(msg)
		quoted = bytes.ReplaceAll(quoted, []byte(`\u2026`), []byte("…"))
		got := o.send(t, "POST", "/tmplmsg", "application/json", body)
		if want := `{"code":400,"msg":` + string(quoted) + `}`; got.status != 400 || got.body != want {
			t.Errorf("%.80s\n got %d %s\nwant 400 %s", body, got.status, got.body, want)
		}
	}
	f(`{"s":"demo"}`, "to(user id) parameter expected")
	f(`{"s":"demo","to":"o"}`, "tid(template id) parameter expected")
	f(`{"s":"demo","to":"o","tid":"t"}`, "data parameter as a map expected")
	f(`{"s":"demo","to":"o","tid":"t","data":{}}`, "data parameter as a map expected")
	f(`{"s":"demo","to":"o","tid":"t","data":null}`, "data parameter as a map expected")
	const no = ` must be text, a number or {"value":…,"color":…}`
	f(`{"s":"demo","to":"o","tid":"t","data":{"k":["v"]}}`, "data value k"+no)
	f(`{"s":"demo","to":"o","tid":"t","data":{"k":{"v":1}}}`, "data value k"+no)
	f(`{"s":"demo","to":"o","tid":"t","data":{"k":{"value":{}}}}`, "data value k"+no)
	f(`{"s":"demo","to":"o","tid":"t","data":{"z":[],"k":{"value":"v","color":1},"l":[]}}`, "data value k"+no)

	// no JSON object
	for _, body := range []string{"", "s=demo", "[]", `"s"`, `{"s":1}`, `{"data":[]}`, "{\"s\":\"\xff\"}", `{"s":"demo"}x`, strings.Repeat("[", 60_000)} {
		got := o.send(t, "POST", "/tmplmsg", "application/json", body)
		if got.status != 400 || !strings.HasPrefix(got.body, `{"code":400,"msg":"body as a JSON object expected: `) {
			t.Errorf("%.40q: %d %s", body, got.status, got.body)
		}
	}
	got := o.send(t, "POST", "/tmplmsg", "application/json", `{"s":"`+strings.Repeat("x", maxJSON)+`"}`)
	if got.status != http.StatusRequestEntityTooLarge || got.body != `{"code":413,"msg":"body must not exceed 65536 bytes"}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	o.asked(t)
}
