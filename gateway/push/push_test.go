package push

import (
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/crypt"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
)

const token = "push-test-token"

// deliverer answers every push with one verdict and keeps what it got.
type deliverer struct {
	verdict delivery.Verdict
	got     []delivery.Push
}

func (d *deliverer) Deliver(p *delivery.Push, _ delivery.Arrival) delivery.Verdict {
	d.got = append(d.got, *p)
	return d.verdict
}

// account is a handler of a plaintext account and what it did.
type account struct {
	*Handler
	deliverer
	forgotten []string
	refused   []string
}

func newAccount(t *testing.T, change func(*Config)) *account {
	t.Helper()
	box, err := crypt.New(crypt.Config{Tokens: []string{token}})
	if err != nil {
		t.Fatal(err)
	}
	a := &account{}
	c := Config{
		Service: "s", Kind: delivery.Official, Box: box, Deliver: &a.deliverer, Log: slog.New(slog.DiscardHandler),
		Forget:  func(openid string) { a.forgotten = append(a.forgotten, openid) },
		Refused: func(reason string) { a.refused = append(a.refused, reason) },
	}
	if change != nil {
		change(&c)
	}
	a.Handler = New(c)
	return a
}

// post pushes body, signed, and returns the answer.
func (a *account) post(t *testing.T, body string) (string, error) {
	t.Helper()
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	return a.request(url.Values{"timestamp": {stamp}, "nonce": {"n"}, "signature": {crypt.Sign(token, stamp, "n")}}, body)
}

func (a *account) request(q url.Values, body string) (string, error) {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	ctx.Request.SetRequestURI("/wx?" + q.Encode())
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetBodyString(body)
	err := a.Serve(ctx)
	return string(ctx.Response.Body()), err
}

func push(fields string) string {
	return "<xml><ToUserName>gh_1</ToUserName><FromUserName>user</FromUserName><CreateTime>1</CreateTime>" + fields + "</xml>"
}

// TestStaleUserInfo: what says that a user changed drops what is known of them.
func TestStaleUserInfo(t *testing.T) {
	f := func(fields string, want bool) {
		t.Helper()
		a := newAccount(t, nil)
		if _, err := a.post(t, push(fields)); err != nil {
			t.Fatal(err)
		}
		if got := len(a.forgotten) == 1 && a.forgotten[0] == "user"; got != want {
			t.Errorf("%s: forgotten %v, want %v", fields, a.forgotten, want)
		}
	}
	event := func(name string) string { return "<MsgType>event</MsgType><Event>" + name + "</Event>" }
	for _, name := range []string{
		"subscribe", "unsubscribe", "SCAN", "user_info_modified",
		"user_authorization_revoke", "user_authorization_cancellation", "user_authorization_of_tomorrow",
	} {
		f(event(name), true)
	}
	f(event("user_authorize_invoice"), false)

	// Where the platform speaks of a user, it is not who the push comes from.
	for fields, want := range map[string]string{
		event("user_info_modified") + "<OpenID>whom</OpenID>":        "user whom",
		event("user_authorization_revoke") + "<OpenID>whom</OpenID>": "user whom",
		event("user_info_modified") + "<openid>whom</openid>":        "user whom",
		event("user_info_modified") + "<OpenID>user</OpenID>":        "user",
		event("SCAN") + "<OpenID>whom</OpenID>":                      "user",
		event("user_info_modified") + "<OpenID><a>1</a></OpenID>":    "user",
	} {
		a := newAccount(t, nil)
		if _, err := a.post(t, push(fields)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(a.forgotten, " "); got != want {
			t.Errorf("%s: forgotten %q, want %q", fields, got, want)
		}
	}
	f(event("CLICK"), false)
	f("<MsgType>text</MsgType><Content>subscribe</Content>", false)
}

// TestUserInfoOf says which pushes carry user info.
func TestUserInfoOf(t *testing.T) {
	f := func(on bool, body string, want delivery.InfoMode) {
		t.Helper()
		a := newAccount(t, func(c *Config) { c.UserInfo = on })
		if _, err := a.post(t, body); err != nil {
			t.Fatal(err)
		}
		if got := a.got[0].Info; got != want {
			t.Errorf("%v, %s: %v, want %v", on, body, got, want)
		}
	}
	text := push("<MsgType>text</MsgType><Content>x</Content>")
	f(true, text, delivery.LookUp)
	f(false, text, delivery.NoInfo)
	f(true, push("<MsgType>event</MsgType><Event>unsubscribe</Event>"), delivery.Unsubscribed)
	f(true, `{"ToUserName":"gh_1","FromUserName":"user","CreateTime":1,"MsgType":"text","Content":"x"}`, delivery.NoInfo)
	f(true, "<xml><ToUserName>gh_1</ToUserName><CreateTime>1</CreateTime><MsgType>event</MsgType><Event>x</Event></xml>", delivery.NoInfo)
}

// TestTimestampWindow: a push may be as old, and as far ahead, as timeout says.
func TestTimestampWindow(t *testing.T) {
	sent := time.Unix(1_700_000_000, 0)
	f := func(timeout, age time.Duration, timestamp string, taken bool) {
		t.Helper()
		a := newAccount(t, func(c *Config) { c.Timeout = timeout })
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.SetRequestURI("/wx?timestamp=" + timestamp)
		q := readQuery(ctx)
		if err := a.checkAge(&q, sent.Add(age)); (err == nil) != taken {
			t.Errorf("timeout %s, age %s, timestamp %q: %v, want taken %v", timeout, age, timestamp, err, taken)
		}
	}
	const five, stamp = 5 * time.Minute, "1700000000"
	f(five, 0, stamp, true)
	f(five, five, stamp, true)
	f(five, -five, stamp, true)
	f(five, five+time.Second, stamp, false)
	f(five, -five-time.Second, stamp, false)
	f(five, 0, "", false)
	f(five, 0, "soon", false)
	f(five, 0, "01700000000", false)
	f(0, 1000*time.Hour, stamp, true)
	f(0, -1000*time.Hour, stamp, true)
	f(0, 0, "soon", true)
}

// TestEncryptTypes: what the query may say of a plaintext push.
func TestEncryptTypes(t *testing.T) {
	f := func(encryptType string, taken bool) {
		t.Helper()
		a := newAccount(t, nil)
		stamp := strconv.FormatInt(time.Now().Unix(), 10)
		q := url.Values{"timestamp": {stamp}, "nonce": {"n"}, "signature": {crypt.Sign(token, stamp, "n")}, "encrypt_type": {encryptType}}
		if _, err := a.request(q, push("<MsgType>text</MsgType><Content>x</Content>")); (err == nil) != taken {
			t.Errorf("encrypt_type %q: %v, want taken %v", encryptType, err, taken)
		}
	}
	f("", true)
	f("raw", true)
	f("RAW", false)
	f("aes", false) // there is no key
	f("des", false)
}

// TestRawStaysInTheClear where the backend says so, though the push came sealed.
func TestRawStaysInTheClear(t *testing.T) {
	h, request := benchHandler(t)
	d := &deliverer{}
	h.cfg.Deliver = d
	for seal, want := range map[bool]string{false: "the body", true: "<xml><Encrypt>"} {
		d.verdict = delivery.Verdict{Do: delivery.Reply, Reply: &msg.Reply{Type: "raw", Raw: []byte("the body"), Seal: seal}}
		ctx := request(true)
		if err := h.Serve(ctx); err != nil || !strings.HasPrefix(string(ctx.Response.Body()), want) {
			t.Errorf("seal %v: %.40q, %v; want %s…", seal, ctx.Response.Body(), err, want)
		}
	}
}

func TestEcho(t *testing.T) {
	f := func(fields, want string) {
		t.Helper()
		a := newAccount(t, func(c *Config) { c.Echo = true })
		got, err := a.post(t, push(fields))
		if err != nil {
			t.Fatal(err)
		}
		if want == "success" && got != want || !strings.Contains(got, want) {
			t.Errorf("%.100s: %.200q, want %q", fields, got, want)
		}
		if len(a.got) > 0 {
			t.Errorf("%.100s was delivered", fields)
		}
	}
	f("<MsgType>text</MsgType><Content>same</Content>", "<Content><![CDATA[same]]></Content>")
	f("<MsgType>text</MsgType><Content></Content>", "success")
	f("<MsgType>voice</MsgType><MediaId>m1</MediaId>", "<Voice><MediaId><![CDATA[m1]]></MediaId></Voice>")
	f("<MsgType>video</MsgType><MediaId>m2</MediaId>", "<Video><MediaId><![CDATA[m2]]></MediaId>")
	f("<MsgType>image</MsgType>", "success")
	f("<MsgType>event</MsgType><Event>subscribe</Event>", "<MsgType><![CDATA[text]]></MsgType>")
	f("<MsgType>event</MsgType><Event>VIEW</Event>", "success")
	long := strings.Repeat("长", msg.TextLimit)
	f("<MsgType>text</MsgType><Content>"+long+"</Content>", "<![CDATA["+long[:msg.TextLimit/3*3]+"]]>")
}

// TestInjectedIsCounted: the push is served, and counted as suspicious.
func TestInjectedIsCounted(t *testing.T) {
	a := newAccount(t, nil)
	body := push("<MsgType>text</MsgType><Content>x</Content><FromUserName>another</FromUserName>")
	if got, err := a.post(t, body); err != nil || got != "success" {
		t.Fatalf("%q, %v", got, err)
	}
	if len(a.refused) != 1 || a.refused[0] != "injected" || a.got[0].OpenID != "user" {
		t.Errorf("counted %q, delivered for %q; want injected, and the first name", a.refused, a.got[0].OpenID)
	}
}

// TestVerdicts: what WeChat hears for each.
func TestVerdicts(t *testing.T) {
	f := func(v delivery.Verdict, want string, fails bool) {
		t.Helper()
		a := newAccount(t, nil)
		a.verdict = v
		got, err := a.post(t, push("<MsgType>text</MsgType><Content>x</Content>"))
		if (err != nil) != fails || !strings.Contains(got, want) {
			t.Errorf("%+v: %q, %v; want %q", v, got, err, want)
		}
	}
	f(delivery.Verdict{Do: delivery.Success}, "success", false)
	f(delivery.Verdict{Do: delivery.Reply, Reply: &msg.Reply{Type: "text", Text: "hi"}}, "<Content><![CDATA[hi]]></Content>", false)
	f(delivery.Verdict{Do: delivery.Refuse}, "", true)
}

// TestProbeStaysHere: the gateway answers a probe itself, in the push's format,
// and nobody else hears of it.
func TestProbeStaysHere(t *testing.T) {
	f := func(body, begins string) {
		t.Helper()
		var heard []string
		a := newAccount(t, func(c *Config) {
			c.Interacted = func(openid, _ string, _ time.Time) { heard = append(heard, "interacted "+openid) }
			c.Answered = func(kind, _, _ string, _ int, _ time.Duration) { heard = append(heard, "answered "+kind) }
			c.Intercept = []Interceptor{interceptor(func(p *delivery.Push) { heard = append(heard, "intercepted "+p.Kind) })}
		})
		before := time.Now().Unix()
		got, err := a.post(t, body)
		if err != nil || !strings.HasPrefix(got, begins) {
			t.Fatalf("%q, %v; want %s…", got, err, begins)
		}
		if len(a.got) > 0 || len(heard) > 0 || len(a.refused) > 0 {
			t.Errorf("delivered %v, heard %q, refused %q", a.got, heard, a.refused)
		}
		m, err := msg.Parse([]byte(got))
		if err != nil {
			t.Fatal(err)
		}
		var p ProbeAnswer
		if err := codec.Unmarshal([]byte(m.Content), &p); err != nil {
			t.Fatalf("%q: %v", m.Content, err)
		}
		if m.ToUserName != "user" || m.FromUserName != "gh_1" || p.Probe != "ok" || p.Service != "s" || p.Time < before || p.Time > time.Now().Unix() {
			t.Errorf("answered %+v to %s from %s", p, m.ToUserName, m.FromUserName)
		}
	}
	f(push("<MsgType>wx_gateway_probe</MsgType>"), "<xml>")
	f(`{"ToUserName":"gh_1","FromUserName":"user","CreateTime":1,"MsgType":"wx_gateway_probe"}`, "{")

	// An event of that name is like any other.
	a := newAccount(t, nil)
	if _, err := a.post(t, push("<MsgType>event</MsgType><Event>wx_gateway_probe</Event>")); err != nil || len(a.got) != 1 {
		t.Errorf("an event of that name: delivered %d, %v", len(a.got), err)
	}
}

// TestWhatTheUserWrote: only a text message says what its user wrote, whatever
// other kinds carry as Content.
func TestWhatTheUserWrote(t *testing.T) {
	f := func(fields, want string) {
		t.Helper()
		a := newAccount(t, nil)
		heard := "nothing"
		a.cfg.Intercept = []Interceptor{listener(func(text string) { heard = text })}
		if _, err := a.post(t, push(fields)); err != nil {
			t.Fatal(err)
		}
		if heard != want || a.got[0].Question != want {
			t.Errorf("%s: interceptors hear %q, the question is %q; want %q", fields, heard, a.got[0].Question, want)
		}
	}
	f("<MsgType>text</MsgType><Content>1</Content>", "1")
	f("<MsgType>device_text</MsgType><Content>1</Content>", "")
	f("<MsgType>device_event</MsgType><Event>bind</Event><Content>1</Content>", "")
	f("<MsgType>event</MsgType><Event>of_tomorrow</Event><Content>1</Content>", "")
}

// interceptor sees pushes and leaves them to the next.
type interceptor func(*delivery.Push)

func (f interceptor) Intercept(p *delivery.Push, _ string, _ delivery.Arrival) (delivery.Verdict, bool) {
	f(p)
	return delivery.Verdict{}, false
}

// listener is an interceptor that hears what the user wrote.
type listener func(text string)

func (f listener) Intercept(_ *delivery.Push, text string, _ delivery.Arrival) (delivery.Verdict, bool) {
	f(text)
	return delivery.Verdict{}, false
}
