package user

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wx-gateway/gateway/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wechat answers look-ups.
type wechat struct {
	takes time.Duration
	size  int // bytes of padding in the answer

	mu      sync.Mutex
	err     error
	version int // stands in the answer as remark
	calls   int
	now     map[string]int // calls going on by openid
	most    int            // calls at once
	twice   bool           // an openid was asked for twice at once
}

func (w *wechat) fetch(ctx context.Context, openid string) (codec.RawMessage, error) {
	w.mu.Lock()
	w.calls++
	if w.now == nil {
		w.now = map[string]int{}
	}
	w.now[openid]++
	w.most = max(w.most, len(w.now))
	w.twice = w.twice || w.now[openid] > 1
	takes := w.takes
	version, err := w.version, w.err // as of the beginning of the call
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.now[openid]--; w.now[openid] == 0 {
			delete(w.now, openid)
		}
	}()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"subscribe":1,"openid":%q,"remark":"%d%s"}`, openid, version, strings.Repeat("x", w.size)), nil
}

func (w *wechat) set(version int, err error) {
	w.change(func() { w.version, w.err = version, err })
}

// change changes w, or reads of it, while a directory may be calling.
func (w *wechat) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *wechat) wantCalls(t *testing.T, want int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls != want {
		t.Fatalf("%d calls, want %d", w.calls, want)
	}
	if w.twice {
		t.Fatal("an openid was asked for twice at once")
	}
}

func directory(t *testing.T, w *wechat, cfg Config) *Directory {
	t.Helper()
	cfg.Fetch = w.fetch
	d := New(cfg)
	t.Cleanup(d.Close)
	return d
}

// remark returns what the info of an openid says as remark.
func remark(t *testing.T, info codec.RawMessage, err error) string {
	t.Helper()
	var v struct{ Remark string }
	if err == nil {
		err = codec.Unmarshal(info, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.Remark
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || err.Error() != text {
		t.Fatalf("got error %v\nwant      %s", err, text)
	}
}

// wantIdle fails the test unless d forgets calls that have ended. It runs in a
// synctest bubble.
func wantIdle(t *testing.T, d *Directory) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.flights) != 0 || d.count != 0 {
		t.Errorf("%d flights left, %d counted", len(d.flights), d.count)
	}
}

func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{}
		d := directory(t, w, Config{})
		const want = `{"subscribe":1,"openid":"o1","remark":"0","nickname":"","sex":0,"province":"","city":"","country":"","headimgurl":"","privilege":[],"unionid":""}`
		for range 3 {
			info, err := d.Info(t.Context(), "o1")
			if err != nil || string(info) != want {
				t.Fatalf("Info() = %s, %v", info, err)
			}
			info, err = d.Lookup(t.Context(), "o1")
			if err != nil || string(info) != want {
				t.Fatalf("Lookup() = %s, %v", info, err)
			}
		}
		w.wantCalls(t, 1)

		time.Sleep(10*time.Minute - 1)
		d.Info(t.Context(), "o1")
		w.wantCalls(t, 1)
		time.Sleep(time.Nanosecond)
		d.Info(t.Context(), "o1")
		w.wantCalls(t, 2)
	})
}

func TestOneCallPerOpenID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{takes: 500 * time.Millisecond}
		d := directory(t, w, Config{})
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				if _, err := d.Info(t.Context(), fmt.Sprint("o", i%3)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.wantCalls(t, 3)
	})
}

// Who cannot wait gets an error in time; the call goes on and fills the cache.
func TestInfoGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{takes: 4 * time.Second}
		d := directory(t, w, Config{})
		began := time.Now()
		_, err := d.Info(t.Context(), "o1")
		wantErr(t, err, "cannot look up user info: no answer within 1s")
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err = d.Info(ctx, "o1")
		wantErr(t, err, "cannot look up user info: context deadline exceeded")
		if took := time.Since(began); took != 1300*time.Millisecond {
			t.Errorf("took %s", took)
		}
		time.Sleep(3 * time.Second)
		if _, err = d.Info(t.Context(), "o1"); err != nil {
			t.Error(err)
		}
		w.wantCalls(t, 1)
	})
}

func TestLookupWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{takes: 4 * time.Second}
		d := directory(t, w, Config{})
		if _, err := d.Lookup(t.Context(), "o1"); err != nil {
			t.Error(err)
		}
		w.change(func() { w.takes = time.Hour })
		began := time.Now()
		_, err := d.Lookup(t.Context(), "o2")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != fetchTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestFailuresAreNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{err: errors.New("cgi-bin/user/info: 40003 invalid openid")}
		d := directory(t, w, Config{Denied: func(error) bool { return false }})
		_, err := d.Info(t.Context(), "o1")
		wantErr(t, err, "cannot look up user info: cgi-bin/user/info: 40003 invalid openid")
		w.set(1, nil)
		info, err := d.Info(t.Context(), "o1")
		if got := remark(t, info, err); got != "1" {
			t.Errorf("got %s", got)
		}
	})
}

func TestUnusableAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{Fetch: func(context.Context, string) (codec.RawMessage, error) { return []byte(`[]`), nil }})
		defer d.Close()
		_, err := d.Info(t.Context(), "o1")
		wantErr(t, err, "cannot look up user info: user info is not a JSON object")
	})
}

func TestOddOpenIDs(t *testing.T) {
	w := &wechat{}
	d := directory(t, w, Config{})
	_, err := d.Info(t.Context(), "")
	wantErr(t, err, "cannot look up user info: an openid of 0 bytes")
	_, err = d.Lookup(t.Context(), strings.Repeat("o", 129))
	wantErr(t, err, "cannot look up user info: an openid of 129 bytes")
	w.wantCalls(t, 0)
}

// An account that may not ask is not asked again for an hour, whatever waits in
// line.
func TestDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("cgi-bin/user/info: 48001 api unauthorized")
		w := &wechat{err: denied, takes: 100 * time.Millisecond}
		d := directory(t, w, Config{Denied: func(err error) bool { return errors.Is(err, denied) }})
		var wg sync.WaitGroup
		for i := range 3 * maxFetches {
			wg.Go(func() {
				if _, err := d.Lookup(t.Context(), fmt.Sprint("o", i)); !errors.Is(err, denied) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.wantCalls(t, maxFetches)

		w.set(1, nil)
		time.Sleep(30 * time.Minute)
		began := time.Now()
		_, err := d.Info(t.Context(), "o1")
		wantErr(t, err, "cannot look up user info: not asked again for 30m0s: cgi-bin/user/info: 48001 api unauthorized")
		if time.Since(began) > 0 {
			t.Error("had to wait for that")
		}
		time.Sleep(30 * time.Minute)
		info, err := d.Info(t.Context(), "o1")
		if got := remark(t, info, err); got != "1" {
			t.Errorf("got %s", got)
		}
		w.wantCalls(t, maxFetches+1)
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{version: 1}
		d := directory(t, w, Config{})
		info, err := d.Info(t.Context(), "o1")
		remark(t, info, err)
		w.set(2, nil)
		d.Forget("o2")
		info, err = d.Info(t.Context(), "o1")
		if got := remark(t, info, err); got != "1" {
			t.Errorf("forgot the wrong one: %s", got)
		}
		d.Forget("o1")
		info, err = d.Info(t.Context(), "o1")
		if got := remark(t, info, err); got != "2" {
			t.Errorf("not forgotten: %s", got)
		}
	})
}

// A call under way when its openid is forgotten brings old news: it answers who
// came before, fills no cache, and who comes after waits for the next call,
// which does not begin before the first has ended.
func TestForgetDuringCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{version: 1, takes: 400 * time.Millisecond}
		d := directory(t, w, Config{})
		var wg sync.WaitGroup
		ask := func(want string, within time.Duration) {
			wg.Go(func() {
				began := time.Now()
				info, err := d.Info(t.Context(), "o1")
				if err != nil || !strings.Contains(string(info), `"remark":"`+want+`"`) {
					t.Errorf("got %s, %v; want version %s", info, err, want)
				}
				if took := time.Since(began); took != within {
					t.Errorf("version %s took %s, want %s", want, took, within)
				}
			})
		}
		ask("1", 400*time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		w.set(2, nil)
		d.Forget("o1")
		ask("2", 700*time.Millisecond)
		ask("2", 700*time.Millisecond)
		synctest.Wait()
		d.Forget("o1") // the second call has not begun: it brings no old news
		ask("2", 700*time.Millisecond)
		time.Sleep(500 * time.Millisecond)
		w.wantCalls(t, 2)
		w.set(3, nil)
		d.Forget("o1") // now it has
		ask("3", 600*time.Millisecond)
		wg.Wait()
		w.wantCalls(t, 3)
		info, err := d.Info(t.Context(), "o1")
		if got := remark(t, info, err); got != "3" {
			t.Errorf("cached: %s", got)
		}
		w.wantCalls(t, 3)
		wantIdle(t, d)
	})
}

// Forgotten while the call is under way and asked for by nobody since: the next
// one who asks makes a call.
func TestForgetDuringLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{version: 1, takes: 400 * time.Millisecond}
		d := directory(t, w, Config{})
		go d.Info(t.Context(), "o1")
		time.Sleep(100 * time.Millisecond)
		w.set(2, nil)
		d.Forget("o1")
		time.Sleep(time.Second)
		w.wantCalls(t, 1)
		info, err := d.Info(t.Context(), "o1")
		if got := remark(t, info, err); got != "2" {
			t.Errorf("the cache was filled with old news: %s", got)
		}
	})
}

func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{takes: 4 * time.Second}
		d := directory(t, w, Config{})
		for i := range maxFlights {
			go d.Lookup(t.Context(), fmt.Sprint("o", i))
		}
		synctest.Wait()
		_, err := d.Lookup(t.Context(), "one more")
		wantErr(t, err, "cannot look up user info: too many look-ups at once")
		w.change(func() {
			if w.most != maxFetches {
				t.Errorf("%d calls at once", w.most)
			}
		})
		time.Sleep(2 * fetchTimeout)
		wantIdle(t, d)
		if _, err := d.Lookup(t.Context(), "one more"); err != nil {
			t.Error(err)
		}
	})
}

// The cache holds Max answers, fewer large ones, and none beyond 64 KiB.
func TestCacheIsBounded(t *testing.T) {
	f := func(size, asked, most, least int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d := directory(t, &wechat{size: size}, Config{Max: 100})
			for i := range asked {
				if _, err := d.Info(t.Context(), fmt.Sprint("o", i)); err != nil {
					t.Fatal(err)
				}
			}
			if c := d.cache.Load(); c != nil {
				c.CleanUp()
			}
			if n := cached(d); n > most || n < least {
				t.Errorf("%d answers of %d bytes kept, want %d to %d", n, size, least, most)
			}
		})
	}
	f(0, 1000, 100, 90)
	f(1500, 1000, 100, 90)
	f(10<<10, 1000, 16, 10)
	f(60<<10, 100, 3, 1)
	f(64<<10, 100, 0, 0)
}

func TestLargeAnswersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{size: 100 << 10}
		d := directory(t, w, Config{})
		for n := 1; n <= 2; n++ {
			info, err := d.Info(t.Context(), "o1")
			if err != nil || len(info) < 100<<10 {
				t.Fatalf("%d bytes, %v", len(info), err)
			}
			w.wantCalls(t, n)
		}
	})
}

// Expired answers do not stay in memory of an account that has gone quiet.
func TestExpiredAreCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory(t, &wechat{}, Config{TTL: time.Minute})
		for i := range 100 {
			d.Info(t.Context(), fmt.Sprint("o", i))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := cached(d); n > 0 {
			t.Errorf("%d kept", n)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{}
		d := directory(t, w, Config{})
		d.Info(t.Context(), "kept")
		w.change(func() { w.takes = 4 * time.Second })
		const users = 20
		failed := make(chan error, 2*users)
		ask := func(i int) {
			_, err := d.Lookup(t.Context(), fmt.Sprint("o", i))
			failed <- err
		}
		for i := range users {
			go ask(i)
			synctest.Wait()
			d.Forget(fmt.Sprint("o", i))
			go ask(i) // waits for a call that has not begun, and will not
		}
		synctest.Wait()
		began := time.Now()
		d.Close()
		d.Close()
		if took := time.Since(began); took > 0 {
			t.Errorf("waited %s", took)
		}
		const text = "cannot look up user info: closed"
		for range 2 * users {
			wantErr(t, <-failed, text)
		}
		_, err := d.Info(t.Context(), "another")
		wantErr(t, err, text)
		if _, err := d.Info(t.Context(), "kept"); err != nil {
			t.Error(err)
		}
		d.Forget("another")
		w.wantCalls(t, 1+users)
	})
}

func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wechat{takes: 3 * time.Millisecond}
		d := directory(t, w, Config{Max: 10})
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for j := range 100 {
					openid := fmt.Sprint("o", (i*j)%20)
					if j%7 == 0 {
						d.Forget(openid)
					}
					info, err := d.Info(t.Context(), openid)
					if err != nil || !strings.Contains(string(info), `"openid":"`+openid+`"`) {
						t.Errorf("Info(%s) = %s, %v", openid, info, err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		wantIdle(t, d)
		if w.twice {
			t.Error("an openid was asked for twice at once")
		}
	})
}

// cached is how many users d knows.
func cached(d *Directory) int {
	c := d.cache.Load()
	if c == nil {
		return 0
	}
	return c.EstimatedSize()
}
