package token

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestColdCallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{takes: 3 * time.Second}
		k, _ := keeper(t, p, Classic(), nil)
		k.Start()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if i%10 == 0 { // gives up; the fetch goes on for the others
					began := time.Now()
					_, err := k.Token(short)
					if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
						t.Errorf("impatient caller got %v after %s", err, time.Since(began))
					}
					return
				}
				got, err := k.Token(t.Context())
				if err != nil || got != value(1) {
					t.Errorf("Token() = %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		p.wantCalls(t, 1, 0)
		wantToken(t, k, 1)
		if s := k.State(); s.Hits != 1 || s.Waited != 100 {
			t.Errorf("%d found the value at hand, %d waited; want 1 and 100", s.Hits, s.Waited)
		}
	})
}

func TestFetchGoesOnWithoutCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{takes: 3 * time.Second}
		k, _ := keeper(t, p, Classic(), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := k.Token(ctx)
		wantErr(t, err, "cannot wait for access_token wx1: context deadline exceeded")
		time.Sleep(3 * time.Second)
		wantToken(t, k, 1)
		p.wantCalls(t, 1, 0)
	})
}

func TestFetchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{takes: time.Hour}
		k, _ := keeper(t, p, Classic(), nil)
		began := time.Now()
		_, err := k.Token(t.Context())
		wantErr(t, err, "cannot get access_token wx1, next try in 1s: context deadline exceeded")
		if took := time.Since(began); took != fetchTimeout {
			t.Errorf("took %s", took)
		}
	})
}

// Each new value is renewed inside its policy's window, not always at the same
// moment of it.
func TestPolicyWindows(t *testing.T) {
	f := func(name string, policy Policy, from, to time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{}
				k, _ := keeper(t, p, policy, func(c *Config) { c.Eager = true })
				k.Start()
				time.Sleep(120 * time.Hour)
				k.Stop()
				lo, hi := day, time.Duration(0)
				for i, c := range p.calls[1:] {
					left := p.calls[i].at.Add(2 * time.Hour).Sub(c.at)
					lo, hi = min(lo, left), max(hi, left)
				}
				if len(p.calls) < 50 || lo < from || hi > to || hi-lo < (to-from)/4 {
					t.Errorf("%d fetches with %s to %s left, want %s to %s, spread", len(p.calls), lo, hi, from, to)
				}
			})
		})
	}
	f("zero is classic", Policy{}, 5*time.Minute, 10*time.Minute)
	f("classic", Classic(), 5*time.Minute, 10*time.Minute)
	f("stable", Stable(), 90*time.Second, 270*time.Second)
	f("ticket", Ticket(), 10*time.Minute, 20*time.Minute)
}

// A platform that gives the same token until 5 minutes before its end is asked
// once per token, and the token served is good at every moment.
func TestStableForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{stable: true}
		k, _ := keeper(t, p, Stable(), func(c *Config) { c.Eager = true })
		k.Start()
		synctest.Wait()
		ends := map[string]time.Time{}
		for range int(day / (7 * time.Second)) {
			p.change(func() { ends[value(p.n)] = p.end })
			got, err := k.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !time.Now().Before(ends[got]) {
				t.Fatalf("served a token %s after its end", time.Since(ends[got]))
			}
			time.Sleep(7 * time.Second)
			synctest.Wait()
		}
		if calls, forced := p.count(); calls > 13 || forced > 0 {
			t.Errorf("%d fetches, %d forced", calls, forced)
		}
	})
}

// The same value again is no fault: asked for again after a pause, served all
// the while.
func TestSameValueAgain(t *testing.T) {
	f := func(name string, policy Policy, pause time.Duration) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := time.Now().Add(2 * time.Hour)
				var asked []time.Time
				k, l := keeper(t, nil, policy, func(c *Config) {
					c.Eager = true
					c.Fetch = func(context.Context, bool) (string, time.Duration, error) {
						asked = append(asked, time.Now())
						return value(1), time.Until(end), nil
					}
				})
				k.Start()
				for time.Until(end) > time.Second {
					synctest.Wait()
					wantToken(t, k, 1)
					time.Sleep(time.Second)
				}
				k.Stop()
				if len(asked) < 2 {
					t.Fatal("not asked again")
				}
				for i := 2; i < len(asked); i++ {
					if gap := asked[i].Sub(asked[i-1]); gap != pause {
						t.Errorf("asked again after %s, want %s", gap, pause)
					}
				}
				if s := k.State(); s.Err != nil || !s.Have {
					t.Errorf("state %+v", s)
				}
				if l.count("token renewed") != 1 {
					t.Errorf("the same value again is logged as news")
				}
			})
		})
	}
	f("classic", Classic(), time.Minute)
	f("stable", Stable(), time.Minute)
	f("ticket", Ticket(), 3*time.Minute)
}

// The pause after the same value does not outlast the value.
func TestSameValueAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(30 * time.Second)
		k, _ := keeper(t, nil, Stable(), func(c *Config) {
			c.Eager = true
			c.Fetch = func(context.Context, bool) (string, time.Duration, error) {
				if left := time.Until(end); left > 0 {
					return value(1), left, nil
				}
				return value(2), 2 * time.Hour, nil
			}
		})
		k.Start()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := k.State(); !s.Have || !s.Fetched.Equal(end) {
			t.Errorf("not renewed at the end: %+v", s)
		}
		wantToken(t, k, 2)
	})
}

// A ticket given again with a full life keeps its first end, beyond which it is
// believed again.
func TestTicketKeepsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := keeper(t, nil, Ticket(), func(c *Config) {
			c.Eager = true
			c.Fetch = func(context.Context, bool) (string, time.Duration, error) { return value(1), 2 * time.Hour, nil }
		})
		k.Start()
		synctest.Wait()
		first := k.State().Expires
		time.Sleep(2*time.Hour - time.Second)
		if s := k.State(); !s.Expires.Equal(first) {
			t.Errorf("the end moved by %s", s.Expires.Sub(first))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantToken(t, k, 1)
		if s := k.State(); s.Expires.Sub(first) < time.Hour {
			t.Errorf("not believed again: ends %s after the first end", s.Expires.Sub(first))
		}
	})
}

// While WeChat is down, the old value serves without waiting to its last
// moment.
func TestOldValueServesToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{takes: 5 * time.Second}
		k, l := keeper(t, p, Classic(), nil)
		k.Start()
		if _, err := k.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		end := k.State().Expires
		p.fail(errBusy)
		for time.Until(end) > time.Second {
			time.Sleep(time.Second)
			wantToken(t, k, 1)
		}
		time.Sleep(time.Until(end) - time.Nanosecond)
		wantToken(t, k, 1)
		if s := k.State(); !s.Have || !errors.Is(s.Err, errBusy) {
			t.Errorf("state %+v", s)
		}
		time.Sleep(time.Nanosecond)
		if _, err := k.Token(t.Context()); !errors.Is(err, errBusy) {
			t.Errorf("after the end: %v", err)
		}
		if n := l.count("token not renewed"); n != 1 {
			t.Errorf("%d lines about one outage of less than 10 minutes", n)
		}
		p.fail(nil)
		time.Sleep(2 * time.Minute)
		wantToken(t, k, 2)
		if l.count("token available again") != 1 {
			t.Error("the end of the outage is not logged")
		}
	})
}

// A long outage is logged every 10 minutes, not at every try.
func TestOutageIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{err: errBusy}
		k, l := keeper(t, p, Classic(), func(c *Config) { c.Eager = true })
		k.Start()
		time.Sleep(time.Hour)
		if n := l.count("token not renewed"); n != 6 {
			t.Errorf("%d lines in an hour", n)
		}
		if calls, _ := p.count(); calls < 60 || calls > 75 {
			t.Errorf("%d tries in an hour", calls)
		}
	})
}

func TestShortLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{life: 10 * time.Second}
		k, _ := keeper(t, p, Classic(), func(c *Config) { c.Eager = true })
		k.Start()
		time.Sleep(time.Minute)
		if calls, _ := p.count(); calls < 12 || calls > 14 {
			t.Errorf("%d fetches of a 10 s value in a minute", calls)
		}
	})
}

func TestUnusableAnswers(t *testing.T) {
	f := func(v string, life time.Duration, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			k, _ := keeper(t, nil, Classic(), func(c *Config) {
				c.Fetch = func(context.Context, bool) (string, time.Duration, error) { return v, life, nil }
			})
			_, err := k.Token(t.Context())
			wantErr(t, err, "cannot get access_token wx1, next try in 1s: "+want)
		})
	}
	f("", time.Hour, "the answer holds no value")
	f(value(1), 0, "the answer's value lives for 0s")
	f(value(1), -time.Second, "the answer's value lives for -1s")
	f(strings.Repeat("x", maxValue+1), time.Hour, "the answer's value has 4097 bytes, more than 4096")
}

func TestEager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lazy, eager := &platform{}, &platform{err: errBusy}
		a, _ := keeper(t, lazy, Stable(), nil)
		b, _ := keeper(t, eager, Stable(), func(c *Config) { c.Eager = true })
		a.Start()
		b.Start()
		time.Sleep(time.Hour)
		lazy.wantCalls(t, 0, 0)
		if s := a.State(); s.Have || s.Err != nil || !s.NextTry.IsZero() {
			t.Errorf("lazy: %+v", s)
		}
		if s := b.State(); s.Have || s.Err == nil || s.NextTry.Before(time.Now()) || time.Until(s.NextTry) > time.Minute {
			t.Errorf("eager: %+v", s)
		}
		eager.fail(nil)
		time.Sleep(time.Minute)
		wantToken(t, b, 1)
	})
}

func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		k, _ := keeper(t, p, Classic(), nil)
		k.Start()
		now := time.Now()
		wantToken(t, k, 1)
		s := k.State()
		if !s.Have || !s.Fetched.Equal(now) || !s.Expires.Equal(now.Add(2*time.Hour)) || s.Err != nil {
			t.Errorf("state %+v", s)
		}
		if left := s.Expires.Sub(s.NextTry); left < 5*time.Minute || left > 10*time.Minute {
			t.Errorf("next try %s before the end", left)
		}
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{takes: 10 * time.Second}
		k, l := keeper(t, p, Classic(), nil)
		k.Start()
		k.Start() // the second one does nothing
		failed := make(chan error)
		go func() {
			_, err := k.Token(t.Context())
			failed <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		k.Stop()
		k.Stop()
		if time.Since(began) > 0 {
			t.Errorf("Stop waited %s for a fetch it had cancelled", time.Since(began))
		}
		wantErr(t, <-failed, "cannot get access_token wx1: keeper stopped")
		_, err := k.Token(t.Context())
		wantErr(t, err, "cannot get access_token wx1: keeper stopped")
		_, err = k.Renew(t.Context(), value(1))
		wantErr(t, err, "cannot get access_token wx1: keeper stopped")
		k.Start()
		time.Sleep(time.Hour)
		p.wantCalls(t, 1, 0)
		if l.count("WARN") > 0 {
			t.Error("stopping is logged as a failure")
		}
	})
}

func TestStoppedKeeperServesWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := keeper(t, &platform{}, Classic(), nil)
		wantToken(t, k, 1) // works before Start, too
		k.Stop()
		wantToken(t, k, 1)
	})
}

// A wall clock that steps costs at most a fetch: a value is served only while
// both clocks say it is good.
func TestClockSteps(t *testing.T) {
	f := func(name string, step, after time.Duration, want int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &platform{}
				k, _ := keeper(t, p, Classic(), nil)
				var mu sync.Mutex
				var off time.Duration
				k.wall = func() time.Time {
					mu.Lock()
					defer mu.Unlock()
					return time.Now().Round(0).Add(off)
				}
				k.Start()
				wantToken(t, k, 1)
				mu.Lock()
				off = step
				mu.Unlock()
				time.Sleep(after)
				synctest.Wait()
				wantToken(t, k, want)
				p.wantCalls(t, want, 0)
			})
		})
	}
	f("back a day, at once", -day, 0, 1)
	f("back a day, past the real end", -day, 2*time.Hour, 2)
	f("ahead a day", day, 0, 2)
	f("ahead a day, noticed without a caller", day, time.Minute, 2)
	f("ahead an hour", time.Hour, time.Minute, 1)
	f("ahead an hour, renewed by the wall clock", time.Hour, time.Hour-4*time.Minute, 2)
}
