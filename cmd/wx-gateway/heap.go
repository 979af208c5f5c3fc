package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// Garbage between two collections. Go by default collects whenever the heap has
// doubled: dozens of times a second on one of a few megabytes, where a push
// leaves 3 KB of garbage, and seldom on a large one, whose process then takes
// twice what it needs.
const (
	floor        = 16 << 20 // bytes: a block of this size counts as heap, so that at least as much gathers
	garbageShare = 4        // of a large heap: one part in so many
	leastGOGC    = 8
	mostGOGC     = 100 // Go's own: a heap that grows all at once does no worse than by default
	worthAChange = 10  // percent: setting GOGC stops the world for a moment
)

// paceHeap has garbage gather as above: by a block that is never touched, and
// so takes no memory of the machine, for small heaps, and by lowering GOGC after
// a collection for large ones. Metrics of the heap include the block. Who sets
// GOGC or GOMEMLIMIT decides for themselves. stop ends it.
func paceHeap(getenv func(string) (string, bool)) (stop func()) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if v, ok := getenv(name); ok && v != "" {
			return func() {}
		}
	}
	block := make([]byte, floor)
	p := &pacer{gogc: mostGOGC}
	p.arm()
	return func() {
		p.over.Store(true)
		debug.SetGCPercent(mostGOGC)
		runtime.KeepAlive(block)
	}
}

type pacer struct {
	gogc int
	over atomic.Bool
}

// arm has adjust called after the next collection: that is when an object that
// nobody holds is found.
func (p *pacer) arm() {
	sentinel := new([16]byte)
	runtime.SetFinalizer(sentinel, func(*[16]byte) {
		if !p.over.Load() {
			p.adjust()
			p.arm()
		}
	})
}

func (p *pacer) adjust() {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	live, roots := samples[0].Value.Uint64(), samples[1].Value.Uint64()+samples[2].Value.Uint64()
	next := gogcFor(live, roots)
	if diff := next - p.gogc; diff*100 < -worthAChange*p.gogc || diff*100 > worthAChange*p.gogc {
		p.gogc = next
		debug.SetGCPercent(next)
	}
}

// gogcFor is the GOGC that lets the wanted garbage gather on a heap of live
// bytes, the floor among them, with roots beside it, which GOGC counts too.
func gogcFor(live, roots uint64) int {
	garbage := max(floor, live/garbageShare)
	return int(min(mostGOGC, max(leastGOGC, garbage*100/max(1, live+roots))))
}
