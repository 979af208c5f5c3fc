package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway/httpc"
)

// probedGateway is a running gateway with a backend that counts its calls.
type probedGateway struct {
	*process
	base  string
	calls atomic.Int64
}

func newProbed(t *testing.T, change func(conf, service object)) *probedGateway {
	t.Helper()
	g := &probedGateway{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.calls.Add(1)
		io.WriteString(w, "success")
	}))
	t.Cleanup(backend.Close)
	_, wechat := platform(t)
	c, s := configuration(wechat, backend.URL)
	if change != nil {
		change(c, s)
	}
	g.process = start(t, []string{"CONF_FILE=" + probeConf(t, c)})
	g.base = g.url()
	return g
}

func probeConf(t *testing.T, c object) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "conf.json")
	writeConf(t, name, c)
	return name
}

// front is a proxy before a gateway: request and answer may be spoilt.
func front(t *testing.T, target string, request func(*http.Request), answer func(*http.Response) error) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			if request != nil {
				request(r.Out)
			}
		},
		ModifyResponse: answer,
		Transport:      &http.Transport{DisableKeepAlives: true},
	})
	t.Cleanup(s.Close)
	return s.URL
}

// stranger is a server that is no gateway.
func stranger(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

var (
	probeTook = regexp.MustCompile(` in [0-9.]+[mµn]?s\b`)
	probeHost = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
)

// probeWith runs the command with a configuration that change makes differ from
// the gateway's; the output comes without the lines that all have in common.
func probeWith(t *testing.T, address string, change func(conf, service object), args ...string) (code int, out string) {
	t.Helper()
	c, s := configuration("http://127.0.0.1:1", "http://127.0.0.1:1")
	if change != nil {
		change(c, s)
	}
	code, stdout, stderr := runWith(t, map[string]string{"CONF_FILE": probeConf(t, c)}, append([]string{"check", "--probe", address}, args...)...)
	if stderr != "" {
		return code, stderr
	}
	_, out, found := strings.Cut(stdout, "the configuration is good\n")
	if !found {
		t.Fatalf("no word of the configuration in %q", stdout)
	}
	lines := strings.SplitAfter(probeHost.ReplaceAllString(probeTook.ReplaceAllString(out, " in 0s"), "HOST"), "\n")
	var kept strings.Builder
	for _, l := range lines {
		if !strings.HasPrefix(l, "probing service ") && !strings.HasPrefix(l, "warn  address: port ") {
			kept.WriteString(l)
		}
	}
	return code, kept.String()
}

func wantProbe(t *testing.T, what string, code int, out string, wantCode int, want string) {
	t.Helper()
	if code != wantCode || out != want {
		t.Errorf("%s: exit code %d, want %d\n%s\nwant\n%s", what, code, wantCode, out, want)
	}
}

const (
	shakenHands = "ok    handshake: the echostr came back in 0s\n"
	wentRound   = "ok    round trip: sealed both ways in 0s\n"
	sameClock   = "ok    clock: the gateway's clock is this machine's, the timeout is 5m0s\n"
	allWell     = "the gateway answers as WeChat wants it\n"
)

// in sets a key of an object of the service.
func in(group, key string, value any) func(conf, service object) {
	return func(_, s object) {
		if group != "" {
			s = s[group].(object)
		}
		s[key] = value
	}
}

// A gateway that is well, and what differs between it and the configuration
// that it is probed with.
func TestProbe(t *testing.T) {
	t.Parallel()
	g := newProbed(t, nil)
	f := func(what string, change func(conf, service object), wantCode int, want string) {
		t.Helper()
		code, out := probeWith(t, g.base+"/wx", change)
		wantProbe(t, what, code, out, wantCode, want)
	}
	f("well", nil, 0, shakenHands+wentRound+sameClock+"ok    plaintext: refused\n"+allWell)
	f("another token", in("wx-params", "token", "anotherToken"), 1,
		"FAIL  handshake: the gateway has another token; compare services[].wx-params.token there with the one here and with the console's Token\n")
	f("another key", in("wx-params", "aes-key", strings.Repeat("A", 43)), 1, shakenHands+
		"FAIL  round trip: the gateway has another aes-key; compare services[].wx-params.aes-key there with the one here and with the console's EncodingAESKey\n")
	f("another app-id", in("wx-params", "app-id", "wx0000000000000000"), 1, shakenHands+
		"FAIL  round trip: the gateway has another app-id; compare services[].wx-params.app-id there with the one here and with the console's AppID\n")
	f("no key here", func(c, s object) {
		delete(s["wx-params"].(object), "aes-key")
		delete(s, "require-encryption")
	}, 1, shakenHands+"FAIL  round trip: the gateway takes no plaintext pushes; set aes-key here as there, or require-encryption there to false\n")
	f("another name", in("", "name", "shop"), 0, shakenHands+wentRound+
		"warn  service: the gateway there calls it \"main\"; compare its configuration with this one\n"+sameClock+"ok    plaintext: refused\n"+allWell)
	f("timestamps not judged", in("", "timeout", 0), 0, shakenHands+wentRound+
		"ok    clock: the gateway's clock is this machine's; timestamps are not judged, timeout is 0\nok    plaintext: refused\n"+allWell)
	f("a shop", in("", "kind", "shop"), 0, shakenHands+wentRound+
		"ok    clock: the gateway's clock is this machine's; timestamps are not judged, timeout is 0\nok    plaintext: refused\n"+allWell)

	code, out := probeWith(t, g.base+"/other", in("listen-endpoints", "service-path", "/other"))
	wantProbe(t, "a path that is not served", code, out, 1,
		"FAIL  handshake: the gateway serves no such path; compare the path it is called with, letter by letter, with services[].listen-endpoints.service-path there, and see whether the proxy in front changes it\n")

	// A proxy may change the path; then the name tells the service.
	renamed := front(t, g.base, func(r *http.Request) { r.URL.Path = "/wx" }, nil)
	code, out = probeWith(t, renamed+"/hook?from=wechat", nil, "--service", "main")
	wantProbe(t, "a proxy that changes the path", code, out, 0, shakenHands+wentRound+sameClock+"ok    plaintext: refused\n"+allWell)

	if n := g.calls.Load(); n != 0 {
		t.Errorf("the backend heard of %d probes", n)
	}
	g.find(`msg=request .*kind=msg/wx_gateway_probe outcome=probe\n`)
	if strings.Contains(g.out.String(), "push=") {
		t.Errorf("a probe is told as a push:\n%s", g.out)
	}
}

// The whole output, with the lines that the other tests leave out.
func TestProbeOutput(t *testing.T) {
	t.Parallel()
	g := newProbed(t, nil)
	c, _ := configuration("http://127.0.0.1:1", "http://127.0.0.1:1")
	code, stdout, stderr := runWith(t, map[string]string{"CONF_FILE": probeConf(t, c)}, "check", "--probe="+g.base+"/wx?secret=1")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(g.base, "http://"))
	want := "the configuration is good\nprobing service \"main\" at " + g.base + "/wx\n" +
		"warn  address: port " + port + " is out of WeChat's reach, it calls 80 and 443 only; probe the public address, or put a proxy in front\n" +
		shakenHands + wentRound + sameClock + "ok    plaintext: refused\n" + allWell
	if got := probeTook.ReplaceAllString(stdout, " in 0s"); code != 0 || !strings.HasSuffix(got, want) || stderr != "" {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, got, stderr, want)
	}
}

// Accounts that take plaintext: because they have no key, or although they have one.
func TestProbePlaintext(t *testing.T) {
	t.Parallel()
	noKey := func(_, s object) {
		delete(s["wx-params"].(object), "aes-key")
		delete(s, "require-encryption")
	}
	g := newProbed(t, noKey)
	code, out := probeWith(t, g.base+"/wx", noKey)
	wantProbe(t, "no key", code, out, 0, shakenHands+"ok    round trip: in plaintext, as there is no aes-key in 0s\n"+sameClock+allWell)
	code, out = probeWith(t, g.base+"/wx", nil)
	wantProbe(t, "a key here only", code, out, 1, shakenHands+
		"FAIL  round trip: the gateway has no aes-key; set services[].wx-params.aes-key there to the console's EncodingAESKey, and reload\n")

	lax := in("", "require-encryption", false)
	g = newProbed(t, lax)
	code, out = probeWith(t, g.base+"/wx", lax)
	wantProbe(t, "not required", code, out, 0, shakenHands+wentRound+sameClock+
		"warn  plaintext: plaintext pushes are taken although there is an aes-key; choose 安全模式 in the console and set require-encryption to true\n"+allWell)
	code, out = probeWith(t, g.base+"/wx", nil)
	wantProbe(t, "required here only", code, out, 0, shakenHands+wentRound+sameClock+
		"warn  plaintext: plaintext pushes are taken although require-encryption is on; the gateway there runs another configuration: compare and reload it\n"+allWell)
}

// without takes a parameter out of the query, as some rewrite rules do.
func without(names ...string) func(*http.Request) {
	return func(r *http.Request) {
		q := r.URL.Query()
		for _, n := range names {
			q.Del(n)
		}
		r.URL.RawQuery = q.Encode()
	}
}

func onPost(f func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		if r.Method == http.MethodPost {
			f(r)
		}
	}
}

func setBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// Proxies that spoil what passes through them.
func TestProbeThroughBrokenProxies(t *testing.T) {
	t.Parallel()
	g := newProbed(t, nil)
	f := func(what string, request func(*http.Request), answer func(*http.Response) error, want string) {
		t.Helper()
		code, out := probeWith(t, front(t, g.base, request, answer)+"/wx", nil)
		wantProbe(t, what, code, out, 1, want)
	}
	const mend = "let the proxy in front pass the whole query on (nginx: a proxy_pass with $uri in it needs $is_args$args behind that)"
	f("no query", func(r *http.Request) { r.URL.RawQuery = "" }, nil,
		"FAIL  handshake: the query is lost on its way to the gateway; "+mend+"\n")
	f("no echostr", without("echostr"), nil,
		"FAIL  handshake: the answer is empty instead of the echostr; let the proxy in front pass the whole query on, and the answer back\n")
	f("no encrypt_type", without("encrypt_type"), nil, shakenHands+
		"FAIL  round trip: a part of the query is lost on its way to the gateway; "+mend+"\n")
	f("no msg_signature", without("msg_signature"), nil, shakenHands+
		"FAIL  round trip: the body or a part of the query is changed on its way to the gateway; "+mend+"; let the proxy in front pass bodies through unchanged\n")
	f("another body", onPost(func(r *http.Request) { setBody(r, "<xml><a>b</a></xml>") }), nil, shakenHands+
		"FAIL  round trip: the body is changed on its way to the gateway; let the proxy in front pass bodies through unchanged\n")
	f("another method", onPost(func(r *http.Request) { r.Method = http.MethodPut }), nil, shakenHands+
		"FAIL  round trip: the method is changed on its way to the gateway; let the proxy in front pass GET and POST on as they are\n")
	f("something added", nil, func(r *http.Response) error {
		b, err := io.ReadAll(r.Body)
		b = append(b, "\n<!-- cache -->"...)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Del("Content-Length")
		return err
	}, "FAIL  handshake: something is added around the echostr; let the proxy in front pass answers through unchanged\n")
	f("created", nil, func(r *http.Response) error { r.StatusCode = 201; return nil },
		"FAIL  handshake: the answer has status 201, WeChat takes 200 only; look into the log of the server that answers there\n")

	// The answer to the push alone.
	post := func(what, body, want string) {
		t.Helper()
		f(what, nil, func(r *http.Response) error {
			if r.Request.Method == http.MethodPost {
				io.Copy(io.Discard, r.Body)
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				r.Header.Del("Content-Length")
			}
			return nil
		}, shakenHands+"FAIL  round trip: "+want+"\n")
	}
	post("success", "success", "the push was taken with \"success\", but not answered by this gateway; check which host and path the proxy in front passes to the gateway")
	post("not sealed", "<xml><ToUserName>a</ToUserName><MsgType>text</MsgType></xml>",
		"the answer to a sealed push is not sealed; let the proxy in front pass answers through unchanged, and see that the gateway itself answers there")
	post("a web page", "\n<!DOCTYPE html><html></html>", "another server answers there, with a web page; check which host and path the proxy in front passes to the gateway")
	post("nonsense", "ok", `WeChat would not take the answer: neither success, nor empty, nor XML: "ok": text outside of <xml>; let the proxy in front pass answers through unchanged`)
}

// The texts that the probe explains are those that the gateway answers.
func TestProbeKnowsTheRefusals(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, glob := range []string{"../../gateway/*.go", "../../gateway/push/*.go", "../../gateway/web/*.go"} {
		names, err := filepath.Glob(glob)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d files, %v", glob, len(names), err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	for text := range refusals {
		if !strings.Contains(source.String(), `"`+text+`"`) {
			t.Errorf("the gateway never answers %q", text)
		}
	}
	if text := "timestamp out of range"; !strings.Contains(source.String(), `"`+text+`"`) {
		t.Errorf("the gateway never answers %q", text)
	}
	for _, m := range regexp.MustCompile(`h\.refuse\(fasthttp\.\w+, "([^"]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if _, ok := refusals[m[1]]; !ok && m[1] != "timestamp out of range" && m[1] != "cannot forward a message of that name" {
			t.Errorf("the probe cannot explain %q", m[1])
		}
	}
}

// Servers that are no gateway, by what they say.
func TestProbeOfStrangers(t *testing.T) {
	t.Parallel()
	f := func(status int, body, want string) {
		t.Helper()
		to := stranger(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://user.example.com/wx?signature=x")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
		code, out := probeWith(t, to+"/wx", nil)
		wantProbe(t, fmt.Sprint(status, " ", body), code, out, 1, "FAIL  handshake: "+want+"\n")
	}
	const mend = "check which host and path the proxy in front passes to the gateway"
	f(200, "<html><body>Welcome to nginx!", "another server answers there, with a web page; "+mend)
	f(200, "hello", `the answer is "hello" instead of the echostr; `+mend)
	f(301, "", "the answer is a redirect (301) to https://user.example.com/wx, which WeChat does not follow; enter that address in 服务器配置, or serve this one without a redirect")
	f(400, "<html><center>The plain HTTP request was sent to HTTPS port</center>", "that port speaks https; write https:// in 服务器配置")
	f(400, "Client sent an HTTP request to an HTTPS server.\n", "that port speaks https; write https:// in 服务器配置")
	f(401, "", "a server in front asks for a password (401); let calls to this path through without one")
	f(403, "<html>blocked", "a server in front refuses the call (403); let calls to this path through its firewall (WAF) and address rules: WeChat calls from many addresses")
	f(404, "404 page not found\n", "another server answers there (404); "+mend)
	f(405, "<html>", "a server in front does not take GET (405); let it pass GET and POST on")
	f(413, "<html>", "a server in front takes the body as too large (413); raise its limit (nginx: client_max_body_size) to that of max-body")
	f(413, "body too large", "the gateway takes the body as too large; raise max-body there")
	f(502, "<html>", "the proxy in front does not reach the gateway (502); see that the gateway runs and that the proxy passes to its listen-host and listen-port")
	f(500, "oops", "the answer has status 500, WeChat takes 200 only; look into the log of the server that answers there")
}

// An address behind which nothing useful is.
func TestProbeWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	code, out := probeWith(t, "http://"+freeAddrs(t, 1)[0]+"/wx", nil)
	wantProbe(t, "nothing listens", code, out, 1, "FAIL  handshake: nothing listens at that address and port; start the gateway, and the proxy in front of it\n")

	code, out = probeWith(t, strings.Replace(stranger(t, func(http.ResponseWriter, *http.Request) {}), "http:", "https:", 1)+"/wx", nil)
	wantProbe(t, "https to a port without", code, out, 1, "FAIL  handshake: that port does not speak https; write http:// in 服务器配置, or set TLS up there\n")

	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{}
	s.StartTLS()
	t.Cleanup(s.Close)
	code, out = probeWith(t, s.URL+"/wx", nil)
	wantProbe(t, "a home-made certificate", code, out, 1, "FAIL  handshake: the certificate is not signed by an authority that is trusted; install a public one together with its intermediate certificates (fullchain)\n")

	code, out = probeWith(t, stranger(t, func(w http.ResponseWriter, _ *http.Request) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close()
		}
	})+"/wx", nil)
	wantProbe(t, "closed", code, out, 1, "FAIL  handshake: the connection was closed without an answer; look into the log of the server there; http and https may be mixed up\n")

	// What needs a network to fail is told from the errors alone.
	f := func(err error, want string) {
		t.Helper()
		if got := unreached(&httpc.Error{Kind: httpc.Connect, Err: fmt.Errorf("wx.example.com:443 cannot be reached: %w", err)}, 10*time.Second).String(); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	f(&net.DNSError{Name: "wx.example.com", IsNotFound: true}, `the name "wx.example.com" has no address; create its DNS record, or correct the name`)
	f(&net.DNSError{Name: "wx.example.com", IsTimeout: true}, `the name "wx.example.com" cannot be looked up; see that this machine has a working name server, then try again`)
	f(&net.OpError{Op: "dial", Err: timeoutError{}}, "no connection came about in time; open the port in the firewall and in the cloud's security group (安全组)")
	f(errors.New("proxy 10.0.0.1:3128: CONNECT answered with 403"), "wx.example.com:443 cannot be reached: proxy 10.0.0.1:3128: CONNECT answered with 403; mend HTTPS_PROXY of the environment, or name the host in NO_PROXY")
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// proberOf is a prober in this process, for what the command takes from the
// machine: its clock and WeChat's patience.
func proberOf(t *testing.T, address string, out io.Writer, change func(*conf.Service)) *prober {
	t.Helper()
	c, _ := configuration("http://127.0.0.1:1", "http://127.0.0.1:1")
	cfg, _, err := conf.Load(probeConf(t, c), lookup(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := &cfg.Services[0]
	if change != nil {
		change(s)
	}
	client := httpc.New(httpc.Config{})
	t.Cleanup(client.CloseIdle)
	return &prober{url: address, service: s, client: client, now: time.Now, waits: wechatWaits, out: out}
}

// nearly are the differences of TestProbeClocks: the clocks may be read some
// seconds apart.
var nearly = regexp.MustCompile(`3m(1[6-9]|2[0-4])s|59m5[6-9]s|1h0m[0-4]s`)

func TestProbeClocks(t *testing.T) {
	t.Parallel()
	g := newProbed(t, nil)
	f := func(ahead time.Duration, want string) {
		t.Helper()
		var out bytes.Buffer
		p := proberOf(t, g.base+"/wx", &out, nil)
		p.now = func() time.Time { return time.Now().Add(ahead) }
		p.roundTrip(t.Context())
		got := nearly.ReplaceAllStringFunc(probeTook.ReplaceAllString(out.String(), " in 0s"), func(s string) string {
			d, err := time.ParseDuration(s)
			if err != nil {
				t.Error(err)
			}
			return d.Round(10 * time.Second).String()
		})
		if got != want {
			t.Errorf("ahead by %s: %s\nwant %s", ahead, got, want)
		}
	}
	const mend = "let NTP set the clocks of both machines"
	f(0, wentRound+sameClock)
	f(200*time.Second, wentRound+"warn  clock: the gateway's clock is 3m20s behind this machine's, more than half of the timeout of 5m0s; "+mend+"\n")
	f(-200*time.Second, wentRound+"warn  clock: the gateway's clock is 3m20s ahead of this machine's, more than half of the timeout of 5m0s; "+mend+"\n")
	f(time.Hour, "FAIL  round trip: the gateway takes the timestamp as too old or too far ahead: the gateway's clock is 1h0m0s behind this machine's; "+mend+", or raise services[].timeout there\n")
}

func TestProbeOfSlowServers(t *testing.T) {
	t.Parallel()
	g := newProbed(t, nil)
	p := proberOf(t, "", io.Discard, nil)
	p.waits = time.Second
	if f := p.judge("POST", reply{status: 200, took: 1500 * time.Millisecond}).String(); f != "the answer took 1.5s, WeChat waits 1s; look what delays it: the proxy in front, a name look-up, or a machine with too much to do" {
		t.Errorf("late: %q", f)
	}
	if f := p.judge("POST", reply{status: 200, took: time.Second}); !f.none() {
		t.Errorf("in time: %q", f)
	}
	// No answer at all.
	hang := make(chan struct{})
	to := front(t, g.base, nil, func(*http.Response) error { <-hang; return nil })
	t.Cleanup(func() { close(hang) })
	var out bytes.Buffer
	p = proberOf(t, to+"/wx", &out, nil)
	p.waits = 250 * time.Millisecond
	if p.handshake(t.Context()) || out.String() != "FAIL  handshake: no answer came in 500ms; see whether the proxy in front reaches the gateway\n" {
		t.Errorf("no answer: %q", out.String())
	}
}

func TestProbeCommandLine(t *testing.T) {
	t.Parallel()
	c, s := configuration("http://127.0.0.1:1", "")
	c["services"] = []any{s, object{"name": "login", "wx-params": object{"app-id": "wx0000000000000001"}}}
	file := probeConf(t, c)
	f := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, _, stderr := runWith(t, map[string]string{"CONF_FILE": file}, append([]string{"check"}, args...)...)
		if code != wantCode || stderr != want {
			t.Errorf("%q: exit code %d, want %d\n%q\nwant %q", args, code, wantCode, stderr, want)
		}
	}
	f(2, "unexpected argument \"http://127.0.0.1/wx\"\n\n"+usage, "http://127.0.0.1/wx")
	f(2, "--service needs --probe\n\n"+usage, "--service", "main")
	f(0, usage, "-h")
	const bad = "cannot probe that address: it must be the URL of 服务器配置, like https://wx.example.com/wx\n"
	f(1, bad, "--probe", "wx.example.com/wx")
	f(1, bad, "--probe", "ftp://wx.example.com/wx")
	f(1, "cannot probe that address: WeChat sends no user and password\n", "--probe", "http://me:secret@127.0.0.1/wx")
	f(1, "cannot probe \"/wX\": it is no service-path; there are: /wx of \"main\"; if a proxy in front changes the path, add --service with the name\n", "--probe", "http://127.0.0.1:1/wX")
	f(1, "cannot probe service \"nobody\": there is none of that name; service-paths are: /wx of \"main\"\n", "--probe", "http://127.0.0.1:1/wx", "--service", "nobody")
	f(1, "cannot probe service \"login\": it has no service-path, so WeChat does not push to it\n", "--probe", "http://127.0.0.1:1/wx", "--service", "login")

	// One account from the environment is probed as well.
	env := map[string]string{"WECHAT_APP_ID": appID, "WECHAT_APP_SECRET": appSecret, "WECHAT_APP_TOKEN": token}
	code, stdout, stderr := runWith(t, env, "check", "--probe", stranger(t, http.NotFound)+"/wechat")
	if code != 1 || !strings.Contains(stdout, "probing service \"default\" at http://127.0.0.1:") || stderr != "" {
		t.Errorf("from the environment: exit code %d, %q, %q", code, stdout, stderr)
	}
}
