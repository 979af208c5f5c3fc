package main

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// backendFault is a fault of one account's backend, or of the way to it.
type backendFault struct {
	name    string
	want    string // what WeChat hears meanwhile
	keeps   bool   // the push is delivered again
	log     string // stands in a line about the account
	network weather
	answer  http.HandlerFunc

	backend *tally
	proxy   *faultProxy
}

// TestBackendFaults: each fault has its defined answer to WeChat, keeps the
// push or does not, passes without a restart, and leaves neither goroutines
// nor memory behind. All happen at once, to an account each: none disturbs
// another.
func TestBackendFaults(t *testing.T) {
	t.Parallel()
	const kept, done = true, false // what becomes of a push
	var faults []*backendFault
	network := func(name, want string, keeps bool, now weather, log string) {
		faults = append(faults, &backendFault{name: name, want: want, keeps: keeps, network: now, log: log})
	}
	answer := func(name string, keeps bool, log string, h http.HandlerFunc) {
		faults = append(faults, &backendFault{name: name, want: "success", keeps: keeps, answer: h, log: log})
	}
	page := func(code int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	const html = "Content-Type: text/html"

	network("dead", "success", kept, refusing, "push kept for redelivery")
	network("reset", "success", kept, resetting, "push kept for redelivery")
	network("black-hole", "success", kept, blackHole, "did not answer in time")
	network("hanging-mid-body", "success", kept, stalling, "did not answer in time")
	network("half-closed", "success", kept, cutting, "broke off its response")
	network("garbage", "success", kept, babbling, "not an HTTP response")
	network("late", "re during", done, laggy, "")
	network("dripping", "re during", done, dripping, "")
	answer("500", kept, "backend answered 500", page(500, html, "<h1>oops</h1>"))
	answer("500-and-100-MB", kept, "backend answered 500", hugePage(500))
	answer("500-and-20-KB-of-headers", kept, "backend answered 500", page(500, "X-Trace: "+strings.Repeat("x", 20<<10), ""))
	answer("503", kept, "backend answered 503", page(503, html, "busy"))
	answer("redirecting", kept, "redirects are not followed", page(302, "Location: /login", ""))
	answer("200-and-100-MB", done, "body over 1048576 bytes", hugePage(200))
	answer("200-and-HTML", done, "could not be used", page(200, html, "<html>welcome</html>"))
	answer("200-and-broken-JSON", done, "could not be used", page(200, html, `{"msg":`))
	answer("404-and-100-MB", done, "backend answers 404", hugePage(404))

	w := newFaultWorld(t, func(w *faultWorld) {
		var services []any
		for _, f := range faults {
			f.backend = newTally(t)
			f.proxy = newFaultProxy(t, strings.TrimPrefix(f.backend.URL, "http://"))
			one := maps.Clone(w.service)
			one["name"], one["msg-proxy-pass"] = f.name, "http://"+f.proxy.address
			one["listen-endpoints"] = object{"service-path": "/" + f.name}
			services = append(services, one)
		}
		w.conf["services"] = services
	})
	w.start()
	idle := w.metric("go_goroutines")
	each := func(do func(f *backendFault)) {
		var all sync.WaitGroup
		for _, f := range faults {
			all.Go(func() { do(f) })
		}
		all.Wait()
	}
	each(func(f *backendFault) {
		if got := w.heardAt("/"+f.name, sim.Fields{Content: "before"}); got != "re before" {
			t.Errorf("%s: before the fault WeChat heard %q", f.name, got)
		}
		f.proxy.set(f.network)
		f.backend.as(f.answer)
		if got := w.heardAt("/"+f.name, view("oFault", "during")); got != f.want {
			t.Errorf("%s: WeChat heard %q, want %q", f.name, got, f.want)
		}
	})
	for _, f := range faults {
		eventually(t, f.name+": a log line with "+f.log, func() bool {
			for line := range strings.Lines(w.p.out.String()) {
				if strings.Contains(line, "service="+f.name+" ") && strings.Contains(line, f.log) {
					return true
				}
			}
			return f.log == ""
		})
	}
	if heap := w.metric("go_memstats_heap_inuse_bytes"); heap > 128<<20 {
		t.Errorf("the faults take a heap of %.0f MiB", heap/(1<<20))
	}
	for _, f := range faults {
		f.proxy.set(fair)
		f.backend.as(nil)
	}
	for _, f := range faults {
		eventually(t, f.name+": an inline answer after the fault", func() bool {
			text := fmt.Sprint("after", time.Now().UnixNano())
			return w.heardAt("/"+f.name, sim.Fields{Content: text}) == "re "+text
		})
	}
	eventually(t, "an empty queue", func() bool { return w.metric("wxgw_queue_items") == 0 })
	for _, f := range faults {
		// Where no call got through to the backend, the redelivery is the first.
		unseen := f.network == refusing || f.network == resetting || f.network == blackHole || f.network == babbling
		if again := f.backend.calls("during") > 1 || unseen; again != f.keeps {
			t.Errorf("%s: delivered again: %v, want %v", f.name, again, f.keeps)
		}
		if f.backend.calls("during") == 0 {
			t.Errorf("%s: the push is lost", f.name)
		}
	}
	eventually(t, "the return to the goroutines of before", func() bool { return w.metric("go_goroutines") <= idle+5 })
	if strings.Contains(w.p.out.String(), "panic") {
		t.Errorf("a panic:\n%s", w.p.out)
	}
}

// TestNameFaults: a backend and an API whose names nobody knows: WeChat hears
// success or the answer, and a corrected configuration is taken up by a reload.
func TestNameFaults(t *testing.T) {
	t.Parallel()
	var good string
	w := newFaultWorld(t, func(w *faultWorld) {
		good = w.service["msg-proxy-pass"].(string)
		w.service["msg-proxy-pass"] = "http://backend.invalid"
		w.conf["wx-api-base"] = "http://wechat.invalid"
	})
	w.start()
	if got := w.heard(view("oName", "during")); got != "success" {
		t.Errorf("WeChat heard %q, want success", got)
	}
	w.p.find("push kept for redelivery")
	w.service["msg-proxy-pass"] = good
	writeConf(t, w.file, w.conf)
	w.p.find("msg=reloaded")
	if got := w.heard(sim.Fields{Content: "after"}); got != "re after" {
		t.Errorf("with a backend and without an API WeChat heard %q", got)
	}
	eventually(t, "what was kept", func() bool { return w.backend.calls("during") > 0 })
}

// infoBudget is how long a push waits for user info.
const infoBudget = time.Second

// TestAPIFaults: whatever WeChat's API does, pushes are answered inline; user
// info comes back by itself, and nothing storms the API meanwhile.
func TestAPIFaults(t *testing.T) {
	t.Parallel()
	f := func(name string, informed bool, fault func(w *faultWorld) (undo func())) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFaultWorld(t, nil)
			w.start()
			if got := w.heard(sim.Fields{From: "oBefore", Content: "before"}); got != "re before" {
				t.Fatalf("before the fault WeChat heard %q", got)
			}
			eventually(t, "user info", func() bool {
				text := fmt.Sprint("warm", time.Now().UnixNano())
				w.heard(sim.Fields{From: "oWarm" + text, Content: text})
				return w.backend.informed(text)
			})
			idle, calls := w.metric("go_goroutines"), len(w.wechat.Calls(""))
			undo := fault(w)
			const pushes = 6
			var all sync.WaitGroup
			for i := range pushes {
				all.Go(func() {
					text := fmt.Sprint("during", i)
					began := time.Now()
					if got := w.heard(sim.Fields{From: "oDuring" + text, Content: text}); got != "re "+text {
						t.Errorf("WeChat heard %q, want the answer", got)
					}
					// A machine so busy that the whole push took longer than user
					// info may take proves nothing.
					if informed && !w.backend.informed(text) && time.Since(began) < infoBudget {
						t.Errorf("push %d came without user info", i)
					}
				})
			}
			all.Wait()
			if n := len(w.wechat.Calls("")) - calls; n > 12*pushes {
				t.Errorf("the API was called %d times for %d pushes", n, pushes)
			}
			undo()
			if strings.HasPrefix(name, "lying") {
				return // its token counts as refused until the next force_refresh, one a minute
			}
			eventually(t, "user info after the fault", func() bool {
				text := fmt.Sprint("after", time.Now().UnixNano())
				w.heard(sim.Fields{From: "o" + text, Content: text})
				return w.backend.informed(text)
			})
			// The server keeps the workers of its connections for some seconds.
			eventually(t, "the return to the goroutines of before", func() bool { return w.metric("go_goroutines") <= idle+2*pushes })
		})
	}
	api := func(f sim.Fault) func(w *faultWorld) func() {
		return func(w *faultWorld) func() { return w.wechat.Fault(f) }
	}
	proxy := func(now weather) func(w *faultWorld) func() {
		return func(w *faultWorld) func() {
			w.api.set(now)
			return func() { w.api.set(fair) }
		}
	}
	f("slow", false, api(sim.Fault{Latency: 20 * time.Second}))
	f("dead", false, proxy(refusing))
	f("black hole", false, proxy(blackHole))
	f("hanging mid-body", false, proxy(stalling))
	f("garbage", false, proxy(babbling))
	f("HTML", false, api(sim.Fault{Status: 200, Body: "<html>系统维护</html>"}))
	f("502", false, api(sim.Fault{Status: 502, Body: "<html>Bad Gateway</html>"}))
	f("busy", false, api(sim.Fault{Code: -1}))
	f("lying about the token", false, api(sim.Fault{Code: 40001, Path: "cgi-bin/user/info"}))
	f("token revoked", true, func(w *faultWorld) func() { w.wechat.RevokeToken(appID); return func() {} })
}

// TestTokenRevokedOverAndOver: somebody else revokes the token every second;
// pushes are answered inline, the token is fetched a few times a second at most.
func TestTokenRevokedOverAndOver(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t, nil)
	w.start()
	stop, revoked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { revoked <- n }()
		for {
			w.wechat.RevokeToken(appID)
			n++
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
		}
	}()
	const pushes = 50
	for i := range pushes {
		text := fmt.Sprint("push", i)
		if got := w.heard(sim.Fields{From: "o" + text, Content: text}); got != "re "+text {
			t.Errorf("WeChat heard %q, want the answer", got)
		}
		time.Sleep(100 * time.Millisecond)
	}
	close(stop)
	n := <-revoked
	// Each revocation costs a normal fetch, and perhaps a forced one.
	if got := w.wechat.CountCalls("cgi-bin/stable_token", appID); got > 3*n+5 {
		t.Errorf("%d tokens were fetched for %d revocations", got, n)
	}
	eventually(t, "user info afterwards", func() bool {
		text := fmt.Sprint("after", time.Now().UnixNano())
		w.heard(sim.Fields{From: "o" + text, Content: text})
		return w.backend.informed(text)
	})
}

// TestIsolation: an account whose backend is a black hole and whose users push
// like mad slows no other account.
func TestIsolation(t *testing.T) {
	t.Parallel()
	w := newFaultWorld(t, func(w *faultWorld) {
		w.service["workerNum"] = 8
		w.service["late-reply"] = object{"max-wait": "60s", "hold": false}
		other := maps.Clone(w.service)
		other["name"], other["msg-proxy-pass"] = "other", w.backend.URL
		other["listen-endpoints"] = object{"service-path": "/other"}
		w.conf["services"] = []any{w.service, other}
	})
	w.start()
	w.net.set(blackHole)
	const many = 1200 // more than the line of the account takes
	heard := make(chan string, many)
	for i := range many {
		go func() {
			heard <- w.repeated(view(fmt.Sprintf("oLost%d", i%50), fmt.Sprint("lost", i)), "503", sim.OutcomeClosed)
		}()
	}
	full := func() bool { return w.metric("wxgw_backend_calls_waiting", `service="main"`) >= 1000 }
	eventually(t, "a full line", full)
	for i := range 100 {
		text := fmt.Sprint("fine", i)
		if got := w.heardAt("/other", sim.Fields{Content: text}); got != "re "+text {
			t.Errorf("the other account's push %d heard %q, want the answer", i, got)
		}
	}
	if got := w.metric("wxgw_backend_calls_waiting", `service="other"`); got != 0 {
		t.Errorf("%.0f calls of the other account wait", got)
	}
	for range many {
		if got := <-heard; got != "success" {
			t.Fatalf("WeChat heard %q, want success", got)
		}
	}
	w.net.set(fair)
	eventually(t, "every push of the account", func() bool {
		for i := range many {
			if w.backend.calls(fmt.Sprint("lost", i)) == 0 {
				return false
			}
		}
		return true
	})
}
