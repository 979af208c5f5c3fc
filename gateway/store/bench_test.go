package store

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

var stores = []struct {
	name string
	open func(b *testing.B) Queue
}{
	{"memory", func(b *testing.B) Queue { return NewMemory(MemoryConfig{MaxItems: 1 << 30, MaxBytes: 1 << 40}).Queue() }},
	{"bolt", func(b *testing.B) Queue {
		return mustOpen(b, filepath.Join(b.TempDir(), FileName), BoltConfig{MaxItems: 1 << 30}).Queue()
	}},
}

// BenchmarkPut puts pushes of 1 KB from 64 goroutines per processor: bolt's figure holds its fsync.
func BenchmarkPut(b *testing.B) {
	for _, s := range stores {
		b.Run(s.name, func(b *testing.B) {
			q := s.open(b)
			data := make([]byte, 1024)
			var n atomic.Int64
			b.SetParallelism(64)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					it := Item{ID: fmt.Sprintf("%032x", i), Service: "svc", OpenID: fmt.Sprintf("o%027d", i%1000), Due: t0, Created: t0, Data: data}
					if err := q.Put(bg, it); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkPutAlone puts one after the other: the delay a push sees.
func BenchmarkPutAlone(b *testing.B) {
	for _, s := range stores {
		b.Run(s.name, func(b *testing.B) {
			q := s.open(b)
			b.ReportAllocs()
			for i := range b.N {
				if err := q.Put(bg, Item{ID: fmt.Sprint(i), Service: "svc", OpenID: "o", Due: t0, Data: make([]byte, 1024)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkClaim claims and releases 16 of 20,000 items.
func BenchmarkClaim(b *testing.B) {
	for _, s := range stores {
		b.Run(s.name, func(b *testing.B) {
			q := s.open(b)
			fillQueue(b, q, 20_000)
			b.ReportAllocs()
			for b.Loop() {
				items, err := q.Claim(bg, t0.Add(time.Hour), 16, nil)
				if err != nil || len(items) != 16 {
					b.Fatal(len(items), err)
				}
				b.StopTimer()
				if _, err := q.Recover(bg, t0); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkOpen opens a file with 20,000 items: what a start costs.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), FileName)
	s := mustOpen(b, path, BoltConfig{NoSync: true})
	fillQueue(b, s.Queue(), 20_000)
	s.Close()
	for b.Loop() {
		mustOpen(b, path, BoltConfig{}).Close()
	}
}

// fillQueue puts n items of 1 KB, each of its own user, from many goroutines.
func fillQueue(t testing.TB, q Queue, n int) {
	t.Helper()
	errs := make(chan error, 100)
	for w := range 100 {
		go func() {
			for i := w; i < n; i += 100 {
				it := Item{ID: fmt.Sprintf("%032x", i), Service: "svc", OpenID: fmt.Sprintf("o%027d", i), Kind: "msg/text", Due: t0, Created: t0, Data: make([]byte, 1024)}
				if err := q.Put(bg, it); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 100 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// TestFootprint holds the documentation to what an item costs in memory, the only one of its user at that.
func TestFootprint(t *testing.T) {
	const n = 100_000
	heapSize := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heapSize()
	x := newIndex()
	for i := range n {
		it := Item{ID: fmt.Sprintf("%032x", i), Service: "svc", OpenID: fmt.Sprintf("o%027d", i), Kind: "msg/text", Seq: uint64(i + 1), Due: t0, Created: t0}
		x.put(&it, 1, 1024, nil)
	}
	each := int(heapSize()-before) / n
	runtime.KeepAlive(x)
	t.Logf("%d bytes an item", each)
	if each > 600 {
		t.Errorf("%d bytes an item", each)
	}
}
