package endpoint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/goleak"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/web"
	"wx-gateway/gateway/weixin"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's own: one for the Date header, and one of each server that
		// sleeps for 10 s before it sees that the server has gone.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const (
	testTicket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
	testCode   = "061zQX0w3CODE"
	testToken  = "sns-access-token-71"
)

// fakeWeChat is everything an account offers; it notes how it is called.
type fakeWeChat struct {
	mu    sync.Mutex
	err   error // of every call but the user infos
	noWho error // of both user infos
	calls []string
	sent  string // body of the last template message
	msgID string
}

func (f *fakeWeChat) note(words ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, strings.Join(words, " "))
	return f.err
}

func (f *fakeWeChat) CreateQR(_ context.Context, scene string, temp bool, expire time.Duration) (weixin.QR, error) {
	kind := "forever"
	if temp {
		kind = "temp"
	}
	return weixin.QR{Ticket: "gQH/7+w==", URL: "http://weixin.qq.com/q/kZgfwMTm72WWPkovabbI",
		ShowURL: "https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=gQH%2F7%2Bw%3D%3D"}, f.note("qr", scene, kind, expire.String())
}

func (f *fakeWeChat) ShortURL(_ context.Context, long string) (string, error) {
	return "https://w.url.cn/s/AvCo6Ih", f.note("short", long)
}

func (f *fakeWeChat) SendTemplate(_ context.Context, body []byte) (string, error) {
	f.sent = string(body)
	return f.msgID, f.note("template")
}

func (f *fakeWeChat) Order(_ context.Context, id string) (codec.RawMessage, error) {
	return codec.RawMessage(`{"order_id":3704612354559743232,"price":1.50}`), f.note("order", id)
}

func (f *fakeWeChat) AftersaleOrder(_ context.Context, id string) (codec.RawMessage, error) {
	return codec.RawMessage(`{"after_sale_order_id":2000000192838475665}`), f.note("aftersale", id)
}

func (f *fakeWeChat) Exchange(_ context.Context, code string) (weixin.Grant, error) {
	return weixin.Grant{OpenID: "oUser1", Scope: "snsapi_base", AccessToken: testToken}, f.note("exchange", code)
}

func (f *fakeWeChat) UserInfo(_ context.Context, g weixin.Grant) (codec.RawMessage, error) {
	if g.AccessToken != testToken {
		return nil, errors.New("not the token of the grant")
	}
	_ = f.note("granted", g.OpenID)
	return codec.RawMessage(`{"openid":"oUser1","nickname":"granted"}`), f.noWho
}

func (f *fakeWeChat) Lookup(_ context.Context, openid string) (codec.RawMessage, error) {
	err := f.note("lookup", openid)
	if f.noWho != nil {
		err = f.noWho
	}
	return codec.RawMessage(`{"openid":"` + openid + `","tagid_list":[9007199254740993]}`), err
}

func (f *fakeWeChat) Token(context.Context) (string, error) { return testTicket, f.note("ticket") }

// office is a Set behind an in-memory server, each endpoint at its method's
// name in lower case. Its accounts are "demo", with everything, and "bare",
// without an app-secret.
type office struct {
	wx  *fakeWeChat
	set *Set
	web *http.Client

	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what is logged.
func (o *office) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.Write(p)
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{wx: &fakeWeChat{msgID: "3141592653589793238"}}
	accounts := map[string]*Account{
		"demo": {Name: "demo", AppID: "wxdemo", API: o.wx, SNS: o.wx, Users: o.wx, Ticket: o.wx},
		"bare": {Name: "bare", AppID: "wxbare"},
	}
	log := slog.New(slog.NewTextHandler(o, nil))
	o.set = New(Config{
		Accounts: func(name string) (*Account, bool) { a, ok := accounts[name]; return a, ok },
		Log:      log,
		Now:      func() time.Time { return time.Unix(1414587457, 0) },
	})
	routes := map[string]web.Handler{
		"/health": o.set.Health, "/qr": o.set.QR, "/user": o.set.User, "/snsauth2": o.set.SNSAuth2,
		"/shorturl": o.set.ShortURL, "/tmplmsg": o.set.TmplMsg, "/signjsapi": o.set.SignJSAPI,
		"/orderdetail": o.set.OrderDetail, "/refunddetail": o.set.RefundDetail,
	}
	ln := fasthttputil.NewInmemoryListener()
	srv := web.NewServer(func(ctx *fasthttp.RequestCtx) error { return routes[string(ctx.Path())](ctx) },
		web.Config{Name: "internal", MaxBody: 1 << 20, Log: log})
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	o.web = &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return ln.Dial() },
		DisableKeepAlives: true,
	}}
	t.Cleanup(func() {
		ln.Close() // Shutdown alone misses a Serve that has not begun
		srv.Shutdown(context.Background())
		<-done
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, secret := range []string{testCode, testToken, testTicket} {
			if strings.Contains(o.log.String(), secret) {
				t.Errorf("the log holds %q:\n%s", secret, o.log.String())
			}
		}
	})
	return o
}

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   string
}

func (o *office) send(t *testing.T, method, uri, contentType, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://gateway"+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := o.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(got)}
}

const form = "application/x-www-form-urlencoded"

// call is a request that a test names by its line: "GET /qr?s=demo", or
// "POST /shorturl s=demo" with a form, or a JSON object.
func (o *office) call(t *testing.T, line string) answer {
	t.Helper()
	method, rest, _ := strings.Cut(line, " ")
	uri, body, _ := strings.Cut(rest, " ")
	contentType := ""
	switch {
	case strings.HasPrefix(body, "{"):
		contentType = "application/json"
	case body != "":
		contentType = form
	}
	return o.send(t, method, uri, contentType, body)
}

// want fails unless line is answered with status and body, as JSON.
func (o *office) want(t *testing.T, line string, status int, body string) answer {
	t.Helper()
	got := o.call(t, line)
	if got.status != status || got.body != body {
		t.Errorf("%s\n got %d %s\nwant %d %s", line, got.status, got.body, status, body)
	}
	if ct := got.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		t.Errorf("%s: Content-Type %q", line, ct)
	}
	return got
}

// asked fails unless WeChat was called so, and only so, since the last time.
func (o *office) asked(t *testing.T, calls ...string) {
	t.Helper()
	o.wx.mu.Lock()
	defer o.wx.mu.Unlock()
	if got, want := strings.Join(o.wx.calls, "\n"), strings.Join(calls, "\n"); got != want {
		t.Errorf("WeChat was asked\n%s\nwant\n%s", got, want)
	}
	o.wx.calls = nil
}
