package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// TestModes sends a text in every mode and format: the backend sees the same
// JSON, the user the same answer, sealed where the push was.
func TestModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(mode sim.Mode, body []byte, sealed bool) {
		t.Helper()
		before := len(w.backend.calls("/msg/text"))
		r, err := w.push(mode, body).Send(context.Background(), sim.WeChat())
		if err != nil || r.Answer == nil {
			t.Fatalf("%s: %v %+v\n%s", mode, err, r, w.logs)
		}
		wantContains(t, "answer", string(r.Answer.Opened), "echo: 你好")
		if r.Answer.Sealed != sealed {
			t.Errorf("%s: answer sealed %v, want %v", mode, r.Answer.Sealed, sealed)
		}
		calls := w.backend.calls("/msg/text")
		if len(calls) != before+1 {
			t.Fatalf("%s: %d backend calls, want one", mode, len(calls)-before)
		}
		wantContains(t, "backend body", string(calls[before].body), `"Content":"你好"`, `"MsgType":"text"`)
	}
	f(sim.Plain, text("你好"), false)
	f(sim.Compatible, text("你好"), true)
	f(sim.Safe, text("你好"), true)
	f(sim.Plain, sim.Fields{Type: "text", Content: "你好"}.JSON(), false)
	f(sim.Safe, sim.Fields{Type: "text", Content: "你好"}.JSON(), true)
}

func TestVerifyURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.push(sim.Safe, nil).Verify(context.Background()); err != nil {
		t.Error(err)
	}
	p := w.push(sim.Safe, nil)
	p.Token = "another"
	if err := p.Verify(context.Background()); err == nil {
		t.Error("a wrong token was accepted")
	}
}

// TestBackendHeaders checks what a backend is told beside the body.
func TestBackendHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, set("name", "主号"), set("backend-secret", "a-secret-of-more-than-24-bytes"))
	w.send(sim.Safe, text("x"))
	h := w.backend.calls("/msg/text")[0].header
	for key, want := range map[string]string{
		"X-Wx-Service": "%E4%B8%BB%E5%8F%B7", "X-Wx-Appid": testAppID, "X-Wx-Openid": sim.DefaultFrom,
		"X-Wx-Attempt": "1", "X-Wx-Late": "customer-service", "Content-Type": "application/json; charset=UTF-8",
	} {
		if got := h.Get(key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"X-Wx-Push-Id", "X-Wx-Reply-Within", "X-Request-Id", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if h.Get(key) == "" {
			t.Errorf("no %s", key)
		}
	}
	if h.Get("Webhook-Id") != h.Get("X-Wx-Push-Id") {
		t.Error("webhook-id is not the push id")
	}
}

// TestUserInfo checks that user info is appended, cached, and dropped when the
// user changes.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := func() []byte {
		calls := w.backend.calls("/msg/text")
		return calls[len(calls)-1].body
	}
	eventually(t, "user info", func() bool { // a push waits a second for it
		w.send(sim.Safe, text("one"))
		return strings.Contains(string(last()), `"userInfo":{`)
	})
	w.send(sim.Safe, text("two"))
	if n := w.platform.CountCalls("cgi-bin/user/info", testAppID); n != 1 {
		t.Errorf("%d look-ups for two messages, want 1", n)
	}
	var p struct {
		UserInfo      map[string]any `json:"userInfo"`
		UserInfoError *string        `json:"userInfoError"`
	}
	if err := json.Unmarshal(last(), &p); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"openid", "nickname", "sex", "province", "city", "country", "headimgurl", "privilege", "unionid", "subscribe"} {
		if _, ok := p.UserInfo[key]; !ok {
			t.Errorf("userInfo has no %s: %v", key, p.UserInfo)
		}
	}
	if p.UserInfoError == nil || *p.UserInfoError != "" {
		t.Errorf("userInfoError = %v, want an empty one", p.UserInfoError)
	}
	w.send(sim.Safe, event("subscribe", ""))
	eventually(t, "a new look-up after a subscribe", func() bool { return w.platform.CountCalls("cgi-bin/user/info", testAppID) == 2 })
	w.send(sim.Safe, event("unsubscribe", ""))
	if n := w.platform.CountCalls("cgi-bin/user/info", testAppID); n != 2 {
		t.Errorf("%d look-ups after an unsubscribe, want none more", n)
	}
	wantContains(t, "unsubscribe", string(w.backend.calls("/event/unsubscribe")[0].body), `"subscribe":0`)
}

// TestOwnUserInfo: what a push says of its user in the gateway's name is not
// forwarded beside what the gateway knows.
func TestOwnUserInfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(sim.Safe, []byte(`<xml><ToUserName>gh_1</ToUserName><FromUserName>user1</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>x</Content><userInfo><openid>evil</openid></userInfo><MsgId>77</MsgId></xml>`))
	body := string(w.backend.calls("/msg/text")[0].body)
	if strings.Count(body, `"userInfo":`) != 1 || strings.Contains(body, "evil") {
		t.Errorf("the backend got %s", body)
	}
}

func TestUserInfoSlowOrDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	defer w.platform.Fault(sim.Fault{Path: "cgi-bin/user/info", Latency: 20 * time.Second})()
	began := time.Now()
	wantContains(t, "answer", w.sendBy(patient(), sim.Safe, text("x")), "echo: x")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the push took %s while user info hung", took)
	}
	wantContains(t, "body", string(w.backend.calls("/msg/text")[0].body), `"userInfo":null`, `"userInfoError":"`)
}

// TestAnswers is the table "What a backend may answer", through the whole
// gateway.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(answer string, want ...string) {
		t.Helper()
		w.backend.answer("/msg/text", answer)
		wantContains(t, answer, w.send(sim.Safe, text("x")), want...)
	}
	f(`{"type":"text","msg":"hello"}`, "<MsgType><![CDATA[text]]>", "hello")
	f(`{"msg":"hello"}`, "<MsgType><![CDATA[text]]>", "hello")
	f(`{"type":"image","msg":"m1"}`, "<Image><MediaId><![CDATA[m1]]>")
	f(`{"type":"voice","msg":"m1"}`, "<Voice><MediaId><![CDATA[m1]]>")
	f(`{"type":"video","msg":"m1"}`, "<Video>", "m1", "[no title]", "[no desc]")
	f(`{"type":"music","msg":"m1","musicUrl":"http://a/b"}`, "<ThumbMediaId><![CDATA[m1]]>", "http://a/b")
	f(`{"type":"news","articles":[{"title":"t","desc":"d","picUrl":"p","url":"u"}]}`, "<ArticleCount>1</ArticleCount>")
	f(`{"type":"transfer_customer_service","msg":"kf1@test"}`, "transfer_customer_service", "kf1@test")
	f(`{"MsgType":"text","Content":"cloud"}`, "cloud")
	f(`{"type":"text","msg":"a]]>b<c>&"}`, "a]]")
	for _, nothing := range []string{`{"type":"success"}`, `success`, ``, `null`, `[]`, `{"ok":true}`, `{"broken`, `<html>oops</html>`, `{"type":"unheard-of"}`} {
		w.backend.answer("/msg/text", nothing)
		if got := w.send(sim.Safe, text("x")); got != "success" {
			t.Errorf("backend answer %q: WeChat heard %q, want success", nothing, got)
		}
	}
}

func TestArrayAnswerFollowsByCustomerService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.answer("/msg/text", `[{"type":"text","msg":"one"},{"type":"image","msg":"m2"},{"type":"text","msg":"three"}]`)
	wantContains(t, "answer", w.send(sim.Safe, text("x")), "one")
	eventually(t, "two customer-service messages", func() bool { return len(w.platform.Sent(testAppID, sim.DefaultFrom)) == 2 })
	sent := w.platform.Sent(testAppID, sim.DefaultFrom)
	wantContains(t, "first", string(sent[0].JSON), `"m2"`)
	wantContains(t, "second", string(sent[1].JSON), `"three"`)
}

// TestBackendFailures: whatever a backend does wrong, WeChat hears success and
// the user sees no error.
func TestBackendFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, status := range []int{301, 401, 403, 404, 429, 500} {
		w.backend.on("/msg/text", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "/elsewhere")
			rw.WriteHeader(status)
		})
		if got := w.send(sim.Safe, text("x")); got != "success" {
			t.Errorf("status %d: WeChat heard %q, want success", status, got)
		}
	}
	if len(w.backend.calls("/elsewhere")) > 0 {
		t.Error("a redirect was followed")
	}
}

// TestClickReachesOldBackends: CLICK goes to /event/CLICK, and to the
// reference's /event/event where that is what the backend knows.
func TestClickReachesOldBackends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.answer("/event/CLICK", `{"msg":"new"}`)
	wantContains(t, "answer", w.send(sim.Safe, event("CLICK", "K")), "new")
	w.backend.on("/event/CLICK", http.NotFound)
	w.backend.answer("/event/event", `{"msg":"old"}`)
	wantContains(t, "answer", w.send(sim.Safe, event("CLICK", "K2")), "old")
	wantContains(t, "log", w.logs.String(), "/event/event")
}

func TestEcho(t *testing.T) {
	t.Parallel()
	w := newWorld(t, set("msg-proxy-pass", ""))
	wantContains(t, "text", w.send(sim.Safe, text("same")), "same")
	wantContains(t, "image", w.send(sim.Safe, sim.Fields{Type: "image", Extra: map[string]string{"MediaId": "m9", "PicUrl": "http://x/y"}}.XML()), "m9")
	wantContains(t, "subscribe", w.send(sim.Safe, event("subscribe", "")), "<MsgType><![CDATA[text]]>")
	if got := w.send(sim.Safe, event("VIEW", "http://x")); got != "success" {
		t.Errorf("VIEW: %q, want success", got)
	}
}

func post(t *testing.T, name, url string, body []byte, status int, reason string) {
	t.Helper()
	resp, err := http.Post(url, "text/xml", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	if got, text := readAll(t, resp); got != status || text != reason {
		t.Errorf("%s: %d %q, want %d %q", name, got, text, status, reason)
	}
}

// TestUnknownKinds: nothing that WeChat sends is dropped for being unknown.
func TestUnknownKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(sim.Safe, event("brand_new_2031", "k"))
	w.send(sim.Safe, sim.Fields{Type: "sticker_future"}.XML())
	w.send(sim.Safe, []byte(`{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1767000000,"MsgType":"event","Event":"complaint callback","order_id":18446744073709551615}`))
	for _, path := range []string{"/event/brand_new_2031", "/msg/sticker_future", "/event/complaint_callback"} {
		if len(w.backend.calls(path)) != 1 {
			t.Errorf("no call at %s", path)
		}
	}
	wantContains(t, "body", string(w.backend.calls("/event/complaint_callback")[0].body), `18446744073709551615`, `"complaint callback"`)
}

// TestTokenStorm: 100 cold callers of an account share one fetch.
func TestTokenStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if status, body := w.get(fmt.Sprintf("/user?s=main&o=user%d", i)); status != 200 {
				t.Errorf("/user: %d %s", status, body)
			}
		})
	}
	wg.Wait()
	if n := w.platform.CountCalls("cgi-bin/stable_token", testAppID); n != 1 {
		t.Errorf("%d token fetches for 100 callers, want 1", n)
	}
}

// TestRevokedTokenHeals: a token that somebody else has killed is replaced in
// the middle of a call.
func TestRevokedTokenHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if status, body := w.get("/user?s=main&o=a"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	w.platform.RevokeToken(testAppID)
	if status, body := w.get("/user?s=main&o=b"); status != 200 {
		t.Errorf("after the token was revoked: %d %s", status, body)
	}
}

// TestRestartFromCache: tokens are kept in the reference's files and read at
// the next start.
func TestRestartFromCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, setTop("token-cache-dir", dir))
	if status, body := w.post("/sign-jsapi", "application/x-www-form-urlencoded", "s=main&u=http://a/b"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, name := range []string{testAppID, testAppID + ".ticket"} {
		var info os.FileInfo
		eventually(t, name, func() (ok bool) {
			var err error
			info, err = os.Stat(filepath.Join(dir, name))
			return err == nil
		})
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, info.Mode().Perm())
		}
	}
	w.stop()
	w.start()
	if status, body := w.post("/sign-jsapi", "application/x-www-form-urlencoded", "s=main&u=http://a/b"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, path := range []string{"cgi-bin/stable_token", "cgi-bin/ticket/getticket"} {
		if n := w.platform.CountCalls(path, testAppID); n != 1 {
			t.Errorf("%d calls of %s over a restart, want 1", n, path)
		}
	}
}

// TestEndpoints calls every internal endpoint of the reference.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := func(status int, body string, want ...string) {
		t.Helper()
		if status != 200 {
			t.Errorf("%d %s", status, body)
		}
		wantContains(t, "answer", body, want...)
	}
	get := func(path string, want ...string) {
		t.Helper()
		status, body := w.get(path)
		f(status, body, want...)
	}
	form := func(path, body string, want ...string) {
		t.Helper()
		status, got := w.post(path, "application/x-www-form-urlencoded", body)
		f(status, got, want...)
	}
	get("/health", "OK\n")
	get("/qr?s=main&t=temp&sceneid=x&e=60", `"code":200`, `"msg":"OK"`, `"ticketURL2ShowQrCode":"`, `"urlIncluedInQrcode":"`)
	get("/user?s=main&o=user1", `"userInfo":{`, `"openid":"user1"`)
	code := w.platform.NewCode(testAppID, "user2", "snsapi_userinfo")
	get("/sns-auth2?s=main&scope=userinfo&code="+code, `"openId":"user2"`, `"userInfo":{`, `"error":""`)
	form("/short-url", "s=main&u=http://long/url", `"short-url":"`)
	form("/sign-jsapi", "s=main&u=http://a/b%23frag", `"params":{`, `"nonce":"`, `"timestamp":`, `"signature":"`, `"appId":"`+testAppID, `"nonceStr":"`)
	status, body := w.post("/tmpl-msg", "application/json", `{"s":"main","to":"user1","tid":"T1","data":{"k":"v","n":{"value":"x","color":"#fff"}}}`)
	f(status, body, `"code":200`, `"errcode":0`, `"msgid":`)
	get("/order?s=main&o=3705115058471208928", `"order":{`, `3705115058471208928`)
	get("/refund?s=main&o=2000000000123456789", `"aftersaleOrder":{`)

	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/qr?t=temp":         {400, "s(ervice) parameter expected"},
		"/qr?s=nobody":       {404, "unknown service name nobody"},
		"/qr?s=main":         {400, "t(type) parameter expected"},
		"/user?s=main":       {400, "o(penId) parameter expected"},
		"/sns-auth2?s=main":  {400, "code parameter expected"},
		"/sign-jsapi?s=main": {400, "u(rl) parameter expected"},
	} {
		status, body := w.get(path)
		if status != want.status || body != fmt.Sprintf(`{"code":%d,"msg":%q}`, want.status, want.text) {
			t.Errorf("%s: %d %s, want %d %s", path, status, body, want.status, want.text)
		}
	}
	defer w.platform.Fault(sim.Fault{Path: "cgi-bin/shorturl", Code: 40066, Msg: "invalid url"})()
	status, body = w.post("/short-url", "application/x-www-form-urlencoded", "s=main&u=http://x")
	if status != 500 {
		t.Errorf("a refusal by WeChat: status %d", status)
	}
	wantContains(t, "refusal", body, `"errcode":40066`, "invalid url")
}

// TestGuardOnThePublicPort: without a listener of their own the endpoints are
// there for private callers only, and never through a proxy that is not named.
func TestGuardOnThePublicPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c map[string]any) { delete(c, "internal") })
	call := func(header, value string) (int, string) {
		req, _ := http.NewRequest("GET", "http://"+w.g.PublicAddr()+"/user?s=main&o=x", nil)
		if header != "" {
			req.Header.Set(header, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return readAll(t, resp)
	}
	if status, body := call("", ""); status != 200 {
		t.Errorf("from loopback: %d %s", status, body)
	}
	for _, h := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "True-Client-IP", "Origin"} {
		status, body := call(h, "127.0.0.1")
		if status != 403 || !strings.HasPrefix(body, `{"code":403,"msg":"`) {
			t.Errorf("with %s: %d %s, want 403", h, status, body)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setTop("internal", map[string]any{"listen": "127.0.0.1:0", "token": "a-bearer-token-of-some-length"}))
	if status, body := w.get("/user?s=main&o=x"); status != 401 {
		t.Errorf("without a bearer: %d %s", status, body)
	}
	if status, body := w.get("/health"); status != 200 || body != "OK\n" {
		t.Errorf("health: %d %s", status, body)
	}
	req, _ := http.NewRequest("GET", "http://"+w.g.InternalAddr()+"/user?s=main&o=x", nil)
	req.Header.Set("Authorization", "Bearer a-bearer-token-of-some-length")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := readAll(t, resp); status != 200 {
		t.Errorf("with the bearer: %d %s", status, body)
	}
}

// TestWebAuthorization goes from the authorize page to the backend's page and
// back to the browser.
func TestWebAuthorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.on("/login", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Set-Cookie", "session=1; Path=/")
		rw.Header().Add("Set-Cookie", "other=2; Path=/")
		rw.Header().Set("Location", "http://example.com/home")
		rw.WriteHeader(302)
		fmt.Fprint(rw, "moved")
	})
	code := w.platform.NewCode(testAppID, "user7", "snsapi_base")
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, _ := http.NewRequest("GET", "http://"+w.g.PublicAddr()+"/redirect?code="+code+"&state=menu1", nil)
	req.Header.Set("Cookie", "mine=yes")
	req.Header.Set("X-Wx-Openid", "forged")
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	status, body := readAll(t, resp)
	if status != 302 || body != "moved" || resp.Header.Get("Location") != "http://example.com/home" || len(resp.Header.Values("Set-Cookie")) != 2 {
		t.Errorf("the browser got %d %q %v", status, body, resp.Header)
	}
	calls := w.backend.calls("/login")
	if len(calls) != 1 {
		t.Fatalf("%d posts, want 1", len(calls))
	}
	wantContains(t, "post", string(calls[0].body), `"openId":"user7"`, `"state":"menu1"`, `"appId":"`+testAppID, `"userInfo":{`, `"userInfoError":""`, `"requestURI":"/redirect?code=`)
	if calls[0].header.Get("Cookie") != "mine=yes" || calls[0].header.Get("X-Wx-Openid") == "forged" {
		t.Errorf("headers of the post: %v", calls[0].header)
	}
	if status, _ := readAll(t, mustGet(t, browser, "http://"+w.g.PublicAddr()+"/redirect?state=x")); status != 400 {
		t.Errorf("without a code: %d, want 400", status)
	}
}

func mustGet(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestReloadUnderLoad swaps the configuration while pushes come in: none is
// lost, a bad file changes nothing, and the new settings hold.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var sent, answered atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				r, err := w.push(sim.Safe, text("x")).Send(context.Background(), sim.Schedule{Attempts: 1, Cut: 5 * time.Second})
				if err == nil && r.Answer != nil && strings.Contains(string(r.Answer.Opened), "echo: x") {
					answered.Add(1)
				}
			}
		})
	}
	for i := range 20 {
		if i%5 == 4 {
			os.WriteFile(w.file, []byte(`{"broken`), 0o600)
			if err := w.g.Reload(); err == nil || !strings.Contains(err.Error(), "still serving the previous configuration") {
				t.Errorf("a broken file: %v", err)
			}
		}
		service(w.conf)["workerNum"] = 50 + i
		w.write()
		if err := w.g.Reload(); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if sent.Load() != answered.Load() {
		t.Errorf("%d pushes sent, %d answered", sent.Load(), answered.Load())
	}
	w.conf["listen-port"] = 1
	w.write()
	if err := w.g.Reload(); err == nil || !strings.Contains(err.Error(), "listen-port") {
		t.Errorf("a changed listen-port: %v, want a refusal that names it", err)
	}
}

// TestListenFails: an address in use is an error at once.
func TestListenFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, port, _ := net.SplitHostPort(w.g.PublicAddr())
	file := filepath.Join(t.TempDir(), "conf.json")
	os.WriteFile(file, fmt.Appendf(nil, `{"listen-host":"127.0.0.1","listen-port":%s,"services":[{"name":"a","wx-params":{"token":"t","app-id":"wx1"},"listen-endpoints":{"service-path":"/wx"}}]}`, port), 0o600)
	second := &world{t: t, file: file, logs: &syncBuffer{}}
	cfg, opt := second.options()
	g, err := New(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err == nil || !strings.Contains(err.Error(), "cannot listen") {
		t.Errorf("Start = %v, want an error about the address", err)
	}
}

// TestDrain: a push that is being answered when the gateway stops gets its
// answer.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.on("/msg/text", func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		echoText(rw, r)
	})
	got := make(chan string, 1)
	go func() {
		r, err := w.push(sim.Safe, text("last")).Send(context.Background(), sim.Schedule{Attempts: 1, Cut: 5 * time.Second})
		if err != nil || r.Answer == nil {
			got <- fmt.Sprint(err, r)
			return
		}
		got <- string(r.Answer.Opened)
	}()
	eventually(t, "the backend call", func() bool { return len(w.backend.calls("/msg/text")) == 1 })
	w.stop()
	wantContains(t, "answer", <-got, "echo: last")
}

// TestReady tells of each account whether a token could be had; one account's
// trouble does not take the gateway out of service.
func TestReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c map[string]any) {
		c["common-endpoints"].(map[string]any)["ready"] = "/ready"
	})
	eventually(t, "a token", func() bool {
		status, body := w.get("/ready")
		return status == 200 && strings.Contains(body, `"name":"main"`) && strings.Contains(body, `"token":"ok"`)
	})
	broken := newWorld(t, param("app-id", "wx0000000000000001"), func(c map[string]any) {
		c["common-endpoints"].(map[string]any)["ready"] = "/ready"
	})
	defer broken.platform.Fault(sim.Fault{Path: "cgi-bin/stable_token", Code: 40164, Msg: "invalid ip 203.0.113.7, not in whitelist"})()
	broken.stop()
	broken.start()
	eventually(t, "the reason in words", func() bool {
		status, body := broken.get("/ready")
		return status == 200 && strings.Contains(body, `"ok":false`) && strings.Contains(body, "203.0.113.7")
	})
}
