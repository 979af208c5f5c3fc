package delivery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

const word = "继续"

// pickupHouse is an account whose late answers are picked up.
func pickupHouse(t *testing.T, st storage, durable bool) *house {
	t.Helper()
	return newHouse(t, st, durable, picksUp)
}

func picksUp(h *house) {
	h.svc.Policy.Via, h.svc.Policy.PickupWords = Pickup, []string{word, "1"}
	h.svc.Policy.Ack = "稍后发送「" + word + "」"
	h.svc.Policy.Hold = false
}

func pickups(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := pickupHouse(t, store.NewMemory(store.MemoryConfig{}), false)
		defer h.Stop()
		f(t, h)
	})
}

// question pushes question n and returns its verdict; the backend answers
// after the delay.
func (h *house) question(n int, text string) Verdict {
	p := testPush(n, "msg/text")
	p.Question = text
	return h.Deliver(p, now())
}

// say pushes a text as the gateway does: a pick-up word may answer it. It
// returns what the user reads, "" for nothing.
func (h *house) say(n int, text string) (Verdict, string) {
	p := testPush(n, "msg/text")
	p.Question = text
	v, ok := h.Intercept(p, text, now())
	if !ok {
		v = h.Deliver(p, now())
	}
	if v.Do != Reply {
		return v, ""
	}
	return v, v.Reply.Text
}

func written(v Verdict) {
	if v.Written != nil {
		v.Written.Close()
	}
	synctest.Wait()
}

// TestPickUpAckStays: a word that came too early is acked, and so is its repeat,
// though the answer is there by then: the next word gets it.
func TestPickUpAckStays(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(12 * time.Second)
		ack := h.question(1, "?").Reply.Text
		for range 2 { // at 4.5 s and at 12.5 s
			if _, text := h.say(2, word); text != ack {
				t.Errorf("%q, want the ack %q", text, ack)
			}
			time.Sleep(3500 * time.Millisecond)
		}
		if _, text := h.say(3, word); !strings.HasSuffix(text, "answer") {
			t.Errorf("the next word: %q, want the answer", text)
		}
	})
}

func TestPickUp(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(10 * time.Second)
		if v := h.question(1, "什么是网关，它为什么要站在那里等着呢朋友们？"); v.Do != Reply || !strings.Contains(v.Reply.Text, word) {
			t.Fatalf("verdict %+v, want an ack that names the word", v)
		}
		time.Sleep(time.Minute)
		if len(h.outbox.sent()) != 0 {
			t.Errorf("sent %q, want nothing: the account may not", h.outbox.sent())
		}
		v, text := h.say(2, " "+word+"\n")
		if want := "「什么是网关，它为什么要站在那里等着呢朋友」\nanswer"; text != want {
			t.Errorf("the user reads %q, want %q", text, want)
		}
		// Its bytes are not out: WeChat's repeat gets it again, another word does not.
		if _, again := h.say(2, word); again != text {
			t.Errorf("the repeat reads %q, want the same", again)
		}
		written(v)
		if _, again := h.say(2, word); again != text {
			t.Errorf("the repeat after it was written reads %q, want the same", again)
		}
		h.backend.slow(0)
		if _, text := h.say(3, word); text != "answer" {
			t.Errorf("a word with nothing to pick up: %q, want the backend's answer", text)
		}
		if n := h.event("picked-up"); n != 1 {
			t.Errorf("%d answers picked up, want 1", n)
		}
	})
}

// TestPickUpStaysUntilWritten: an answer whose bytes never went out waits for
// the next word.
func TestPickUpStaysUntilWritten(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(10 * time.Second)
		h.question(1, "q")
		time.Sleep(time.Minute)
		p := testPush(2, "msg/text")
		v, ok := h.Intercept(p, word, Arrival{At: time.Now(), Gone: func() bool { return true }})
		if !ok || v.Do != Hang {
			t.Fatalf("verdict %+v for a peer that has gone, want a hang", v)
		}
		time.Sleep(time.Second)
		// WeChat does not come again, but the user does while that is not known.
		if _, text := h.say(3, word); text != "「q」\nanswer" {
			t.Errorf("the next word reads %q, want the answer", text)
		}
	})
}

func TestPickUpOldestFirst(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		slow := &orderedBackend{delay: map[string]time.Duration{}}
		h.reload(func(s *Service) { s.Backend = slow })
		for i := range 2 {
			slow.delay[testPush(i, "msg/text").ID.String()] = 20*time.Second - time.Duration(i)*10*time.Second
		}
		go h.question(0, "first")
		time.Sleep(time.Second)
		go h.question(1, "second")
		time.Sleep(time.Minute)
		for i, q := range []string{"first", "second"} {
			v, text := h.say(10+i, word)
			if !strings.HasPrefix(text, "「"+q+"」") {
				t.Errorf("word %d reads %q, want the answer to %q", i+1, text, q)
			}
			written(v)
		}
	})
}

// TestPickUpNotReady: a word that comes early is held until the answer is
// there, or acked once more.
func TestPickUpNotReady(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.svc.Policy.Hold = true
		h.backend.slow(35 * time.Second)
		began := time.Now()
		heard := schedules()[0].push(h.Engine, testPush(1, "msg/text"))
		if len(heard) != 1 || heard[0].Outcome != "ack" {
			t.Fatalf("WeChat heard %+v, want an ack", heard)
		}
		f := func(n int, at time.Duration, want string) {
			t.Helper()
			time.Sleep(time.Until(began.Add(at)))
			for {
				start := time.Now()
				v, text := h.say(n, word)
				if v.Do == Hang {
					continue // WeChat comes again at once
				}
				if text != want {
					t.Errorf("the word at %s reads %q after %s, want %q", at, text, time.Since(start), want)
				}
				written(v)
				return
			}
		}
		f(2, 16*time.Second, h.svc.Policy.Ack) // three attempts end before the answer is there
		f(3, 33*time.Second, "「question」\nanswer")
	})
}

// TestPickUpPendingOnlyWhereItWaits: while an answer is on its way by customer
// service, the word is a text like any other.
func TestPickUpPendingOnlyWhereItWaits(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.svc.Policy.Via = CustomerService
		h.backend.slow(20 * time.Second)
		h.question(1, "q")
		if h.PicksUp("s", "user", word) {
			t.Error("the word picks up an answer that will be sent")
		}
		h.outbox.fails(denied{})
		time.Sleep(time.Minute)
		if !h.PicksUp("s", "user", word) {
			t.Error("an answer that could not be sent does not wait for the word")
		}
		if h.PicksUp("s", "stranger", word) || h.PicksUp("s", "user", "何") {
			t.Error("a stranger, or another text, picks up")
		}
	})
}

// TestPickUpOfAnAsyncAnswer: the answer of a backend that posts it is pending,
// with a store in memory too.
func TestPickUpOfAnAsyncAnswer(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.answers(msg.Answer{Async: true})
		h.goAcked(t, 1)
		if !h.PicksUp("s", "user", word) {
			t.Fatal("an async answer is not pending")
		}
		go func() {
			time.Sleep(2 * time.Second)
			h.post(t, Taken, false, "posted")
		}()
		if _, text := h.say(2, word); text != "「question」\nposted" {
			t.Errorf("the user reads %q, want the posted answer", text)
		}
	})
}

func (h *house) goAcked(t *testing.T, n int) {
	t.Helper()
	if v := h.Deliver(testPush(n, "msg/text"), now()); v.Outcome != "ack" {
		t.Fatalf("verdict %+v, want an ack", v)
	}
}

// TestPickUpAtMost20: of more answers the oldest go, and of one that is too
// long the end.
func TestPickUpAtMost20(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(10 * time.Second)
		var wg sync.WaitGroup
		for i := range 25 {
			wg.Go(func() { h.question(i, fmt.Sprint("q", i)) })
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if n := h.shelved(t); n != 20 {
			t.Errorf("%d answers stored, want 20", n)
		}
		if _, text := h.say(100, word); text != "「q5」\nanswer" {
			t.Errorf("the oldest left reads %q, want that to q5", text)
		}
	})
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(10 * time.Second)
		h.backend.answers(textAnswer("begin" + strings.Repeat("长", 40_000)))
		h.question(1, "q")
		time.Sleep(time.Minute)
		if n := h.shelved(t); n != 20 {
			t.Errorf("%d pieces stored, want 20", n)
		}
		if _, text := h.say(100, word); !strings.HasPrefix(text, "「q」\nbegin") || len(text) > msg.TextLimit {
			t.Errorf("the first piece is %.40q of %d bytes, want the begin", text, len(text))
		}
	})
}

func (h *house) shelved(t *testing.T) int {
	t.Helper()
	all, err := h.cfg.Values.List(context.Background(), pickupPrefix("s", "user"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestPickUpExpires(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(10 * time.Second)
		h.question(1, "q")
		time.Sleep(25 * time.Hour)
		if h.PicksUp("s", "user", word) {
			t.Error("an answer is kept beyond late-reply.keep")
		}
	})
}

// TestPickUpGivenOnce: two words at the same time get two answers, and a word
// that loses the race for the only one gets none.
func TestPickUpGivenOnce(t *testing.T) {
	pickups(t, func(t *testing.T, h *house) {
		h.backend.slow(10 * time.Second)
		h.question(1, "only")
		time.Sleep(time.Minute)
		var mu sync.Mutex
		given := 0
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				p := testPush(10+i, "msg/text")
				v := h.PickUp(p, now())
				if v.Do == Reply && v.Outcome == "answer" {
					mu.Lock()
					given++
					mu.Unlock()
				}
				if v.Written != nil {
					v.Written.Close()
				}
			})
		}
		wg.Wait()
		if given != 1 {
			t.Errorf("the answer was given %d times, want once", given)
		}
	})
}

// staleValues lists what has been deleted since, as a slow reader sees it.
type staleValues struct {
	store.Values
	list []store.Entry
}

func (v *staleValues) List(context.Context, string, int) ([]store.Entry, error) { return v.list, nil }

// TestPickUpFromAStaleList: an answer that was given out between the reading of
// the list and the choice is not given out again.
func TestPickUpFromAStaleList(t *testing.T) {
	st := store.NewMemory(store.MemoryConfig{})
	key := pickupPrefix("s", "user") + "1"
	values := &staleValues{Values: st.Values(), list: []store.Entry{{Key: key, Value: []byte(`{"reply":{"Type":"text","Text":"gone"}}`)}}}
	e := New(Config{Service: func(string) (*Service, bool) { return nil, false }, Queue: st.Queue(), Values: values})
	p := testPush(1, "msg/text")
	if _, r, _, ok := e.shelf.takeFirst(e, &p, &job{}); ok {
		t.Errorf("given out again: %+v", r)
	}
}

// hidingValues shows nothing the first time.
type hidingValues struct {
	store.Values
	lists atomic.Int32
}

func (v *hidingValues) List(ctx context.Context, prefix string, limit int) ([]store.Entry, error) {
	if v.lists.Add(1) == 1 {
		return nil, nil
	}
	return v.Values.List(ctx, prefix, limit)
}

// TestPickUpOfWhatHasJustCome: an answer that is stored between the look at the
// shelf and the look at what is pending is not missed.
func TestPickUpOfWhatHasJustCome(t *testing.T) {
	f := func(text func(h *house) string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			st := store.NewMemory(store.MemoryConfig{})
			h := pickupHouse(t, withValues{st, &hidingValues{Values: st.Values()}}, false)
			defer h.Stop()
			key := pickupPrefix("s", "user") + "1"
			if err := st.Values().Put(t.Context(), key, []byte(`{"reply":{"Type":"text","Text":"there"}}`), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if got := text(h); got != "there" {
				t.Errorf("the user reads %q, want the answer", got)
			}
		})
	}
	f(func(h *house) string {
		_, text := h.say(1, word)
		return text
	})
	f(func(h *house) string {
		v := h.PickUp(testPush(1, "msg/text"), now())
		if v.Do != Reply {
			return ""
		}
		return v.Reply.Text
	})
}

// failingValues refuses writes beyond the first few.
type failingValues struct {
	store.Values
	mu   sync.Mutex
	left int
}

func (v *failingValues) Put(ctx context.Context, key string, value []byte, until time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left == 0 {
		return errors.New("no space left on device")
	}
	v.left--
	return v.Values.Put(ctx, key, value, until)
}

type withValues struct {
	storage
	values store.Values
}

func (w withValues) Values() store.Values { return w.values }

// TestPickUpStoreFails: an answer of several pieces that is stored in two goes
// loses none of them.
func TestPickUpStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := store.NewMemory(store.MemoryConfig{})
		values := &failingValues{Values: st.Values(), left: 2}
		h := pickupHouse(t, withValues{st, values}, false)
		defer h.Stop()
		h.backend.slow(10 * time.Second)
		h.backend.answers(msg.Answer{Replies: texts("one", "two", "three", "four")})
		h.question(1, "")
		time.Sleep(20 * time.Second)
		values.mu.Lock()
		values.left = 100
		values.mu.Unlock()
		time.Sleep(time.Minute)
		for i, want := range []string{"one", "two", "three", "four"} {
			v, text := h.say(10+i, word)
			if text != want {
				t.Errorf("word %d reads %q, want %q", i+1, text, want)
			}
			written(v)
		}
	})
}

func TestPickUpSurvivesARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		b := openBolt(t, path)
		h := pickupHouse(t, b, true)
		h.backend.slow(200 * time.Millisecond)
		early := Arrival{At: time.Now().Add(-answerBy)}
		p := testPush(1, "msg/text")
		if v := h.Deliver(p, early); v.Outcome != "ack" {
			t.Fatalf("verdict %+v, want an ack", v)
		}
		time.Sleep(time.Minute)
		if n := h.shelved(t); n != 1 {
			t.Fatalf("%d answers stored, want 1", n)
		}
		// The gateway stops while the answer is being given: it is still there.
		given := make(chan Verdict)
		go func() {
			v, _ := h.Intercept(testPush(2, "msg/text"), word, Arrival{At: time.Now(), Gone: func() bool { return true }})
			given <- v
		}()
		if v := <-given; v.Do != Hang {
			t.Fatalf("verdict %+v, want a hang", v)
		}
		h.Stop()
		b.Close()

		b = openBolt(t, path)
		defer b.Close()
		h = pickupHouse(t, b, true)
		defer h.Stop()
		if n := h.shelved(t); n != 1 || len(h.items(t)) != 0 {
			t.Fatalf("%d answers and %+v stored after the restart, want the one answer", n, h.items(t))
		}
		v, ok := h.Intercept(testPush(3, "msg/text"), word, now())
		if !ok || v.Do != Reply || !strings.HasSuffix(v.Reply.Text, "answer") {
			t.Fatalf("after the restart: %+v, want the answer", v)
		}
		written(v)
		if n := h.shelved(t); n != 0 {
			t.Errorf("%d answers stored after it was given, want none", n)
		}
	})
}
