package sim

import (
	"io"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// TestSchedules sends one push per schedule on a clock of its own.
func TestSchedules(t *testing.T) {
	hang := func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	bad := func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	drop := func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	third := func(n int, w http.ResponseWriter, r *http.Request) {
		if n < 3 {
			<-r.Context().Done()
			return
		}
		time.Sleep(4500 * time.Millisecond)
		io.WriteString(w, okReply)
	}
	f := func(name string, s Schedule, answer func(int, http.ResponseWriter, *http.Request), want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen watch
				m, stop := serve(t, seen.handler(answer))
				defer stop()
				p := Push{URL: "http://in-memory/wx", Token: testToken, Body: Fields{}.XML(), Dial: m.dial}
				r, err := p.Send(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				if got := outcomes(r); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				synctest.Wait()
				for i, g := range seen.requests() {
					if a := r.Attempts[i]; g.at != a.Started {
						t.Errorf("attempt %d arrived at %s, started at %s", a.N, g.at, a.Started)
					}
				}
			})
		})
	}
	all := Schedules()
	f("wechat, never answered", all["wechat"], hang, "1@0s cut, 2@5s cut, 3@10s cut")
	f("zero value", Schedule{}, hang, "1@0s cut, 2@5s cut, 3@10s cut")
	f("wechat, third answered", all["wechat"], third, "1@0s cut, 2@5s cut, 3@10s reply, answer 3")
	f("wechat, bad answers at once", all["wechat"], bad, "1@0s bad, 2@0s bad, 3@0s bad")
	f("wechat, dropped", all["wechat"], drop, "1@0s closed, 2@0s closed, 3@0s closed")
	f("closed-1s", all["closed-1s"], drop, "1@0s closed, 2@1s closed, 3@2s closed")
	f("closed-5s", all["closed-5s"], bad, "1@0s bad, 2@5s bad, 3@10s bad")
	f("cut-4.8s", all["cut-4.8s"], hang, "1@0s cut, 2@4.8s cut, 3@9.6s cut")
	f("cut-5.2s", all["cut-5.2s"], hang, "1@0s cut, 2@5.2s cut, 3@10.4s cut")
	f("spaced-1s", all["spaced-1s"], hang, "1@0s cut, 2@6s cut, 3@12s cut")
	f("one", all["one"], hang, "1@0s cut")
	f("four", all["four"], hang, "1@0s cut, 2@5s cut, 3@10s cut, 4@15s cut")
	f("missing-first", all["missing-first"], hang, "2@5s cut, 3@10s cut")
	f("missing-second", all["missing-second"], hang, "1@0s cut, 3@10s cut")
	f("missing-third", all["missing-third"], hang, "1@0s cut, 2@5s cut")
	f("overlapping", all["overlapping"], hang, "1@0s cut, 2@4.8s cut, 3@9.6s cut")
	f("overlapping, answered", all["overlapping"], func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			time.Sleep(4900 * time.Millisecond) // while the second is open already
		} else {
			<-r.Context().Done()
		}
		io.WriteString(w, "success")
	}, "1@0s success, 2@4.8s cut, answer 1")
	f("shop", Shop(), hang, "1@0s cut, 2@5s cut, 3@10s cut, 4@25s cut, 5@1m30s cut, 6@6m35s cut, 7@36m40s cut, 8@1h36m45s cut, 9@2h36m50s cut, 10@3h36m55s cut")
}

// TestHalfAnswer: an answer counts only when it is complete.
func TestHalfAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen watch
		m, stop := serve(t, seen.handler(func(n int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "7")
			io.WriteString(w, "suc")
			w.(http.Flusher).Flush()
			if n == 1 {
				<-r.Context().Done()
			}
			panic(http.ErrAbortHandler)
		}))
		defer stop()
		p := Push{URL: "http://in-memory/wx", Token: testToken, Body: Fields{}.XML(), Dial: m.dial}
		r, err := p.Send(t.Context(), Schedule{Attempts: 2})
		if got := outcomes(r); err != nil || got != "1@0s cut, 2@5s closed" {
			t.Errorf("got %s, %v", got, err)
		}
	})
}

func TestScheduleNames(t *testing.T) {
	for name, s := range allSchedules() {
		if _, err := s.settled(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	Schedules()["wechat"] = Schedule{}
	if !reflect.DeepEqual(Schedules()["wechat"], WeChat()) {
		t.Error("a caller changed the table of another")
	}
}
