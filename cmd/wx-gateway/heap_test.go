package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGOGCFor(t *testing.T) {
	const mb = 1 << 20
	f := func(live, roots uint64, want int) {
		t.Helper()
		if got := gogcFor(live, roots); got != want {
			t.Errorf("a heap of %d MB with roots of %d MB: GOGC %d, want %d", live/mb, roots/mb, got, want)
		}
	}
	f(0, 0, mostGOGC)
	f(floor, 0, mostGOGC)
	f(floor, 2*floor, 33)
	f(40*mb, 60*mb, 16)
	f(400*mb, 0, 25)
	f(100*mb, 400*mb, leastGOGC)
}

// TestPaceHeap: after collections GOGC is what the heap asks for, unless the
// environment says otherwise.
func TestPaceHeap(t *testing.T) {
	before := debug.SetGCPercent(mostGOGC)
	defer debug.SetGCPercent(before)
	current := func() int {
		now := debug.SetGCPercent(mostGOGC)
		debug.SetGCPercent(now)
		return now
	}
	paceHeap(func(name string) (string, bool) { return "50", name == "GOGC" })()
	if got := current(); got != mostGOGC {
		t.Errorf("GOGC is %d although the environment sets it", got)
	}
	hold := make([]byte, 200<<20)
	stop := paceHeap(func(string) (string, bool) { return "", false })
	for range 100 {
		runtime.GC()
		if current() < 50 {
			break
		}
	}
	if got := current(); got < leastGOGC || got >= 50 {
		t.Errorf("GOGC is %d with a heap of 200 MB, want about %d", got, 100/garbageShare)
	}
	runtime.KeepAlive(hold)
	stop()
	if got := current(); got != mostGOGC {
		t.Errorf("GOGC is %d after the end, want %d", got, mostGOGC)
	}
}
