package delivery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// acrossStep runs before, stops, sets the wall clock, and runs after on the same
// file. The clock of a bubble always starts at the same time, so each run has one
// of its own, and the run whose clock is ahead begins by sleeping. Of change, the
// first belongs to the run before, the second to the run after.
func acrossStep(t *testing.T, step time.Duration, change [2]func(*house), before, after func(t *testing.T, h *house)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	run := func(ahead time.Duration, change func(*house), f func(t *testing.T, h *house)) (end time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			time.Sleep(ahead)
			b := openBolt(t, path)
			defer b.Close()
			h := newHouse(t, b, true, change)
			defer h.Stop()
			f(t, h)
			end = time.Since(began)
		})
		return end
	}
	end := run(max(0, -step), change[0], before)
	run(end+step, change[1], after)
}

// steps are hours, so that each is longer than any pause, and shorter than
// what anything is kept for.
func steps(t *testing.T, f func(t *testing.T, step time.Duration)) {
	t.Helper()
	for _, step := range []time.Duration{0, 10 * time.Hour, -10 * time.Hour} {
		t.Run(fmt.Sprint("by ", step), func(t *testing.T) { f(t, step) })
	}
}

// How a run begins.
func well(*house) {}

func broken(h *house) {
	h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
}

// timed is a backend that fails and notes when it is called.
type timed struct {
	mu sync.Mutex
	at []time.Time
}

func (b *timed) Post(context.Context, Call) (msg.Answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = append(b.at, time.Now())
	return msg.Answer{}, &Failure{Keep: true, Err: errors.New("backend answered 500")}
}

func (b *timed) Begin(c Call, _ time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	return msg.Answer{}, func(ctx context.Context) (msg.Answer, error) { return b.Post(ctx, c) }, nil
}

func (b *timed) Open() bool { return false }

func (b *timed) times() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.at)
}

// TestClockStepsRedelivery: stored pushes are delivered again at the pause they
// had come to, neither at once and at once again nor hours later, in order, and
// then no more.
func TestClockStepsRedelivery(t *testing.T) {
	t.Parallel()
	steps(t, func(t *testing.T, step time.Duration) {
		const pushes = 3
		b := &timed{}
		acrossStep(t, step, [2]func(*house){broken, func(h *house) { h.svc.Backend = b }}, func(t *testing.T, h *house) {
			for i := range pushes {
				if v := h.Deliver(testPush(i, "event/VIEW"), now()); v.Do != Success {
					t.Fatalf("verdict %+v, want success", v)
				}
			}
			time.Sleep(time.Hour) // the pauses of the first are 10 min long by now
		}, func(t *testing.T, h *house) {
			// The queue is looked at every 5 s.
			const shortest, longest = 10 * time.Minute * 3 / 4, 10*time.Minute*5/4 + lookEvery
			began := time.Now()
			time.Sleep(time.Hour)
			h.reload(func(s *Service) { s.Backend = h.backend })
			at := b.times()
			if n := len(at); n < 4 || n > 9 {
				t.Fatalf("%d redeliveries in an hour: %v", n, at)
			}
			if first := at[0].Sub(began); first > longest {
				t.Errorf("the first redelivery came after %s", first)
			}
			for i := range at[1:] {
				if pause := at[i+1].Sub(at[i]); pause < shortest || pause > longest {
					t.Errorf("redelivery %d came %s after the one before", i+1, pause)
				}
			}
			time.Sleep(longest)
			if items := h.items(t); len(items) != 0 {
				t.Errorf("queue %+v, want nothing", items)
			}
			var got, want []string
			for i := range pushes {
				want = append(want, testPush(i, "event/VIEW").ID.String())
			}
			for _, c := range h.backend.all() {
				got = append(got, c.PushID.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("delivered %v, want %v: each once, in order", got, want)
			}
		})
	})
}

// TestClockStepBeyondADay: what is given up for being too old is tried once
// more, and is a dead letter then, not lost.
func TestClockStepBeyondADay(t *testing.T) {
	t.Parallel()
	f := func(mended bool) {
		t.Helper()
		then := broken
		if mended {
			then = well
		}
		acrossStep(t, 30*time.Hour, [2]func(*house){broken, then}, func(t *testing.T, h *house) {
			h.Deliver(testPush(1, "event/VIEW"), now())
		}, func(t *testing.T, h *house) {
			time.Sleep(time.Hour)
			if n := h.backend.count(); n != 1 {
				t.Errorf("mended %v: %d calls, want 1", mended, n)
			}
			items := h.items(t)
			if mended && len(items) != 0 || !mended && (len(items) != 1 || items[0].State != store.Dead) {
				t.Errorf("mended %v: queue %+v", mended, items)
			}
		})
	}
	f(true)
	f(false)
}

// TestClockStepsAnswers: an answer that waits to be sent is sent, once, and the
// backend is not asked again.
func TestClockStepsAnswers(t *testing.T) {
	t.Parallel()
	steps(t, func(t *testing.T, step time.Duration) {
		acrossStep(t, step, [2]func(*house){well, well}, func(t *testing.T, h *house) {
			h.outbox.fails(errors.New("WeChat is down"))
			h.backend.slow(20 * time.Second)
			h.goLate(t, 1)
			time.Sleep(time.Hour)
		}, func(t *testing.T, h *house) {
			time.Sleep(15 * time.Minute)
			h.sentNow(t, "answer")
			if n := h.backend.count(); n != 0 {
				t.Errorf("%d calls, want none", n)
			}
			if items := h.items(t); len(items) != 0 {
				t.Errorf("queue %+v, want nothing", items)
			}
		})
	})
}

// TestClockStepsAsync: a reply that is awaited from outside still finds its push.
func TestClockStepsAsync(t *testing.T) {
	t.Parallel()
	steps(t, func(t *testing.T, step time.Duration) {
		acrossStep(t, step, [2]func(*house){well, well}, func(t *testing.T, h *house) {
			h.backend.answers(msg.Answer{Async: true})
			h.goLate(t, 1)
			time.Sleep(time.Hour)
		}, func(t *testing.T, h *house) {
			time.Sleep(time.Hour)
			h.post(t, Taken, false, "posted")
			h.sentNow(t, "posted")
			h.post(t, Duplicate, false, "posted")
		})
	})
}

// TestClockStepsPickUp: answers on the shelf stay there, before those that come
// later.
func TestClockStepsPickUp(t *testing.T) {
	t.Parallel()
	steps(t, func(t *testing.T, step time.Duration) {
		acrossStep(t, step, [2]func(*house){picksUp, picksUp}, func(t *testing.T, h *house) {
			h.backend.slow(10 * time.Second)
			var all sync.WaitGroup
			for i := range 2 {
				all.Go(func() { h.question(i, fmt.Sprint("q", i)) })
				time.Sleep(time.Second)
			}
			all.Wait()
			time.Sleep(time.Hour)
		}, func(t *testing.T, h *house) {
			time.Sleep(time.Hour)
			h.backend.slow(10 * time.Second)
			h.question(2, "q2") // newer, whatever its date
			time.Sleep(time.Minute)
			for i := range 3 {
				v, text := h.say(10+i, word)
				if want := fmt.Sprintf("「q%d」\nanswer", i); text != want {
					t.Errorf("the word brings %q, want %q", text, want)
				}
				written(v)
			}
			if n := h.shelved(t); n != 0 {
				t.Errorf("%d answers are left", n)
			}
		})
	})
}

// TestClockStepsDeadLetters: they can still be looked at, and tried again.
func TestClockStepsDeadLetters(t *testing.T) {
	t.Parallel()
	steps(t, func(t *testing.T, step time.Duration) {
		hung := func(h *house) {
			h.svc.Policy.Timeouts, h.svc.Policy.MaxWait = 0, 10*time.Second
			h.backend.delay = time.Hour
		}
		acrossStep(t, step, [2]func(*house){hung, well}, func(t *testing.T, h *house) {
			h.Deliver(testPush(1, "event/VIEW"), now())
			time.Sleep(time.Hour)
		}, func(t *testing.T, h *house) {
			time.Sleep(time.Hour)
			if items := h.items(t); len(items) != 1 || items[0].State != store.Dead {
				t.Fatalf("queue %+v, want one dead letter", items)
			}
			if err := h.Retry(t.Context(), testPush(1, "event/VIEW").ID.String()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if items := h.items(t); len(items) != 0 || h.backend.count() != 1 {
				t.Errorf("%d calls, queue %+v; want it delivered", h.backend.count(), items)
			}
		})
	})
}
