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

func texts(all ...string) (replies []msg.Reply) {
	for _, t := range all {
		replies = append(replies, msg.Reply{Type: "text", Text: t})
	}
	return replies
}

// post posts replies for push 1 of user and fails unless they are accepted so.
func (h *house) post(t *testing.T, want Accepted, more bool, all ...string) {
	t.Helper()
	got, err := h.Reply("s", testPush(1, "msg/text").ID, texts(all...), more)
	if err != nil || got != want {
		t.Errorf("Reply(%q, more %v) = %v, %v; want %v", all, more, got, err, want)
	}
}

// bothStores runs f with a durable store and with one in memory, in fed time.
func bothStores(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable %v", durable), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// A memory store that is taken for a durable one lets the time be fed.
				h := newHouse(t, store.NewMemory(store.MemoryConfig{}), durable)
				defer h.Stop()
				h.backend.answers(msg.Answer{Async: true})
				f(t, h)
			})
		})
	}
}

// late pushes n until WeChat hears success.
func (h *house) goLate(t *testing.T, n int) {
	t.Helper()
	heard := schedules()[0].push(h.Engine, testPush(n, "msg/text"))
	if len(heard) != 1 || heard[0].Do != Success {
		t.Fatalf("WeChat heard %+v, want success", heard)
	}
}

func (h *house) sentNow(t *testing.T, want ...string) {
	t.Helper()
	time.Sleep(10 * time.Second)
	var all []string
	for _, w := range want {
		all = append(all, "user: "+w)
	}
	if got := h.outbox.sent(); fmt.Sprint(got) != fmt.Sprint(all) {
		t.Errorf("sent %q, want %q", got, all)
	}
}

func TestAsyncInline(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 2 * time.Second, 5500 * time.Millisecond, 6500 * time.Millisecond, 12 * time.Second} {
		bothStores(t, func(t *testing.T, h *house) {
			go func() {
				time.Sleep(after)
				h.post(t, Taken, false, "posted")
			}()
			heard := schedules()[0].push(h.Engine, testPush(1, "msg/text"))
			if len(heard) != 1 || heard[0].Do != Reply || heard[0].Reply.Text != "posted" {
				t.Fatalf("posted after %s: WeChat heard %+v, want the reply", after, heard)
			}
			h.post(t, Duplicate, false, "posted")
			h.post(t, Duplicate, true, "another")
			time.Sleep(30 * time.Minute) // the key is forgotten
			h.post(t, Duplicate, false, "posted")
			h.sentNow(t)
			if items := h.items(t); len(items) != 0 {
				t.Errorf("%d items left in the queue", len(items))
			}
			if n := h.backend.count(); n != 1 {
				t.Errorf("%d backend calls, want 1", n)
			}
		})
	}
}

func TestAsyncLate(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.goLate(t, 1)
		if items := h.items(t); len(items) != 1 || items[0].State != store.Async {
			t.Fatalf("queue %+v, want one push that waits for its reply", items)
		}
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success {
			t.Errorf("a repeat of the acked push: %+v, want success", v)
		}
		time.Sleep(23 * time.Hour)
		h.post(t, Taken, false, "posted")
		h.post(t, Duplicate, false, "posted")
		h.sentNow(t, "posted")
		h.post(t, Duplicate, false, "posted")
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d backend calls, want 1", n)
		}
	})
}

// TestAsyncAckStays: the repeat of an async push that was acked as text hears
// the same.
func TestAsyncAckStays(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.svc.Policy.Hold, h.svc.Policy.Ack = false, "one moment"
		for range 2 {
			v := h.Deliver(testPush(1, "msg/text"), now())
			if v.Do != Reply || v.Reply.Text != "one moment" {
				t.Errorf("verdict %+v, want the ack", v)
			}
		}
	})
}

// TestAsyncDoesNotBlock: an async push that waits for hours neither holds up
// the user's other late answers nor shows "typing" all the time.
func TestAsyncDoesNotBlock(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.goLate(t, 1)
		h.outbox.mu.Lock()
		typing := h.outbox.typing
		h.outbox.mu.Unlock()
		h.backend.answers(textAnswer("second"))
		h.backend.slow(20 * time.Second)
		h.goLate(t, 2)
		h.sentNow(t, "second")
		time.Sleep(time.Hour)
		h.outbox.mu.Lock()
		defer h.outbox.mu.Unlock()
		if n := h.outbox.typing - typing; n > 2 {
			t.Errorf("typing was shown %d times after the answer", n)
		}
	})
}

// TestAsyncBeforeThe202: the reply may arrive before the 202 has been read,
// live and on a redelivery.
func TestAsyncBeforeThe202(t *testing.T) {
	for _, end := range []error{nil, &Failure{Keep: true, Timeout: true, Err: errors.New("reset")}} {
		bothStores(t, func(t *testing.T, h *house) {
			h.backend.delay, h.backend.err = 3*time.Second, end
			go func() {
				time.Sleep(time.Second)
				h.post(t, Taken, false, "posted")
			}()
			if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Reply || v.Reply.Text != "posted" {
				t.Fatalf("verdict %+v, want the posted reply", v)
			}
			h.sentNow(t)
			time.Sleep(25 * time.Hour)
			if n := h.backend.count(); n != 1 {
				t.Errorf("call ended with %v: %d calls, want 1", end, n)
			}
			if items := h.items(t); len(items) != 0 {
				t.Errorf("call ended with %v: queue %+v, want nothing", end, items)
			}
		})
		bothStores(t, func(t *testing.T, h *house) { // late, while the call goes on
			h.backend.delay, h.backend.err = 40*time.Second, end
			h.goLate(t, 1)
			h.post(t, Taken, false, "posted")
			time.Sleep(time.Minute)
			h.sentNow(t, "posted")
			time.Sleep(25 * time.Hour)
			if n := h.backend.count(); n != 1 || len(h.items(t)) != 0 {
				t.Errorf("call ended with %v: %d calls and %+v stored, want 1 and nothing", end, n, h.items(t))
			}
		})
		bothStores(t, func(t *testing.T, h *house) { // on a redelivery
			h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
			h.Deliver(testPush(1, "msg/text"), now())
			h.backend.slow(20 * time.Second)
			h.backend.fails(end)
			time.Sleep(10 * time.Second)
			h.post(t, Taken, false, "posted")
			time.Sleep(time.Minute)
			h.sentNow(t, "posted")
			h.post(t, Duplicate, false, "posted")
			time.Sleep(25 * time.Hour)
			if n := h.backend.count(); n != 2 || len(h.items(t)) != 0 {
				t.Errorf("call ended with %v: %d calls and %+v stored, want 2 and nothing", end, n, h.items(t))
			}
		})
	}
}

func TestAsyncOnARedelivery(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
		h.Deliver(testPush(1, "msg/text"), now())
		h.backend.fails(nil)
		time.Sleep(time.Minute)
		if items := h.items(t); len(items) != 1 || items[0].State != store.Async {
			t.Fatalf("queue %+v, want one push that waits for its reply", items)
		}
		h.post(t, Taken, false, "posted")
		h.sentNow(t, "posted")
	})
}

func TestAsyncMore(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) { // the first one inline
		var v Verdict
		done := make(chan struct{})
		go func() {
			v = h.Deliver(testPush(1, "msg/text"), now())
			close(done)
		}()
		time.Sleep(time.Second)
		h.post(t, Taken, true) // nothing yet
		h.post(t, Taken, true, "one")
		h.post(t, Duplicate, true, "one")
		h.post(t, Taken, true, "two")
		h.post(t, Taken, true, "three")
		<-done
		if v.Do != Reply || v.Reply.Text != "one" {
			t.Fatalf("verdict %+v, want the first reply", v)
		}
		h.sentNow(t) // the passive reply is not written yet
		v.Written.Close()
		h.sentNow(t, "two", "three")
		time.Sleep(20 * time.Hour)
		h.post(t, Taken, true, "four")
		h.post(t, Taken, false, "five")
		h.post(t, Duplicate, false, "five")
		h.sentNow(t, "two", "three", "four", "five")
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
	})
	bothStores(t, func(t *testing.T, h *house) { // no attempt comes for the first one
		w := wechat{cut: 5 * time.Second, last: 1}
		w.push(h.Engine, testPush(1, "msg/text"))
		h.post(t, Taken, true, "one")
		h.post(t, Taken, false, "two")
		h.sentNow(t, "one", "two")
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
	})
	bothStores(t, func(t *testing.T, h *house) { // all late, the last one empty
		h.goLate(t, 1)
		h.post(t, Taken, true, "one")
		h.post(t, Taken, true, "two", "three")
		h.post(t, Taken, false)
		h.post(t, Duplicate, false)
		h.sentNow(t, "one", "two", "three")
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
	})
	bothStores(t, func(t *testing.T, h *house) { // late, and posted before the call has ended
		h.backend.slow(40 * time.Second)
		h.goLate(t, 1)
		h.post(t, Taken, true, "one")
		time.Sleep(time.Minute)
		h.post(t, Taken, false, "two")
		h.sentNow(t, "one", "two")
		if n := h.backend.count(); n != 1 || len(h.items(t)) != 0 {
			t.Errorf("%d calls and %+v stored, want 1 and nothing", n, h.items(t))
		}
	})
}

func TestAsyncNothingToSay(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		go func() {
			time.Sleep(time.Second)
			h.post(t, Taken, false)
		}()
		began := time.Now()
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success || time.Since(began) != time.Second {
			t.Errorf("verdict %+v after %s, want success at once", v, time.Since(began))
		}
	})
}

func TestAsyncUnknown(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.post(t, Unknown, false, "posted")
		h.goLate(t, 1)
		if got, err := h.Reply("other", testPush(1, "msg/text").ID, texts("x"), false); got != Unknown || err != nil {
			t.Errorf("a reply in the name of another service: %v, %v; want unknown", got, err)
		}
		h.post(t, Taken, false, "posted")
	})
}

func TestAsyncExpires(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.goLate(t, 1)
		time.Sleep(25 * time.Hour)
		h.post(t, Expired, false, "posted")
		items := h.items(t)
		if len(items) != 1 || items[0].State != store.Dead || !strings.Contains(string(items[0].Data), "202") {
			t.Errorf("queue %+v, want one dead letter that says why", items)
		}
		if got := h.Engine.mem.busy(); len(got) != 0 {
			t.Errorf("%d jobs are still busy", len(got))
		}
	})
	bothStores(t, func(t *testing.T, h *house) { // the last part never came
		h.goLate(t, 1)
		h.post(t, Taken, true, "one")
		time.Sleep(24*time.Hour + time.Minute)
		want := Expired
		h.post(t, want, false, "two")
		if items := h.items(t); len(items) != 0 {
			t.Errorf("queue %+v, want nothing", items)
		}
	})
}

// TestAsyncStoreFails: a reply that cannot be stored is not taken.
func TestAsyncStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFullDisk()
		h := newHouse(t, st, true)
		defer h.Stop()
		h.backend.answers(msg.Answer{Async: true})
		h.goLate(t, 1)
		st.breaks(true)
		if got, err := h.Reply("s", testPush(1, "msg/text").ID, texts("posted"), false); err == nil {
			t.Errorf("Reply = %v with a broken store, want an error", got)
		}
		st.breaks(false)
		h.post(t, Taken, false, "posted")
		h.sentNow(t, "posted")
	})
}

// fullDisk is a store whose queue can be made to refuse every write.
type fullDisk struct {
	*store.Memory
	queue fullQueue
}

type fullQueue struct {
	store.Queue
	mu  sync.Mutex
	err error
}

func newFullDisk() *fullDisk {
	b := &fullDisk{Memory: store.NewMemory(store.MemoryConfig{})}
	b.queue.Queue = b.Memory.Queue()
	return b
}

func (b *fullDisk) Queue() store.Queue { return &b.queue }

func (b *fullDisk) breaks(yes bool) {
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	b.queue.err = nil
	if yes {
		b.queue.err = errors.New("no space left on device")
	}
}

func (q *fullQueue) fault() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

func (q *fullQueue) Put(ctx context.Context, it store.Item) error {
	if err := q.fault(); err != nil {
		return err
	}
	return q.Queue.Put(ctx, it)
}

func (q *fullQueue) Delete(ctx context.Context, id string) error {
	if err := q.fault(); err != nil {
		return err
	}
	return q.Queue.Delete(ctx, id)
}

// TestRefusesWhatItCannotStore: with a durable store that cannot write, a push
// whose answer is not there is left to WeChat's repeat; inline answers go on.
func TestRefusesWhatItCannotStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newFullDisk()
		h := newHouse(t, st, true)
		defer h.Stop()
		st.breaks(true)
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Reply {
			t.Errorf("inline: %+v, want the answer", v)
		}
		h.backend.slow(30 * time.Second)
		if v := h.Deliver(testPush(2, "event/VIEW"), now()); v.Do != Refuse {
			t.Errorf("slow: %+v, want a refusal", v)
		}
		h.backend.slow(0)
		h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
		if v := h.Deliver(testPush(3, "msg/text"), now()); v.Do != Refuse {
			t.Errorf("failed: %+v, want a refusal", v)
		}
		h.backend.fails(nil)
		if v := h.Deliver(testPush(3, "msg/text"), now()); v.Do != Reply {
			t.Errorf("the repeat of a refused push: %+v, want a new call and its answer", v)
		}
		st.breaks(false)
	})
}

func openBolt(t *testing.T, path string) *store.Bolt {
	t.Helper()
	b, err := store.OpenBolt(path, store.BoltConfig{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAsyncRestart: an async push and its repeated reply survive a restart,
// whether the push was late before it or not.
func TestAsyncRestart(t *testing.T) {
	t.Parallel()
	f := func(name string, hold bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			b := openBolt(t, path)
			h := newHouse(t, b, true)
			h.backend.answers(msg.Answer{Async: true})
			h.svc.Policy.Hold = hold
			p := testPush(1, "msg/text")
			done := make(chan Verdict)
			go func() { done <- h.Deliver(p, Arrival{At: time.Now().Add(-4 * time.Second)}) }()
			if !hold {
				<-done // bound: the push waits in the queue
			}
			time.Sleep(time.Second)
			if n := h.backend.count(); n != 1 {
				t.Fatalf("%s: %d calls, want 1", name, n)
			}
			h.Stop()
			if hold {
				<-done
			}
			b.Close()

			b = openBolt(t, path)
			h = newHouse(t, b, true)
			h.post(t, Taken, false, "posted")
			h.sentNow(t, "posted")
			h.Stop()
			b.Close()

			b = openBolt(t, path)
			defer b.Close()
			h = newHouse(t, b, true)
			defer h.Stop()
			h.post(t, Duplicate, false, "posted")
			if n := h.backend.count(); n != 0 {
				t.Errorf("%s: %d calls after the restart, want none", name, n)
			}
		})
	}
	f("late", false)
	f("open", true)
}

// TestReplyDuringARedelivery: a reply posted while the push is delivered again
// stays, however the call ends and whatever keeps the reply from being sent.
func TestReplyDuringARedelivery(t *testing.T) {
	f := func(name string, end error, ans msg.Answer, more bool, want ...string) {
		t.Helper()
		bothStores(t, func(t *testing.T, h *house) {
			h.backend.err = &Failure{Keep: true, Err: errors.New("backend answered 500")}
			h.Deliver(testPush(1, "msg/text"), now())
			h.backend.slow(20 * time.Second)
			h.backend.answers(ans)
			h.backend.fails(end)
			h.outbox.fails(errors.New("WeChat is down"))
			time.Sleep(10 * time.Second)
			h.post(t, Taken, more, "one")
			time.Sleep(30 * time.Second) // the call has ended
			if more {
				h.post(t, Taken, false, "two")
			}
			h.outbox.fails(nil)
			time.Sleep(2 * time.Minute)
			h.sentNow(t, want...)
			time.Sleep(25 * time.Hour)
			if n := h.backend.count(); n != 2 || len(h.items(t)) != 0 {
				t.Errorf("%s: %d calls and %+v stored, want 2 and nothing", name, n, h.items(t))
			}
		})
	}
	failed := &Failure{Keep: true, Timeout: true, Err: errors.New("timeout")}
	f("202", nil, msg.Answer{Async: true}, false, "one")
	f("202, more", nil, msg.Answer{Async: true}, true, "one", "two")
	f("failed", failed, msg.Answer{}, false, "one")
	f("failed, more", failed, msg.Answer{}, true, "one", "two")
	f("nothing", nil, msg.Answer{}, false, "one")
}

// TestPostedReplyBeforeTheAnswer: an answer that lies on disk before it is sent
// is dropped there when a posted reply was faster.
func TestPostedReplyBeforeTheAnswer(t *testing.T) {
	bothStores(t, func(t *testing.T, h *house) {
		h.svc.Kind = MiniProgram
		h.backend.answers(textAnswer("inline"))
		h.backend.slow(time.Second)
		p := testPush(1, "msg/text")
		done := make(chan struct{})
		go func() {
			defer close(done)
			if v := h.Deliver(p, now()); v.Written != nil {
				v.Written.Close()
			}
		}()
		time.Sleep(500 * time.Millisecond)
		if took, err := h.Reply("s", p.ID, texts("posted"), false); took != Taken || err != nil {
			t.Errorf("the reply: %v, %v", took, err)
		}
		<-done
		time.Sleep(time.Minute)
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%+v left in the queue", items)
		}
		h.sentNow(t, "posted")
	})
}
