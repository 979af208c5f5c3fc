package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"wx-gateway/gateway/sim"
)

func TestTakenAddressEndsItAtOnce(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, wechat := platform(t)
	f := func(want string, change func(conf object)) {
		t.Helper()
		conf, _ := configuration(wechat, "")
		change(conf)
		file := confFile(t, "")
		writeConf(t, file, conf)
		p := start(t, []string{"CONF_FILE=" + file})
		if code := p.wait(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		want += ": listen tcp " + addr + ": bind: address already in use\n"
		if !strings.HasSuffix(p.out.String(), want) {
			t.Errorf("it wrote %q, want %q at the end", p.out, want)
		}
	}
	port := taken.Addr().(*net.TCPAddr).Port
	f("cannot listen on listen-host, listen-port", func(c object) { c["listen-port"] = port })
	f("cannot listen on internal.listen", func(c object) { c["internal"] = object{"listen": addr} })
}

func TestEnvironmentStartsOneAccount(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"WECHAT_APP_ID=" + appID, "WECHAT_APP_SECRET=" + appSecret, "WECHAT_APP_TOKEN=" + token, "LISTEN_PORT=0"})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.url(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	push := sim.Push{URL: "http://127.0.0.1:" + port + "/wechat", Token: token, Body: sim.Fields{Content: "你好"}.XML()}
	if err := push.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if got := answer(t, push); !strings.Contains(got, "<Content><![CDATA[你好]]></Content>") {
		t.Errorf("the echo is %s", got)
	}
	p.stop()
	sim.NoSecrets(t, []string{appSecret, token}, p.out.String())
}

// SIGHUP takes up a good file; a bad one, and one that needs a restart, is
// logged and changes nothing.
func TestSIGHUPReloads(t *testing.T) {
	t.Parallel()
	_, wechat := platform(t)
	conf, service := configuration(wechat, "")
	file := confFile(t, "")
	writeConf(t, file, conf)
	p := start(t, []string{"CONF_FILE=" + file})
	url := p.url()
	verify := func(path string) error { return sealed(url+path, nil).Verify(t.Context()) }
	if err := verify("/wx"); err != nil {
		t.Fatal(err)
	}

	service["listen-endpoints"] = object{"service-path": "/other"}
	writeConf(t, file, conf)
	p.signal(syscall.SIGHUP)
	p.find(`level=INFO msg=reloaded services=1`)
	if err := verify("/other"); err != nil {
		t.Error(err)
	}
	if verify("/wx") == nil {
		t.Error("the path before the reload is still served")
	}

	conf["listen-port"] = 1
	writeConf(t, file, conf)
	p.signal(syscall.SIGHUP)
	p.find(`level=ERROR msg="cannot reload; still serving the previous configuration: \[listen-port\] need a restart" why=SIGHUP`)

	conf["listen-port"], service["name"] = 0, ""
	writeConf(t, file, conf)
	p.signal(syscall.SIGHUP)
	p.find(`level=ERROR msg="cannot reload; still serving the previous configuration: services\[0\].name: [^\n]*" why=SIGHUP`)
	if err := verify("/other"); err != nil {
		t.Errorf("after bad files: %v", err)
	}
	p.stop()
}

func TestChangedFileReloads(t *testing.T) {
	t.Parallel()
	_, wechat := platform(t)
	conf, service := configuration(wechat, "")
	file := confFile(t, "")
	writeConf(t, file, conf)
	p := start(t, []string{"CONF_FILE=" + file})
	url := p.url()
	service["listen-endpoints"] = object{"service-path": "/other"}
	writeConf(t, file, conf)
	p.find(`level=INFO msg=reloaded services=1`)
	if err := sealed(url+"/other", nil).Verify(t.Context()); err != nil {
		t.Error(err)
	}

	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.find(`level=ERROR msg="cannot reload; still serving the previous configuration: line 1, [^\n]*" why="file changed"`)
	if err := sealed(url+"/other", nil).Verify(t.Context()); err != nil {
		t.Errorf("after a bad file: %v", err)
	}
	p.stop()
}

// A push that is open when SIGTERM comes gets its answer before the process ends.
func TestSIGTERMDrains(t *testing.T) {
	t.Parallel()
	_, wechat := platform(t)
	called, release := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(called)
		<-release
		fmt.Fprint(w, `{"msg":"just in time"}`)
	}))
	defer backend.Close()
	conf, _ := configuration(wechat, backend.URL)
	file := confFile(t, "")
	writeConf(t, file, conf)
	p := start(t, []string{"CONF_FILE=" + file})
	push := sealed(p.url()+"/wx", sim.Fields{Content: "hello"}.XML())
	got := make(chan sim.Result, 1)
	go func() {
		r, err := push.Send(t.Context(), sim.WeChat())
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	<-called
	p.signal(syscall.SIGTERM)
	p.find(`msg=stopping`)
	close(release)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	r := <-got
	if r.Answer == nil || r.Answer.N != 1 || !strings.Contains(string(r.Answer.Opened), "just in time") {
		t.Errorf("the open push ended as %+v", r.Attempts)
	}
	p.find(`msg=stopped`)
}

// Whatever happens, no secret stands in what the program writes.
func TestOutputHoldsNoSecret(t *testing.T) {
	t.Parallel()
	wx, wechat := platform(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/msg/image" {
			http.Error(w, "broken", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"msg":"hello"}`)
	}))
	defer backend.Close()
	conf, _ := configuration(wechat, backend.URL)
	file := confFile(t, "")
	writeConf(t, file, conf)
	p := start(t, []string{"CONF_FILE=" + file})
	url := p.url() + "/wx"
	internal := "http://" + p.find(`internal=(\S+)`)

	text := sim.Fields{Content: "hello"}.XML()
	answer(t, sealed(url, text))
	answer(t, sealed(url, sim.Fields{Type: "image"}.XML()))
	once := sim.WeChat()
	once.Attempts = 1
	for _, bad := range []sim.Push{
		{URL: url, Token: token, Body: text},                                                 // plain to a sealed account
		{URL: url, Token: "another-token", AppID: appID, AESKey: aesKey, Body: text},         // bad signature
		{URL: url, Token: token, AppID: "wxffffffffffffffff", AESKey: aesKey, Body: text},    // for another account
		{URL: url, Token: token, AppID: appID, AESKey: aesKey, Body: []byte("<xml><a></b>")}, // broken
	} {
		if r, err := bad.Send(t.Context(), once); err != nil {
			t.Error(err)
		} else if len(r.Attempts) == 1 && r.Attempts[0].Status == 0 {
			t.Errorf("no answer to %+v", bad)
		}
	}
	for _, header := range []string{"", "Bearer " + internalToken, "Bearer wrong"} {
		for _, path := range []string{"/user?s=main&o=oSim0000000000000000000000_1", "/sign-jsapi?s=main&u=https%3A%2F%2Fexample.com%2F"} {
			wx.RevokeToken(appID) // the gateway notices and heals
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, internal+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", header)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	http.DefaultClient.CloseIdleConnections()
	conf["services"] = append(conf["services"].([]any), object{"name": "main", "wx-params": object{"aes-key": aesKey[:42], "app-id": appID, "app-secret": appSecret + "x"}})
	writeConf(t, file, conf)
	p.signal(syscall.SIGHUP)
	p.find(`cannot reload`)
	p.stop()
	secrets := []string{token, aesKey, aesKey[:42], appSecret, backendSecret, internalToken}
	if tok := wx.CurrentToken(appID); tok != "" {
		secrets = append(secrets, tok)
	}
	sim.NoSecrets(t, secrets, p.out.String())
}

// The exit codes of "sim push" against the real thing.
func TestSimPush(t *testing.T) {
	t.Parallel()
	_, wechat := platform(t)
	conf, _ := configuration(wechat, "")
	file := confFile(t, "")
	writeConf(t, file, conf)
	p := start(t, []string{"CONF_FILE=" + file})
	to := p.url() + "/wx"
	f := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, stdout, stderr := runWith(t, nil, append([]string{"sim", "push", "--to", to, "--attempts", "1"}, args...)...)
		if code != wantCode || !strings.Contains(stdout+stderr, want) {
			t.Errorf("sim push %q: exit code %d, want %d\nit wrote %q, want %q in it", args, code, wantCode, stdout+stderr, want)
		}
	}
	f(0, "<Content><![CDATA[你好]]></Content>", "--conf", file)
	f(0, "verified: the server echoed the echostr", "--conf", file, "--verify")
	f(0, "taken without a reply", "--conf", file, "--event", "CLICK", "--key", "K")
	f(1, "status 403", "--conf", file, "--token", "another-token")
	f(1, "no attempt was answered", "--conf", file, "--mode", "plain")
	f(1, "status 404", "--conf", file, "--to", to+"/")
	f(2, "--token is needed")
	f(2, "flag provided but not defined: -contents", "--contents", "x")
	p.stop()
}
