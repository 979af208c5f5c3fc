package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// fakeBackend answers every call after a delay.
type fakeBackend struct {
	delay time.Duration
	ans   msg.Answer
	err   error

	mu    sync.Mutex
	calls []Call
}

func (b *fakeBackend) Post(ctx context.Context, c Call) (msg.Answer, error) {
	b.mu.Lock()
	b.calls = append(b.calls, c)
	delay := b.delay
	if c.ReplyWithin > 0 {
		delay = max(delay, 1) // a live push: in fed time, until its attempt waits
	}
	b.mu.Unlock()
	if !sleep(ctx, delay) {
		return msg.Answer{}, &Failure{Keep: true, Timeout: true, Err: context.Cause(ctx)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ans, b.err
}

// Begin ends the calls that take no time.
func (b *fakeBackend) Begin(c Call, _ time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	b.mu.Lock()
	delay := b.delay
	b.mu.Unlock()
	if delay == 0 {
		ans, err := b.Post(context.Background(), c)
		return ans, nil, err
	}
	return msg.Answer{}, func(ctx context.Context) (msg.Answer, error) { return b.Post(ctx, c) }, nil
}

// slow sets how long the next calls take.
func (b *fakeBackend) slow(delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delay = delay
}

// answers sets what the next calls answer.
func (b *fakeBackend) answers(ans msg.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ans = ans
}

// fails sets what the next calls end with.
func (b *fakeBackend) fails(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *fakeBackend) Open() bool { return false }

func (b *fakeBackend) all() []Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Call(nil), b.calls...)
}

func (b *fakeBackend) count() int { return len(b.all()) }

// fakeOutbox notes what is sent late.
type fakeOutbox struct {
	err  error
	took time.Duration

	mu     sync.Mutex
	texts  []string
	typing int
}

func (o *fakeOutbox) Send(_ context.Context, openid string, replies []msg.Reply) (int, error) {
	time.Sleep(o.took)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	for _, r := range replies {
		o.texts = append(o.texts, openid+": "+r.Text)
	}
	return len(replies), nil
}

// fails sets what the next messages end with.
func (o *fakeOutbox) fails(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *fakeOutbox) Refused() bool { return false }

func (o *fakeOutbox) Typing(string) {
	o.mu.Lock()
	o.typing++
	o.mu.Unlock()
}

func (o *fakeOutbox) sent() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.texts...)
}

func textAnswer(text string) msg.Answer {
	return msg.Answer{Replies: []msg.Reply{{Type: "text", Text: text}}}
}

// house is an engine with one service, for tests.
type house struct {
	*Engine
	svc     *Service
	backend *fakeBackend
	outbox  *fakeOutbox
	events  map[string]int
	mu      sync.Mutex
}

func (h *house) Deliver(p Push, in Arrival) Verdict { return h.Engine.Deliver(&p, in) }

func (h *house) PickUp(p Push, in Arrival) Verdict { return h.Engine.PickUp(&p, in) }

func (h *house) Intercept(p Push, text string, in Arrival) (Verdict, bool) {
	return h.Engine.Intercept(&p, text, in)
}

// newHouse starts it once change has changed it.
func newHouse(t *testing.T, st storage, durable bool, change ...func(*house)) *house {
	t.Helper()
	h := &house{backend: &fakeBackend{ans: textAnswer("answer")}, outbox: &fakeOutbox{}, events: map[string]int{}}
	h.svc = &Service{
		Name: "s", Kind: Official, Backend: h.backend, Outbox: h.outbox, KeyTTL: 10 * time.Minute,
		Policy: Policy{
			Via: CustomerService, MaxWait: 120 * time.Second, Hold: true, HoldLimit: 30, Keep: 24 * time.Hour,
			RedeliverFor: 24 * time.Hour, Timeouts: 2, MaxAgeReply: 10 * time.Minute,
		},
	}
	h.Engine = New(Config{
		Log: slog.New(slog.DiscardHandler),
		Service: func(name string) (*Service, bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.svc, name == "s"
		},
		Queue: st.Queue(), Values: st.Values(), Durable: durable,
		Count: func(_, event string) {
			h.mu.Lock()
			h.events[event]++
			h.mu.Unlock()
		},
	})
	for _, c := range change {
		c(h)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	return h
}

// reload changes the configuration while jobs may run.
func (h *house) reload(change func(*Service)) {
	next := *h.svc
	change(&next)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.svc = &next
}

type storage interface {
	Queue() store.Queue
	Values() store.Values
}

func (h *house) event(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events[name]
}

func testPush(n int, kind string) Push {
	return Push{
		ID: MakeID("s", "user", fmt.Sprint(n), kind, "", fmt.Sprint(n), nil), Service: "s", OpenID: "user",
		Kind: kind, Path: "/" + kind, Body: []byte(`{}`), Question: "question", Created: time.Now(),
	}
}

// pushed is what an engine is given of p.
func pushed(p Push) *Push { return &p }

// wechat plays WeChat's side: attempts that are cut, and come again.
type wechat struct {
	name   string
	cut    time.Duration
	starts []time.Duration // of each attempt, after the first; nil: when the last one ends
	last   int             // attempts in all
	skip   int             // this attempt is never sent; 0: none
}

func schedules() []wechat {
	return []wechat{
		{name: "as documented", cut: 5 * time.Second, last: 3},
		{name: "cut at 4.8 s", cut: 4800 * time.Millisecond, last: 3},
		{name: "cut at 5.2 s", cut: 5200 * time.Millisecond, last: 3},
		{name: "fourth attempt", cut: 5 * time.Second, last: 4},
		{name: "only one attempt", cut: 5 * time.Second, last: 1},
		{name: "only two attempts", cut: 5 * time.Second, last: 2},
		{name: "second attempt missing", cut: 5 * time.Second, last: 3, skip: 2},
		{name: "third attempt missing", cut: 5 * time.Second, last: 3, skip: 3},
		{name: "pause of 1 s between", cut: 5 * time.Second, last: 3, starts: []time.Duration{0, 6 * time.Second, 12 * time.Second}},
		{name: "pause of 4 s between", cut: 5 * time.Second, last: 3, starts: []time.Duration{0, 9 * time.Second, 18 * time.Second}},
		{name: "early repeats", cut: 5 * time.Second, last: 3, starts: []time.Duration{0, time.Second, 2 * time.Second}},
	}
}

// push sends p by the schedule. It returns the verdicts that reached WeChat in
// time; it comes again until one did.
func (w wechat) push(e *Engine, p Push) (heard []Verdict) {
	began := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	answered := make(chan struct{})
	var once sync.Once
	for n := 1; n <= w.last; n++ {
		start := time.Duration(n-1) * w.cut
		if w.starts != nil {
			start = w.starts[n-1]
		}
		select {
		case <-answered:
		case <-time.After(start - time.Since(began)):
		}
		select {
		case <-answered:
			n = w.last
			continue
		default:
		}
		if n == w.skip {
			continue
		}
		at := time.Now()
		ended := make(chan struct{})
		wg.Go(func() {
			defer close(ended)
			v := e.Deliver(pushed(p), Arrival{At: at, Gone: func() bool { return time.Since(at) >= w.cut }})
			if v.Do == Hang || v.Do == Refuse || time.Since(at) >= w.cut {
				if v.Written != nil {
					v.Written.Close()
				}
				return
			}
			mu.Lock()
			heard = append(heard, v)
			mu.Unlock()
			if v.Written != nil {
				v.Written.Close()
			}
			once.Do(func() { close(answered) })
		})
	}
	wg.Wait()
	return heard
}

// TestClock lets an answer arrive at every moment of every schedule: there is
// never a second backend call, and never an answer lost that some attempt or
// the late way could carry.
func TestClock(t *testing.T) {
	kinds := []string{"msg/text", "event/subscribe", "event/VIEW", "event/minigame_coin_deliver_completed"}
	for _, w := range schedules() {
		for _, kind := range kinds {
			for _, hold := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/hold %v", w.name, kind, hold), func(t *testing.T) {
					t.Parallel()
					for _, delay := range delays() {
						synctest.Test(t, func(t *testing.T) { oneClock(t, w, kind, hold, delay) })
					}
				})
			}
		}
	}
}

// delays are the moments of an answer: each half second, and close around
// every mark of the clock.
func delays() []time.Duration {
	var all []time.Duration
	for d := time.Duration(0); d <= 20*time.Second; d += 500 * time.Millisecond {
		all = append(all, d)
	}
	marks := []time.Duration{2500, 4500, 4800, 5000, 5200, 6000, 9000, 9500, 9800, 10000, 11000, 14000, 14500, 15000, 18000}
	for _, m := range marks {
		m *= time.Millisecond
		all = append(all, m-time.Millisecond, m, m+time.Millisecond)
	}
	return append(all, 119*time.Second)
}

func oneClock(t *testing.T, w wechat, kind string, hold bool, delay time.Duration) {
	h := newHouse(t, store.NewMemory(store.MemoryConfig{}), false)
	defer h.Stop()
	h.svc.Policy.Hold = hold
	h.backend.delay = delay
	heard := w.push(h.Engine, testPush(1, kind))
	time.Sleep(3 * time.Minute) // everything that is late has happened
	synctest.Wait()

	if n := h.backend.count(); n != 1 {
		t.Errorf("answer after %s: %d backend calls, want 1", delay, n)
	}
	inline := 0
	for _, v := range heard {
		if v.Do == Reply {
			inline++
		}
	}
	late := len(h.outbox.sent())
	if inline+late == 0 {
		t.Errorf("answer after %s: lost (heard %+v)", delay, heard)
	}
	if late > 1 || inline > 0 && late > 0 {
		t.Errorf("answer after %s: %d inline and %d late", delay, inline, late)
	}
	if len(heard) == 0 && w.last >= 3 && w.skip == 0 {
		t.Errorf("answer after %s: WeChat heard nothing in %d attempts", delay, w.last)
	}
}

// TestHold checks on which attempt an answer is given: backends of 0.1, 3,
// 6.5, 12 and 17 s are answered on attempt 1, 1, 2, 3 and late.
func TestHold(t *testing.T) {
	f := func(delay time.Duration, attempt int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, store.NewMemory(store.MemoryConfig{}), false)
			defer h.Stop()
			h.backend.delay = delay
			heard := schedules()[0].push(h.Engine, testPush(1, "msg/text"))
			time.Sleep(time.Minute)
			if len(heard) != 1 {
				t.Fatalf("answer after %s: WeChat heard %+v, want one verdict", delay, heard)
			}
			if attempt > 0 && (heard[0].Do != Reply || heard[0].Attempt != attempt) {
				t.Errorf("answer after %s: %+v, want the answer on attempt %d", delay, heard[0], attempt)
			}
			if attempt == 0 && (heard[0].Do != Success || len(h.outbox.sent()) != 1) {
				t.Errorf("answer after %s: %+v and %q late, want success and one late message", delay, heard[0], h.outbox.sent())
			}
		})
	}
	f(100*time.Millisecond, 1)
	f(3*time.Second, 1)
	f(6500*time.Millisecond, 2)
	f(12*time.Second, 3)
	f(17*time.Second, 0)
}
