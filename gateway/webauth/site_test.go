package webauth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/httpc"
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
	testCode   = "061zQX0w3CODE"
	testToken  = "sns-access-token-71"
	testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// fakeWeChat is both SNSAPI and Users.
type fakeWeChat struct {
	mu        sync.Mutex
	grant     weixin.Grant
	err       error         // of Exchange
	infoErr   error         // of both user infos
	entered   chan struct{} // told that Exchange has begun, if not nil
	hold      chan struct{} // Exchange waits for it to be closed, if not nil
	exchanged []string      // codes
	snsInfos  int
	lookups   int
}

func newWeChat() *fakeWeChat {
	return &fakeWeChat{grant: weixin.Grant{OpenID: "oUser1", Scope: "snsapi_base", AccessToken: testToken}}
}

func (f *fakeWeChat) Exchange(ctx context.Context, code string) (weixin.Grant, error) {
	f.mu.Lock()
	f.exchanged = append(f.exchanged, code)
	hold := f.hold
	f.mu.Unlock()
	if f.entered != nil {
		f.entered <- struct{}{}
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return weixin.Grant{}, ctx.Err()
		}
	}
	return f.grant, f.err
}

func (f *fakeWeChat) UserInfo(_ context.Context, g weixin.Grant) (codec.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snsInfos++
	if g.AccessToken != testToken {
		return nil, errors.New("not the token of the grant")
	}
	return codec.RawMessage(`{"openid":"` + g.OpenID + `","nickname":"granted"}`), f.infoErr
}

func (f *fakeWeChat) Lookup(_ context.Context, openid string) (codec.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	return codec.RawMessage(`{"openid":"` + openid + `","subscribe":1}`), f.infoErr
}

func (f *fakeWeChat) exchanges() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.exchanged)
}

// call is one request as the backend got it.
type call struct {
	method, uri, host string
	header            http.Header
	body              string
}

// site is a Handler on a real socket, with a backend behind it.
type site struct {
	wx      *fakeWeChat
	handler *Handler
	addr    string
	backend *httptest.Server

	mu    sync.Mutex
	calls []call
	log   bytes.Buffer
}

// Write takes what is logged.
func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *site) posts() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// newSite starts a site whose backend answers by answer ("hello" if nil).
// Whatever a test does, its log must hold no secret.
func newSite(t *testing.T, answer http.HandlerFunc, change func(*Config)) *site {
	t.Helper()
	s := &site{wx: newWeChat()}
	s.backend = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.calls = append(s.calls, call{r.Method, r.RequestURI, r.Host, r.Header, string(body)})
		s.mu.Unlock()
		if answer == nil {
			io.WriteString(w, "hello")
			return
		}
		answer(w, r)
	}))
	t.Cleanup(s.backend.Close)
	client := httpc.New(httpc.Config{Name: "redirect-url of demo", MaxResponse: 10 << 20})
	t.Cleanup(client.CloseIdle)
	log := slog.New(slog.NewTextHandler(s, nil))
	cfg := Config{
		Service: "demo", AppID: "wxdemo", RedirectURL: s.backend.URL + "/back//end?x=%2F",
		SNS: s.wx, Users: s.wx, HTTP: client, Log: log, Codes: NewCodes(100),
	}
	if change != nil {
		change(&cfg)
	}
	s.handler = New(cfg)
	s.addr = serve(t, s.handler, log)
	t.Cleanup(func() {
		for _, secret := range []string{testCode, testToken, testSecret, testSecret[6:]} {
			if strings.Contains(s.logged(), secret) {
				t.Errorf("the log holds %q:\n%s", secret, s.logged())
			}
		}
	})
	return s
}

// serve runs h on a socket of its own until the test ends.
func serve(t *testing.T, h *Handler, log *slog.Logger) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := web.NewServer(h.Serve, web.Config{Name: "public", MaxBody: 1 << 20, Log: log})
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() {
		ln.Close() // Shutdown alone misses a Serve that has not begun
		srv.Shutdown(context.Background())
		<-done
	})
	return ln.Addr().String()
}

// request is the text of a browser's request for uri; more are lines of the
// header.
func request(uri string, more ...string) string {
	return "GET " + uri + " HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: MicroMessenger\r\nConnection: close\r\n" +
		strings.Join(append(more, "", ""), "\r\n")
}

// response is what the browser got.
type response struct {
	status int
	header http.Header // without Date
	body   string
	close  bool // the connection ends with it
}

// send writes raw to the site from the address from ("" for any) and reads the
// response. It follows no redirect and unpacks nothing.
func send(t *testing.T, addr, from, raw string) response {
	t.Helper()
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	for err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(r, &http.Request{Method: method})
	}
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("half a response: %v", err)
	}
	resp.Header.Del("Date")
	return response{resp.StatusCode, resp.Header, string(body), resp.Close}
}

const page = "/redirect?code=" + testCode + "&state=menu1"
