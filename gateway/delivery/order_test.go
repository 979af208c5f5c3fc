package delivery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// flakyOutbox cannot send until a time.
type flakyOutbox struct {
	fakeOutbox
	down time.Time
}

func (o *flakyOutbox) Send(ctx context.Context, openid string, replies []msg.Reply) (int, error) {
	if time.Now().Before(o.down) {
		return 0, errors.New("WeChat is down")
	}
	return o.fakeOutbox.Send(ctx, openid, replies)
}

// TestUnsentLateAnswerIsNotOvertaken: when an answer has to be sent again, the
// user's later ones wait for it.
func TestUnsentLateAnswerIsNotOvertaken(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		outbox := &flakyOutbox{down: time.Now().Add(21 * time.Second)}
		slow := &orderedBackend{delay: map[string]time.Duration{}}
		h.svc.Backend, h.svc.Outbox = slow, outbox
		h.svc.Policy.Hold = false
		var want []string
		for i := range 3 {
			id := testPush(i, "msg/text").ID.String()
			slow.delay[id] = time.Duration(20+i) * time.Second
			want = append(want, "user: "+id)
		}
		for i := range 3 {
			go h.Deliver(testPush(i, "msg/text"), now())
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		if got := outbox.sent(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("late answers\n%q, want\n%q", got, want)
		}
		if items := h.items(t); len(items) != 0 {
			t.Errorf("%d items left in the queue", len(items))
		}
	})
}

// halfDead fails for one push.
type halfDead struct {
	orderedBackend
	dead string
}

func (b *halfDead) Post(ctx context.Context, c Call) (msg.Answer, error) {
	if c.PushID.String() == b.dead {
		return msg.Answer{}, &Failure{Keep: true, Err: errors.New("backend answered 500")}
	}
	return b.orderedBackend.Post(ctx, c)
}

func (b *halfDead) Begin(c Call, _ time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	return msg.Answer{}, func(ctx context.Context) (msg.Answer, error) { return b.Post(ctx, c) }, nil
}

// TestLateAnswerDoesNotWaitForAFailingPush: the order is that of the answers; a
// stored push whose backend fails holds up none of them.
func TestLateAnswerDoesNotWaitForAFailingPush(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.svc.Policy.Hold = false
		h.svc.Backend = &halfDead{
			dead:           testPush(1, "msg/text").ID.String(),
			orderedBackend: orderedBackend{map[string]time.Duration{testPush(2, "msg/text").ID.String(): 20 * time.Second}},
		}
		h.Deliver(testPush(1, "msg/text"), now())
		h.Deliver(testPush(2, "msg/text"), now())
		time.Sleep(time.Minute)
		if got := h.outbox.sent(); len(got) != 1 {
			t.Errorf("sent %q, want the late answer", got)
		}
	})
}

// TestLaneIsGone: an answer that is sent while its push is still on its way
// into the line leaves no line behind.
func TestLaneIsGone(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		j := &job{push: pushed(testPush(1, "event/VIEW")), svc: h.svc, late: true, told: success}
		j.out = &outcome{reply: &msg.Reply{Type: "text", Text: "answer"}}
		h.readyLate(j)
		synctest.Wait()
		h.enterLate(j)
		synctest.Wait()
		h.Engine.mu.Lock()
		n := len(h.lanes)
		h.Engine.mu.Unlock()
		if n != 0 {
			t.Errorf("%d lines of late answers left, want none", n)
		}
		if got := h.outbox.sent(); len(got) != 1 {
			t.Errorf("sent %q, want the answer once", got)
		}
	})
}

// TestUnsentLateAnswerIsNotOvertakenOnDisk is the same with a durable queue,
// where each push has had its place since its ack.
func TestUnsentLateAnswerIsNotOvertakenOnDisk(t *testing.T) {
	st := openBolt(t, filepath.Join(t.TempDir(), store.FileName))
	defer st.Close()
	h := newHouse(t, st, true)
	defer h.Stop()
	first := &record{Push: testPush(1, "msg/text"), Answer: texts("one")}
	if err := h.put(first, store.Waiting, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	second := &record{Push: testPush(2, "msg/text"), Answer: texts("two")}
	if err := h.put(second, store.Running, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if !h.behind(second) {
		t.Error("the second answer does not wait for the first")
	}
	if h.behind(first) {
		t.Error("the first answer waits for the second")
	}
}

// TestStopStoresThoughRedeliveryIsOff: redeliver.for of 0 is about backends
// that fail. A call that the gateway's own stop has cut short is finished by
// the next start.
func TestStopStoresThoughRedeliveryIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, store.NewMemory(store.MemoryConfig{}), true)
		h.svc.Policy.Hold, h.svc.Policy.RedeliverFor = false, 0
		h.backend.delay = time.Minute
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success {
			t.Fatalf("verdict %+v, want success", v)
		}
		h.Stop()
		if items := h.items(t); len(items) != 1 || items[0].State != store.Waiting {
			t.Errorf("queue %+v, want the push", items)
		}
	})
}

// TestPushesOfNobodyDoNotWait: some events of a shop name no user. They are no
// line: one that takes long keeps none of the others in the queue.
func TestPushesOfNobodyDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, store.NewMemory(store.MemoryConfig{}), true)
		defer h.Stop()
		slow := &orderedBackend{delay: map[string]time.Duration{}}
		h.svc.Backend, h.svc.Kind = slow, Shop
		slow.delay[testPush(0, "event/channels_ec_order_new").ID.String()] = time.Minute
		slow.delay[testPush(1, "event/channels_ec_order_new").ID.String()] = 10 * time.Second
		for i := range 2 {
			p := testPush(i, "event/channels_ec_order_new")
			p.OpenID = ""
			go h.Deliver(p, now())
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		if items := h.items(t); len(items) != 1 || items[0].ID != testPush(0, "event/channels_ec_order_new").ID.String() {
			t.Errorf("%d items in the queue, want the push alone whose call goes on", len(items))
		}
	})
}
