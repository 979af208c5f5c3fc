package store

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what a queue should be, as plainly as it can be said.
type model struct {
	items []modelItem // by seq
	seq   uint64
	clock time.Time // now of the last Put, Claim or Recover
}

type modelItem struct {
	Item
	stored Item      // as it is on disk
	put    time.Time // when
}

func (m *model) find(id string) int {
	return slices.IndexFunc(m.items, func(x modelItem) bool { return x.ID == id })
}

func (m *model) put(it Item, now time.Time) {
	m.tick(now)
	i := m.find(it.ID)
	if i < 0 {
		m.seq++
		it.Seq = m.seq
		m.items = append(m.items, modelItem{})
		i = len(m.items) - 1
	} else {
		it.Seq, it.Created = m.items[i].Seq, m.items[i].Created
	}
	m.items[i] = modelItem{Item: it, stored: it, put: now}
}

func (m *model) delete(id string) {
	m.items = slices.DeleteFunc(m.items, func(x modelItem) bool { return x.ID == id })
}

func (m *model) tick(now time.Time) {
	if back := m.clock.Sub(now); back > 10*time.Second {
		for i := range m.items {
			if m.items[i].State == Waiting {
				m.items[i].Due = m.items[i].Due.Add(-back)
			}
		}
		m.clock = now
	} else if back < 0 {
		m.clock = now
	}
}

// heads returns the Waiting heads of all lanes, the longest due first.
func (m *model) heads() []*modelItem {
	seen := map[[2]string]bool{}
	var heads []*modelItem
	for i := range m.items {
		x := &m.items[i]
		lane := [2]string{x.Service, x.OpenID}
		if x.OpenID == "" {
			lane[1] = "a lane of its own: " + x.ID
		}
		if x.State > Running || seen[lane] {
			continue
		}
		seen[lane] = true
		if x.State == Waiting {
			heads = append(heads, x)
		}
	}
	slices.SortStableFunc(heads, func(a, b *modelItem) int { return a.Due.Compare(b.Due) })
	return heads
}

func (m *model) claim(now time.Time, most int, skip string) []Item {
	m.tick(now)
	var out []Item
	for _, x := range m.heads() {
		if len(out) < most && !x.Due.After(now) && x.Service != skip {
			x.State = Running
			out = append(out, x.Item)
		}
	}
	return out
}

func (m *model) recover(now time.Time) int {
	m.tick(now)
	n := 0
	for i := range m.items {
		if x := &m.items[i]; x.State == Running {
			x.State, x.Due = Waiting, now
			n++
		}
	}
	return n
}

func (m *model) expire(now time.Time, most int) []Item {
	var out []Item
	for _, x := range m.items {
		if x.State >= Async && !x.Due.After(now) {
			out = append(out, x.Item)
		}
	}
	slices.SortStableFunc(out, func(a, b Item) int { return a.Due.Compare(b.Due) })
	out = out[:min(len(out), most)]
	for _, it := range out {
		if it.State == Dead {
			m.delete(it.ID)
		}
	}
	return out
}

// reopen loses what was only in memory.
func (m *model) reopen(now time.Time) {
	m.clock = time.Time{}
	for i := range m.items {
		x := &m.items[i]
		x.Item = x.stored
		if back := x.put.Sub(now); back > 10*time.Second && x.State == Waiting {
			x.Due = x.Due.Add(-back)
		}
	}
}

func (m *model) list(f func(Item) bool) []Item {
	var out []Item
	for _, x := range m.items {
		if f(x.Item) {
			out = append(out, x.Item)
		}
	}
	return out
}

func (m *model) counts() map[string]Counts {
	all := map[string]Counts{}
	for _, x := range m.items {
		c := all[x.Service]
		*c.of(x.State)++
		c.Bytes += int64(len(x.Data))
		if x.State != Dead && (c.Oldest.IsZero() || x.Created.Before(c.Oldest)) {
			c.Oldest = x.Created
		}
		all[x.Service] = c
	}
	return all
}

// TestModel drives a queue and the model with the same random calls.
func TestModel(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			now := t0.Local()
			s := NewMemory(MemoryConfig{Now: func() time.Time { return now }})
			defer s.Close()
			drive(t, &now, s.Queue, nil)
		})
	})
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		n := 0
		rapid.Check(t, func(t *rapid.T) {
			n++
			path := filepath.Join(dir, fmt.Sprint(n))
			now := t0.Local()
			open := func() *Bolt {
				s, err := OpenBolt(path, BoltConfig{NoSync: true, Now: func() time.Time { return now }})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			defer func() {
				s.Close()
				os.Remove(path)
			}()
			drive(t, &now, func() Queue { return s.Queue() }, func() {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open()
			})
		})
	})
}

func drive(t *rapid.T, now *time.Time, queue func() Queue, reopen func()) {
	var m model
	id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
	name := rapid.SampledFrom([]string{"x", "y", ""})
	pause := rapid.IntRange(-30, 120)
	most := rapid.IntRange(0, 4)
	same := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Fatalf("%s:\n got %s\nwant %s", what, g, w)
		}
	}
	actions := map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			it := Item{
				ID: id.Draw(t, "id"), Service: name.Draw(t, "service"), OpenID: name.Draw(t, "openid"), Kind: name.Draw(t, "kind"),
				State:   State(rapid.IntRange(0, 3).Draw(t, "state")),
				Due:     now.Add(time.Duration(pause.Draw(t, "due")) * time.Second),
				Created: now.Add(-time.Duration(pause.Draw(t, "created")) * time.Second),
				Data:    rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "data"),
			}
			same("put", nil, nil, queue().Put(bg, it))
			m.put(it, *now)
		},
		"settle": func(t *rapid.T) { // the way of a redelivery: what was claimed waits again, or goes
			for _, it := range m.list(func(it Item) bool { return it.State == Running }) {
				if rapid.Bool().Draw(t, "done") {
					same("delete", nil, nil, queue().Delete(bg, it.ID))
					m.delete(it.ID)
					continue
				}
				it.State, it.Due = Waiting, now.Add(time.Duration(pause.Draw(t, "due"))*time.Second)
				same("put", nil, nil, queue().Put(bg, it))
				m.put(it, *now)
			}
		},
		"delete": func(t *rapid.T) {
			id := id.Draw(t, "id")
			same("delete", nil, nil, queue().Delete(bg, id))
			m.delete(id)
		},
		"claim": func(t *rapid.T) {
			n, skip := most.Draw(t, "max"), rapid.SampledFrom([]string{"", "x"}).Draw(t, "skip")
			items, err := queue().Claim(bg, *now, n, func(s string) bool { return s == skip })
			same("claim", items, m.claim(*now, n, skip), err)
		},
		"recover": func(t *rapid.T) {
			n, err := queue().Recover(bg, *now)
			same("recover", n, m.recover(*now), err)
		},
		"expire": func(t *rapid.T) {
			n := most.Draw(t, "max")
			items, err := queue().Expire(bg, *now, n)
			same("expire", items, m.expire(*now, n), err)
		},
		"forward": func(t *rapid.T) {
			*now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
		},
		"step": func(t *rapid.T) {
			*now = now.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(t, "seconds")) * time.Second)
		},
		"list": func(t *rapid.T) {
			f := Filter{Service: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "service"), OpenID: rapid.SampledFrom([]string{"", "x"}).Draw(t, "openid")}
			after, limit := rapid.Uint64Range(0, 10).Draw(t, "after"), rapid.IntRange(1, 5).Draw(t, "limit")
			items, err := queue().List(bg, f, after, limit)
			want := m.list(func(it Item) bool {
				return it.Seq > after && (f.Service == "" || f.Service == it.Service) && (f.OpenID == "" || f.OpenID == it.OpenID)
			})
			same("list", items, want[:min(len(want), limit)], err)
		},
		"": func(t *rapid.T) {
			items, err := queue().List(bg, Filter{}, 0, 100)
			same("all", items, m.list(func(Item) bool { return true }), err)
			counts, err := queue().Counts(bg)
			same("counts", counts, m.counts(), err)
			due, ok, err := queue().NextDue(bg)
			if heads := m.heads(); len(heads) > 0 {
				same("next due", due, heads[0].Due, err)
			} else {
				same("next due", ok, false, err)
			}
			all, err := queue().IDs(bg)
			var want []string
			for _, x := range m.items {
				want = append(want, x.ID)
			}
			same("ids", all, want, err)
			i := id.Draw(t, "get")
			it, ok, err := queue().Get(bg, i)
			if at := m.find(i); at >= 0 {
				same("get", it, m.items[at].Item, err)
			} else {
				same("get", ok, false, err)
			}
		},
	}
	if reopen != nil {
		actions["reopen"] = func(*rapid.T) {
			reopen()
			m.reopen(*now)
		}
	}
	t.Repeat(actions)
}

// TestHeap compares the heap with a sorted slice.
func TestHeap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h heap[*entry, timerOrder]
		var all []*entry
		seq := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				seq++
				e := &entry{seq: seq, due: rapid.Int64Range(0, 20).Draw(t, "due")}
				h.push(e)
				all = append(all, e)
			},
			"remove": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(all)-1).Draw(t, "i")
				h.remove(all[i])
				h.remove(all[i]) // a second time does nothing
				all = slices.Delete(all, i, i+1)
			},
			"fix": func(t *rapid.T) {
				if len(all) == 0 {
					t.Skip("empty")
				}
				e := all[rapid.IntRange(0, len(all)-1).Draw(t, "i")]
				e.due = rapid.Int64Range(0, 20).Draw(t, "due")
				h.fix(e)
			},
			"": func(t *rapid.T) {
				if len(h) != len(all) {
					t.Fatalf("%d in the heap, want %d", len(h), len(all))
				}
				for i, e := range h {
					if int(e.timerAt) != i+1 {
						t.Fatalf("element %d believes to be at %d", i, e.timerAt-1)
					}
				}
				if len(all) > 0 {
					least := slices.MinFunc(all, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq)) })
					if h.min() != least {
						t.Fatalf("min is %d/%d, want %d/%d", h.min().due, h.min().seq, least.due, least.seq)
					}
				}
			},
		})
	})
}

// What takes the place of a removed element may belong above it.
func TestHeapRemoveUp(t *testing.T) {
	t.Parallel()
	var h heap[*entry, timerOrder]
	all := map[int64]*entry{}
	for _, due := range []int64{0, 10, 1, 11, 12, 2, 3} {
		all[due] = &entry{due: due}
		h.push(all[due])
	}
	h.remove(all[11])
	for i := 1; i < len(h); i++ {
		if earlier(h[i], h[(i-1)/2]) {
			t.Errorf("%d lies below %d", h[i].due, h[(i-1)/2].due)
		}
	}
}
