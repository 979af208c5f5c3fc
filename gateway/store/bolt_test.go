package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestBoltFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "dir")
	path := filepath.Join(dir, FileName)
	s := mustOpen(t, path, BoltConfig{})
	if !s.Durable() || s.Healthy() != nil {
		t.Error("a new store is not durable, or sick")
	}
	mode := func(path string, want os.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	mode(dir, 0o700)
	mode(path, 0o600)

	_, err := OpenBolt(path, BoltConfig{Timeout: time.Millisecond})
	want := fmt.Sprintf("cannot open the store %q: another gateway has data-dir %q open", path, dir)
	if err == nil || err.Error() != want {
		t.Errorf("a second OpenBolt = %v, want %q", err, want)
	}
	_, err = OpenBolt(dir, BoltConfig{})
	want = fmt.Sprintf("cannot open the store %q: it is a folder: name the file in it, such as %q", dir, path)
	if err == nil || err.Error() != want {
		t.Errorf("OpenBolt of a folder = %v, want %q", err, want)
	}
	if _, err = OpenBolt(filepath.Join(path, "x"), BoltConfig{}); err == nil || strings.Contains(err.Error(), "damaged") {
		t.Errorf("OpenBolt below a file = %v", err)
	}

	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Queue().Put(bg, item("a", "u", Waiting, t0)); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close = %v", err)
	}
	if _, _, err := s.Values().Get(bg, "k"); !errors.Is(err, ErrClosed) {
		t.Errorf("Get after Close = %v", err)
	}
	os.Chmod(path, 0o644)
	var log bytes.Buffer
	mustOpen(t, path, BoltConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "can be read by other users") || !strings.Contains(log.String(), "store opened") {
		t.Errorf("log: %s", log.String())
	}
}

func TestBoltFull(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), FileName), BoltConfig{NoSync: true, MaxItems: 2})
	put(t, s.Queue(), item("a", "u", Waiting, t0), item("b", "u", Waiting, t0))
	err := s.Queue().Put(bg, item("c", "u", Waiting, t0))
	if !errors.Is(err, ErrFull) || err.Error() != `cannot put item "c" in the queue: the store is full` {
		t.Errorf("Put = %v", err)
	}
	put(t, s.Queue(), item("a", "u", Dead, t0)) // replacing is no growth
	if err := s.Healthy(); err != nil {
		t.Error(err)
	}
	v, expires := s.Values(), time.Now().Add(time.Hour)
	for _, key := range []string{"a", "b", "a"} {
		if err := v.Put(bg, key, nil, expires); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Put(bg, "c", nil, expires); !errors.Is(err, ErrFull) {
		t.Errorf("Put = %v", err)
	}
	v.Delete(bg, "a")
	v.Delete(bg, "a")
	if err := v.Put(bg, "c", nil, expires); err != nil {
		t.Fatal(err)
	}
}

// gate is a change that keeps the writer busy until it is opened.
type gate struct {
	probeWrite
	entered, opened chan struct{}
	done            chan error
}

func (g *gate) prepare() error {
	close(g.entered)
	<-g.opened
	return nil
}

// stall returns once the writer is held up by a gate.
func stall(s *Bolt) *gate {
	g := &gate{entered: make(chan struct{}), opened: make(chan struct{}), done: make(chan error, 1)}
	go func() { g.done <- s.disk.do(bg, g) }()
	<-g.entered
	return g
}

// waitFor spins until ok: a change that waits for the writer shows only in the length of the line.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("no " + what)
		}
	}
}

// Puts made at the same time share transactions, and with them fsyncs.
func TestBoltGroups(t *testing.T) {
	t.Parallel()
	const n = 300
	path := filepath.Join(t.TempDir(), FileName)
	s := mustOpen(t, path, BoltConfig{})
	before := s.commits.Load()
	g := stall(s)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { put(t, s.Queue(), item(fmt.Sprint(i), fmt.Sprint(i%10), Waiting, t0)) })
	}
	waitFor(t, "line of changes", func() bool { return len(s.requests) == n })
	close(g.opened)
	wg.Wait()
	same(t, "commits, one of them the gate's", s.commits.Load()-before, int64(2))
	s.Close()
	all, _ := mustOpen(t, path, BoltConfig{}).Queue().IDs(bg)
	same(t, "items on disk", len(all), n)
}

// Changes of one item are carried out one after the other, whatever shares a transaction.
func TestBoltSameItem(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	s := mustOpen(t, path, BoltConfig{NoSync: true})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				id := fmt.Sprint(j % 3)
				switch (i + j) % 4 {
				case 0:
					s.Queue().Delete(bg, id)
				case 1:
					s.Queue().Expire(bg, t0, 2)
				case 2:
					s.Queue().Claim(bg, t0, 2, nil)
					s.Queue().List(bg, Filter{}, 0, 0)
				default:
					put(t, s.Queue(), item(id, "u", State((i+j)/4%4), t0))
				}
				s.Values().Put(bg, id, []byte(id), t0)
				s.Values().Expire(bg, t0, 1)
				s.Values().List(bg, "", 0)
			}
		})
	}
	wg.Wait()
	want, _ := s.Queue().IDs(bg)
	n := s.values.n
	s.Close()
	s = mustOpen(t, path, BoltConfig{NoSync: true})
	got, _ := s.Queue().IDs(bg)
	same(t, "ids after reopening", got, want)
	same(t, "values after reopening", s.values.n, n)
}

// A caller that gives up leaves nothing behind if its change had not begun, and the writer goes on.
func TestBoltGivenUp(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), FileName), BoltConfig{NoSync: true})
	g := stall(s)
	result := make(chan error, 1)
	ctx, cancel := context.WithCancel(bg)
	data := []byte("data of b")
	go func() {
		it := item("b", "u", Waiting, t0)
		it.Data = data
		result <- s.Queue().Put(ctx, it)
	}()
	waitFor(t, "change in line", func() bool { return len(s.requests) == 1 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v", err)
	}
	copy(data, "XXXXX") // the caller's again
	close(g.opened)
	if err := <-g.done; err != nil {
		t.Fatal(err)
	}
	put(t, s.Queue(), item("c", "u", Waiting, t0))
	all, _ := s.Queue().IDs(bg)
	same(t, "ids", all, []string{"c"})
}

// Close lets the change under way end; those behind it are carried out or told.
func TestBoltCloseBusy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	s := mustOpen(t, path, BoltConfig{NoSync: true})
	g := stall(s)
	result := make(chan error, 1)
	go func() { result <- s.Queue().Put(bg, item("a", "u", Waiting, t0)) }()
	waitFor(t, "change in line", func() bool { return len(s.requests) == 1 })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.quit
	close(g.opened)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := <-g.done; err != nil {
		t.Errorf("the change under way: %v", err)
	}
	err := <-result
	if err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("the change behind it: %v", err)
	}
	all, _ := mustOpen(t, path, BoltConfig{NoSync: true}).Queue().IDs(bg)
	same(t, "stored as it was told", len(all) == 1, err == nil)
}

// A claim that cannot be read as a whole is taken back.
func TestBoltClaimTakenBack(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), FileName), BoltConfig{NoSync: true, Now: func() time.Time { return t0 }})
	put(t, s.Queue(), item("a", "u", Waiting, t0))
	s.Close()
	if _, err := s.Queue().Claim(bg, t0, 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Claim = %v", err)
	}
	if due, ok, _ := s.Queue().NextDue(bg); !ok || !due.Equal(t0) {
		t.Errorf("NextDue = %v, %v", due, ok)
	}
}

// What changes nothing costs no fsync.
func TestBoltNothingToDo(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), FileName), BoltConfig{NoSync: true})
	put(t, s.Queue(), item("async", "u", Async, t0), item("wait", "v", Waiting, t0))
	before := s.commits.Load()
	s.Queue().Delete(bg, "nobody")
	s.Values().Delete(bg, "nothing")
	s.Values().Expire(bg, t0, 9)
	if items, err := s.Queue().Expire(bg, t0, 9); ids(items) != "async" || err != nil {
		t.Errorf("Expire = %q, %v", ids(items), err)
	}
	same(t, "claim", claim(t, s.Queue(), t0, 9), "wait")
	s.Queue().Recover(bg, t0)
	same(t, "commits", s.commits.Load()-before, int64(0))
}

// fill makes a file with some items and values and returns its bytes.
func fill(t testing.TB, path string, n int) []byte {
	t.Helper()
	s := mustOpen(t, path, BoltConfig{NoSync: true, Now: func() time.Time { return t0 }})
	for i := range n {
		it := item(fmt.Sprintf("%032x", i), fmt.Sprint("user", i%7), State(i%4), t0.Add(time.Duration(i)*time.Second))
		it.Data = bytes.Repeat([]byte{byte(i)}, 100+i*53%5000)
		if err := s.Queue().Put(bg, it); err != nil {
			t.Fatal(err)
		}
		if err := s.Values().Put(bg, fmt.Sprint(i), make([]byte, i*17%900), t0.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			s.Queue().Delete(bg, fmt.Sprintf("%032x", i/2))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A file that was cut off is refused with words that help, or opens with all that it held, and stays as it is.
func TestBoltCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	whole := fill(t, path, 60)
	for size := 1; size < len(whole); size += 3001 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenBolt(path, BoltConfig{NoSync: true})
		if err == nil {
			// Only room that bbolt had set aside is missing.
			if got, _ := s.Queue().IDs(bg); len(got) < 48 {
				t.Errorf("cut at %d of %d: opens with %d items", size, len(whole), len(got))
			}
			s.Close()
			continue
		}
		for _, want := range []string{"cannot open the store", "the file is damaged", "nothing was deleted", "move the file away"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("cut at %d: %v: does not say %q", size, err, want)
			}
		}
		if b, _ := os.ReadFile(path); !bytes.Equal(b, whole[:size]) {
			t.Errorf("cut at %d: the file was changed", size)
		}
	}
	// The lock was given up each time, and the whole file still opens.
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path, BoltConfig{})
}

// Flipped bytes anywhere end in an error or are harmless; they never end the process.
func TestBoltFlippedBytes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	whole := fill(t, path, 40)
	rnd := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 200 {
		b := bytes.Clone(whole)
		for range 1 + rnd.IntN(8) {
			at := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 {
				at = rnd.IntN(len(b)/os.Getpagesize())*os.Getpagesize() + rnd.IntN(64) // page heads
			}
			b[at] ^= byte(1 + rnd.IntN(255))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenBolt(path, BoltConfig{NoSync: true})
		if err != nil {
			refused++
			continue
		}
		s.Queue().List(bg, Filter{}, 0, 1000)
		s.Queue().Put(bg, item("new", "u", Waiting, t0))
		s.Values().Expire(bg, t0.Add(time.Hour), 5)
		s.Close()
	}
	if refused < 50 {
		t.Errorf("only %d of 200 damaged files were refused", refused)
	}
}

// edit changes a closed store's file by hand.
func edit(t *testing.T, path string, f func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
}

func TestBoltRecords(t *testing.T) {
	t.Parallel()
	f := func(want string, change func(tx *bbolt.Tx) error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), FileName)
		s := mustOpen(t, path, BoltConfig{NoSync: true})
		put(t, s.Queue(), item("a", "u", Waiting, t0))
		s.Values().Put(bg, "k", []byte("v"), t0)
		s.Close()
		edit(t, path, change)
		_, err := OpenBolt(path, BoltConfig{NoSync: true})
		if err == nil {
			t.Fatalf("opens; want %q", want)
		}
		got, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), fmt.Sprintf("cannot open the store %q: ", path)), ": nothing was deleted")
		if got != want {
			t.Errorf("OpenBolt = %q, want %q", got, want)
		}
	}
	record := func(tx *bbolt.Tx) []byte { return bytes.Clone(tx.Bucket(bucketItems).Get(seqKey(1))) }

	// From a newer gateway: no damage.
	f("cannot read the record of item 1: it has version 2 and this gateway knows version 1: run the gateway that wrote it", func(tx *bbolt.Tx) error {
		b := record(tx)
		b[0] = 2
		return tx.Bucket(bucketItems).Put(seqKey(1), b)
	})
	f(`the file is damaged (cannot read the record of item 1: its checksum is wrong)`, func(tx *bbolt.Tx) error {
		b := record(tx)
		b[len(b)-1] ^= 1
		return tx.Bucket(bucketItems).Put(seqKey(1), b)
	})
	f(`the file is damaged (cannot read the record of item 1: it ends too early)`, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketItems).Put(seqKey(1), []byte{1, 2})
	})
	f(`the file is damaged (cannot read the record of item 7: its id is there twice)`, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketItems).Put(seqKey(7), record(tx))
	})
	f(`the file is damaged (an item has a key of 1 bytes)`, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketItems).Put([]byte("x"), record(tx))
	})
	f(`the file is damaged (cannot read the record of value "k": its expiry is not listed)`, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketExpiry).Delete(expiryKey(nanos(t0), []byte("k")))
	})
	f(`the file is damaged (cannot read the record of value "k": it ends too early)`, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketValues).Put([]byte("k"), nil)
	})
}

// Damage that appears while the store is open costs what it hits, is reported, and blocks that user alone.
func TestBoltDamageWhileOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	var log bytes.Buffer
	s := mustOpen(t, path, BoltConfig{NoSync: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	big := item("big", "u", Waiting, t0)
	big.Data = bytes.Repeat([]byte("0123456789abcdef"), 4096)
	put(t, s.Queue(), big, item("behind", "u", Waiting, t0), item("other", "v", Waiting, t0))

	whole, _ := os.ReadFile(path)
	at := bytes.Index(whole, big.Data[:4096])
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.WriteAt([]byte("X"), int64(at+100))

	same(t, "claim", claim(t, s.Queue(), t0, 9), "other")
	same(t, "claim", claim(t, s.Queue(), t0, 9), "")
	if _, _, err := s.Queue().Get(bg, "big"); err == nil || !strings.Contains(err.Error(), "its checksum is wrong") {
		t.Errorf("Get = %v", err)
	}
	items, err := s.Queue().List(bg, Filter{}, 0, 0)
	if ids(items) != "behind other" || err != nil {
		t.Errorf("List = %q, %v", ids(items), err)
	}
	put(t, s.Queue(), item("new", "w", Waiting, t0))
	if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "the file is damaged") {
		t.Errorf("Healthy = %v", err)
	}
	if n := strings.Count(log.String(), "the store is damaged"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	s.Close()
	if _, err := OpenBolt(path, BoltConfig{}); err == nil {
		t.Error("opens with a damaged record")
	}
}

// A fault of bbolt itself is an error of that call. After one in a write nothing is written until the next start.
func TestBoltPanics(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	s := mustOpen(t, path, BoltConfig{NoSync: true})
	put(t, s.Queue(), item("a", "u", Waiting, t0))
	if err := s.view(func(*bbolt.Tx) error { panic("page 7: bad flags") }); err == nil || !strings.Contains(err.Error(), "damaged (page 7: bad flags)") {
		t.Errorf("view = %v", err)
	}
	put(t, s.Queue(), item("b", "u", Waiting, t0)) // reads that fail keep no lock
	err := s.disk.do(bg, panicWrite{})
	if err == nil || !strings.Contains(err.Error(), "damaged (page 9 already freed)") {
		t.Errorf("write = %v", err)
	}
	if err := s.Queue().Put(bg, item("c", "u", Waiting, t0)); err == nil || !strings.Contains(err.Error(), "the file is damaged") {
		t.Errorf("Put = %v", err)
	}
	same(t, "still readable", string(get(t, s.Queue(), "b").Data), "data of b")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all, _ := mustOpen(t, path, BoltConfig{}).Queue().IDs(bg)
	same(t, "ids", all, []string{"a", "b"})
}

type panicWrite struct{ probeWrite }

func (panicWrite) write(*bbolt.Tx) error { panic("page 9 already freed") }

// What fails but reaches the file all the same, as with an fsync that fails last, is known afterwards.
func TestBoltSettle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	s := mustOpen(t, path, BoltConfig{NoSync: true})
	put(t, s.Queue(), item("a", "u", Waiting, t0), item("b", "v", Waiting, t0), item("c", "w", Dead, t0))
	s.Values().Put(bg, "old", nil, t0)
	same(t, "claim", claim(t, s.Queue(), t0, 9), "a b")

	reached := func(c change) {
		t.Helper()
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		if err := s.update(c.write); err != nil {
			t.Fatal(err)
		}
		s.settle([]*request{{change: c}})
	}
	rolledBack := func(c change) {
		t.Helper()
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		no := errors.New("no")
		if err := s.update(func(tx *bbolt.Tx) error { c.write(tx); return no }); !errors.Is(err, no) {
			t.Fatal(err)
		}
		s.settle([]*request{{change: c}})
	}
	again := func(it Item) *putItem { return s.queue.newPut(it) }

	rolledBack(again(item("a", "u", Waiting, t0)))
	rolledBack(again(item("new", "u", Waiting, t0)))
	rolledBack(&deleteItem{q: s.queue, id: "a"})
	rolledBack(&expireItems{q: s.queue, now: nanos(t0), most: 9})
	rolledBack(&putValue{v: s.values, name: []byte("v"), record: encodeValue(nil, 1), expires: 1})
	rolledBack(&deleteValue{v: s.values, name: []byte("old")})
	rolledBack(&expireValues{v: s.values, now: nanos(t0), most: 9})
	same(t, "a is still claimed", get(t, s.Queue(), "a").State, Running)
	all, _ := s.Queue().IDs(bg)
	same(t, "ids", all, []string{"a", "b", "c"})
	same(t, "values", s.values.n, 1)

	reached(again(item("a", "u", Async, t0)))
	reached(again(item("new", "u", Waiting, t0)))
	reached(&deleteItem{q: s.queue, id: "b"})
	reached(&expireItems{q: s.queue, now: nanos(t0), most: 9})
	reached(&putValue{v: s.values, name: []byte("v"), record: encodeValue(nil, 1), expires: 1})
	reached(&putValue{v: s.values, name: []byte("w"), record: encodeValue(nil, 1), expires: 1})
	reached(&deleteValue{v: s.values, name: []byte("old")})
	reached(&expireValues{v: s.values, now: nanos(t0), most: 1})
	same(t, "a", get(t, s.Queue(), "a").State, Async)
	all, _ = s.Queue().IDs(bg)
	same(t, "ids", all, []string{"a", "new"})
	same(t, "values", s.values.n, 1)

	s.Close()
	s = mustOpen(t, path, BoltConfig{NoSync: true})
	all, _ = s.Queue().IDs(bg)
	same(t, "ids on disk", all, []string{"a", "new"})
	same(t, "values on disk", s.values.n, 1)
}

// failedWrite fails as a disk does; its settle may fail as well.
type failedWrite struct {
	probeWrite
	settled *int
	unknown error
}

var errDisk = errors.New("input/output error")

func (failedWrite) write(*bbolt.Tx) error { return errDisk }

func (w failedWrite) settle(*bbolt.Tx) error {
	*w.settled++
	return w.unknown
}

// A failed write is settled at once. If that fails too nothing more is written, as memory and disk may differ.
func TestBoltFailedWrite(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := mustOpen(t, filepath.Join(t.TempDir(), FileName), BoltConfig{NoSync: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	settled := 0
	for range 2 {
		if err := s.disk.do(bg, failedWrite{settled: &settled}); !errors.Is(err, errDisk) {
			t.Errorf("do = %v", err)
		}
	}
	same(t, "settled", settled, 2)
	if err := healthyAgain(s); err != nil { // its own try succeeds
		t.Error(err)
	}
	if err := s.disk.do(bg, failedWrite{settled: &settled}); !errors.Is(err, errDisk) {
		t.Errorf("do = %v", err)
	}
	s.mu.Lock()
	s.probed = time.Now().Add(time.Hour) // a try was made just now
	s.mu.Unlock()
	if err := s.Healthy(); err == nil || err.Error() != "cannot write to the store: input/output error" {
		t.Errorf("Healthy = %v", err)
	}
	put(t, s.Queue(), item("a", "u", Waiting, t0))
	if err := s.Healthy(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]int{"cannot write to the store": 2, "the store can be written again": 2} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q logged %d times, want %d: %s", text, n, want, log.String())
		}
	}

	if err := s.disk.do(bg, failedWrite{settled: &settled, unknown: errors.New("page gone")}); !errors.Is(err, errDisk) {
		t.Errorf("do = %v", err)
	}
	if err := s.Queue().Put(bg, item("b", "u", Waiting, t0)); err == nil || !strings.Contains(err.Error(), "damaged (page gone)") {
		t.Errorf("Put = %v", err)
	}
	same(t, "still readable", string(get(t, s.Queue(), "a").Data), "data of a")
}

// FuzzRecord: no bytes make a record that decodes into something that could not have been put.
func FuzzRecord(f *testing.F) {
	it := item("0123456789abcdef0123456789abcdef", "openid", Async, t0)
	f.Add(finish(encodeItem(&it), 7, 8, 9))
	f.Add(finish(encodeItem(&Item{ID: "x"}), 0, 0, 0))
	f.Add(encodeValue([]byte("value"), 5))
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= recordHead {
			seal(b) // or the checksum would keep all else out
		}
		if _, expires, err := decodeValue(b); err == nil && expires < 0 {
			t.Error("a negative expiry")
		}
		var r record
		if r.decode(b) != nil {
			return
		}
		if err := checkItem(&r.Item); err != nil {
			t.Error(err)
		}
		var again record
		if err := again.decode(finish(encodeItem(&r.Item), r.rev, r.put, nanos(r.Created))); err != nil {
			t.Fatal(err)
		}
		same(t, "record", fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", r))
	})
}
