package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestMemoryBounds(t *testing.T) {
	t.Parallel()
	var dropped []string
	m := NewMemory(MemoryConfig{MaxItems: 3, MaxBytes: 100, Dropped: func(it Item) {
		if string(it.Data) == "" {
			t.Errorf("dropped item %s came without its data", it.ID)
		}
		dropped = append(dropped, it.ID)
	}})
	q := m.Queue()
	f := func(id string, size int, wantDropped, wantLeft string) {
		t.Helper()
		dropped = nil
		it := item(id, "u", Waiting, t0)
		it.Data = []byte(strings.Repeat("x", size))
		if err := q.Put(bg, it); err != nil {
			t.Fatal(err)
		}
		left, _ := q.IDs(bg)
		if d, l := strings.Join(dropped, " "), strings.Join(left, " "); d != wantDropped || l != wantLeft {
			t.Errorf("after Put(%s, %d bytes): dropped %q, left %q; want %q, %q", id, size, d, l, wantDropped, wantLeft)
		}
	}
	f("a", 10, "", "a")
	f("b", 10, "", "a b")
	f("c", 10, "", "a b c")
	f("d", 10, "a", "b c d")
	f("d", 85, "b", "c d")  // 95 bytes
	f("c", 20, "d", "c")    // c is the oldest, but it is the one being put
	f("e", 100, "c", "e")   // exactly full
	f("f", 1, "e", "f")     //
	f("g", 50, "", "f g")   //
	f("h", 49, "", "f g h") //
	if err := q.Put(bg, Item{ID: "i", Data: make([]byte, 101)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Put beyond MaxBytes = %v", err)
	}
	if m.Durable() || m.Healthy() != nil {
		t.Error("memory claims to be durable, or sick")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(bg, item("z", "u", Waiting, t0)); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close = %v", err)
	}
}

// TestMemoryBoundsByDefault: 10,000 items, 64 MiB.
func TestMemoryBoundsByDefault(t *testing.T) {
	t.Parallel()
	f := func(items, size, wantDropped int) {
		t.Helper()
		dropped := 0
		q := NewMemory(MemoryConfig{Dropped: func(Item) { dropped++ }}).Queue()
		data := make([]byte, size)
		for i := range items {
			it := item(fmt.Sprint(i), fmt.Sprint("user", i), Waiting, t0)
			it.Data = data
			if err := q.Put(bg, it); err != nil {
				t.Fatal(err)
			}
		}
		if dropped != wantDropped {
			t.Errorf("%d items of %d bytes: %d dropped, want %d", items, size, dropped, wantDropped)
		}
	}
	f(10_000, 1, 0)
	f(10_001, 1, 1)
	f(64, 1<<20, 0)
	f(65, 1<<20, 1)
}

func TestMemoryValuesBounds(t *testing.T) {
	t.Parallel()
	m := NewMemory(MemoryConfig{MaxItems: 3, MaxBytes: 50, Now: func() time.Time { return t0 }})
	f := func(key string, size, minutes int, want string) {
		t.Helper()
		if err := m.Values().Put(bg, key, make([]byte, size), t0.Add(time.Duration(minutes)*time.Minute)); err != nil {
			t.Fatal(err)
		}
		entries, _ := m.Values().List(bg, "", 0)
		var got []string
		for _, e := range entries {
			got = append(got, e.Key)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("after Put(%s): %q, want %q", key, s, want)
		}
	}
	f("a", 9, 3, "a")
	f("b", 9, 1, "a b")
	f("c", 9, 2, "a b c")
	f("d", 9, 1, "a c d") // b expires first
	f("a", 19, 3, "a c d")
	f("c", 34, 3, "c") // d goes first and is not enough
	f("e", 49, 1, "e")
	if err := m.Values().Put(bg, "k", make([]byte, 50), t0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Put beyond MaxBytes = %v", err)
	}
}

// A queue that is always full must not become slow or keep what it dropped.
func TestMemoryTurnover(t *testing.T) {
	t.Parallel()
	m := NewMemory(MemoryConfig{MaxItems: 100})
	for i := range 20_000 {
		put(t, m.Queue(), item(fmt.Sprint(i), fmt.Sprint(i%7), State(i%4), t0))
	}
	x := &m.queue.x
	if len(x.byID) != 100 || len(x.bySeq) > 400 || x.bytes > 2000 {
		t.Errorf("%d items, %d in order, %d bytes", len(x.byID), len(x.bySeq), x.bytes)
	}
	same(t, "services", len(x.services), 1)
	same(t, "lanes", len(x.services["svc"].lanes), 7)
}

// One item that stays must not keep the places of all that went after it.
func TestMemoryTurnoverBehindOne(t *testing.T) {
	t.Parallel()
	m := NewMemory(MemoryConfig{})
	put(t, m.Queue(), item("stays", "u", Dead, t0))
	for i := range 5000 {
		id := fmt.Sprint(i)
		put(t, m.Queue(), item(id, "u", Waiting, t0))
		if err := m.Queue().Delete(bg, id); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.queue.x.bySeq); n > 200 {
		t.Errorf("%d places for one item", n)
	}
	items, _ := m.Queue().List(bg, Filter{}, 0, 0)
	same(t, "left", ids(items), "stays")
}
