package delivery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// TestRedeliveriesAtOnce: an account has at most perService of them in work,
// and that of one account leaves the others theirs.
func TestRedeliveriesAtOnce(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
		var wg sync.WaitGroup
		for i := range 40 {
			p := testPush(i, "msg/text")
			p.OpenID = fmt.Sprint("user", i)
			wg.Go(func() { h.Deliver(p, now()) })
		}
		wg.Wait()
		gauge := &gaugeBackend{}
		h.reload(func(s *Service) { s.Backend = gauge })
		time.Sleep(10 * time.Minute)
		gauge.mu.Lock()
		defer gauge.mu.Unlock()
		if gauge.most != perService || gauge.calls != 40 {
			t.Errorf("%d redeliveries, %d at once; want 40 and %d", gauge.calls, gauge.most, perService)
		}
	})
}

// gaugeBackend counts the calls that are in work at the same time.
type gaugeBackend struct {
	mu               sync.Mutex
	now, most, calls int
}

func (b *gaugeBackend) Post(ctx context.Context, c Call) (msg.Answer, error) {
	b.mu.Lock()
	b.now++
	b.calls++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	sleep(ctx, 10*time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now--
	return msg.Answer{}, nil
}

func (b *gaugeBackend) Begin(c Call, _ time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	return msg.Answer{}, func(ctx context.Context) (msg.Answer, error) { return b.Post(ctx, c) }, nil
}

func (b *gaugeBackend) Open() bool { return false }

// TestServiceIsGone: what is stored for a service that a reload took away waits
// a day for it to come back, then it is a dead letter.
func TestServiceIsGone(t *testing.T) {
	f := func(back bool) {
		t.Helper()
		in(t, func(t *testing.T, h *house) {
			h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
			h.Deliver(testPush(1, "msg/text"), now())
			h.reload(func(s *Service) { s.Backend = nil })
			time.Sleep(12 * time.Hour)
			if items := h.items(t); len(items) != 1 || items[0].State != store.Waiting {
				t.Fatalf("queue %+v after 12 h, want one that waits", items)
			}
			if back {
				h.backend.fails(nil)
				h.reload(func(s *Service) { s.Backend = h.backend })
				time.Sleep(time.Minute)
				if items := h.items(t); len(items) != 0 {
					t.Errorf("queue %+v, want nothing: the service is back", items)
				}
				return
			}
			time.Sleep(13 * time.Hour)
			items := h.items(t)
			if len(items) != 1 || items[0].State != store.Dead || !strings.Contains(string(items[0].Data), "not configured") {
				t.Errorf("queue %+v after 25 h, want a dead letter that says why", items)
			}
		})
	}
	f(true)
	f(false)
}

// TestNoBackendAnyMore: a reload may take the backend away between the choice
// of the handler and the delivery.
func TestNoBackendAnyMore(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.reload(func(s *Service) { s.Backend = nil })
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Refuse {
			t.Errorf("verdict %+v, want a refusal: the repeat finds the new handler", v)
		}
	})
}

// TestTimeoutsMayBeZero: then a push that timed out is not delivered again.
func TestTimeoutsMayBeZero(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.svc.Policy.Timeouts, h.svc.Policy.MaxWait = 0, 10*time.Second
		h.backend.slow(time.Hour)
		h.Deliver(testPush(1, "event/VIEW"), now())
		time.Sleep(time.Hour)
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
		if items := h.items(t); len(items) != 1 || items[0].State != store.Dead {
			t.Errorf("queue %+v, want one dead letter", items)
		}
	})
}

// TestUnsentAnswerPausesGrow: an answer that WeChat does not take for a passing
// reason is not tried every second for a day.
func TestUnsentAnswerPausesGrow(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		tries := &countingOutbox{}
		h.svc.Outbox = tries
		h.backend.slow(20 * time.Second)
		schedules()[0].push(h.Engine, testPush(1, "msg/text"))
		time.Sleep(time.Hour)
		if n := tries.n.Load(); n < 8 || n > 20 {
			t.Errorf("%d tries in an hour, want growing pauses", n)
		}
	})
}

type countingOutbox struct {
	fakeOutbox
	n atomic.Int32
}

func (o *countingOutbox) Send(context.Context, string, []msg.Reply) (int, error) {
	o.n.Add(1)
	return 0, errors.New("WeChat is down")
}

// TestRestIsSentThoughLateIsOff: what exceeds a passive reply belongs to an
// answer that came in time.
func TestRestIsSentThoughLateIsOff(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.svc.Policy.Via = Off
		h.backend.answers(msg.Answer{Replies: texts("one", "two")})
		v := h.Deliver(testPush(1, "msg/text"), now())
		v.Written.Close()
		h.sentNow(t, "two")
	})
}

// TestRestSurvivesAStop: so does what waits for its 300 ms when the gateway
// stops.
func TestRestSurvivesAStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		b := openBolt(t, path)
		h := newHouse(t, b, true)
		h.backend.answers(msg.Answer{Replies: texts("one", "two")})
		v := h.Deliver(testPush(1, "msg/text"), now())
		v.Written.Close()
		h.Stop()
		b.Close()
		b = openBolt(t, path)
		defer b.Close()
		h = newHouse(t, b, true)
		defer h.Stop()
		h.sentNow(t, "two")
	})
}

// TestStopCountsWhatMemoryLoses: without a durable store, stored pushes go with
// the process, and are counted.
func TestStopCountsWhatMemoryLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := memoryHouse(t)
		h.failing(t, 3)
		h.Stop()
		if n := h.event("dropped"); n != 3 {
			t.Errorf("%d pushes counted as dropped, want 3", n)
		}
	})
}

// TestRefusedPushMayComeAgainLater: the end of a push that was held and then
// refused does not disturb the one that comes in its place.
func TestRefusedPushMayComeAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFullDisk()
		h := newHouse(t, st, true)
		defer h.Stop()
		st.breaks(true)
		h.backend.slow(7 * time.Second)
		h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Hang {
			t.Fatalf("attempt 1: %+v, want a hang", v)
		}
		time.Sleep(1500 * time.Millisecond) // the call has failed, and nobody was there
		h.backend.fails(nil)
		h.backend.slow(3 * time.Second)
		var first Verdict
		go func() { first = h.Deliver(testPush(1, "msg/text"), now()) }()
		time.Sleep(2 * time.Second) // WeChat would have given up by now
		second := h.Deliver(testPush(1, "msg/text"), now())
		synctest.Wait()
		if first.Do != Reply || second.Do != Reply {
			t.Errorf("verdicts %+v and %+v, want the answer for both", first, second)
		}
		if n := h.backend.count(); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
		st.breaks(false)
	})
}

// TestAttemptsCountWhatWasSent: a try that never left the gateway is no attempt
// of the push, neither at once nor later.
func TestAttemptsCountWhatWasSent(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		attempts := func() (n []int) {
			for _, c := range h.backend.all() {
				n = append(n, c.Attempt)
			}
			return n
		}
		h.backend.fails(&Failure{Keep: true, Retry: true, Unsent: true, Err: errors.New("connection refused")})
		h.Deliver(testPush(1, "msg/text"), now())
		if got := attempts(); len(got) < 3 || slices.Max(got) != 1 {
			t.Errorf("attempts %v of a dead backend, want several, each the first", got)
		}
		h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
		n := len(attempts())
		time.Sleep(time.Minute)
		if got := attempts()[n:]; len(got) < 3 || !slices.Equal(got[:3], []int{1, 2, 3}) {
			t.Errorf("attempts %v once the backend is reached, want them counted from 1", got)
		}
	})
}

// TestQuickFailureDoesNotHoldItsAttempt: a backend that fails at once on a slow
// disk: the lock that is held over writes must not hold WeChat's attempt too.
func TestQuickFailureDoesNotHoldItsAttempt(t *testing.T) {
	t.Parallel()
	h := memoryHouse(t)
	h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
	p := testPush(1, "event/channels_ec_vip_user_info_get") // answered within 2.5 s
	unlock := h.replies.lock(p.ID)                          // as another push's write would hold it
	heard := make(chan Verdict)
	go func() { heard <- h.Deliver(p, now()) }()
	select {
	case v := <-heard:
		if v.Do != Success {
			t.Errorf("WeChat is told %+v", v)
		}
		unlock()
	case <-time.After(time.Minute):
		t.Error("the attempt waits for the lock")
		unlock()
		<-heard
	}
	h.Stop()
}

// TestRepeatsCountAttempts: of an answered push too, one by one.
func TestRepeatsCountAttempts(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		stamp := time.Now()
		for n, after := range []time.Duration{0, 5 * time.Second, 5 * time.Second} {
			time.Sleep(after)
			v := h.Deliver(testPush(1, "msg/text"), Arrival{At: time.Now(), Stamp: stamp})
			if v.Attempt != n+1 || v.Do != Reply {
				t.Errorf("attempt %d is told %+v", n+1, v)
			}
			v.Written.Close()
		}
	})
}
