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
	f(block, 0, mostGOGC)
	f(block+10*mb, 0, 94)
	f(block+10*mb, 10*mb, 71)
	f(block+60*mb, 80*mb, 7)
	f(block+400*mb, 0, 21)
	f(block+40*mb, 800*mb, leastGOGC)
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
	runtime.GC()
	wait(t, "a GOGC for a heap of 200 MB", func() bool { return current() < 30 })
	runtime.KeepAlive(hold)
	stop()
	if got := current(); got != mostGOGC {
		t.Errorf("GOGC is %d after the end, want %d", got, mostGOGC)
	}
}
