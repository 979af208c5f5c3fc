package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Garbage between two collections. Go by default collects whenever the heap has
// doubled: dozens of times a second on one of a few megabytes, where a push
// leaves 3 KB of garbage, and seldom on a large one, whose process then takes
// twice what it needs.
const (
	room         = 80 << 20 // bytes that heap and stacks may take before a collection, garbage and all
	leastGarbage = 12 << 20 // bytes, where that room is taken
	garbageShare = 4        // or of a large heap one part in so many
	block        = 64 << 20 // bytes of a block that is never touched, and so takes no memory of the machine: it makes a small heap a large one to Go
	mostGOGC     = 100      // Go's own: a heap that grows all at once does no worse than by default
	leastGOGC    = 5
	worthAChange = 10 // percent: setting GOGC stops the world for a moment
	lookEvery    = 200 * time.Millisecond
)

// paceHeap has garbage gather as above, until stop is called. Metrics of the
// heap include the block. Who sets GOGC or GOMEMLIMIT decides for themselves.
func paceHeap(getenv func(string) (string, bool)) (stop func()) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if v, ok := getenv(name); ok && v != "" {
			return func() {}
		}
	}
	untouched := make([]byte, block)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for gogc := mostGOGC; ; {
			select {
			case <-tick.C:
				gogc = adjust(gogc)
			case <-end:
				debug.SetGCPercent(mostGOGC)
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		runtime.KeepAlive(untouched)
	}
}

// adjust sets GOGC to what the last collection has found, and returns it.
func adjust(gogc int) int {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	next := gogcFor(samples[0].Value.Uint64(), samples[1].Value.Uint64()+samples[2].Value.Uint64())
	if diff := next - gogc; diff*100 >= -worthAChange*gogc && diff*100 <= worthAChange*gogc {
		return gogc
	}
	debug.SetGCPercent(next)
	return next
}

// gogcFor is the GOGC that lets the wanted garbage gather on a heap of live
// bytes, the block among them, with roots beside it, which GOGC counts too.
func gogcFor(live, roots uint64) int {
	used := live - min(live, block)
	garbage := max(leastGarbage, used/garbageShare, room-min(room, used+roots))
	return int(min(mostGOGC, max(leastGOGC, garbage*100/max(1, live+roots))))
}
