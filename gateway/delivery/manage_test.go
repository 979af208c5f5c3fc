package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// failing keeps n pushes that the backend fails, of alternating users.
func (h *house) failing(t *testing.T, n int) {
	t.Helper()
	h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
	for i := range n {
		p := testPush(i, "msg/text")
		p.OpenID = fmt.Sprint("user", i%2)
		h.Deliver(p, now())
		time.Sleep(time.Second)
	}
	synctest.Wait() // nothing is in work at this moment
}

func TestManage(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.failing(t, 5)
		sums, err := h.Counts(ctx)
		if err != nil || sums["s"].Waiting+sums["s"].Running != 5 {
			t.Fatalf("Counts = %+v, %v; want 5 waiting", sums, err)
		}
		first, next, err := h.List(ctx, store.Filter{}, 0, 3)
		if err != nil || len(first) != 3 || next != first[2].Seq {
			t.Fatalf("List = %+v, %d, %v; want 3 and where to go on", first, next, err)
		}
		rest, next, err := h.List(ctx, store.Filter{}, next, 3)
		if err != nil || len(rest) != 2 || next != 0 {
			t.Errorf("List = %+v, %d, %v; want the last 2", rest, next, err)
		}
		if one := first[0]; one.Kind != "msg/text" || one.Attempts == 0 || !strings.Contains(one.Error, "500") {
			t.Errorf("listed as %+v, want kind, attempts and error", one)
		}
		mine, _, err := h.List(ctx, store.Filter{OpenID: "user1"}, 0, 100)
		if err != nil || len(mine) != 2 {
			t.Errorf("List of user1 = %+v, %v; want 2", mine, err)
		}
		shown, err := h.Show(ctx, first[0].ID)
		if err != nil || string(shown.Body) != "{}" || shown.Answer != nil {
			t.Errorf("Show = %+v, %v; want the body", shown, err)
		}
		if err := h.Drop(ctx, first[0].ID); err != nil {
			t.Error(err)
		}
		if err := h.Drop(ctx, first[0].ID); !errors.Is(err, ErrNotStored) {
			t.Errorf("a second drop: %v, want %v", err, ErrNotStored)
		}
		if _, err := h.Show(ctx, "nonsense"); !errors.Is(err, ErrNotStored) {
			t.Errorf("Show of nonsense: %v, want %v", err, ErrNotStored)
		}
		n, next, err := h.DropAll(ctx, store.Filter{OpenID: "user1"}, 0)
		if err != nil || n != 2 || next != 0 {
			t.Errorf("DropAll = %d, %d, %v; want 2", n, next, err)
		}
		time.Sleep(time.Minute)
		h.backend.fails(nil)
		if n, _, err = h.RetryAll(ctx, store.Filter{}, 0); err != nil || n != 2 {
			t.Errorf("RetryAll = %d, %v; want 2", n, err)
		}
		synctest.Wait()
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left after the retry", len(items))
		}
	})
}

// TestRetryOfADeadLetter: it starts anew, with the attempts it has behind it,
// and is not buried at once.
func TestRetryOfADeadLetter(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.svc.Policy.MaxWait = 10 * time.Second
		h.backend.slow(time.Hour)
		h.Deliver(testPush(1, "event/VIEW"), now())
		time.Sleep(48 * time.Hour)
		items := h.items(t)
		if len(items) != 1 || items[0].State != store.Dead {
			t.Fatalf("queue %+v, want one dead letter", items)
		}
		calls := h.backend.count()
		if err := h.Retry(t.Context(), items[0].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := h.Retry(t.Context(), items[0].ID); !errors.Is(err, ErrNotNow) {
			t.Errorf("a retry while it is in work: %v, want %v", err, ErrNotNow)
		}
		if err := h.Drop(t.Context(), items[0].ID); !errors.Is(err, ErrNotNow) {
			t.Errorf("a drop while it is in work: %v, want %v", err, ErrNotNow)
		}
		time.Sleep(2 * time.Hour)
		all := h.backend.all()
		if n := len(all) - calls; n != 3 || all[calls].Attempt != calls+1 {
			t.Errorf("%d calls after the retry, the first with attempt %d; want 3, from %d", n, all[calls].Attempt, calls+1)
		}
		h.backend.slow(0)
		h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
		h.Retry(t.Context(), items[0].ID)
		time.Sleep(23 * time.Hour)
		if items := h.items(t); len(items) != 1 || items[0].State == store.Dead {
			t.Errorf("queue %+v 23 h after the retry, want one that waits", items)
		}
		time.Sleep(2 * time.Hour)
		if items := h.items(t); len(items) != 1 || items[0].State != store.Dead {
			t.Errorf("queue %+v 25 h after the retry, want a dead letter", items)
		}
	})
}

// TestRetryOfAnAnswer: an answer that could not be sent is sent, and the
// backend is not asked again.
func TestRetryOfAnAnswer(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.outbox.fails(denied{})
		h.backend.slow(20 * time.Second)
		schedules()[0].push(h.Engine, testPush(1, "msg/text"))
		time.Sleep(time.Hour)
		h.outbox.fails(nil)
		id := testPush(1, "msg/text").ID.String()
		shown, err := h.Show(t.Context(), id)
		if err != nil || len(shown.Answer) != 1 || !strings.Contains(string(shown.Answer[0]), `"answer"`) {
			t.Errorf("Show = %+v, %v; want the answer", shown, err)
		}
		if err := h.Retry(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		h.sentNow(t, "answer")
		if n := h.backend.count(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

// TestManageAsync: a push that waits for its reply is not retried, but dropped.
func TestManageAsync(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.answers(msg.Answer{Async: true})
		h.goLate(t, 1)
		id := testPush(1, "msg/text").ID.String()
		if err := h.Retry(t.Context(), id); !errors.Is(err, ErrNotNow) || !strings.Contains(err.Error(), "async") {
			t.Errorf("Retry = %v, want %v that names the state", err, ErrNotNow)
		}
		if n, _, err := h.RetryAll(t.Context(), store.Filter{}, 0); n != 0 || err != nil {
			t.Errorf("RetryAll = %d, %v; want none", n, err)
		}
		if err := h.Drop(t.Context(), id); err != nil {
			t.Error(err)
		}
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left", len(items))
		}
	})
}

// TestManageIsBounded: one call changes a thousand, and says where to go on.
func TestManageIsBounded(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.failing(t, 1)
		it := h.items(t)[0]
		for i := range manageMost + 200 {
			it.ID, it.OpenID = MakeID("s", "many", fmt.Sprint(i), "", "", "", nil).String(), fmt.Sprint("user", i)
			it.State, it.Due = store.Dead, time.Now().Add(time.Hour)
			if err := h.cfg.Queue.Put(t.Context(), it); err != nil {
				t.Fatal(err)
			}
		}
		dead := store.Filter{States: []store.State{store.Dead}}
		list, _, err := h.List(t.Context(), dead, 0, 1_000_000)
		if err != nil || len(list) != manageMost {
			t.Errorf("List = %d, %v; want %d", len(list), err, manageMost)
		}
		n, next, err := h.DropAll(t.Context(), dead, 0)
		if err != nil || n != manageMost || next == 0 {
			t.Fatalf("DropAll = %d, %d, %v; want %d and where to go on", n, next, err, manageMost)
		}
		if n, next, err = h.DropAll(t.Context(), dead, next); err != nil || n != 200 || next != 0 {
			t.Errorf("DropAll = %d, %d, %v; want the last 200", n, next, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := h.RetryAll(ctx, store.Filter{}, 0); err == nil {
			t.Error("RetryAll with an ended context: no error")
		}
	})
}
