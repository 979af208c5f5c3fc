package delivery

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/store"
)

// unwritable is a queue that cannot be written.
type unwritable struct{ store.Queue }

func (unwritable) Put(context.Context, store.Item) error { return errors.New("disk full") }

// TestRepeatAfterGivingUpIsStoredFirst: when WeChat comes again after the
// answer has taken the late way, it hears success only if the push is stored.
func TestRepeatAfterGivingUpIsStoredFirst(t *testing.T) {
	f := func(broken bool, want Do) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			m := store.NewMemory(store.MemoryConfig{})
			st := unwritableStorage{m, broken}
			h := newHouse(t, st, true)
			defer h.Stop()
			h.backend.delay = 60 * time.Second
			if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Hang {
				t.Fatalf("first attempt: %+v, want a hang", v)
			}
			time.Sleep(nextWait + time.Second)
			if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != want {
				t.Errorf("store broken %v: the repeat hears %+v, want %v", broken, v, want)
			}
			if n := h.backend.count(); n != 1 {
				t.Errorf("%d backend calls, want 1", n)
			}
		})
	}
	f(false, Success)
	f(true, Refuse)
}

type unwritableStorage struct {
	*store.Memory
	broken bool
}

func (s unwritableStorage) Queue() store.Queue {
	if s.broken {
		return unwritable{s.Memory.Queue()}
	}
	return s.Memory.Queue()
}

// TestAnswerBesideSuccessIsStoredFirst: an answer of which nothing is passive
// lies on disk before WeChat hears success, and a restart sends it.
func TestAnswerBesideSuccessIsStoredFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), store.FileName)
		b := openBolt(t, path)
		h := newHouse(t, b, true)
		h.reload(func(s *Service) { s.Kind = MiniProgram })
		v := h.Deliver(testPush(1, "msg/text"), now())
		if v.Do != Success || v.Written == nil {
			t.Fatalf("verdict %+v, want success with an answer to follow", v)
		}
		if n := len(h.items(t)); n != 1 {
			t.Fatalf("%d items on disk while WeChat hears success, want the answer", n)
		}
		// The process dies here: nobody calls Written.
		h.cancel(errDrained)
		h.jobs.Wait()
		close(h.stop)
		h.loops.Wait()
		b.Close()

		b = openBolt(t, path)
		defer b.Close()
		second := newHouse(t, b, true)
		defer second.Stop()
		time.Sleep(10 * time.Second)
		if got := second.outbox.sent(); len(got) != 1 || second.backend.count() != 0 {
			t.Errorf("after the restart %q was sent and the backend called %d times, want the answer and no call", got, second.backend.count())
		}
	})
}

// TestAnswerBesideSuccessLeavesNothing: once sent it is gone from the disk.
func TestAnswerBesideSuccessLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, store.NewMemory(store.MemoryConfig{}), true)
		defer h.Stop()
		h.reload(func(s *Service) { s.Kind = MiniProgram })
		h.Deliver(testPush(1, "msg/text"), now()).Written.Close()
		time.Sleep(time.Minute)
		if got, left := h.outbox.sent(), h.items(t); len(got) != 1 || len(left) != 0 {
			t.Errorf("sent %q, %d items left; want one message and none", got, len(left))
		}
	})
}
