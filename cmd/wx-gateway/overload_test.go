package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// The slow backend of these tests: workerNum calls at a time, each this long.
// It is so slow that the machine, if not too busy, is not what limits.
const (
	overloadWorkers = 2
	overloadCall    = 100 * time.Millisecond
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

// burst sends n pushes spread over d and counts what WeChat heard. offered is
// called when all are sent, with the time that took.
func (w *overloadWorld) burst(name string, n int, d time.Duration, offered func(took time.Duration)) map[string]int {
	var mu sync.Mutex
	heard := map[string]int{}
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		time.Sleep(time.Until(began.Add(d * time.Duration(i) / time.Duration(n))))
		all.Go(func() {
			got := w.repeated(view(fmt.Sprintf("oUser%d", i%100), fmt.Sprint(name, i)), sim.OutcomeClosed)
			mu.Lock()
			defer mu.Unlock()
			heard[got]++
		})
	}
	offered(time.Since(began))
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

// rates offers 1, 2 and 4 times what the backend can take, waits until all is
// delivered, and tells how much of it was answered a second meanwhile.
func (w *overloadWorld) rates(done func() int, name string) map[int]float64 {
	w.t.Helper()
	const during = 2 * time.Second
	rate := map[int]float64{}
	for _, times := range []int{1, 2, 4} {
		n := times * overloadRate * int(during/time.Second)
		name := fmt.Sprintf("%stimes-%d-", name, times)
		before := done()
		heard := w.burst(name, n, during, func(took time.Duration) { rate[times] = float64(done()-before) / took.Seconds() })
		if heard["done"]+heard["success"] != n {
			w.t.Errorf("at %d times the capacity WeChat heard %v", times, heard)
		}
		w.delivered(name, n)
		if got := w.heard(view("oAfter", "after-"+name)); got != "done" {
			w.t.Errorf("after %d times the capacity WeChat heard %q, want the answer", times, got)
		}
		w.t.Logf("at %d times the capacity: %v, %.0f a second answered by the backend", times, heard, rate[times])
	}
	return rate
}

// TestOverload: beyond its capacity a backend is kept busy and no busier; what
// it cannot take is told success and kept; when the load ends it is over at once.
// It runs before the parallel tests, since it compares what is done in a time.
func TestOverload(t *testing.T) {
	w, done := newOverload(t, func(w *faultWorld) { delete(w.conf, "data-dir") }) // the queue in memory
	idle := w.metric("go_goroutines")
	// A backend that is kept busy answers as much beyond its capacity as at it.
	// That shows only while the machine is not what limits.
	verdict := "the machine was too busy to tell"
	for try := 0; try < 3 && verdict != ""; try++ {
		rate := w.rates(done, fmt.Sprintf("try-%d-", try))
		switch {
		case min(rate[2], rate[4]) >= rate[1]/2:
			verdict = ""
		case rate[1] > 0.8*float64(overloadRate):
			verdict = fmt.Sprintf("at 1, 2 and 4 times its capacity the backend answered %.0f, %.0f and %.0f a second", rate[1], rate[2], rate[4])
			t.Log(verdict)
		}
	}
	if strings.HasPrefix(verdict, "at ") {
		t.Error(verdict)
	} else if verdict != "" {
		t.Log(verdict)
	}

	// All at once, far more than the line takes.
	const many = 2 * overloadLine
	heard := w.burst("burst-", many, 0, func(time.Duration) {})
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
