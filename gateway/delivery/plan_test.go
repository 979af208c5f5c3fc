package delivery

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// TestLongTextIsCutOnlyWhereTheRestIsLost: the rest of a text follows, or waits
// to be picked up; only an account with neither way gets a cut.
func TestLongTextIsCutOnlyWhereTheRestIsLost(t *testing.T) {
	e := New(Config{Log: slog.New(slog.DiscardHandler)})
	long := msg.Answer{Replies: []msg.Reply{{Type: "text", Text: strings.Repeat("长", msg.TextLimit)}}}
	f := func(name string, outbox Outbox, p Policy, cut bool) {
		t.Helper()
		out := e.plan(&Service{Kind: Official, Outbox: outbox, Policy: p}, long)
		if got := len(out.rest) == 0 && strings.HasSuffix(out.reply.Text, "…"); got != cut {
			t.Errorf("%s: cut %v, want %v", name, got, cut)
		}
	}
	words := []string{"继续"}
	may, mayNot := &fakeOutbox{}, refusedOutbox{&fakeOutbox{}}
	f("may send", may, Policy{Via: CustomerService}, false)
	f("may not send", mayNot, Policy{Via: CustomerService}, true)
	f("may not send, words are set", mayNot, Policy{Via: CustomerService, PickupWords: words}, false)
	f("may not send, pick-up", mayNot, Policy{Via: Pickup, PickupWords: words}, false)
	f("no secret", nil, Policy{Via: CustomerService, PickupWords: words}, true)
	f("no secret, pick-up", nil, Policy{Via: Pickup, PickupWords: words}, false)
}

// refusedOutbox is one of an account that is known to lack the right to send.
type refusedOutbox struct{ Outbox }

func (refusedOutbox) Refused() bool { return true }

// TestUnhandledPushIsOver: a push that the backend does not want is neither
// kept nor reported as a fault each time.
func TestUnhandledPushIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := store.NewMemory(store.MemoryConfig{})
		h := newHouse(t, st, false)
		defer h.Stop()
		var logged strings.Builder
		h.cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
		h.backend.err = &Failure{Unhandled: true, Err: errors.New("backend answered 404")}
		if v := h.Deliver(testPush(1, "msg/text"), now()); v.Do != Success {
			t.Errorf("verdict %+v, want success", v)
		}
		synctest.Wait()
		if h.event("unhandled") != 1 || logged.Len() > 0 {
			t.Errorf("counted %d times, logged %q; want once and nothing", h.event("unhandled"), logged.String())
		}
		if items, err := st.Queue().List(t.Context(), store.Filter{}, 0, 10); err != nil || len(items) > 0 {
			t.Errorf("kept: %v, %v", items, err)
		}
	})
}

// TestRedeliveryPausesBeginSmall: how often the push was tried while WeChat
// waited does not lengthen them.
func TestRedeliveryPausesBeginSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := memoryHouse(t)
		defer h.Stop()
		h.backend.err = &Failure{Keep: true, Retry: true, Err: errors.New("no connection")}
		h.Deliver(testPush(1, "msg/text"), now())
		inline := h.backend.count()
		if inline < 3 {
			t.Fatalf("%d tries inside the inline time, want several", inline)
		}
		time.Sleep(12 * time.Second) // 1 + 2 + 4 s, with all their jitter and the queue's own
		if again := h.backend.count() - inline; again < 3 {
			t.Errorf("%d redeliveries within 12 s, want 3", again)
		}
	})
}

// TestPlanByKind: which reply is passive, and what follows it.
func TestPlanByKind(t *testing.T) {
	e := New(Config{Log: slog.New(slog.DiscardHandler)})
	f := func(kind Kind, types, passive, rest string) {
		t.Helper()
		var ans msg.Answer
		for typ := range strings.FieldsSeq(types) {
			ans.Replies = append(ans.Replies, msg.Reply{Type: typ, Text: "t"})
		}
		out := e.plan(&Service{Kind: kind, Outbox: &fakeOutbox{}}, ans)
		got, after := "", []string{}
		if out.reply != nil {
			got = out.reply.Type
		}
		for _, r := range out.rest {
			after = append(after, r.Type)
		}
		if got != passive || strings.Join(after, " ") != rest {
			t.Errorf("%s answers %q: passive %q, then %v; want %q, then %q", kind, types, got, after, passive, rest)
		}
	}
	f(Official, "", "", "")
	f(Official, "text image", "text", "image")
	f(Official, "link text", "", "link text") // no passive form: all follow
	f(MiniProgram, "text", "", "text")
	f(MiniProgram, "image link", "", "image link")
	f(MiniProgram, "transfer_customer_service", "transfer_customer_service", "")
	f(MiniProgram, "raw", "raw", "")
	f(Shop, "text image", "", "")
	f(Shop, "raw text", "raw", "")
}

// TestRestFollowsTheReply: not before the passive reply's bytes are out and
// 300 ms have passed.
func TestRestFollowsTheReply(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.ans = msg.Answer{Replies: []msg.Reply{{Type: "text", Text: "one"}, {Type: "text", Text: "two"}}}
		v := h.Deliver(testPush(1, "msg/text"), now())
		sent := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			h.outbox.mu.Lock()
			defer h.outbox.mu.Unlock()
			if len(h.outbox.texts) != want {
				t.Errorf("sent %q, want %d", h.outbox.texts, want)
			}
		}
		sent(time.Second, 0)
		v.Written.Close()
		sent(followAfter-time.Millisecond, 0)
		sent(time.Millisecond, 1)
	})
}

// TestOldPushIsNotAnswered: the backend gets it again, its user hears nothing
// any more.
func TestOldPushIsNotAnswered(t *testing.T) {
	in(t, func(t *testing.T, h *house) {
		h.backend.fails(&Failure{Keep: true, Err: errors.New("backend answered 500")})
		p := testPush(1, "msg/text")
		p.Created = time.Now()
		h.Deliver(p, now())
		time.Sleep(h.svc.Policy.MaxAgeReply + time.Minute)
		h.backend.fails(nil)
		before := h.backend.count()
		time.Sleep(20 * time.Minute)
		h.outbox.mu.Lock()
		defer h.outbox.mu.Unlock()
		if again := h.backend.count() - before; again != 1 || len(h.outbox.texts) > 0 {
			t.Errorf("%d more calls, sent %q; want one call and nothing sent", again, h.outbox.texts)
		}
	})
}
