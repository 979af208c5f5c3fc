package token

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func renew(t *testing.T, k *Keeper, stale, want string) {
	t.Helper()
	got, err := k.Renew(t.Context(), stale)
	if err != nil || got != want {
		t.Fatalf("Renew(%s) = %q, %v; want %q", stale, got, err, want)
	}
}

func TestRenewComparesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		k, _ := keeper(t, p, Classic(), nil)
		k.Start()
		wantToken(t, k, 1)
		renew(t, k, "another one", value(1)) // somebody still used an older one
		p.wantCalls(t, 1, 0)
		renew(t, k, value(1), value(2))
		renew(t, k, value(1), value(2))
		wantToken(t, k, 2)
		p.wantCalls(t, 2, 0)
	})
}

func TestManyRenewOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		k, _ := keeper(t, p, Classic(), nil)
		k.Start()
		wantToken(t, k, 1)
		p.change(func() { p.takes = time.Second })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got, err := k.Renew(t.Context(), value(1)); err != nil || got != value(2) {
					t.Errorf("Renew() = %q, %v", got, err)
				}
			})
		}
		synctest.Wait()
		// A value told of as failing is not served meanwhile.
		if got, err := k.Token(t.Context()); err != nil || got != value(2) {
			t.Errorf("Token() = %q, %v", got, err)
		}
		wg.Wait()
		p.wantCalls(t, 2, 0)
	})
}

// Stable: a plain fetch first; one force only if that brings the very token
// that failed.
func TestStableRenewForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		k, _ := keeper(t, p, Stable(), nil)
		k.Start()
		wantToken(t, k, 1)
		renew(t, k, value(1), value(2))
		p.wantCalls(t, 3, 1)

		// Replaced elsewhere: the plain fetch finds the new one.
		p.change(func() { p.n++ })
		renew(t, k, value(2), value(3))
		p.wantCalls(t, 4, 1)
	})
}

func TestForceOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		k, _ := keeper(t, p, Stable(), nil)
		k.Start()
		wantToken(t, k, 1)
		renew(t, k, value(1), value(2))
		time.Sleep(20 * time.Second)
		_, err := k.Renew(t.Context(), value(2))
		const text = "cannot get access_token wx1, next try in %s: the value that was refused was given again, and force_refresh is used up (one a minute, 15 a day)"
		wantErr(t, err, fmt.Sprintf(text, "40s"))
		p.wantCalls(t, 4, 1)

		// Surfaced to everybody, without another call, until the minute is over.
		time.Sleep(39 * time.Second)
		_, err = k.Token(t.Context())
		wantErr(t, err, fmt.Sprintf(text, "1s"))
		_, err = k.Renew(t.Context(), value(2))
		wantErr(t, err, fmt.Sprintf(text, "1s"))
		p.wantCalls(t, 4, 1)

		// Then the keeper goes on by itself.
		time.Sleep(time.Second)
		synctest.Wait()
		p.wantCalls(t, 6, 2)
		wantToken(t, k, 3)
	})
}

func TestForceFifteenADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		k, _ := keeper(t, p, Stable(), nil)
		wantToken(t, k, 1)
		began := time.Now()
		for n := 1; n <= forcePerDay; n++ {
			renew(t, k, value(n), value(n+1))
			time.Sleep(time.Minute)
		}
		p.wantCalls(t, 1+2*forcePerDay, forcePerDay)
		_, err := k.Renew(t.Context(), value(16))
		if !errors.Is(err, errGivenAgain) {
			t.Fatalf("the 16th force: %v", err)
		}
		// WeChat's own renewal is found without force.
		time.Sleep(time.Minute)
		p.change(func() { p.n++ })
		wantToken(t, k, 17)
		// A day after the first one force works again.
		time.Sleep(time.Until(began.Add(day)))
		got, err := k.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Renew(t.Context(), got); err != nil {
			t.Fatal(err)
		}
		if _, forced := p.count(); forced != forcePerDay+1 {
			t.Errorf("%d forced", forced)
		}
	})
}

// A token refused while the very fetch that brings it again is going on is not
// published.
func TestRefusedDuringFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		k, _ := keeper(t, p, Stable(), nil)
		wantToken(t, k, 1)
		p.change(func() { p.takes = time.Second })
		k.mu.Lock()
		k.launch("early")
		k.mu.Unlock()
		time.Sleep(999 * time.Millisecond)
		renew(t, k, value(1), value(2))
		p.wantCalls(t, 3, 1)
		wantToken(t, k, 2)
	})
}

// Where WeChat offers no force, a refused value that is given again is an
// error, not served.
func TestRefusedAndGivenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := keeper(t, nil, Ticket(), func(c *Config) {
			c.Fetch = func(context.Context, bool) (string, time.Duration, error) { return value(1), 2 * time.Hour, nil }
		})
		wantToken(t, k, 1)
		_, err := k.Renew(t.Context(), value(1))
		wantErr(t, err, "cannot get access_token wx1, next try in 3m0s: the value that was refused was given again")
	})
}

// The oldest refused values are forgotten, the memory does not grow.
func TestRefusedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{err: errBusy}
		k, _ := keeper(t, p, Classic(), nil)
		for n := range 100 {
			k.Renew(t.Context(), value(n))
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.dead) != maxDead || !k.isDead(value(99)) || k.isDead(value(0)) {
			t.Errorf("%d remembered", len(k.dead))
		}
	})
}

// After a failure callers hear of it at once until the next try, whose distance
// grows to a minute.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{err: errBusy}
		k, _ := keeper(t, p, Classic(), nil)
		k.Start()
		for n := 1; n <= 10; n++ {
			if _, err := k.Token(t.Context()); !errors.Is(err, errBusy) {
				t.Fatal(err)
			}
			p.wantCalls(t, n, 0)
			k.mu.Lock()
			wait := k.retry - k.now()
			k.mu.Unlock()
			base := min(time.Second<<(n-1), time.Minute)
			if wait < base || wait > base*5/4 || wait > time.Minute {
				t.Fatalf("pause %d is %s", n, wait)
			}
			time.Sleep(wait - time.Nanosecond)
			if _, err := k.Token(t.Context()); !errors.Is(err, errBusy) {
				t.Fatal(err)
			}
			p.wantCalls(t, n, 0)
			time.Sleep(time.Nanosecond)
		}
		p.fail(nil)
		wantToken(t, k, 1)
		if s := k.State(); s.Err != nil {
			t.Errorf("state %+v", s)
		}
	})
}

// Config.Wait rules the pause; the old value serves meanwhile.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		quota := errors.New("45009 reach max api daily quota limit")
		k, _ := keeper(t, p, Classic(), func(c *Config) {
			c.Wait = func(err error, now time.Time) time.Duration {
				if errors.Is(err, quota) && now.Equal(time.Now()) {
					return 5 * time.Hour
				}
				return 0
			}
		})
		k.Start()
		wantToken(t, k, 1)
		p.fail(quota)
		time.Sleep(2*time.Hour - 1)
		p.wantCalls(t, 2, 0)
		wantToken(t, k, 1)
		time.Sleep(time.Minute)
		_, err := k.Token(t.Context())
		if !errors.Is(err, quota) {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour)
		k.Renew(t.Context(), value(1))
		p.wantCalls(t, 2, 0) // nobody makes it ask earlier
		p.fail(nil)
		time.Sleep(time.Hour)
		wantToken(t, k, 2)
	})
}

func TestWaitIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{err: errBusy}
		k, _ := keeper(t, p, Classic(), func(c *Config) {
			c.Wait = func(error, time.Time) time.Duration { return 1000 * time.Hour }
		})
		_, err := k.Token(t.Context())
		wantErr(t, err, "cannot get access_token wx1, next try in 25h0m0s: cgi-bin/token: -1 system error")
	})
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		var seen []string
		k, _ := keeper(t, p, Stable(), func(c *Config) {
			c.Observe = func(cause string, err error) { seen = append(seen, fmt.Sprint(cause, " ", err)) }
		})
		k.Start()
		wantToken(t, k, 1)
		renew(t, k, value(1), value(2))
		time.Sleep(2*time.Hour - time.Minute)
		p.fail(errBusy)
		k.Renew(t.Context(), value(3))
		want := "[cold <nil> stale <nil> forced <nil> early <nil> stale " + errBusy.Error() + "]"
		if got := fmt.Sprint(seen); got != want {
			t.Errorf("saw  %s\nwant %s", got, want)
		}
	})
}

func TestForceBudget(t *testing.T) {
	var b forceBudget
	f := func(now, want time.Duration) {
		t.Helper()
		if got := b.take(now); got != want {
			t.Errorf("take(%s) = %s, want %s", now, got, want)
		}
	}
	f(0, 0)
	f(0, time.Minute)
	f(59*time.Second, time.Second)
	for n := 1; n < forcePerDay; n++ {
		f(time.Duration(n)*time.Minute, 0)
	}
	f(15*time.Minute, day-15*time.Minute)
	f(day-1, 1)
	f(day, 0)
	f(day+time.Minute, 0)
	if len(b.used) > forcePerDay {
		t.Errorf("%d remembered", len(b.used))
	}
}

// Callers of every kind at once, with a platform that fails now and then: no
// value seen failing is given to anyone after that (and no data race).
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true, takes: 50 * time.Millisecond}
		calls := 0
		p.before = func() {
			p.err = nil
			if calls++; calls%3 == 0 {
				p.err = errBusy
			}
		}
		k, _ := keeper(t, p, Stable(), nil)
		k.Start()
		var mu sync.Mutex
		refused := map[string]int{} // value → how many were refused before it
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := range 50 {
					mu.Lock()
					before := len(refused)
					mu.Unlock()
					got, err := k.Token(t.Context())
					mu.Lock()
					if at, ok := refused[got]; err == nil && ok && at < before {
						t.Errorf("%s was refused and is served", got)
					}
					mu.Unlock()
					if err == nil && i%10 == 0 {
						k.Renew(t.Context(), got)
						mu.Lock()
						if _, ok := refused[got]; !ok {
							refused[got] = len(refused)
						}
						mu.Unlock()
					}
					k.State()
					time.Sleep(5 * time.Second)
				}
			})
		}
		wg.Wait()
	})
}
