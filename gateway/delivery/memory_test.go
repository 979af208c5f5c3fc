package delivery

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"wx-gateway/gateway/msg"
)

// remembered is what a plain model knows of one push.
type remembered struct {
	until    time.Duration // of the key
	old      bool          // the next time that keys are dropped, it is among them
	busy     bool
	reply    string // for a repeat, until
	replyEnd time.Duration
}

// TestMemoryModel: the memory of pushes against a map, over a day in which
// pushes come, are answered, repeated, refused and forgotten, and the keys are
// as many as there may be.
func TestMemoryModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]int {
			return [3]int{rapid.IntRange(0, 7).Draw(t, "do"), rapid.IntRange(0, 9).Draw(t, "id"), rapid.IntRange(0, 200).Draw(t, "s")}
		}), 1, 80).Draw(rt, "steps")
		failed := ""
		synctest.Test(t, func(t *testing.T) { failed = memoryRun(seed) })
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

func memoryRun(steps [][3]int) string {
	m, model := newMemory(), map[ID]*remembered{}
	jobs := map[ID]*job{} // the latest of each, also one that is over or forgotten
	const ttl = 10 * time.Minute
	for n, step := range steps {
		id := ID{0, byte(step[1]), 1} // of one shard
		now := m.now()
		was := model[id]
		if was != nil && !was.busy && was.replyEnd <= now {
			was.reply = ""
			if was.until <= now {
				was = nil
			}
		}
		switch step[0] {
		case 0, 1, 2: // a push, or its repeat
			j, fresh, known := m.join(id, time.Now(), ttl, func() *job {
				jobs[id] = &job{push: &Push{ID: id, Service: "s"}}
				return jobs[id]
			})
			got := fmt.Sprint(fresh, known, j != nil)
			want := "true false true"
			switch {
			case was == nil:
				model[id] = &remembered{until: now + ttl, busy: true}
			case was.busy:
				want = "false true true"
			case was.reply != "":
				want = "false true true"
				if j == nil || j.out == nil || j.out.reply.Text != was.reply || j.told != replied {
					return fmt.Sprintf("step %d: a repeat does not get %q", n, was.reply)
				}
			default:
				want = "false true false"
			}
			if got != want {
				return fmt.Sprintf("step %d: join = %s, want %s", n, got, want)
			}
		case 3: // answered
			text, kind := fmt.Sprint("reply ", n), "text"
			if n%2 == 0 {
				kind = "raw"
			}
			if j := jobs[id]; j != nil {
				m.settle(j, 1, &msg.Reply{Type: kind, Text: text}, false)
			}
			if was != nil && was.busy {
				was.busy, was.reply, was.replyEnd = false, text, now+replyTTL
			}
		case 4: // answered with nothing
			if j := jobs[id]; j != nil {
				m.settle(j, 1, nil, false)
			}
			if was != nil && was.busy {
				was.busy = false
			}
		case 5: // refused
			if was != nil && was.busy {
				m.forget(id)
				delete(model, id)
			}
		case 6:
			time.Sleep(time.Duration(step[2]) * time.Second)
			m.sweep()
		case 7:
			m.shard(id).age()
			for id, w := range model {
				if w.old && !w.busy && (w.reply == "" || w.replyEnd <= now) {
					delete(model, id)
				}
				w.old = !w.old
			}
		}
		if fault := m.shard(id).misplaced(); fault != "" {
			return fmt.Sprintf("step %d: %s", n, fault)
		}
		if w := model[id]; m.working(id) != (w != nil && w.busy) {
			return fmt.Sprintf("step %d: working is %v", n, m.working(id))
		}
	}
	busy := 0
	for _, w := range model {
		if w.busy {
			busy++
		}
	}
	if got := len(m.busy()); got != busy {
		return fmt.Sprintf("%d jobs are busy, want %d", got, busy)
	}
	return ""
}

// misplaced tells what is wrong with the places of s: each is free, or that of
// one push which is in work or whose answer is kept.
func (s *shard) misplaced() string {
	users := make([]int, len(s.recent))
	users[0]++
	for _, at := range s.free {
		users[at]++
	}
	for n := range s.over.len() {
		users[s.over.ring[(s.over.head+n)&(len(s.over.ring)-1)].at]++
	}
	for at := range s.recent {
		if s.recent[at].busy() {
			users[at]++
		}
		if users[at] != 1 {
			return fmt.Sprintf("place %d has %d uses", at, users[at])
		}
	}
	return ""
}

// TestMemoryBounds: at its bounds the oldest go first, and those in work never.
func TestMemoryBounds(t *testing.T) {
	m := newMemory()
	id := func(n int) ID { return ID{0, byte(n), byte(n >> 8), byte(n >> 16), 1} } // of one shard
	join := func(n int) (j *job, fresh bool) {
		j, fresh, _ = m.join(id(n), time.Now(), time.Hour, func() *job { return &job{push: &Push{ID: id(n)}} })
		return j, fresh
	}
	text := string(make([]byte, 1000))
	const keys = minKeys / shards
	join(0) // stays in work
	for n := 1; n <= 3*keys; n++ {
		j, _ := join(n)
		m.settle(j, 1, &msg.Reply{Type: "text", Text: text}, false)
	}
	s := &m.shards[0]
	if all := len(s.young) + len(s.old); all > 2*keys || s.bytes > maxReplies/shards || len(s.recent) > maxReplies/shards/(1000+entryOwnSize)+3 {
		t.Errorf("%d keys, %d bytes of replies in %d places", all, s.bytes, len(s.recent))
	}
	if _, fresh := join(0); fresh || !m.working(id(0)) {
		t.Error("a push in work was forgotten")
	}
	if k, _ := m.find(id(3 * keys)); k.answer() == nil {
		t.Error("the latest reply is gone")
	}
	if k, ok := m.find(id(2*keys + 1)); !ok || k.answer() != nil {
		t.Errorf("of an older push its key alone should be known: %v, %v", ok, k.answer() != nil)
	}
	if _, fresh := join(1); !fresh {
		t.Error("the oldest key is still known")
	}
}

// TestMemoryKeepsTheLatest: however many pushes are in work, those that came
// last are known.
func TestMemoryKeepsTheLatest(t *testing.T) {
	m := newMemory()
	id := func(n int) ID { return ID{0, byte(n), byte(n >> 8), byte(n >> 16), 1} } // of one shard
	const keys = minKeys / shards
	join := func(n int) (fresh bool) {
		j, fresh, _ := m.join(id(n), time.Now(), time.Hour, func() *job { return &job{push: &Push{ID: id(n)}} })
		if fresh && n > 2*keys { // those before stay in work
			m.settle(j, 1, nil, false)
		}
		return fresh
	}
	for n := range 6 * keys {
		join(n)
		if was := max(2*keys+1, n-keys+1); was < n {
			if _, ok := m.find(id(was)); !ok {
				t.Fatalf("after %d more pushes one is forgotten, at least the latest %d should be known", n-was, keys)
			}
		}
	}
	if got := len(m.busy()); got != 2*keys+1 {
		t.Errorf("%d pushes are in work, want %d", got, 2*keys+1)
	}
}

// TestMemoryOfOneThatCameBack: a key that had run out and is new again is known
// as long as any other.
func TestMemoryOfOneThatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		id := ID{1}
		answer := func() (fresh bool) {
			j, fresh, _ := m.join(id, time.Now(), time.Minute, func() *job { return &job{push: &Push{ID: id}} })
			if fresh {
				m.shard(id).age() // while the push is in work
				m.settle(j, 1, nil, false)
			}
			return fresh
		}
		answer()
		time.Sleep(2 * time.Minute)
		if !answer() {
			t.Fatal("the key did not run out")
		}
		if answer() {
			t.Error("a push answered just now is not known")
		}
	})
}
