package sim

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lines is an output that a test can wait on.
type lines struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	first chan struct{} // closed once a whole greeting was written
	once  sync.Once
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	if strings.Contains(l.buf.String(), "set a fault") {
		l.once.Do(func() { close(l.first) })
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestServeCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &lines{first: make(chan struct{})}
	var errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"--listen", "127.0.0.1:0", "--account", "wxFlag:s3cret-of-flag:tok"},
			[]Account{{AppID: testApp, Secret: testSecret}}, out, &errs)
	}()
	<-out.first
	_, rest, _ := strings.Cut(out.String(), "simulated WeChat on ")
	base, _, _ := strings.Cut(rest, "\n")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for query, want := range map[string]string{
		"appid=wxFlag&secret=s3cret-of-flag":         "access_token",
		"appid=" + testApp + "&secret=" + testSecret: "access_token",
		"appid=wxOther&secret=x":                     "40013",
	} {
		resp, err := client.Get(base + "/cgi-bin/token?grant_type=client_credential&" + query)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s", query, body)
		}
	}
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
	NoSecrets(t, []string{testSecret, "s3cret-of-flag"}, out.String(), errs.String())
}

func TestPushCommand(t *testing.T) {
	var mu sync.Mutex
	var last got
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		last = got{query: r.URL.RawQuery, body: string(body)}
		mu.Unlock()
		switch r.URL.Path {
		case "/ok":
			io.WriteString(w, "success")
		case "/reply":
			f := look(body)
			io.WriteString(w, "<xml><ToUserName>"+f.from+"</ToUserName><FromUserName>"+f.to+"</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>回答</Content></xml>")
		case "/echo":
			io.WriteString(w, r.URL.Query().Get("echostr"))
		default:
			w.WriteHeader(500)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "push.xml")
	if err := os.WriteFile(file, []byte("<xml><FromUserName>oFile</FromUserName></xml>"), 0o600); err != nil {
		t.Fatal(err)
	}
	accounts := []Account{
		{AppID: testApp, Token: testToken, AESKey: testKey, OriginalID: testGH},
		{AppID: "wxShop", Token: "shopToken", Kind: KindShop},
	}
	f := func(wantCode int, wantOut, wantErr string, args ...string) got {
		t.Helper()
		var out, errs bytes.Buffer
		code := Run(t.Context(), append([]string{"push"}, args...), accounts, &out, &errs)
		if code != wantCode || !strings.Contains(out.String(), wantOut) || !strings.Contains(errs.String(), wantErr) {
			t.Errorf("push %q: exit %d\nstdout %s\nstderr %s\nwant exit %d, %q, %q", args, code, &out, &errs, wantCode, wantOut, wantErr)
		}
		NoSecrets(t, []string{testKey, testToken, "shopToken"}, out.String(), errs.String())
		mu.Lock()
		defer mu.Unlock()
		return last
	}
	to := "--to=" + server.URL
	g := f(0, "success\ntaken without a reply\n", "", to+"/ok", "--app-id", testApp, "--content", "在吗")
	if opened := openSafe(t, g); !strings.Contains(opened, "<![CDATA[在吗]]>") || !strings.Contains(opened, testGH) {
		t.Errorf("sealed push: %s", opened)
	}
	g = f(0, "the reply:\n<xml>", "", to+"/reply", "--token", "t", "--event", "CLICK", "--key", "K", "--from", "oMe")
	if !strings.Contains(g.body, "<EventKey><![CDATA[K]]></EventKey>") || strings.Contains(g.body, "Content") || !strings.Contains(g.query, "openid=oMe") {
		t.Errorf("event: %s %s", g.query, g.body)
	}
	g = f(0, "success", "", to+"/ok", "--app-id", testApp, "--mode", "plain", "--set", "Recognition=hm", "--type", "voice", "--timestamp", "1767000000", "--nonce", "77", "--msg-id", "5")
	if !strings.Contains(g.body, "<Recognition><![CDATA[hm]]></Recognition>") || !strings.Contains(g.query, "timestamp=1767000000&nonce=77&") {
		t.Errorf("voice: %s %s", g.query, g.body)
	}
	if g = f(0, "success", "", to+"/ok", "--app-id", "wxShop", "--event", "channels_ec_order_pay"); !strings.HasPrefix(g.body, "{") {
		t.Errorf("shop push: %s", g.body)
	}
	for _, args := range [][]string{{file, to + "/ok", "--token", "t"}, {to + "/ok", "--token", "t", file}} {
		if g = f(0, "success", "", args...); g.body != "<xml><FromUserName>oFile</FromUserName></xml>" {
			t.Errorf("file: %s", g.body)
		}
	}
	f(0, "verified: ", "", to+"/echo", "--token", "t", "--verify")
	f(1, "", "cannot verify the server: it answered status 500", to+"/bad", "--token", "t", "--verify")
	f(1, "attempt 2  at 0.0s", "", to+"/bad", "--token", "t", "--attempts", "2")
	f(1, "bad: status 500 instead of 200\nno attempt was answered", "", to+"/bad", "--token", "t", "--schedule", "one")

	f(2, "", "--to is needed", "--token", "t")
	f(2, "", "--token is needed", to+"/ok")
	f(2, "", "flag provided but not defined: -nonsense", to, "--nonsense")
	f(2, "", "a sealed push needs --app-id and --aes-key", to, "--token", "t", "--mode", "safe")
	f(2, "", `--mode "odd" is none of`, to, "--token", "t", "--mode", "odd")
	f(2, "", `--schedule "odd" is none of closed-1s, `, to, "--token", "t", "--schedule", "odd")
	f(2, "", "bad schedule: 1000 attempts", to, "--token", "t", "--attempts", "1000")
	f(2, "", `--format "yaml" is neither`, to, "--token", "t", "--format", "yaml")
	f(2, "", "must be Name=value", to, "--token", "t", "--set", "a b=c")
	f(2, "", "one file at a time, got 2", to, "--token", "t", "a", "b")
	f(2, "", "cannot read the push: open", to, "--token", "t", file+".missing")
	f(0, "", "wx-gateway sim push --to URL", "-h")
}

func TestCommandLineFaults(t *testing.T) {
	f := func(wantCode int, wantErr string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := Run(t.Context(), args, nil, &out, &errs); code != wantCode || !strings.Contains(errs.String(), wantErr) {
			t.Errorf("%q: exit %d, %s, want %d, %q", args, code, &errs, wantCode, wantErr)
		}
		NoSecrets(t, []string{"topsecret"}, errs.String())
	}
	f(0, "wx-gateway sim [--listen", "-h")
	f(2, "not defined: -odd", "--odd")
	f(2, `unknown argument "pull"`, "pull")
	f(2, "must be app-id:secret", "--account", "topsecret")
	f(1, "cannot start the simulator on nowhere:x: ", "--listen", "nowhere:x")
}

func TestMainCommand(t *testing.T) {
	env := map[string]string{"WECHAT_APP_ID": testApp, "WECHAT_APP_TOKEN": testToken, "WECHAT_AES_KEY": testKey}
	var g got
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g = got{query: r.URL.RawQuery, body: string(body)}
	}))
	defer server.Close()
	var out bytes.Buffer
	code := Main([]string{"push", "--to", server.URL}, &out, &out, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if code != 0 {
		t.Fatalf("exit %d: %s", code, &out)
	}
	if opened := openSafe(t, g); !strings.Contains(opened, "你好") {
		t.Errorf("push with the account of the environment: %s", opened)
	}
}

func TestSplitConf(t *testing.T) {
	f := func(in, wantFile, wantRest string) {
		t.Helper()
		file, rest := SplitConf(strings.Fields(in))
		if file != wantFile || !slices.Equal(rest, strings.Fields(wantRest)) {
			t.Errorf("SplitConf(%s) = %q, %q", in, file, rest)
		}
	}
	f("", "", "")
	f("--conf c.json --listen x", "c.json", "--listen x")
	f("push -conf=c.json --to x", "c.json", "push --to x")
	f("push --conf", "", "push --conf")
}
