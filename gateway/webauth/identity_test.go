package webauth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/grant"
	"wx-gateway/gateway/weixin"
)

func TestServeRepeatedCode(t *testing.T) {
	t.Parallel()
	f := func(from, raw string, status int) {
		t.Helper()
		s := newSite(t, nil, func(c *Config) { c.UserInfoFlag = "login" })
		first := send(t, s.addr, "127.0.0.5", request(page+"&login=1"))
		second := send(t, s.addr, from, raw)
		if first.status != 200 || second.status != status {
			t.Errorf("browser got %d, then %d, want 200, then %d", first.status, second.status, status)
		}
		if n := s.wx.exchanges(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		posts := s.posts()
		if status != 200 {
			if second.body != textStale || len(posts) != 1 {
				t.Errorf("refused with %q after %d posts, want %q after 1", second.body, len(posts), textStale)
			}
			return
		}
		if len(posts) != 2 || posts[0].body != posts[1].body {
			t.Errorf("posted %+v, want the same identity twice", posts)
		}
		if s.wx.snsInfos != 1 {
			t.Errorf("%d calls of sns/userinfo, want 1", s.wx.snsInfos)
		}
	}
	same := request(page + "&login=1")

	// the same phone, also from another address of its block
	f("127.0.0.5", same, 200)
	f("127.0.0.77", same, 200)
	// somebody else
	f("127.0.1.5", same, 400)
	f("127.0.0.5", strings.Replace(same, "MicroMessenger", "Mozilla", 1), 400)
	f("127.0.0.5", request(strings.Replace(page, "menu1", "menu2", 1)+"&login=1"), 400)
	f("127.0.0.5", request("/redirect?login=1&code="+testCode), 400)
}

// Phones call twice at once: one exchange, two posts.
func TestServeTwiceAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.wx.entered, s.wx.hold = make(chan struct{}, 2), make(chan struct{})
	var both sync.WaitGroup
	visit := func() {
		if r := send(t, s.addr, "", request(page)); r.status != 200 {
			t.Errorf("browser got %d %s", r.status, r.body)
		}
	}
	both.Go(visit)
	<-s.wx.entered
	both.Go(visit)
	close(s.wx.hold)
	both.Wait()
	if n, posts := s.wx.exchanges(), len(s.posts()); n != 1 || posts != 2 {
		t.Errorf("%d exchanges and %d posts, want 1 and 2", n, posts)
	}
}

// A failed exchange is not remembered: WeChat may have been away for a moment.
func TestServeTriesAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	s.wx.err = errors.New("no answer")
	if r := send(t, s.addr, "", request(page)); r.status != 502 {
		t.Fatalf("browser got %d", r.status)
	}
	s.wx.err = nil
	if r := send(t, s.addr, "", request(page)); r.status != 200 {
		t.Fatalf("browser got %d %s, want 200", r.status, r.body)
	}
}

// Codes are shared with the handler that a reload makes, and with sns-auth2,
// but not between accounts.
func TestServeSharedCodes(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil, nil)
	send(t, s.addr, "", request(page))

	reloaded := s.handler.cfg
	addr := serve(t, New(reloaded), reloaded.Log)
	if r := send(t, addr, "", request(page)); r.status != 200 || s.wx.exchanges() != 1 {
		t.Errorf("after a reload the browser got %d with %d exchanges, want 200 with 1", r.status, s.wx.exchanges())
	}
	other := s.handler.cfg
	other.AppID = "wxother"
	addr = serve(t, New(other), other.Log)
	if r := send(t, addr, "", request(page)); r.status != 200 || s.wx.exchanges() != 2 {
		t.Errorf("at another account the browser got %d with %d exchanges, want 200 with 2", r.status, s.wx.exchanges())
	}

	// a code that an internal system has exchanged is no browser's
	const internal = "internal-" + testCode
	_, err := s.handler.cfg.Codes.Do(context.Background(), grant.Key("wxdemo", internal), "", func() (weixin.Grant, error) { return s.wx.grant, nil })
	if err != nil {
		t.Fatal(err)
	}
	if r := send(t, s.addr, "", request("/redirect?code="+internal)); r.status != 400 || r.body != textStale {
		t.Errorf("browser got %d %q, want 400", r.status, r.body)
	}
}

func TestCodesAreKeptAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		codes, calls := NewCodes(10), 0
		ask := func(wantCalls int) {
			t.Helper()
			codes.Do(context.Background(), "key", "phone", func() (weixin.Grant, error) {
				calls++
				return weixin.Grant{OpenID: "o"}, nil
			})
			if calls != wantCalls {
				t.Errorf("%d exchanges, want %d", calls, wantCalls)
			}
		}
		ask(1)
		time.Sleep(time.Minute - time.Millisecond)
		ask(1)
		time.Sleep(time.Millisecond)
		ask(2)
	})
}

func TestBrowserAddress(t *testing.T) {
	t.Parallel()
	h := New(Config{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	f := func(peer string, forwarded []string, want string) {
		t.Helper()
		var ctx fasthttp.RequestCtx
		ctx.SetRemoteAddr(fasthttpAddr(peer))
		for _, line := range forwarded {
			ctx.Request.Header.Add("X-Forwarded-For", line)
		}
		if got := h.browser(&ctx); got != netip.MustParseAddr(want) {
			t.Errorf("browser(%s, %q) = %s, want %s", peer, forwarded, got, want)
		}
	}
	// a stranger's word is not taken
	f("203.0.113.1", []string{"198.51.100.7"}, "203.0.113.1")
	// a proxy's is, as far as it goes
	f("10.0.0.1", []string{"198.51.100.7"}, "198.51.100.7")
	f("10.0.0.1", []string{"192.0.2.66, 198.51.100.7"}, "198.51.100.7")
	f("10.0.0.1", []string{"192.0.2.66", "198.51.100.7, 10.9.9.9"}, "198.51.100.7")
	f("10.0.0.1", []string{"192.0.2.66, 2001:db8::1, fd00::2"}, "2001:db8::1")
	f("::ffff:10.0.0.1", []string{"::ffff:198.51.100.7"}, "198.51.100.7")
	f("10.0.0.1", []string{"192.0.2.66, 198.51.100.7:4711"}, "198.51.100.7") // some proxies add the port
	// nothing to go by
	f("10.0.0.1", nil, "10.0.0.1")
	f("10.0.0.1", []string{""}, "10.0.0.1")
	f("10.0.0.1", []string{"198.51.100.7, unknown, 10.0.0.2"}, "10.0.0.2")
	f("10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3")
}

func TestAddressBlock(t *testing.T) {
	t.Parallel()
	f := func(a, b string, same bool) {
		t.Helper()
		if got := addressBlock(netip.MustParseAddr(a)) == addressBlock(netip.MustParseAddr(b)); got != same {
			t.Errorf("%s and %s in one block: %v, want %v", a, b, got, same)
		}
	}
	f("198.51.100.7", "198.51.100.250", true)
	f("198.51.100.7", "198.51.101.7", false)
	f("2001:db8:1:2::3", "2001:db8:1:ffff::1", true)
	f("2001:db8:1::1", "2001:db8:2::1", false)
	f("198.51.100.7", "2001:db8::1", false)
}
