package delivery

import (
	"context"
	"errors"
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
