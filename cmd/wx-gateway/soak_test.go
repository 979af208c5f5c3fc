package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

var (
	soakFor  = flag.Duration("soak", 0, "length of the soak test; 0 leaves it out")
	soakRate = flag.Int("soak.rate", 60, "pushes a second of the soak test")
)

const (
	soakUsers  = 200
	soakFair   = 12 * time.Second // of every soakCycle nothing is broken
	soakCycle  = 20 * time.Second
	soakSettle = 4 * time.Minute // for what is stored when the load ends
)

// TestSoak runs mixed traffic through every fault of the network, the backend
// and WeChat's API in turn: nothing that WeChat was told success for is lost,
// and neither memory nor goroutines grow.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("left out: make soak")
	}
	w := newFaultWorld(t, func(w *faultWorld) { w.service["late-reply"] = object{"max-wait": "8s"} })
	w.start()

	stop := make(chan struct{})
	var load sync.WaitGroup
	var mu sync.Mutex
	promised := map[string]bool{} // what WeChat was told success or the answer for
	var inline, unanswered atomic.Int64
	idle := w.metric("go_goroutines")
	load.Go(func() { w.trouble(stop) })
	load.Go(func() { // the pushes
		tick := time.NewTicker(time.Second / time.Duration(*soakRate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			text := fmt.Sprintf("soak-%07d", n)
			f := view(fmt.Sprintf("oSoak%d", n%soakUsers), text)
			if n%4 != 0 {
				f = sim.Fields{From: f.From, Content: text}
			}
			load.Go(func() {
				r, err := sealed(w.url+"/wx", f.XML()).Send(t.Context(), sim.WeChat())
				switch {
				case err != nil:
					t.Errorf("%s: %v", text, err)
				case r.Answer == nil:
					unanswered.Add(1)
				default:
					if strings.Contains(string(r.Answer.Opened), "re "+text) {
						inline.Add(1)
					}
					mu.Lock()
					promised[text] = true
					mu.Unlock()
				}
			})
		}
	})

	began := time.Now()
	var memory, goroutines []float64
	for time.Since(began) < *soakFor {
		time.Sleep(min(5*time.Second, *soakFor))
		memory = append(memory, w.metric("process_resident_memory_bytes"))
		goroutines = append(goroutines, w.metric("go_goroutines"))
	}
	close(stop)
	load.Wait()

	lost := 0
	for late := time.Now().Add(soakSettle); ; time.Sleep(time.Second) {
		lost = 0
		for text := range promised {
			if w.backend.calls(text) == 0 {
				lost++
			}
		}
		if lost == 0 || time.Now().After(late) {
			break
		}
	}
	stored := func() float64 { return w.metric("wxgw_queue_items") }
	for late := time.Now().Add(soakSettle); stored() > 0 && time.Now().Before(late); {
		time.Sleep(time.Second)
	}
	eventually(t, "the return to the goroutines of the start", func() bool { return w.metric("go_goroutines") <= idle+20 })

	const mb = 1 << 20
	fifth := len(memory) / 5
	early, end := most(memory[fifth:2*fifth+1]), most(memory[len(memory)-fifth-1:])
	t.Logf("%s at %d pushes a second: %d told success or the answer, %d of them inline; %d unanswered after three attempts; %d lost; %.0f left in the queue",
		*soakFor, *soakRate, len(promised), inline.Load(), unanswered.Load(), lost, stored())
	t.Logf("memory: highest %.0f MiB in the second fifth, %.0f MiB in the last; goroutines: %.0f idle at the start, at most %.0f, %.0f at the end",
		early/mb, end/mb, idle, most(goroutines), w.metric("go_goroutines"))
	if lost > 0 {
		t.Errorf("%d pushes are lost", lost)
	}
	if n := stored(); n > 0 {
		t.Errorf("%.0f pushes are left in the queue", n)
	}
	// What is remembered of each push for ten minutes grows until then.
	if end > early*1.3+32*mb {
		t.Errorf("memory grows: %.0f MiB early, %.0f MiB at the end", early/mb, end/mb)
	}
	w.p.stop()
	if strings.Contains(w.p.out.String(), "panic") {
		t.Error("there was a panic")
	}
}

// trouble breaks one thing after the other, each for a while.
func (w *faultWorld) trouble(stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 2))
	status := func(code int) http.HandlerFunc {
		return func(h http.ResponseWriter, _ *http.Request) { h.WriteHeader(code) }
	}
	backend := func(h http.HandlerFunc) func() func() {
		return func() func() { w.backend.as(h); return func() { w.backend.as(nil) } }
	}
	api := func(f sim.Fault) func() func() {
		return func() func() { return w.wechat.Fault(f) }
	}
	var faults []func() (undo func())
	for bad := laggy; bad < weathers; bad++ {
		faults = append(faults,
			func() func() { w.net.set(bad); return func() { w.net.set(fair) } },
			func() func() { w.api.set(bad); return func() { w.api.set(fair) } })
	}
	faults = append(faults,
		backend(status(500)), backend(status(503)), backend(status(302)), backend(hugePage(500)),
		api(sim.Fault{Latency: 3 * time.Second}), api(sim.Fault{Status: 502, Body: "<html>Bad Gateway</html>"}),
		api(sim.Fault{Code: -1}), api(sim.Fault{Code: 45009, Path: "cgi-bin/user/info"}),
		func() func() { w.wechat.RevokeToken(appID); return func() {} },
	)
	pause := func(d time.Duration) bool {
		select {
		case <-stop:
			return false
		case <-time.After(d):
			return true
		}
	}
	for {
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for _, fault := range faults {
			if !pause(soakFair) {
				return
			}
			undo := fault()
			ok := pause(soakCycle - soakFair)
			undo()
			if !ok {
				return
			}
		}
	}
}

// hugePage answers with code and more bytes than anybody reads.
func hugePage(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		piece := []byte(strings.Repeat("<p>an error page</p>", 3277))
		for range 100 << 20 / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
}

func most(v []float64) float64 {
	top := 0.0
	for _, x := range v {
		top = max(top, x)
	}
	return top
}
