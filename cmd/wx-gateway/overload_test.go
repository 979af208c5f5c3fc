package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The slow backend of these tests: workerNum calls at a time, each this long.
// It is so slow that the machine, busy with other tests, is not what limits.
const (
	overloadWorkers = 2
	overloadCall    = 40 * time.Millisecond
	overloadRate    = overloadWorkers * int(time.Second/overloadCall) // pushes a second it can take
	overloadLine    = 1000                                            // pushes behind them, at most
)

// overloadWorld is a world with the slow backend.
type overloadWorld struct {
	*faultWorld
	quick atomic.Bool // the backend is slow no more
}

// newOverload starts it. done tells how many calls it
// has answered.
func newOverload(t *testing.T, change func(w *faultWorld)) (w *overloadWorld, done func() int) {
	t.Helper()
	w = &overloadWorld{}
	w.faultWorld = newFaultWorld(t, func(w *faultWorld) {
		w.service["workerNum"] = overloadWorkers
		w.service["late-reply"] = object{"max-wait": "60s", "hold": false}
		w.conf["dont-append-userinfo"] = true
		change(w)
	})
	var mu sync.Mutex
	answered := 0
	w.backend.as(func(rw http.ResponseWriter, r *http.Request) {
		if !w.quick.Load() {
			time.Sleep(overloadCall)
		}
		fmt.Fprint(rw, `{"msg":"done"}`)
		mu.Lock()
		defer mu.Unlock()
		answered++
	})
	w.start()
	return w, func() int {
		mu.Lock()
		defer mu.Unlock()
		return answered
	}
}

// burst sends n pushes spread over d and counts what WeChat heard.
func (w *overloadWorld) burst(name string, n int, d time.Duration, offered func()) map[string]int {
	var mu sync.Mutex
	heard := map[string]int{}
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		time.Sleep(time.Until(began.Add(d * time.Duration(i) / time.Duration(n))))
		all.Go(func() {
			got := w.heard(view(fmt.Sprintf("oUser%d", i%100), fmt.Sprint(name, i)))
			mu.Lock()
			defer mu.Unlock()
			heard[got]++
		})
	}
	offered()
	all.Wait()
	return heard
}

// delivered waits until each of n pushes has reached the backend, and checks
// that none did twice.
func (w *overloadWorld) delivered(name string, n int) {
	w.t.Helper()
	eventually(w.t, "every push of "+name, func() bool {
		for i := range n {
			if w.backend.calls(fmt.Sprint(name, i)) == 0 {
				return false
			}
		}
		return true
	})
	for i := range n {
		if c := w.backend.calls(fmt.Sprint(name, i)); c != 1 {
			w.t.Errorf("%s%d was delivered %d times: overload is no failure", name, i, c)
		}
	}
}

// TestOverload: beyond its capacity a backend is kept busy and no busier; what
// it cannot take is told success and kept; when the load ends it is over at once.
// It runs before the parallel tests, since it compares what is done in a time.
func TestOverload(t *testing.T) {
	w, done := newOverload(t, func(w *faultWorld) { delete(w.conf, "data-dir") }) // the queue in memory
	idle := w.metric("go_goroutines")
	const during = 2 * time.Second
	goodput := map[int]int{}
	for _, times := range []int{1, 2, 4} {
		n := times * overloadRate * int(during/time.Second)
		name := fmt.Sprintf("times-%d-", times)
		before := done()
		heard := w.burst(name, n, during, func() { goodput[times] = done() - before })
		if heard["done"]+heard["success"] != n {
			t.Errorf("at %d times the capacity WeChat heard %v", times, heard)
		}
		w.delivered(name, n)
		if got := w.heard(view("oAfter", "after-"+name)); got != "done" {
			t.Errorf("after %d times the capacity WeChat heard %q, want the answer", times, got)
		}
		t.Logf("at %d times the capacity: %v, %d answered by the backend in %s", times, heard, goodput[times], during)
	}
	// Generous: the machine may be busy with other tests.
	for _, times := range []int{2, 4} {
		if goodput[times] < goodput[1]/2 {
			t.Errorf("at %d times the capacity the backend answered %d, at its capacity %d", times, goodput[times], goodput[1])
		}
	}

	// All at once, far more than the line takes.
	const many = 2 * overloadLine
	heard := w.burst("burst-", many, 0, func() {})
	if heard["done"]+heard["success"] != many {
		t.Errorf("in a burst WeChat heard %v", heard)
	}
	if kept := w.metric("wxgw_delivery_events_total", `event="kept"`); kept == 0 {
		t.Error("a full line shed nothing")
	} else {
		t.Logf("a burst of %d: %v, %.0f kept", many, heard, kept)
	}
	if got := w.metric("wxgw_breaker_open"); got != 0 {
		t.Error("a full line opened the breaker of a backend that is well")
	}
	w.quick.Store(true)
	w.delivered("burst-", many)
	if got := w.heard(view("oAfter", "after-burst")); got != "done" {
		t.Errorf("after the burst WeChat heard %q, want the answer", got)
	}
	eventually(t, "the return to the goroutines of before", func() bool { return w.metric("go_goroutines") <= idle+5 })
	if heap := w.metric("go_memstats_heap_inuse_bytes"); heap > 256<<20 {
		t.Errorf("the overload left a heap of %.0f MiB", heap/(1<<20))
	}
	if strings.Contains(w.p.out.String(), "panic") {
		t.Error("there was a panic")
	}
}
