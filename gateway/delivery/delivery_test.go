package delivery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

func memoryHouse(t *testing.T) *house {
	t.Helper()
	return newHouse(t, store.NewMemory(store.MemoryConfig{}), false)
}

func now() Arrival { return Arrival{At: time.Now()} }

// in runs f in a bubble of fed time.
func in(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := memoryHouse(t)
		defer h.Stop()
		f(t, h)
	})
}

func TestDuplicatesShareOneCall(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.delay = 3 * time.Second
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Reply || v.Reply.Text != "answer" {
					t.Errorf("verdict %+v, want the answer", v)
				}
			})
		}
		wg.Wait()
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d backend calls for 50 duplicates, want 1", n)
		}
	})
}

func TestRepeats(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		p := testPush(1, "msg/text")
		for _, after := range []time.Duration{0, time.Second, 58 * time.Second} {
			time.Sleep(after)
			v := h.Deliver(p, now())
			if v.Do != Reply || v.Reply.Text != "answer" {
				t.Fatalf("after another %s: %+v, want the stored answer", after, v)
			}
			if v.Written != nil {
				v.Written.Close()
			}
		}
		time.Sleep(2 * time.Minute)
		if v := h.Deliver(p, now()); v.Do != Success || v.Outcome != "repeat" {
			t.Errorf("a repeat after the reply is gone: %+v, want success", v)
		}
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d backend calls, want 1", n)
		}
		time.Sleep(10 * time.Minute)
		if h.Deliver(p, now()); h.backend.count() != 2 {
			t.Errorf("%d backend calls after the key has expired, want a new one", h.backend.count())
		}
	})
}

func TestKeys(t *testing.T) {
	base := MakeID("s", "user", "1", "text", "", "100", nil)
	same := MakeID("s", "user", "1", "text", "", "100", []byte("ignored"))
	if base != same {
		t.Error("a push with a MsgId depends on its body")
	}
	others := map[string]ID{
		"service":   MakeID("t", "user", "1", "text", "", "100", nil),
		"user":      MakeID("s", "user2", "1", "text", "", "100", nil),
		"time":      MakeID("s", "user", "2", "text", "", "100", nil),
		"type":      MakeID("s", "user", "1", "image", "", "100", nil),
		"event":     MakeID("s", "user", "1", "text", "CLICK", "100", nil),
		"id":        MakeID("s", "user", "1", "text", "", "101", nil),
		"shifted":   MakeID("s", "user1", "", "text", "", "100", nil),
		"body":      MakeID("s", "user", "1", "text", "", "", []byte("a")),
		"otherbody": MakeID("s", "user", "1", "text", "", "", []byte("b")),
	}
	seen := map[ID]string{base: "base"}
	for name, id := range others {
		if was, ok := seen[id]; ok {
			t.Errorf("%s and %s share a key", name, was)
		}
		seen[id] = name
	}
	if id, ok := ParseID(base.String()); !ok || id != base {
		t.Errorf("ParseID(%s) = %v, %v", base, id, ok)
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 32), strings.Repeat("0", 33)} {
		if _, ok := ParseID(bad); ok {
			t.Errorf("ParseID(%q) accepted", bad)
		}
	}
}

func TestAttemptByAge(t *testing.T) {
	f := func(age time.Duration, want int) {
		t.Helper()
		at := time.Now()
		got := earlier(Arrival{At: at, Stamp: at.Add(-age)}) + 1
		if got != want {
			t.Errorf("first seen at age %s counts as attempt %d, want %d", age, got, want)
		}
	}
	f(0, 1)
	f(3900*time.Millisecond, 1)
	f(4*time.Second, 2)
	f(8900*time.Millisecond, 2)
	f(9*time.Second, 3)
	f(time.Minute, 3)
	f(61*time.Second, 1)
	f(-5*time.Second, 1)
	if n := earlier(Arrival{At: time.Now()}); n != 0 {
		t.Errorf("without a timestamp: %d earlier attempts", n)
	}
}

func TestSecondAttemptSeenFirstIsHeldOnce(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.delay = 30 * time.Second
		at := time.Now()
		v := h.Deliver(testPush(1, "msg/text"), Arrival{At: at, Stamp: at.Add(-5 * time.Second)})
		if v.Do != Hang || v.Attempt != 2 || time.Since(at) != holdEnd {
			t.Fatalf("attempt 2: %+v after %s, want a hang at 6 s", v, time.Since(at))
		}
		at = time.Now()
		v = h.Deliver(testPush(1, "msg/text"), Arrival{At: at})
		if v.Do != Success || v.Attempt != 3 || time.Since(at) != answerBy {
			t.Errorf("attempt 3: %+v after %s, want success at 4.5 s", v, time.Since(at))
		}
	})
}

func TestHoldLimit(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.svc.Policy.HoldLimit = 2
		h.backend.delay = 40 * time.Second
		var wg sync.WaitGroup
		var mu sync.Mutex
		hung := 0
		for i := range 5 {
			wg.Go(func() {
				v := h.Deliver(testPush(i, "msg/text"), now())
				mu.Lock()
				defer mu.Unlock()
				if v.Do == Hang {
					hung++
				} else if v.Do != Success {
					t.Errorf("verdict %+v, want a hang or success", v)
				}
			})
		}
		wg.Wait()
		if hung != 2 {
			t.Errorf("%d attempts left unanswered, want the limit of 2", hung)
		}
		time.Sleep(time.Minute)
		if v := h.Deliver(testPush(9, "msg/text"), now()); v.Do != Hang {
			t.Errorf("a minute later: %+v, want a hang again", v)
		}
	})
}

// TestAckStays: the repeat of an acked push hears the ack, however the call has
// ended in between: WeChat may have missed the first one.
func TestAckStays(t *testing.T) {
	f := func(name string, end func(h *house)) {
		t.Helper()
		in(t, func(t *testing.T, h *house) {
			h.svc.Policy.Hold, h.svc.Policy.Ack = false, "one moment"
			h.backend.delay = 5 * time.Second
			end(h)
			for range 3 {
				if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Reply || v.Reply.Text != "one moment" {
					t.Errorf("%s: %+v, want the ack", name, v)
				}
				time.Sleep(5 * time.Second)
			}
			for i, c := range h.backend.all() {
				if c.Attempt != i+1 {
					t.Errorf("%s: call %d is attempt %d: a repeat was forwarded", name, i+1, c.Attempt)
				}
			}
		})
	}
	f("answered", func(*house) {})
	f("nothing to say", func(h *house) { h.backend.ans = msg.Answer{} })
	f("failed", func(h *house) { h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")} })
	f("of no use", func(h *house) { h.backend.err = &Failure{Err: errors.New("broken JSON")} })
}

func TestAckText(t *testing.T) {
	f := func(kind, want string) {
		t.Helper()
		in(t, func(t *testing.T, h *house) {
			h.svc.Policy.Hold, h.svc.Policy.Ack = false, "one moment"
			h.backend.delay = 10 * time.Second
			v := h.Deliver(testPush(1, kind), now())
			got := ""
			if v.Do == Reply {
				got = v.Reply.Text
			}
			if got != want {
				t.Errorf("%s: ack %q, want %q", kind, got, want)
			}
			if again := h.Deliver(testPush(1, kind), now()); again.Do != v.Do {
				t.Errorf("%s: the repeat hears %+v, want the same as before", kind, again)
			}
		})
	}
	f("msg/text", "one moment")
	f("event/CLICK", "one moment")
	f("event/scancode_waitmsg", "one moment")
	f("event/subscribe", "")
	f("event/VIEW", "")
}

func TestRetriedWithinTheInlineTime(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.err = &Failure{Retry: true, Keep: true, Err: errors.New("connection refused")}
		go func() {
			time.Sleep(1500 * time.Millisecond)
			h.backend.fails(nil)
		}()
		v := h.Deliver(testPush(1, "msg/text"), now())
		if v.Do != Reply || v.Reply.Text != "answer" {
			t.Fatalf("verdict %+v, want the answer of the revived backend", v)
		}
		for i, c := range h.backend.all() {
			if c.Attempt != i+1 {
				t.Errorf("call %d has attempt %d", i+1, c.Attempt)
			}
		}
	})
}

func TestFailedPushIsDeliveredAgainInOrder(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
		for i := range 3 {
			if v := h.Deliver(testPush(i, "msg/text"), now()); v.Do != Success || v.Outcome != "failed" {
				t.Fatalf("verdict %+v, want success for a failed push", v)
			}
			time.Sleep(100 * time.Millisecond)
		}
		h.backend.fails(nil)
		h.backend.mu.Lock()
		h.backend.calls = nil
		h.backend.mu.Unlock()
		time.Sleep(time.Minute)
		if got := h.backend.count(); got != 3 {
			t.Fatalf("%d redeliveries, want 3", got)
		}
		for i, c := range h.backend.all() {
			if want := testPush(i, "msg/text").ID; c.PushID != want {
				t.Errorf("redelivery %d is push %s, want the order of arrival", i, c.PushID)
			}
			if c.Attempt < 2 {
				t.Errorf("redelivery %d has attempt %d, want at least 2", i, c.Attempt)
			}
		}
		if got := h.outbox.sent(); len(got) != 3 {
			t.Errorf("late replies %q, want 3", got)
		}
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
	})
}

func (h *house) items(t *testing.T) []store.Item {
	t.Helper()
	items, err := h.cfg.Queue.List(context.Background(), store.Filter{}, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestUnusableAnswerIsNotRepeated(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.err = &Failure{Err: errors.New("broken JSON")}
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success {
			t.Errorf("verdict %+v, want success", v)
		}
		time.Sleep(time.Hour)
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestTimeoutsAreRepeatedTwice(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.delay = time.Hour
		h.svc.Policy.MaxWait = 10 * time.Second
		h.Deliver(testPush(1, "event/VIEW"), now())
		time.Sleep(2 * time.Hour)
		if n := h.backend.count(); n != 3 {
			t.Errorf("%d calls, want the first and two repeats", n)
		}
		items := h.items(t)
		if len(items) != 1 || items[0].State != store.Dead {
			t.Errorf("queue %+v, want one dead letter", items)
		}
	})
}

func TestGivesUpAfterADay(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
		h.Deliver(testPush(1, "msg/text"), now())
		time.Sleep(26 * time.Hour)
		items := h.items(t)
		if len(items) != 1 || items[0].State != store.Dead {
			t.Fatalf("queue %+v, want one dead letter", items)
		}
		time.Sleep(8 * 24 * time.Hour)
		if items := h.items(t); len(items) != 0 {
			t.Errorf("the dead letter is still there after 8 days")
		}
	})
}

func TestOldReplyIsNotSent(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
		h.Deliver(testPush(1, "msg/text"), now())
		time.Sleep(time.Hour)
		h.backend.fails(nil)
		time.Sleep(time.Hour)
		if got := h.outbox.sent(); len(got) != 0 {
			t.Errorf("sent %q an hour late, want nothing", got)
		}
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
	})
}

func TestLateAnswersKeepTheOrderOfTheQuestions(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		slow := &orderedBackend{delay: map[string]time.Duration{}}
		h.svc.Backend = slow
		h.svc.Policy.Hold = false
		for i, d := range []time.Duration{40 * time.Second, 10 * time.Second, 20 * time.Second} {
			slow.delay[testPush(i, "msg/text").ID.String()] = d
		}
		for i := range 3 {
			go h.Deliver(testPush(i, "msg/text"), now())
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		var want []string
		for i := range 3 {
			want = append(want, "user: "+testPush(i, "msg/text").ID.String())
		}
		if got := h.outbox.sent(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("late answers\n%q, want\n%q", got, want)
		}
	})
}

// orderedBackend answers with the push id, each after its own delay.
type orderedBackend struct{ delay map[string]time.Duration }

func (b *orderedBackend) Post(ctx context.Context, c Call) (msg.Answer, error) {
	sleep(ctx, b.delay[c.PushID.String()])
	return textAnswer(c.PushID.String()), nil
}

func (b *orderedBackend) Begin(c Call, _ time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	return msg.Answer{}, func(ctx context.Context) (msg.Answer, error) { return b.Post(ctx, c) }, nil
}

func (b *orderedBackend) Open() bool { return false }

type denied struct{}

func (denied) Error() string         { return "48001" }
func (denied) Undeliverable() string { return "the account may not send (48001)" }

func TestDeniedLateAnswerIsADeadLetter(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.outbox.err = denied{}
		h.backend.delay = 20 * time.Second
		schedules()[0].push(h.Engine, testPush(1, "msg/text"))
		time.Sleep(time.Minute)
		items := h.items(t)
		if len(items) != 1 || items[0].State != store.Dead || !strings.Contains(string(items[0].Data), "48001") {
			t.Errorf("queue %+v, want a dead letter that says why", items)
		}
	})
}

func TestUnsentLateAnswerIsSentLater(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.outbox.err = errors.New("WeChat is down")
		h.backend.delay = 20 * time.Second
		schedules()[0].push(h.Engine, testPush(1, "msg/text"))
		time.Sleep(10 * time.Second)
		h.outbox.mu.Lock()
		h.outbox.err = nil
		h.outbox.mu.Unlock()
		time.Sleep(time.Minute)
		if got := h.outbox.sent(); len(got) != 1 {
			t.Errorf("sent %q, want the answer once", got)
		}
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d backend calls, want 1: only the sending is repeated", n)
		}
	})
}

func TestRestOfAnAnswerFollows(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.ans = msg.Answer{Replies: []msg.Reply{{Type: "text", Text: strings.Repeat("长", 1500)}, {Type: "text", Text: "second"}}}
		v := h.Deliver(testPush(1, "msg/text"), now())
		if v.Do != Reply || len(v.Reply.Text) > msg.TextLimit {
			t.Fatalf("verdict %+v, want the first piece", v)
		}
		synctest.Wait()
		if got := h.outbox.sent(); len(got) != 0 {
			t.Errorf("%d messages went out before the passive reply was written", len(got))
		}
		v.Written.Close()
		time.Sleep(299 * time.Millisecond)
		if got := h.outbox.sent(); len(got) != 0 {
			t.Errorf("%d messages went out before 300 ms had passed", len(got))
		}
		time.Sleep(time.Second)
		got := h.outbox.sent()
		text := v.Reply.Text
		for _, g := range got[:len(got)-1] {
			text += strings.TrimPrefix(g, "user: ")
		}
		if text != strings.Repeat("长", 1500) || got[len(got)-1] != "user: second" {
			t.Errorf("the pieces do not make the text: %q", got)
		}
		again := h.Deliver(testPush(1, "msg/text"), now())
		again.Written.Close()
		time.Sleep(time.Second)
		if len(h.outbox.sent()) != len(got) {
			t.Error("the rest was sent twice")
		}
	})
}

func TestDrain(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.delay = 100 * time.Second
		began := time.Now()
		var early, later Verdict
		var wg sync.WaitGroup
		wg.Go(func() { early = h.Deliver(testPush(1, "msg/text"), now()) })
		time.Sleep(5 * time.Second) // held beyond 4.5 s
		wg.Go(func() { later = h.Deliver(testPush(2, "msg/text"), now()) })
		time.Sleep(time.Second / 2)
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		h.Drain(ctx)
		wg.Wait()
		if early.Do != Success || later.Do != Success {
			t.Errorf("verdicts %+v and %+v, want success for both", early, later)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the drain took until %s", took)
		}
		h.Engine.cancel(errDrained)
		h.Engine.jobs.Wait()
		if n := h.event("dropped"); n != 2 {
			t.Errorf("%d pushes counted as dropped, want 2: there is no durable store", n)
		}
	})
}

func TestRestartTakesUpWhatWasStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		b := openBolt(t, path)
		h := newHouse(t, b, true)
		h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success {
			t.Fatalf("verdict %+v", v)
		}
		h.Stop()
		b.Close()

		b = openBolt(t, path)
		defer b.Close()
		h = newHouse(t, b, true)
		defer h.Stop()
		time.Sleep(10 * time.Second)
		if n := h.backend.count(); n != 1 {
			t.Fatalf("%d calls after the restart, want 1", n)
		}
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success || h.backend.count() != 1 {
			t.Errorf("WeChat's repeat after the restart: %+v, %d calls; want success and no call", v, h.backend.count())
		}
	})
}
