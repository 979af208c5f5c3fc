package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/conf"
	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/push"
	"wx-gateway/gateway/sim"
)

// wechatWaits is when WeChat cuts a push or the check of a URL.
const wechatWaits = 5 * time.Second

// prober plays WeChat against a running gateway, through the address that WeChat
// calls, and says which step fails and what mends it.
type prober struct {
	url     string // as entered in 服务器配置
	shown   string // url as it is printed: without its query
	service *conf.Service
	client  *httpc.Client
	now     func() time.Time // this machine's clock, which stands for WeChat's
	waits   time.Duration    // an answer that takes longer is late; twice that is waited for
	out     io.Writer
}

// finding is what is wrong and what mends it, in words for who runs the
// gateway. The zero finding is none.
type finding struct{ what, mend string }

func (f finding) none() bool { return f.what == "" }

func (f finding) String() string {
	if f.mend == "" {
		return f.what
	}
	return f.what + "; " + f.mend
}

// probe tries the gateway at address with the account of cfg that address or
// name tells; the exit code is 0 when WeChat would be served.
func probe(ctx context.Context, cfg *conf.Config, address, name string, stdout, stderr io.Writer) int {
	u, err := probeURL(address)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	service, err := probed(cfg, u.EscapedPath(), name)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	client := httpc.New(httpc.Config{Proxy: true})
	defer client.CloseIdle()
	p := &prober{
		url: address, shown: u.Scheme + "://" + u.Host + u.EscapedPath(), service: service,
		client: client, now: time.Now, waits: wechatWaits, out: stdout,
	}
	if !p.run(ctx) {
		return 1
	}
	return 0
}

// probeURL reads the address that 服务器配置 names. Its errors show nothing of a
// user part.
func probeURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("cannot probe that address: it must be the URL of 服务器配置, like https://wx.example.com/wx")
	case u.User != nil:
		return nil, errors.New("cannot probe that address: WeChat sends no user and password")
	}
	if u.Path == "" {
		u.Path = "/" // as it is sent
	}
	return u, nil
}

// probed finds the service that is pushed to at path, or the one of that name.
func probed(cfg *conf.Config, path, name string) (*conf.Service, error) {
	var known []string
	for i := range cfg.Services {
		s := &cfg.Services[i]
		switch {
		case name != "" && s.Name == name && s.ServicePath == "":
			return nil, fmt.Errorf("cannot probe service %q: it has no service-path, so WeChat does not push to it", name)
		case name != "" && s.Name == name, name == "" && s.ServicePath != "" && s.ServicePath == path:
			return s, nil
		case s.ServicePath != "":
			known = append(known, fmt.Sprintf("%s of %q", s.ServicePath, s.Name))
		}
	}
	const most = 20 // an agency has tens of accounts
	if n := len(known); n > most {
		known = append(known[:most], fmt.Sprintf("and %d more", n-most))
	}
	have := strings.Join(known, ", ")
	if have == "" {
		have = "none"
	}
	if name != "" {
		return nil, fmt.Errorf("cannot probe service %q: there is none of that name; service-paths are: %s", name, have)
	}
	return nil, fmt.Errorf("cannot probe %q: it is no service-path; there are: %s; if a proxy in front changes the path, add --service with the name", path, have)
}

// run takes the steps in order and stops at the first that fails.
func (p *prober) run(ctx context.Context) bool {
	fmt.Fprintf(p.out, "probing service %q at %s\n", p.service.Name, p.shown)
	p.address()
	for _, step := range []func(context.Context) bool{p.handshake, p.roundTrip, p.plaintext} {
		if !step(ctx) {
			return false
		}
	}
	fmt.Fprintln(p.out, "the gateway answers as WeChat wants it")
	return true
}

func (p *prober) ok(step, format string, args ...any) bool {
	fmt.Fprintf(p.out, "ok    %s: %s\n", step, fmt.Sprintf(format, args...))
	return true
}

func (p *prober) warn(step string, f finding) { fmt.Fprintf(p.out, "warn  %s: %s\n", step, f) }

func (p *prober) fail(step string, f finding) bool {
	fmt.Fprintf(p.out, "FAIL  %s: %s\n", step, f)
	return false
}

// address judges the URL itself.
func (p *prober) address() {
	u, err := url.Parse(p.url)
	if err != nil {
		return // probeURL has read it
	}
	if port := u.Port(); port != "" && port != "80" && port != "443" {
		p.warn("address", finding{"port " + port + " is out of WeChat's reach, it calls 80 and 443 only", "probe the public address, or put a proxy in front"})
	}
}

// push is a signed request of the account, as WeChat would send it now.
func (p *prober) push(mode sim.Mode) sim.Push {
	f := sim.Fields{To: "gh_wx_gateway_probe", From: "wx_gateway_probe", Type: push.ProbeType}
	body := f.XML()
	if p.service.Kind == conf.Shop {
		body = f.JSON() // shops know nothing else
	}
	return sim.Push{
		URL: p.url, Token: p.service.Token.Reveal(), AppID: p.service.AppID, AESKey: p.service.AESKey.Reveal(),
		Mode: mode, Body: body, At: p.now(),
	}
}

// handshake does what the console does when 服务器配置 is saved.
func (p *prober) handshake(ctx context.Context) bool {
	const step = "handshake"
	address, echo, err := p.push(sim.Plain).BuildVerify()
	if err != nil {
		return p.fail(step, finding{what: err.Error()})
	}
	a, f := p.call(ctx, fasthttp.MethodGet, address, nil)
	switch got := string(a.body); {
	case !f.none():
		return p.fail(step, f)
	case got == echo:
		return p.ok(step, "the echostr came back in %s", round(a.took))
	case got == "":
		return p.fail(step, finding{"the answer is empty instead of the echostr", "let the proxy in front pass the whole query on, and the answer back"})
	case strings.Contains(got, echo):
		return p.fail(step, finding{"something is added around the echostr", "let the proxy in front pass answers through unchanged"})
	default:
		return p.fail(step, finding{fmt.Sprintf("the answer is %q instead of the echostr", clip(a.body)), mendElsewhere})
	}
}

// roundTrip sends the probe, sealed where the account has a key, and reads the
// gateway's own answer.
func (p *prober) roundTrip(ctx context.Context) bool {
	const step = "round trip"
	mode, how := sim.Plain, "in plaintext, as there is no aes-key"
	if p.service.AESKey != "" {
		mode, how = sim.Safe, "sealed both ways"
	}
	request := p.push(mode)
	address, body, err := request.Build()
	if err != nil {
		return p.fail(step, finding{what: err.Error()})
	}
	sent := p.now()
	a, f := p.call(ctx, fasthttp.MethodPost, address, body)
	if !f.none() {
		return p.fail(step, f)
	}
	told, f := readProbe(request, a)
	if !f.none() {
		return p.fail(step, f)
	}
	p.ok(step, "%s in %s", how, round(a.took))
	if told.Service != p.service.Name {
		p.warn("service", finding{fmt.Sprintf("the gateway there calls it %q", told.Service), "compare its configuration with this one"})
	}
	// The middle of the call is the best guess of when the gateway looked, and
	// not a better one than that.
	ahead := time.Unix(told.Time, 0).Sub(sent.Add(a.took / 2).Truncate(time.Second))
	if max(ahead, -ahead) <= time.Second+a.took/2 {
		ahead = 0
	}
	p.clock(ahead)
	return true
}

// readProbe takes the gateway's answer out of what came for request.
func readProbe(request sim.Push, a reply) (push.ProbeAnswer, finding) {
	var told push.ProbeAnswer
	v, err := request.Judge(a.status, a.body)
	switch {
	case err != nil:
		return told, finding{what: err.Error()}
	case v.Outcome == sim.OutcomeSuccess:
		return told, finding{fmt.Sprintf("the push was taken with %q, but not answered by this gateway", clip(a.body)), mendElsewhere}
	case v.Outcome != sim.OutcomeReply && !v.Sealed && request.Mode == sim.Safe && looksSealable(a.body):
		return told, finding{"the answer to a sealed push is not sealed", "let the proxy in front pass answers through unchanged, and see that the gateway itself answers there"}
	case v.Outcome != sim.OutcomeReply:
		return told, finding{"WeChat would not take the answer: " + v.Err, "let the proxy in front pass answers through unchanged"}
	}
	m, err := msg.Parse(v.Opened)
	if err == nil {
		err = codec.Unmarshal([]byte(m.Content), &told)
	}
	if err != nil || told.Probe != "ok" {
		return told, finding{"the push was answered, but not by this gateway itself", mendElsewhere}
	}
	return told, finding{}
}

// looksSealable tells a reply that came in the clear from something else.
func looksSealable(body []byte) bool {
	_, err := msg.Parse(body)
	return err == nil
}

// clock judges how far the gateway's clock is ahead of this machine's.
func (p *prober) clock(ahead time.Duration) {
	const step = "clock"
	limit := p.service.Timeout
	switch {
	case limit == 0:
		p.ok(step, "%s; timestamps are not judged, timeout is 0", apart(ahead))
	case max(ahead, -ahead) > limit/2:
		p.warn(step, finding{fmt.Sprintf("%s, more than half of the timeout of %s", apart(ahead), limit), mendClock})
	default:
		p.ok(step, "%s, the timeout is %s", apart(ahead), limit)
	}
}

// apart words the difference; below two seconds it is that of the rounding.
func apart(ahead time.Duration) string {
	switch ahead = ahead.Round(time.Second); {
	case ahead > time.Second:
		return fmt.Sprintf("the gateway's clock is %s ahead of this machine's", ahead)
	case ahead < -time.Second:
		return fmt.Sprintf("the gateway's clock is %s behind this machine's", -ahead)
	}
	return "the gateway's clock is this machine's"
}

// plaintext looks whether an account with a key takes pushes without it.
func (p *prober) plaintext(ctx context.Context) bool {
	const step = "plaintext"
	if p.service.AESKey == "" {
		return true
	}
	address, body, err := p.push(sim.Plain).Build()
	if err != nil {
		return p.fail(step, finding{what: err.Error()})
	}
	a, f := p.call(ctx, fasthttp.MethodPost, address, body)
	switch {
	case a.status == fasthttp.StatusOK && !p.service.RequireEncryption:
		p.warn(step, finding{"plaintext pushes are taken although there is an aes-key", "choose 安全模式 in the console and set require-encryption to true"})
	case a.status == fasthttp.StatusOK:
		p.warn(step, finding{"plaintext pushes are taken although require-encryption is on", "the gateway there runs another configuration: compare and reload it"})
	case string(a.body) == refusedPlaintext:
		p.ok(step, "refused")
	default:
		p.warn(step, f)
	}
	return true
}

// reply is an answer as it came.
type reply struct {
	status      int // 0: there was none
	body        []byte
	contentType string
	location    string
	date        time.Time // of its Date header; zero without
	took        time.Duration
}

// call sends one request as WeChat does, on whatever connection, and judges
// whether there is an answer that WeChat would read at all.
func (p *prober) call(ctx context.Context, method, address string, body []byte) (reply, finding) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(address)
	req.Header.SetMethod(method)
	req.Header.SetUserAgent("Mozilla/4.0")
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Pragma", "no-cache")
	if body != nil {
		req.Header.SetContentType("text/xml")
		if bytes.HasPrefix(body, []byte("{")) {
			req.Header.SetContentType("application/json")
		}
		req.SetBody(body)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*p.waits)
	defer cancel()
	began := time.Now()
	if err := p.client.Do(ctx, req, resp); err != nil {
		return reply{}, unreached(err, 2*p.waits)
	}
	a := reply{
		status: resp.StatusCode(), body: append([]byte(nil), resp.Body()...),
		contentType: string(resp.Header.ContentType()), location: string(resp.Header.Peek("Location")),
		took: time.Since(began),
	}
	if date, err := fasthttp.ParseHTTPDate(resp.Header.Peek("Date")); err == nil {
		a.date = date
	}
	return a, p.judge(method, a)
}

// judge says what is wrong with an answer before anyone looks into it.
func (p *prober) judge(method string, a reply) finding {
	switch {
	case a.status != fasthttp.StatusOK:
		return p.refusal(method, a)
	case a.took > p.waits:
		return finding{fmt.Sprintf("the answer took %s, WeChat waits %s", round(a.took), p.waits), "look what delays it: the proxy in front, a name look-up, or a machine with too much to do"}
	case isPage(a):
		return finding{"another server answers there, with a web page", mendElsewhere}
	}
	return finding{}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// clip is the beginning of an answer, for one line.
func clip(b []byte) string {
	const most = 60
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "") + "…"
	}
	return string(b)
}
