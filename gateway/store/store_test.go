package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" {
		os.Exit(child(job))
	}
	goleak.VerifyTestMain(m)
}

var (
	bg = context.Background()
	t0 = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
)

// rig is a store under test, with a clock of its own.
type rig struct {
	queue  Queue
	values Values
	now    time.Time
	reopen func(t *testing.T) // closes and opens it again; does nothing in memory
}

func openMemory(t *testing.T) *rig {
	r := &rig{now: t0, reopen: func(*testing.T) {}}
	m := NewMemory(MemoryConfig{Now: func() time.Time { return r.now }})
	t.Cleanup(func() { m.Close() })
	r.queue, r.values = m.Queue(), m.Values()
	return r
}

func openBoltRig(t *testing.T) *rig {
	r := &rig{now: t0}
	path := filepath.Join(t.TempDir(), FileName)
	var s *Bolt
	r.reopen = func(t *testing.T) {
		if s != nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s = mustOpen(t, path, BoltConfig{NoSync: true, Now: func() time.Time { return r.now }})
		r.queue, r.values = s.Queue(), s.Values()
	}
	r.reopen(t)
	return r
}

func mustOpen(t testing.TB, path string, cfg BoltConfig) *Bolt {
	t.Helper()
	s, err := OpenBolt(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestSuite runs what every store must do against each of them.
func TestSuite(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) *rig{"memory": openMemory, "bolt": openBoltRig} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suite(t, open)
		})
	}
}

func suite(t *testing.T, open func(*testing.T) *rig) {
	run := func(name string, f func(*testing.T, *rig)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t))
		})
	}
	run("put get delete", testPutGetDelete)
	run("replace", testReplace)
	run("own data", testOwnData)
	run("refusals", testRefusals)
	run("claim order", testClaimOrder)
	run("claim skip", testClaimSkip)
	run("lane head", testLaneHead)
	run("recover", testRecover)
	run("list", testList)
	run("counts", testCounts)
	run("expire", testExpire)
	run("clock set back", testClockSetBack)
	run("far times", testFarTimes)
	run("context", testContext)
	run("values", testValues)
	run("values list", testValuesList)
	run("values expire", testValuesExpire)
}

func item(id, user string, state State, due time.Time) Item {
	return Item{ID: id, Service: "svc", OpenID: user, Kind: "msg/text", State: state, Due: due, Created: t0, Data: []byte("data of " + id)}
}

func put(t *testing.T, q Queue, items ...Item) {
	t.Helper()
	for _, it := range items {
		if err := q.Put(bg, it); err != nil {
			t.Fatal(err)
		}
	}
}

func get(t *testing.T, q Queue, id string) Item {
	t.Helper()
	it, ok, err := q.Get(bg, id)
	if err != nil || !ok {
		t.Fatalf("Get(%q) = %v, %v", id, ok, err)
	}
	return it
}

func claim(t *testing.T, q Queue, now time.Time, most int) string {
	t.Helper()
	items, err := q.Claim(bg, now, most, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		if it.State != Running {
			t.Errorf("claimed item %s is %v", it.ID, it.State)
		}
		if want := "data of " + it.ID; string(it.Data) != want {
			t.Errorf("claimed item %s has data %q", it.ID, it.Data)
		}
	}
	return ids(items)
}

func ids(items []Item) string {
	var s []string
	for _, it := range items {
		s = append(s, it.ID)
	}
	return strings.Join(s, " ")
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func testPutGetDelete(t *testing.T, r *rig) {
	want := Item{ID: "a", Service: "s", OpenID: "o\x00\xff用户", Kind: "event/CLICK", Seq: 99, State: Async, Due: t0.Add(time.Minute), Created: t0, Data: []byte("\x00\xff{}")}
	put(t, r.queue, want, item("b", "u", Dead, t0), Item{ID: "c"})
	r.reopen(t)
	want.Seq = 1
	same(t, "item", get(t, r.queue, "a"), want)
	same(t, "empty item", get(t, r.queue, "c").Service, "")
	if it := get(t, r.queue, "c"); !it.Due.IsZero() || !it.Created.IsZero() || len(it.Data) != 0 {
		t.Errorf("empty item became %+v", it)
	}
	for range 2 {
		if err := r.queue.Delete(bg, "a"); err != nil {
			t.Fatal(err)
		}
		r.reopen(t)
		if _, ok, err := r.queue.Get(bg, "a"); ok || err != nil {
			t.Fatalf("after Delete: %v, %v", ok, err)
		}
	}
	all, err := r.queue.IDs(bg)
	same(t, "ids", all, []string{"b", "c"})
	same(t, "err", err, nil)

	// An emptied queue goes on counting: a Seq is never given twice.
	r.queue.Delete(bg, "b")
	r.queue.Delete(bg, "c")
	r.reopen(t)
	put(t, r.queue, item("d", "u", Waiting, t0))
	same(t, "seq", get(t, r.queue, "d").Seq, uint64(4))
}

func testReplace(t *testing.T, r *rig) {
	put(t, r.queue, item("a", "u", Waiting, t0), item("b", "u", Waiting, t0))
	it := item("a", "v", Dead, t0.Add(time.Hour))
	it.Service, it.Kind, it.Created, it.Data = "other", "k", t0.Add(time.Hour), []byte("new")
	put(t, r.queue, it)
	r.reopen(t)
	it.Seq, it.Created = 1, t0
	same(t, "item", get(t, r.queue, "a"), it)
	same(t, "claim", claim(t, r.queue, t0, 9), "b") // a left the lane
	counts, _ := r.queue.Counts(bg)
	same(t, "counts", counts, map[string]Counts{
		"svc":   {Running: 1, Bytes: 9, Oldest: t0.Local()},
		"other": {Dead: 1, Bytes: 3},
	})
}

// What goes in and what comes out belongs to the caller.
func testOwnData(t *testing.T, r *rig) {
	data := []byte("data of a")
	it := item("a", "u", Waiting, t0)
	it.Data = data
	put(t, r.queue, it)
	copy(data, "XXXX")
	got := get(t, r.queue, "a")
	same(t, "data", string(got.Data), "data of a")
	copy(got.Data, "XXXX")
	same(t, "claim", claim(t, r.queue, t0, 1), "a")
}

func testRefusals(t *testing.T, r *rig) {
	long := strings.Repeat("x", 2000)
	f := func(it Item, large bool, want string) {
		t.Helper()
		err := r.queue.Put(bg, it)
		if err == nil || err.Error() != want {
			t.Errorf("Put = %v, want %q", err, want)
		}
		if errors.Is(err, ErrTooLarge) != large {
			t.Errorf("Put = %v: is ErrTooLarge %v", err, !large)
		}
	}
	f(Item{}, false, `cannot put item "" in the queue: it has no id`)
	f(Item{ID: long[:257]}, true, `cannot put item "`+long[:64]+`" in the queue: an id of 257 bytes: too large to store`)
	f(Item{ID: "a", Service: long}, true, `cannot put item "a" in the queue: a service of 2000 bytes: too large to store`)
	f(Item{ID: "a", OpenID: long}, true, `cannot put item "a" in the queue: an openid of 2000 bytes: too large to store`)
	f(Item{ID: "a", Kind: long}, true, `cannot put item "a" in the queue: a kind of 2000 bytes: too large to store`)
	f(Item{ID: "a", State: 4}, false, `cannot put item "a" in the queue: unknown state(4)`)
	f(Item{ID: "a", Data: make([]byte, maxData+1)}, true, `cannot put item "a" in the queue: data of 67108865 bytes: too large to store`)
	v := func(key string, value []byte, expires time.Time, want string) {
		t.Helper()
		if err := r.values.Put(bg, key, value, expires); err == nil || err.Error() != want {
			t.Errorf("Put = %v, want %q", err, want)
		}
	}
	v("", nil, t0, `cannot put value "": it has no key`)
	v("k", nil, time.Time{}, `cannot put value "k": it has no expiry`)
	v(long, nil, t0, `cannot put value "`+long[:64]+`": a key of 2000 bytes: too large to store`)
	all, _ := r.queue.IDs(bg)
	same(t, "ids", all, []string{})
}

func testClaimOrder(t *testing.T, r *rig) {
	put(t, r.queue,
		item("late", "u1", Waiting, t0.Add(3*time.Second)),
		item("early", "u2", Waiting, t0.Add(time.Second)),
		item("behind early", "u2", Waiting, t0),
		item("tie1", "u3", Waiting, t0.Add(2*time.Second)),
		item("tie2", "u4", Waiting, t0.Add(2*time.Second)),
	)
	r.reopen(t)
	same(t, "not yet", claim(t, r.queue, t0, 9), "")
	due, ok, err := r.queue.NextDue(bg)
	if !due.Equal(t0.Add(time.Second)) || !ok || err != nil {
		t.Errorf("NextDue = %v, %v, %v", due, ok, err)
	}
	same(t, "none", claim(t, r.queue, t0.Add(time.Hour), 0), "")
	same(t, "two", claim(t, r.queue, t0.Add(3*time.Second), 2), "early tie1")
	same(t, "rest", claim(t, r.queue, t0.Add(3*time.Second), 9), "tie2 late")
	same(t, "lane is taken", claim(t, r.queue, t0.Add(time.Hour), 9), "")
	if _, ok, _ := r.queue.NextDue(bg); ok {
		t.Error("something is due while all heads run")
	}
	if err := r.queue.Delete(bg, "early"); err != nil {
		t.Fatal(err)
	}
	same(t, "next of lane", claim(t, r.queue, t0.Add(3*time.Second), 9), "behind early")
}

func testClaimSkip(t *testing.T, r *rig) {
	for i := range 6 {
		it := item(fmt.Sprint(i), fmt.Sprint("u", i), Waiting, t0.Add(time.Duration(i)*time.Second))
		it.Service = fmt.Sprint("s", i%3)
		put(t, r.queue, it)
	}
	var asked []string
	items, err := r.queue.Claim(bg, t0.Add(4*time.Second), 9, func(service string) bool {
		asked = append(asked, service)
		r.queue.NextDue(bg) // no lock is held
		return service == "s1"
	})
	same(t, "err", err, nil)
	same(t, "claimed", ids(items), "0 2 3")
	same(t, "asked", len(asked), 3)
	same(t, "others", claim(t, r.queue, t0.Add(time.Minute), 9), "1 4 5")
}

func testLaneHead(t *testing.T, r *rig) {
	put(t, r.queue,
		item("dead", "u", Dead, t0.Add(time.Hour)),
		item("async", "u", Async, t0.Add(time.Hour)),
		item("first", "u", Waiting, t0.Add(time.Minute)),
		item("second", "u", Waiting, t0),
	)
	same(t, "head not due", claim(t, r.queue, t0, 9), "")
	same(t, "head", claim(t, r.queue, t0.Add(time.Minute), 9), "first")
	put(t, r.queue, item("first", "u", Waiting, t0.Add(time.Hour))) // failed again: it keeps its place
	same(t, "still first", claim(t, r.queue, t0.Add(2*time.Minute), 9), "")
	put(t, r.queue, item("first", "u", Async, t0.Add(time.Hour)))
	same(t, "async lets pass", claim(t, r.queue, t0.Add(2*time.Minute), 9), "second")
	put(t, r.queue, item("dead", "u", Waiting, t0)) // revived: the oldest of its lane
	same(t, "revived", claim(t, r.queue, t0.Add(2*time.Minute), 9), "dead")
	put(t, r.queue, item("running", "v", Running, t0), item("behind", "v", Waiting, t0))
	same(t, "behind a running one", claim(t, r.queue, t0.Add(2*time.Minute), 9), "")
}

func testRecover(t *testing.T, r *rig) {
	put(t, r.queue,
		item("run", "u", Running, t0.Add(time.Hour)),
		item("wait", "v", Waiting, t0.Add(time.Hour)),
		item("async", "w", Async, t0.Add(time.Hour)),
		item("claimed", "x", Waiting, t0),
	)
	same(t, "claim", claim(t, r.queue, t0, 9), "claimed")
	r.reopen(t)
	if n, err := r.queue.Recover(bg, t0.Add(time.Second)); n < 1 || n > 2 || err != nil {
		t.Errorf("Recover = %d, %v", n, err)
	}
	it := get(t, r.queue, "run")
	if it.State != Waiting || !it.Due.Equal(t0.Add(time.Second)) {
		t.Errorf("recovered item: %v due %v", it.State, it.Due)
	}
	items, _ := r.queue.Claim(bg, t0.Add(time.Second), 9, nil)
	same(t, "claimed", len(items), 2)
	if n, err := r.queue.Recover(bg, t0.Add(2*time.Second)); n != 2 || err != nil {
		t.Errorf("Recover = %d, %v", n, err)
	}
	// What an item became in memory alone is what Get and List show.
	items, err := r.queue.List(bg, Filter{States: []State{Waiting}}, 0, 0)
	same(t, "waiting", ids(items), "run wait claimed")
	same(t, "err", err, nil)
}

func testList(t *testing.T, r *rig) {
	for i := range 10 {
		it := item(fmt.Sprint(i), fmt.Sprint("u", i%2), State(i%4), t0)
		it.Service, it.Kind, it.Created = fmt.Sprint("s", i/5), fmt.Sprint("k", i%3), t0.Add(-time.Duration(i)*time.Minute)
		put(t, r.queue, it)
	}
	r.reopen(t)
	f := func(f Filter, after uint64, limit int, want string) {
		t.Helper()
		items, err := r.queue.List(bg, f, after, limit)
		if err != nil || ids(items) != want {
			t.Errorf("List(%+v, %d, %d) = %q, %v; want %q", f, after, limit, ids(items), err, want)
		}
		for _, it := range items {
			same(t, "data", string(it.Data), "data of "+it.ID)
		}
	}
	f(Filter{}, 0, 0, "0 1 2 3 4 5 6 7 8 9")
	f(Filter{}, 0, 3, "0 1 2")
	f(Filter{}, 3, 3, "3 4 5")
	f(Filter{}, 10, 3, "")
	f(Filter{}, 1<<63, 3, "")
	f(Filter{Service: "s1"}, 0, 0, "5 6 7 8 9")
	f(Filter{OpenID: "u1"}, 0, 0, "1 3 5 7 9")
	f(Filter{Kind: "k2", Service: "s1"}, 0, 0, "5 8")
	f(Filter{States: []State{Dead, Async}}, 0, 0, "2 3 6 7")
	f(Filter{OlderThan: 8 * time.Minute, Now: t0}, 0, 0, "8 9")
	f(Filter{OlderThan: 8 * time.Minute, Now: t0.Add(time.Minute)}, 0, 0, "7 8 9")
	f(Filter{OlderThan: 8 * time.Minute}, 0, 0, "8 9") // the store's clock
	f(Filter{Service: "nobody"}, 0, 0, "")
}

func testCounts(t *testing.T, r *rig) {
	for i := range 8 {
		it := item(fmt.Sprint(i), fmt.Sprint("u", i), State(i%4), t0.Add(time.Hour))
		it.Created = t0.Add(time.Duration(i) * time.Minute)
		put(t, r.queue, it)
	}
	r.reopen(t)
	counts, err := r.queue.Counts(bg)
	same(t, "err", err, nil)
	same(t, "counts", counts, map[string]Counts{"svc": {Waiting: 2, Running: 2, Async: 2, Dead: 2, Bytes: 72, Oldest: t0.Local()}})
	put(t, r.queue, item("0", "u0", Dead, t0.Add(time.Hour)))
	counts, _ = r.queue.Counts(bg)
	same(t, "counts", counts, map[string]Counts{"svc": {Waiting: 1, Running: 2, Async: 2, Dead: 3, Bytes: 72, Oldest: t0.Add(time.Minute).Local()}})
	for i := range 8 {
		r.queue.Delete(bg, fmt.Sprint(i))
	}
	counts, _ = r.queue.Counts(bg)
	same(t, "counts", counts, map[string]Counts{})
}

func testExpire(t *testing.T, r *rig) {
	put(t, r.queue,
		item("dead late", "u", Dead, t0.Add(2*time.Minute)),
		item("dead", "u", Dead, t0),
		item("async", "u", Async, t0.Add(time.Minute)),
		item("wait", "u", Waiting, t0),
		item("run", "v", Running, t0),
	)
	f := func(now time.Time, most int, want string) {
		t.Helper()
		items, err := r.queue.Expire(bg, now, most)
		if err != nil || ids(items) != want {
			t.Errorf("Expire = %q, %v; want %q", ids(items), err, want)
		}
		for _, it := range items {
			same(t, "data", string(it.Data), "data of "+it.ID)
		}
	}
	f(t0.Add(-time.Second), 9, "")
	f(t0.Add(time.Hour), 0, "")
	f(t0.Add(time.Hour), 2, "dead async")
	r.reopen(t)
	all, _ := r.queue.IDs(bg)
	same(t, "left", strings.Join(all, " "), "dead late async wait run")
	same(t, "async is as it was", get(t, r.queue, "async").State, Async)
	f(t0.Add(time.Minute), 9, "async")
	r.queue.Delete(bg, "async")
	f(t0.Add(time.Hour), 9, "dead late")
	f(t0.Add(time.Hour), 9, "")
}

func testClockSetBack(t *testing.T, r *rig) {
	at := t0
	r.now = at
	put(t, r.queue, item("a", "u", Waiting, at.Add(time.Minute)), item("b", "v", Waiting, at.Add(2*time.Minute)))
	same(t, "at first", claim(t, r.queue, at, 9), "")

	// A little back is no step: goroutines overtake each other.
	same(t, "overtaken", claim(t, r.queue, at.Add(-5*time.Second), 9), "")
	same(t, "due stays", get(t, r.queue, "a").Due.Equal(at.Add(time.Minute)), true)

	at = at.AddDate(-1, 0, 0)
	r.now = at
	same(t, "after the step", claim(t, r.queue, at, 9), "")
	due, _, _ := r.queue.NextDue(bg)
	if !due.Equal(at.Add(time.Minute)) {
		t.Errorf("due %v, want %v", due, at.Add(time.Minute))
	}
	put(t, r.queue, item("c", "w", Waiting, at.Add(30*time.Second)))
	r.reopen(t) // the file still has the dates of the old clock
	same(t, "soon", claim(t, r.queue, at.Add(time.Minute), 9), "c a")
	same(t, "later", claim(t, r.queue, at.Add(2*time.Minute), 9), "b")

	// What is put before anybody claims knows the new clock: its pause is not skipped.
	at = at.Add(-10 * time.Hour)
	r.now = at
	put(t, r.queue, item("e", "y", Waiting, at.Add(time.Minute)))
	same(t, "put after a step", claim(t, r.queue, at, 9), "")
	same(t, "its due", get(t, r.queue, "e").Due.Equal(at.Add(time.Minute)), true)
	same(t, "when its pause is over", claim(t, r.queue, at.Add(time.Minute), 9), "e")

	// Forward and back again, as by a broken time server.
	at = at.AddDate(9, 0, 0)
	r.now = at
	same(t, "forward", claim(t, r.queue, at, 9), "")
	put(t, r.queue, item("d", "x", Waiting, at.Add(time.Minute)))
	at = at.AddDate(-9, 0, 0)
	r.now = at
	if _, err := r.queue.Recover(bg, at); err != nil {
		t.Fatal(err)
	}
	same(t, "back", claim(t, r.queue, at.Add(time.Minute), 1), "a")
	r.reopen(t)
	items, _ := r.queue.Claim(bg, at.Add(time.Minute), 9, nil)
	same(t, "none stalls", strings.Contains(ids(items), "d"), true)
}

func testFarTimes(t *testing.T, r *rig) {
	far := item("far", "u", Waiting, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	old := item("old", "v", Waiting, time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC))
	put(t, r.queue, far, old)
	r.reopen(t)
	same(t, "claim", claim(t, r.queue, t0, 9), "old")
	if due := get(t, r.queue, "far").Due; due.Year() != 2262 {
		t.Errorf("far due: %v", due)
	}
}

func testContext(t *testing.T, r *rig) {
	put(t, r.queue, item("a", "u", Waiting, t0))
	why := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(bg)
	cancel(why)
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v", what, err)
		}
	}
	check("Put", r.queue.Put(ctx, item("b", "u", Waiting, t0)))
	check("Delete", r.queue.Delete(ctx, "a"))
	_, _, err := r.queue.Get(ctx, "a")
	check("Get", err)
	_, err = r.queue.Claim(ctx, t0, 1, nil)
	check("Claim", err)
	_, _, err = r.queue.NextDue(ctx)
	check("NextDue", err)
	_, err = r.queue.Recover(ctx, t0)
	check("Recover", err)
	_, err = r.queue.List(ctx, Filter{}, 0, 1)
	check("List", err)
	_, err = r.queue.Counts(ctx)
	check("Counts", err)
	_, err = r.queue.Expire(ctx, t0, 1)
	check("Expire", err)
	_, err = r.queue.IDs(ctx)
	check("IDs", err)
	check("Values.Put", r.values.Put(ctx, "k", nil, t0))
	check("Values.Delete", r.values.Delete(ctx, "k"))
	_, _, err = r.values.Get(ctx, "k")
	check("Values.Get", err)
	_, err = r.values.List(ctx, "", 1)
	check("Values.List", err)
	_, err = r.values.Expire(ctx, t0, 1)
	check("Values.Expire", err)
	all, err := r.queue.IDs(bg)
	same(t, "ids", all, []string{"a"})
	same(t, "err", err, nil)
}

func testValues(t *testing.T, r *rig) {
	f := func(key, want string) {
		t.Helper()
		v, ok, err := r.values.Get(bg, key)
		if err != nil || ok != (want != "") || string(v) != want {
			t.Errorf("Get(%q) = %q, %v, %v; want %q", key, v, ok, err, want)
		}
	}
	set := func(key, value string, expires time.Time) {
		t.Helper()
		if err := r.values.Put(bg, key, []byte(value), expires); err != nil {
			t.Fatal(err)
		}
	}
	f("k", "")
	set("k", "one", t0.Add(time.Minute))
	set("\x00\xff", "odd", t0.Add(time.Minute))
	r.reopen(t)
	f("k", "one")
	f("\x00\xff", "odd")
	set("k", "two", t0.Add(time.Hour))
	f("k", "two")
	r.now = t0.Add(time.Minute) // the first expiry has no say any more
	if n, err := r.values.Expire(bg, r.now, 9); n != 1 || err != nil {
		t.Errorf("Expire = %d, %v", n, err)
	}
	r.reopen(t)
	f("k", "two")
	f("\x00\xff", "")
	r.now = t0.Add(time.Hour)
	f("k", "")
	set("k", "three", t0.Add(2*time.Hour))
	f("k", "three")
	for range 2 {
		if err := r.values.Delete(bg, "k"); err != nil {
			t.Fatal(err)
		}
		r.reopen(t)
		f("k", "")
	}
}

func testValuesList(t *testing.T, r *rig) {
	for i, key := range []string{"b/2", "a/1", "b/1", "b/3", "c/1", "b"} {
		if err := r.values.Put(bg, key, []byte(key), t0.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	r.reopen(t)
	f := func(prefix string, limit int, want string) {
		t.Helper()
		entries, err := r.values.List(bg, prefix, limit)
		var got []string
		for _, e := range entries {
			if string(e.Value) != e.Key || !e.Expires.After(r.now) {
				t.Errorf("entry %+v", e)
			}
			got = append(got, e.Key)
		}
		if s := strings.Join(got, " "); s != want || err != nil {
			t.Errorf("List(%q, %d) = %q, %v; want %q", prefix, limit, s, err, want)
		}
	}
	f("", 0, "a/1 b b/1 b/3 c/1")
	f("b/", 0, "b/1 b/3")
	f("b/", 1, "b/1")
	f("x", 0, "")
	r.now = t0.Add(2 * time.Minute)
	f("b/", 0, "b/3")
}

func testValuesExpire(t *testing.T, r *rig) {
	for i := range 5 {
		key := fmt.Sprint(9 - i)
		if err := r.values.Put(bg, key, nil, t0.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	f := func(now time.Time, most, want int) {
		t.Helper()
		if n, err := r.values.Expire(bg, now, most); n != want || err != nil {
			t.Errorf("Expire = %d, %v; want %d", n, err, want)
		}
	}
	f(t0.Add(-time.Second), 9, 0)
	f(t0.Add(2*time.Minute), 0, 0)
	f(t0.Add(2*time.Minute), 2, 2)
	f(t0.Add(2*time.Minute), 2, 1)
	r.reopen(t)
	f(t0.Add(2*time.Minute), 2, 0)
	entries, _ := r.values.List(bg, "", 0)
	same(t, "left", len(entries), 2)
}
