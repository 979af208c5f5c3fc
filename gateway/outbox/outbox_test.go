package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/weixin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI notes what is sent; each call takes a while and ends with err.
type fakeAPI struct {
	mu     sync.Mutex
	took   time.Duration
	err    error
	sent   []string
	tries  int
	typing int
	busy   map[string]int // by user: calls in work
	over   bool           // a user had two calls in work
}

func (a *fakeAPI) SendCustom(_ context.Context, body []byte) error {
	var m struct {
		ToUser string `json:"touser"`
		Text   struct{ Content string }
	}
	if err := codec.Unmarshal(body, &m); err != nil {
		return err
	}
	a.mu.Lock()
	if a.busy == nil {
		a.busy = map[string]int{}
	}
	a.tries++
	a.busy[m.ToUser]++
	a.over = a.over || a.busy[m.ToUser] > 1
	a.mu.Unlock()
	time.Sleep(a.took)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy[m.ToUser]--
	if a.err == nil {
		a.sent = append(a.sent, m.ToUser+" "+m.Text.Content)
	}
	return a.err
}

func (a *fakeAPI) Typing(context.Context, string, bool) error {
	time.Sleep(a.took)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.typing++
	return nil
}

func (a *fakeAPI) fails(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func text(s string) []msg.Reply { return []msg.Reply{{Type: "text", Text: s}} }

func in(t *testing.T, f func(t *testing.T, o *Outbox, a *fakeAPI)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAPI{}
		o := New(Config{AppID: "wx1", API: a, Log: slog.New(slog.DiscardHandler)})
		defer o.Close()
		f(t, o, a)
	})
}

// TestOrderPerUser: what is handed over at the same time goes out one after the
// other for each user, in order, and users do not wait for each other.
func TestOrderPerUser(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		a.took = time.Second
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			for _, user := range []string{"a", "b", "c"} {
				wg.Go(func() {
					replies := append(text(fmt.Sprint(2*i)), text(fmt.Sprint(2*i+1))...)
					if n, err := o.Send(t.Context(), user, replies); n != 2 || err != nil {
						t.Errorf("Send = %d, %v", n, err)
					}
				})
			}
			synctest.Wait() // handed over in this order
		}
		wg.Wait()
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("took %s, want 20 s: users wait for each other", took)
		}
		next := map[string]int{}
		for _, s := range a.sent {
			user, n, _ := strings.Cut(s, " ")
			if n != fmt.Sprint(next[user]) {
				t.Fatalf("user %s got %s, want %d", user, n, next[user])
			}
			next[user]++
		}
		if a.over || len(o.tails) != 0 {
			t.Errorf("two at once: %v; %d users remembered", a.over, len(o.tails))
		}
	})
}

// TestOneWhoGivesUpKeepsTheOrder: a Send that is given up while it waits does
// not let the next one overtake the one before.
func TestOneWhoGivesUpKeepsTheOrder(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		a.took = 10 * time.Second
		var wg sync.WaitGroup
		wg.Go(func() { o.Send(t.Context(), "u", text("first")) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wg.Go(func() {
			if n, err := o.Send(short, "u", text("second")); n != 0 || err == nil {
				t.Errorf("Send = %d, %v; want it given up", n, err)
			}
		})
		synctest.Wait()
		wg.Go(func() { o.Send(t.Context(), "u", text("third")) })
		wg.Wait()
		if fmt.Sprint(a.sent) != "[u first u third]" || a.over {
			t.Errorf("sent %q, two at once: %v", a.sent, a.over)
		}
	})
}

func code(n int) error {
	return &weixin.Error{Op: "cgi-bin/message/custom/send", Code: n, Msg: "refused"}
}

func undeliverable(err error) bool {
	var u interface{ Undeliverable() string }
	return errors.As(err, &u)
}

// TestRefusals tells apart what another try may mend.
func TestRefusals(t *testing.T) {
	f := func(err error, final bool) {
		t.Helper()
		in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
			a.err = err
			n, got := o.Send(t.Context(), "u", text("x"))
			if n != 0 || got == nil || undeliverable(got) != final {
				t.Errorf("%v: Send = %d, %v (final %v), want final %v", err, n, got, undeliverable(got), final)
			}
		})
	}
	f(code(48001), true)
	f(code(45015), true)
	f(code(45047), true)
	f(code(40003), true)
	f(code(-1), false)
	f(code(45009), false)
	f(code(42001), false)
	f(code(40164), false)
	f(errors.New("connection refused"), false)
}

func Test48001IsRememberedForAnHour(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		a.err = code(48001)
		o.Send(t.Context(), "u", text("x"))
		a.fails(nil)
		if _, err := o.Send(t.Context(), "other", text("x")); !undeliverable(err) || !strings.Contains(err.Error(), "pickup") {
			t.Errorf("Send = %v, want the reason and its mend", err)
		}
		o.Typing("u")
		synctest.Wait()
		if !o.Refused() || a.tries != 1 || a.typing != 0 {
			t.Errorf("refused %v, %d tries, typing shown %d times; want one try", o.Refused(), a.tries, a.typing)
		}
		time.Sleep(59 * time.Minute)
		if !o.Refused() {
			t.Error("forgotten after 59 minutes")
		}
		time.Sleep(time.Minute)
		if n, err := o.Send(t.Context(), "u", text("x")); o.Refused() || n != 1 || err != nil {
			t.Errorf("an hour later: %d, %v", n, err)
		}
	})
}

// TestClosedUser: after 45015 or 45047 WeChat is not asked again for this user
// until they are back.
func TestClosedUser(t *testing.T) {
	for _, n := range []int{45015, 45047} {
		in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
			o.Interacted("u", "msg/text", time.Now())
			a.err = code(n)
			o.Send(t.Context(), "u", text("x"))
			a.fails(nil)
			if _, err := o.Send(t.Context(), "u", text("x")); !undeliverable(err) || a.tries != 1 {
				t.Errorf("%d: Send = %v after %d tries, want a refusal without a call", n, err, a.tries)
			}
			if _, err := o.Send(t.Context(), "other", text("x")); err != nil {
				t.Errorf("%d: another user: %v", n, err)
			}
			o.Interacted("u", "event/CLICK", time.Now())
			if _, err := o.Send(t.Context(), "u", text("x")); err != nil {
				t.Errorf("%d: the user is back: %v", n, err)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		o.Interacted("u", "msg/text", time.Now())
		n, err := o.Send(t.Context(), "u", append(append(append(text("1"), text("2")...), append(text("3"), text("4")...)...), append(text("5"), text("6")...)...))
		if n != 5 || !undeliverable(err) || !strings.Contains(err.Error(), "45047") || a.tries != 5 {
			t.Errorf("Send = %d, %v after %d calls; want 5 sent and the sixth refused without a call", n, err, a.tries)
		}
		o.Interacted("u", "event/CLICK", time.Now())
		if n, err := o.Send(t.Context(), "u", text("7")); n != 1 || err != nil {
			t.Errorf("after a click: %d, %v", n, err)
		}
		o.Interacted("u", "msg/image", time.Now())
		time.Sleep(48*time.Hour + time.Second)
		if _, err := o.Send(t.Context(), "u", text("8")); !undeliverable(err) || !strings.Contains(err.Error(), "45015") {
			t.Errorf("after 48 h: %v, want 45015", err)
		}
	})
}

// TestUnsupportedIsSkipped: what has no customer-service form does not keep the
// rest back.
func TestUnsupportedIsSkipped(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		replies := append(text("1"), msg.Reply{Type: "transfer_customer_service"}, msg.Reply{Type: "raw", Raw: []byte("<xml/>")})
		replies = append(replies, text("2")...)
		if n, err := o.Send(t.Context(), "u", replies); n != 4 || err != nil || fmt.Sprint(a.sent) != "[u 1 u 2]" {
			t.Errorf("Send = %d, %v, sent %q", n, err, a.sent)
		}
		if _, err := o.Send(t.Context(), "", text("x")); !undeliverable(err) {
			t.Errorf("to nobody: %v, want a final refusal", err)
		}
	})
}

// TestPartlySent: the caller learns how far it came.
func TestPartlySent(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		a.took = time.Second
		time.AfterFunc(1500*time.Millisecond, func() { a.fails(errors.New("connection reset")) })
		if n, err := o.Send(t.Context(), "u", append(append(text("1"), text("2")...), text("3")...)); n != 1 || err == nil || undeliverable(err) {
			t.Errorf("Send = %d, %v; want 1 and an error that may pass", n, err)
		}
	})
}

// TestTypingDoesNotWait: showing it never holds anybody up, however many want it.
func TestTypingDoesNotWait(t *testing.T) {
	in(t, func(t *testing.T, o *Outbox, a *fakeAPI) {
		a.took = time.Second
		began := time.Now()
		for i := range 100 {
			o.Typing(fmt.Sprint("u", i))
		}
		o.Typing("")
		if time.Since(began) != 0 {
			t.Errorf("waited %s", time.Since(began))
		}
		time.Sleep(2 * time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.typing != maxTyping {
			t.Errorf("%d calls, want the bound of %d", a.typing, maxTyping)
		}
	})
}
