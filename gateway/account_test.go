package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wx-gateway/conf"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/sim"
	"wx-gateway/gateway/weixin"
)

// TestPolicy: what late-reply says reaches the clock, words to pick up only
// where the configuration has them.
func TestPolicy(t *testing.T) {
	f := func(lateReply, ack string, words ...string) {
		t.Helper()
		c, _, err := conf.Parse([]byte(`{"listen-port": 1, "services": [{"name": "a", "late-reply": `+lateReply+`}]}`), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		p := policy(&c.Services[0])
		if diff := cmp.Diff(words, p.PickupWords); diff != "" || !strings.Contains(p.Ack, ack) || (ack == "") != (p.Ack == "") {
			t.Errorf("%s: ack %q, want one with %q; words -want +got:\n%s", lateReply, p.Ack, ack, diff)
		}
	}
	f(`null`, "")
	f(`{"via": "customer-service"}`, "")
	f(`{"via": "customer-service", "pickup-words": ["1"]}`, "", "1")
	f(`{"via": "pickup"}`, "「继续」", "继续")
	f(`{"via": "pickup", "pickup-words": ["1", "2"]}`, "「1」", "1", "2")
	f(`{"via": "pickup", "ack": ""}`, "", "继续")
	f(`{"via": "pickup", "ack": "wait"}`, "wait", "继续")
	f(`{"via": "off"}`, "")

	c, _, err := conf.Parse([]byte(`{"listen-port": 1, "services": [{"name": "a",
		"late-reply": {"max-wait": 7, "keep": "2h", "hold": false, "hold-limit": 3},
		"redeliver": {"for": "1h", "timeouts": 4, "max-age-reply": "5m"}}]}`), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := delivery.Policy{
		Via: delivery.CustomerService, MaxWait: 7e9, Keep: 7200e9, HoldLimit: 3,
		RedeliverFor: 3600e9, Timeouts: 4, MaxAgeReply: 300e9,
	}
	if diff := cmp.Diff(want, policy(&c.Services[0])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestUserInfoWithoutSecret: the keys are there, and say why there is none.
func TestUserInfoWithoutSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, param("app-secret", ""))
	wantContains(t, "answer", w.send(sim.Safe, text("x")), "echo: x")
	wantContains(t, "body", string(w.backend.calls("/msg/text")[0].body), `"userInfo":null`, `"userInfoError":"`, "app-secret is not set")
}

// TestWithoutAppID: what is off for want of an app-id says so, and not that
// the app-secret were missing.
func TestWithoutAppID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, param("app-id", ""), withoutKey())
	wantContains(t, "answer", w.send(sim.Plain, text("x")), "echo: x")
	wantContains(t, "push", string(w.backend.calls("/msg/text")[0].body), "wx-params.app-id is not set")
	status, body := w.get("/user?s=main&o=x")
	if status != 503 {
		t.Errorf("user: %d", status)
	}
	wantContains(t, "user", body, "wx-params.app-id")
	resp, err := http.Get("http://" + w.g.PublicAddr() + "/redirect?code=x")
	if err != nil {
		t.Fatal(err)
	}
	if status, body = readAll(t, resp); status != 503 {
		t.Errorf("redirect: %d", status)
	}
	wantContains(t, "redirect", body, "wx-params.app-id")
}

// TestUnhandledPathIsLoggedAtFirstSight: a backend without a handler for a kind
// of push is no fault that fills the log.
func TestUnhandledPathIsLoggedAtFirstSight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.backend.on("/msg/image", http.NotFound)
	image := sim.Fields{Type: "image", Extra: map[string]string{"MediaId": "m", "PicUrl": "http://x/y"}}
	for range 3 {
		if got := w.send(sim.Safe, image.XML()); got != "success" {
			t.Errorf("WeChat heard %q, want success", got)
		}
	}
	if n := len(w.backend.calls("/msg/image")); n != 3 {
		t.Errorf("%d calls for 3 pushes", n)
	}
	if n := strings.Count(w.logs.String(), "the backend answers 404 to this path"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	if strings.Contains(w.logs.String(), "level=ERROR") {
		t.Errorf("logged as an error:\n%s", w.logs)
	}
}

// TestKeyTTL: a push is known for as long as WeChat may repeat it.
func TestKeyTTL(t *testing.T) {
	f := func(service string, want time.Duration) {
		t.Helper()
		c, _, err := conf.Parse([]byte(`{"listen-port": 1, "services": [`+service+`]}`), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyTTL(&c.Services[0]); got != want {
			t.Errorf("%s: %s, want %s", service, got, want)
		}
	}
	f(`{"name": "a"}`, 10*time.Minute)
	f(`{"name": "a", "timeout": 0}`, 10*time.Minute)
	f(`{"name": "a", "timeout": 1000}`, 2000*time.Second)
	f(`{"name": "a", "kind": "shop"}`, 4*time.Hour)
}

// TestTicketWait: how long the access_token is not to be had is no reason to
// leave the ticket alone for as long: asking for it costs nothing until then.
func TestTicketWait(t *testing.T) {
	f := func(op string, code int, want time.Duration) {
		t.Helper()
		err := fmt.Errorf("cannot get it: %w", &weixin.Error{Op: op, Code: code})
		if got := ticketWait(err, time.Unix(1_700_000_000, 0)); got != want {
			t.Errorf("%s %d: %s, want %s", op, code, got, want)
		}
	}
	f("cgi-bin/ticket/getticket", 40164, 5*time.Minute)
	f("cgi-bin/stable_token", 40164, 0)
	f("cgi-bin/token", 45009, 0)
	if got := ticketWait(errors.New("no answer"), time.Now()); got != 0 {
		t.Errorf("no answer: %s", got)
	}
}

// TestAccountsDoNotShareConnections: WeChat leaves every call of one account
// hanging, more of them than there may be connections; another account's calls
// go through.
func TestAccountsDoNotShareConnections(t *testing.T) {
	t.Parallel()
	const other = "wx1111111111111111"
	release := make(chan struct{})
	hanging := make(chan struct{}, 600)
	wechat := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/cgi-bin/stable_token":
			var q struct{ Appid string }
			json.NewDecoder(r.Body).Decode(&q)
			fmt.Fprintf(rw, `{"access_token":"token of %s","expires_in":7200}`, q.Appid)
		case r.URL.Query().Get("access_token") == "token of "+testAppID:
			hanging <- struct{}{}
			<-release
		default:
			fmt.Fprint(rw, `{"errcode":0,"errmsg":"ok","msgid":1}`)
		}
	}))
	defer wechat.Close()
	w := newWorld(t, setTop("wx-api-base", wechat.URL), func(c map[string]any) {
		c["services"] = append(c["services"].([]any), map[string]any{"name": "other", "wx-params": map[string]any{"app-id": other, "app-secret": testSecret}})
	})
	send := func(service string) (int, string) {
		return w.post("/tmpl-msg", "application/json", `{"s":"`+service+`","to":"o","tid":"t","data":{"a":"b"}}`)
	}
	var wg sync.WaitGroup
	for range 600 {
		wg.Go(func() { send("main") })
	}
	for range 512 {
		<-hanging
	}
	if status, body := send("other"); status != 200 {
		t.Errorf("the other account: %d %s", status, body)
	}
	close(release)
	wg.Wait()
}

// TestPagesAreNotWorkers: the files of old have a workerNum of 5, which is for
// pushes; as many slow pages hold up no other browser.
func TestPagesAreNotWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, set("workerNum", 1))
	inside, hold := make(chan struct{}, 3), make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	w.backend.on("/login", func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-hold
	})
	var wg sync.WaitGroup
	for i := range 3 {
		code := w.platform.NewCode(testAppID, fmt.Sprint("user", i), "snsapi_base")
		wg.Go(func() {
			resp, err := http.Get("http://" + w.g.PublicAddr() + "/redirect?code=" + code)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("a browser was told %d", resp.StatusCode)
			}
		})
	}
	eventually(t, "three pages at once", func() bool { return len(inside) == 3 })
	release()
	wg.Wait()
}

// TestGrantedUserInfoIsFilled: what a user consented to tell has the fields
// that the reference always sends, too.
func TestGrantedUserInfoIsFilled(t *testing.T) {
	t.Parallel()
	wechat := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sns/oauth2/access_token":
			fmt.Fprint(rw, `{"access_token":"granted-0123456789","expires_in":7200,"openid":"user1","scope":"snsapi_userinfo"}`)
		case "/sns/userinfo":
			fmt.Fprint(rw, `{"openid":"user1","nickname":"Wei"}`)
		default:
			fmt.Fprint(rw, `{"access_token":"token-0123456789","expires_in":7200}`)
		}
	}))
	defer wechat.Close()
	w := newWorld(t, setTop("wx-api-base", wechat.URL), set("redirect-userinfo-flag", "to=login"))
	status, body := w.get("/sns-auth2?s=main&scope=userinfo&code=code1")
	if status != 200 {
		t.Errorf("sns-auth2: %d", status)
	}
	fields := []string{`"nickname":"Wei"`, `"sex":0`, `"privilege":[]`, `"unionid":""`}
	wantContains(t, "sns-auth2", body, fields...)
	resp, err := http.Get("http://" + w.g.PublicAddr() + "/redirect?to=login&code=code2")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	wantContains(t, "redirect-url", string(w.backend.calls("/login")[0].body), fields...)
}
