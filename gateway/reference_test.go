package gateway

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// TestDifferences is the table "Differences from rosbit/go-wx-gateway", a row
// each: what is here, and that the mend brings back what is there.
func TestDifferences(t *testing.T) {
	t.Parallel()
	status := func(p sim.Push) int {
		t.Helper()
		target, body, err := p.Build()
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(target, "text/xml", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		code, _ := readAll(t, resp)
		return code
	}
	unset := func(key string) edit { return func(c map[string]any) { delete(service(c), key) } }

	t.Run("a filled aes-key refuses plaintext", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, unset("require-encryption"))
		if got := status(w.push(sim.Plain, text("x"))); got != 403 {
			t.Errorf("plaintext: %d, want 403", got)
		}
		wantContains(t, "log", w.logs.String(), "account main sends plaintext: choose 安全模式 in the console, or set require-encryption to false")
		w = newWorld(t, set("require-encryption", false))
		if got := status(w.push(sim.Plain, text("x"))); got != 200 {
			t.Errorf("plaintext with the mend: %d, want 200", got)
		}
	})
	t.Run("timeout absent is 300 s", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		p := w.push(sim.Safe, text("x"))
		for age, want := range map[time.Duration]int{290 * time.Second: 200, 310 * time.Second: 403, -290 * time.Second: 200, -310 * time.Second: 403} {
			p.At = time.Now().Add(-age)
			if got := status(p); got != want {
				t.Errorf("a push %s old: %d, want %d", age, got, want)
			}
		}
		w = newWorld(t, set("timeout", 0))
		p = w.push(sim.Safe, text("x"))
		p.At = time.Now().Add(-240 * time.Hour)
		if got := status(p); got != 200 {
			t.Errorf("an old push with the mend: %d, want 200", got)
		}
	})
	t.Run("https backends are verified", func(t *testing.T) {
		t.Parallel()
		backend := httptest.NewTLSServer(http.HandlerFunc(echoText))
		defer backend.Close()
		w := newWorld(t, set("msg-proxy-pass", backend.URL))
		if got := w.send(sim.Safe, text("x")); got != "success" {
			t.Errorf("an unverified backend: %q, want success", got)
		}
		w = newWorld(t, set("msg-proxy-pass", backend.URL), set("backend-tls", map[string]any{"insecure": true}))
		wantContains(t, "insecure", w.send(sim.Safe, text("x")), "echo: x")
		ca := filepath.Join(t.TempDir(), "ca.pem")
		os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: backend.Certificate().Raw}), 0o600)
		w = newWorld(t, set("msg-proxy-pass", backend.URL), set("backend-tls", map[string]any{"ca-file": ca}))
		wantContains(t, "ca-file", w.send(sim.Safe, text("x")), "echo: x")
	})
	t.Run("internal endpoints are guarded", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		resp, err := http.Get("http://" + w.g.PublicAddr() + "/user?s=main&o=x")
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := readAll(t, resp); code != 404 {
			t.Errorf("on the public listener: %d, want 404", code)
		}
	})
	t.Run("paths match exactly", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		p := w.push(sim.Safe, text("x"))
		p.URL += "2"
		if got := status(p); got != 404 {
			t.Errorf("/wx2: %d, want 404", got)
		}
	})
	t.Run("msg-proxy-pass is concatenated", func(t *testing.T) {
		t.Parallel()
		got := make(chan string, 1)
		backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { got <- r.RequestURI }))
		defer backend.Close()
		for base, want := range map[string]string{
			"/hook?to=":      "/hook?to=/msg/text",
			"/hook?a=1&p=":   "/hook?a=1&p=/msg/text",
			"/a/b":           "/a/b/msg/text",
			"/a//b/../c%2Fd": "/a//b/../c%2Fd/msg/text",
		} {
			w := newWorld(t, set("msg-proxy-pass", backend.URL+base))
			w.send(sim.Safe, text("x"))
			if uri := <-got; uri != want {
				t.Errorf("msg-proxy-pass %s: the backend saw %s, want %s", base, uri, want)
			}
		}
	})
}

// TestReferenceFaults: what the reference does wrong, a test each.
func TestReferenceFaults(t *testing.T) {
	t.Parallel()
	run := func(name string, f func(t *testing.T)) { t.Run(name, func(t *testing.T) { t.Parallel(); f(t) }) }

	run("video is dropped", func(t *testing.T) {
		w := newWorld(t)
		w.backend.answer("/msg/video", `{"type":"video","msg":"m2"}`)
		wantContains(t, "answer", w.send(sim.Safe, sim.Fields{Type: "video", Extra: map[string]string{"MediaId": "m1", "ThumbMediaId": "t1"}}.XML()), "<Video>", "m2")
		wantContains(t, "push", string(w.backend.calls("/msg/video")[0].body), `"MediaId":"m1"`, `"ThumbMediaId":"t1"`)
	})
	run("CLICK goes to event/event", func(t *testing.T) {
		w := newWorld(t)
		w.send(sim.Safe, event("CLICK", "K"))
		if len(w.backend.calls("/event/CLICK")) != 1 || len(w.backend.calls("/event/event")) != 0 {
			t.Errorf("calls %v", w.backend.calls(""))
		}
	})
	run("a signed foo kills the process", func(t *testing.T) {
		w := newWorld(t)
		for _, body := range []string{"<foo/>", "<xml>", "{", "", "\x00", "<xml><MsgType/></xml>"} {
			target, b, err := w.push(sim.Plain, []byte(body)).Build()
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Post(target, "text/xml", strings.NewReader(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			if code, _ := readAll(t, resp); code != 400 {
				t.Errorf("%q: %d, want 400", body, code)
			}
		}
		wantContains(t, "a good push after that", w.send(sim.Safe, text("x")), "echo: x")
	})
	run("a reply's ]]> breaks the XML", func(t *testing.T) {
		w := newWorld(t)
		answer, _ := json.Marshal(map[string]string{"msg": "a]]>b<c>&d"})
		w.backend.answer("/msg/text", string(answer))
		var reply struct{ Content string }
		if err := xml.Unmarshal([]byte(w.send(sim.Safe, text("x"))), &reply); err != nil || reply.Content != "a]]>b<c>&d" {
			t.Errorf("reply %q, %v", reply.Content, err)
		}
	})
	run("base-scope user info fails after OAuth", func(t *testing.T) {
		w := newWorld(t)
		code := w.platform.NewCode(testAppID, "user8", "snsapi_base")
		status, body := w.get("/sns-auth2?s=main&code=" + code)
		if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		wantContains(t, "answer", body, `"openId":"user8"`, `"userInfo":{`, `"openid":"user8"`, `"error":""`)
	})
	run("the template answer is null", func(t *testing.T) {
		w := newWorld(t)
		_, body := w.post("/tmpl-msg", "application/json", `{"s":"main","to":"u","tid":"T","data":{"k":"v"}}`)
		var answer struct {
			Code    int         `json:"code"`
			Errcode *int        `json:"errcode"`
			MsgID   json.Number `json:"msgid"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Code != 200 || answer.Errcode == nil || answer.MsgID == "" {
			t.Errorf("answer %s, %v", body, err)
		}
	})
	run("the ticket in the QR URL is not escaped", func(t *testing.T) {
		w := newWorld(t)
		_, body := w.get("/qr?s=main&t=forever&sceneid=x")
		var answer struct {
			Result struct {
				URL string `json:"ticketURL2ShowQrCode"`
			} `json:"result"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		_, query, _ := strings.Cut(answer.Result.URL, "?")
		if strings.ContainsAny(query, "+ /") || strings.Count(query, "=") != 1 {
			t.Errorf("URL %s holds a raw ticket", answer.Result.URL)
		}
		if values, err := url.ParseQuery(query); err != nil || w.platform.Scene(values.Get("ticket")) != "x" {
			t.Errorf("the ticket of %s leads nowhere", answer.Result.URL)
		}
	})
	run("64 cold callers fetch 120 tokens", func(t *testing.T) {
		w := newWorld(t)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() { w.post("/sign-jsapi", "application/x-www-form-urlencoded", "s=main&u=http://a/b") })
		}
		wg.Wait()
		for _, path := range []string{"cgi-bin/stable_token", "cgi-bin/ticket/getticket"} {
			if n := w.platform.CountCalls(path, testAppID); n != 1 {
				t.Errorf("%d calls of %s for 64 callers, want 1", n, path)
			}
		}
	})
	run("order ids lose digits", func(t *testing.T) {
		w := newWorld(t, set("kind", "shop"))
		const id = "3705115058471208928777"
		w.send(sim.Safe, fmt.Appendf(nil, `{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1767000000,"MsgType":"event","Event":"channels_ec_order_pay","order_info":{"order_id":%s,"pay_time":1767000000}}`, id))
		wantContains(t, "push", string(w.backend.calls("/event/channels_ec_order_pay")[0].body), id)
	})
	run("secrets are printed at start", func(t *testing.T) {
		w := newWorld(t)
		w.send(sim.Safe, text("x"))
		w.noSecrets(w.logs.String())
	})
}

// TestOpenConnectionsDoNotBlockStop: idle and half-sent requests do not keep
// the gateway from stopping.
func TestOpenConnectionsDoNotBlockStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, sent := range []string{"", "POST /wx HTTP/1.1\r\nHost: x\r\n", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := net.Dial("tcp", w.g.PublicAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, sent)
	}
	done := make(chan struct{})
	go func() { w.stop(); close(done) }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Error("Stop did not return within 20 s")
	}
}
