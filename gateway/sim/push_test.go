package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/crypt"
)

// got is what a server saw of one attempt.
type got struct {
	at    time.Duration
	query string
	body  string
	peer  string
}

// watch is a server that notes its requests and then does what answer says.
type watch struct {
	mu    sync.Mutex
	start time.Time
	seen  []got
}

func (s *watch) handler(answer func(n int, w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	s.start = time.Now()
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		s.mu.Lock()
		s.seen = append(s.seen, got{time.Since(s.start), r.URL.RawQuery, string(body), host})
		n := len(s.seen)
		s.mu.Unlock()
		answer(n, w, r)
	}
}

// requests returns what has come so far.
func (s *watch) requests() []got {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// outcomes is the result in short: number, start and outcome of each attempt.
func outcomes(r Result) string {
	var s []string
	for _, a := range r.Attempts {
		s = append(s, fmt.Sprintf("%d@%s %s", a.N, a.Started, a.Outcome))
	}
	if r.Answer != nil {
		s = append(s, fmt.Sprintf("answer %d", r.Answer.N))
	}
	return strings.Join(s, ", ")
}

const okReply = "<xml><ToUserName>" + DefaultFrom + "</ToUserName><FromUserName>" + DefaultTo +
	"</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>hi</Content></xml>"

func TestRepeatsAreIdentical(t *testing.T) {
	f := func(s Schedule, body []byte, identical bool) {
		t.Helper()
		var seen watch
		server := httptest.NewServer(seen.handler(func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }))
		defer server.Close()
		p := Push{URL: server.URL + "/wx?a=1", Token: testToken, AppID: testApp, AESKey: testKey, Body: body}
		if _, err := p.Send(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		all := seen.requests()
		if len(all) != 3 || !strings.HasPrefix(all[0].query, "a=1&signature=") {
			t.Fatalf("server saw %v", all)
		}
		for _, g := range all[1:] {
			if same := g.query == all[0].query && g.body == all[0].body; same != identical {
				t.Errorf("identical = %t: %v then %v", same, all[0], g)
			}
			if opened := openSafe(t, g); opened != string(body) {
				t.Errorf("sealed %q, opened %q", body, opened)
			}
		}
	}
	f(WeChat(), Fields{Content: "一"}.XML(), true)
	f(Schedules()["resealed"], Fields{Content: "二"}.XML(), false)
}

// openSafe does what a server does with a push of the safe mode.
func openSafe(t *testing.T, g got) string {
	t.Helper()
	q, err := url.ParseQuery(g.query)
	if err != nil {
		t.Fatal(err)
	}
	box, err := crypt.New(crypt.Config{AppID: testApp, Tokens: []string{testToken}, Keys: []string{testKey}})
	if err != nil {
		t.Fatal(err)
	}
	encrypt := xmlText(g.body, "Encrypt")
	if look([]byte(g.body)).json {
		_, rest, _ := strings.Cut(g.body, `"Encrypt":"`)
		encrypt, _, _ = strings.Cut(rest, `"`)
	}
	if want := crypt.Sign(testToken, q.Get("timestamp"), q.Get("nonce")); q.Get("signature") != want {
		t.Errorf("signature %s, want %s", q.Get("signature"), want)
	}
	if _, err := box.VerifyMsg(q.Get("msg_signature"), q.Get("timestamp"), q.Get("nonce"), []byte(encrypt)); err != nil {
		t.Fatal(err)
	}
	o, err := box.Open([]byte(encrypt))
	if err != nil {
		t.Fatal(err)
	}
	return string(o.Msg)
}

func TestBuild(t *testing.T) {
	at := time.Unix(1714037059, 0)
	// The official vector of a plain push: token AAAAA.
	p := Push{URL: "https://example.com/wx", Token: "AAAAA", At: at, Nonce: "486452656", Body: Fields{From: "oA", Content: "x", MsgID: "1", CreateTime: 1}.XML()}
	address, body, err := p.Build()
	if want := "https://example.com/wx?signature=899cf89e464efb63f54ddac96b0a0a235f53aa78&timestamp=1714037059&nonce=486452656&openid=oA"; err != nil || address != want {
		t.Errorf("plain address %s, %v", address, err)
	}
	if string(body) != string(p.Body) {
		t.Errorf("plain body %s", body)
	}

	sealed := func(mode Mode, body []byte) (got, Push) {
		t.Helper()
		p := Push{URL: "http://h/", Token: testToken, AppID: testApp, AESKey: testKey, Mode: mode, Body: body, At: at}
		address, out, err := p.Build()
		if err != nil {
			t.Fatal(err)
		}
		_, query, _ := strings.Cut(address, "?")
		return got{query: query, body: string(out)}, p
	}
	files, err := filepath.Glob("testdata/*")
	if err != nil || len(files) < 10 {
		t.Fatalf("testdata: %v, %v", files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		base := filepath.Base(name)
		if err != nil || !strings.HasPrefix(base, "msg-") && !strings.HasPrefix(base, "event-") {
			continue
		}
		want := look(raw)
		for _, mode := range []Mode{"", Safe, Compatible} {
			g, _ := sealed(mode, raw)
			if opened := openSafe(t, g); opened != string(raw) {
				t.Errorf("%s %q: opened %q", name, mode, opened)
			}
			q, _ := url.ParseQuery(g.query)
			if q.Get("encrypt_type") != "aes" || q.Get("openid") != want.from {
				t.Errorf("%s %q: query %s", name, mode, g.query)
			}
			have := look([]byte(g.body))
			if mode == Compatible {
				if have != want {
					t.Errorf("%s: the compatible body lost its plain fields: %v, want %v", name, have, want)
				}
			} else if have.from != "" || have.to != want.to || have.json != want.json {
				t.Errorf("%s: the safe body shows %v", name, have)
			}
		}
	}
	if g, _ := sealed(Compatible, []byte(`{}`)); strings.HasPrefix(g.body, "{,") {
		t.Errorf("compatible body of nothing: %s", g.body)
	}

	f := func(p Push, want string) {
		t.Helper()
		_, _, err := p.Build()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Build = %v, want %q", err, want)
		}
		NoSecrets(t, []string{testKey}, fmt.Sprint(err))
	}
	f(Push{URL: "example.com/wx"}, `cannot read the server's address "example.com/wx": it must start with http:// or https://`)
	f(Push{URL: "http://%zz/"}, `cannot read the server's address "http://%zz/": not a URL`)
	f(Push{URL: "http://h/", Mode: "secret"}, `cannot build the push: mode "secret" is none of plain, compatible, safe`)
	f(Push{URL: "http://h/", Token: "t", AppID: "a", AESKey: testKey[:42], Mode: Safe}, "cannot seal the push: ")
	f(Push{URL: "http://h/", Token: "t", AppID: "a", AESKey: testKey, Mode: Compatible, Body: []byte("text")}, "cannot build the push: no </xml> to put the sealed copy before")
}

// TestLikeTheCorpus compares our envelopes with the recorded ones.
func TestLikeTheCorpus(t *testing.T) {
	f := func(file, plain string, mode Mode) {
		t.Helper()
		recorded, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile("testdata/" + plain)
		if err != nil {
			t.Fatal(err)
		}
		p := Push{URL: "http://h/", Token: testToken, AppID: testApp, AESKey: testKey, Mode: mode, Body: body}
		_, out, err := p.Build()
		if err != nil {
			t.Fatal(err)
		}
		shape := func(b []byte) string {
			text := strings.Join(strings.Fields(string(b)), "")
			for _, around := range [][2]string{{"<Encrypt><![CDATA[", "]]>"}, {`"Encrypt":"`, `"`}} {
				if before, rest, ok := strings.Cut(text, around[0]); ok {
					_, after, _ := strings.Cut(rest, around[1])
					return before + around[0] + "…" + around[1] + after
				}
			}
			return text
		}
		if shape(out) != shape(recorded) {
			t.Errorf("%s:\ngot  %s\nwant %s", file, shape(out), shape(recorded))
		}
	}
	f("push-safe.msg-text.xml", "msg-text.xml", Safe)
	f("push-compatible.msg-text.xml", "msg-text.xml", Compatible)
	f("push-safe.event-channels_ec_order_pay.json", "event-channels_ec_order_pay.json", Safe)
}

func TestHeaders(t *testing.T) {
	f := func(body []byte, wantType string) {
		t.Helper()
		var h http.Header
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { h = r.Header.Clone() }))
		defer server.Close()
		r, err := Push{URL: server.URL, Token: "t", Body: body}.Send(t.Context(), WeChat())
		if err != nil || r.Answer == nil || r.Answer.Outcome != OutcomeSuccess {
			t.Fatalf("empty answer: %s, %v", outcomes(r), err)
		}
		if h.Get("User-Agent") != "Mozilla/4.0" || h.Get("Content-Type") != wantType || h.Get("Accept-Encoding") != "" {
			t.Errorf("headers %v", h)
		}
	}
	f(Fields{}.XML(), "text/xml")
	f(Fields{}.JSON(), "application/json")
}

func TestSourceAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Skipf("this system has no second loopback address: %v", err)
	}
	ln.Close()
	var seen watch
	server := httptest.NewServer(seen.handler(func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "oops") }))
	defer server.Close()
	if _, err := (Push{URL: server.URL, Token: "t", Body: Fields{}.XML()}).Send(t.Context(), Schedules()["other-address"]); err != nil {
		t.Fatal(err)
	}
	var peers []string
	for _, g := range seen.requests() {
		peers = append(peers, g.peer)
	}
	if want := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}; !slices.Equal(peers, want) {
		t.Errorf("came from %v, want %v", peers, want)
	}
}

func TestSendErrors(t *testing.T) {
	f := func(s Schedule, want string) {
		t.Helper()
		_, err := Push{URL: "http://127.0.0.1:1/", Token: "t"}.Send(t.Context(), s)
		if err == nil || err.Error() != want {
			t.Errorf("Send = %v, want %q", err, want)
		}
	}
	f(Schedule{Attempts: 101}, "bad schedule: 101 attempts, want 1 to 100")
	f(Schedule{Attempts: -1}, "bad schedule: -1 attempts, want 1 to 100")
	f(Schedule{Cut: -1}, "bad schedule: -1ns is not between 0 and 24h0m0s")
	f(Schedule{Start: []time.Duration{5, 4}}, "bad schedule: attempt 2 starts before attempt 1")
	f(Schedule{LocalAddr: []string{"here"}}, `bad schedule: "here" is not an IP address`)

	// Nobody listens: no error, but no answer either.
	r, err := Push{URL: "http://127.0.0.1:1/", Token: "t"}.Send(t.Context(), WeChat())
	if err != nil || r.Answer != nil || len(r.Attempts) != 3 || r.Attempts[2].Outcome != OutcomeClosed || r.Attempts[2].Err == "" {
		t.Errorf("refused: %s, %v", outcomes(r), err)
	}
	synctest.Test(t, func(t *testing.T) {
		var seen watch
		m, stop := serve(t, seen.handler(func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		defer stop()
		for _, s := range []Schedule{WeChat(), Schedules()["overlapping"]} {
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			r, err := Push{URL: "http://m/", Token: "t", Dial: m.dial}.Send(ctx, s)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "cannot finish the push: ") || outcomes(r) != "1@0s cut" {
				t.Errorf("ended early: %s, %v", outcomes(r), err)
			}
		}
	})
}

func TestVerify(t *testing.T) {
	f := func(answer http.HandlerFunc, want string) {
		t.Helper()
		server := httptest.NewServer(answer)
		defer server.Close()
		err := Push{URL: server.URL + "/wx", Token: testToken}.Verify(t.Context())
		if got := fmt.Sprint(err); !strings.HasPrefix(got, want) {
			t.Errorf("Verify = %v, want %q", err, want)
		}
	}
	f(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != "GET" || q.Get("signature") != crypt.Sign(testToken, q.Get("timestamp"), q.Get("nonce")) {
			w.WriteHeader(403)
		}
		io.WriteString(w, q.Get("echostr"))
	}, "<nil>")
	f(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "cannot verify the server: it answered status 403")
	f(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, `cannot verify the server: it answered "hello" instead of the echostr `)
	f(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "cannot verify the server: EOF")
	if err := (Push{URL: "x"}).Verify(t.Context()); err == nil {
		t.Error("verified an address that is none")
	}
}
