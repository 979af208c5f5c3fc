package httpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of these is synctest's: connections are pipes in memory.
func inMemory(cfg Config, handle func(p peer)) (c *Client, wait func()) {
	var wg sync.WaitGroup
	c = newClient(cfg, noProxy)
	c.dial = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		wg.Go(func() {
			defer there.Close()
			handle(peer{there, newReader(there)})
		})
		return here, nil
	}
	return c, wg.Wait
}

func TestDoDeadlines(t *testing.T) {
	f := func(name string, handle func(p peer), budget, want time.Duration, text string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, wait := inMemory(Config{}, handle)
				ctx := context.Background()
				if budget > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, budget)
					defer cancel()
				}
				start := time.Now()
				_, err := call(ctx, c, "POST", "http://h/?secret=S", "x")
				mustFail(t, err, Timeout, "h:80 did not answer in time: context deadline exceeded after "+text)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error("the error is no context.DeadlineExceeded")
				}
				if took := time.Since(start); took != want {
					t.Errorf("gave up after %v, want %v", took, want)
				}
				wait()
			})
		})
	}
	blackHole := func(p peer) { io.Copy(io.Discard, p.br) }
	f("black hole", blackHole, 4*time.Second, 4*time.Second, "0 bytes of response")
	f("no deadline given", blackHole, 0, 30*time.Second, "0 bytes of response")
	f("nothing read", func(p peer) { time.Sleep(time.Minute) }, time.Second, time.Second, "0 bytes of response")
	f("drip", func(p peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for range 10 {
			time.Sleep(time.Second)
			p.send("x")
		}
	}, 4500*time.Millisecond, 4500*time.Millisecond, "45 bytes of response")
}

func TestDoCanceled(t *testing.T) {
	f := func(name string, handle func(p peer), dial bool) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, wait := inMemory(Config{}, handle)
				if dial {
					c.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					}
				}
				gone := errors.New("the user left")
				ctx, cancel := context.WithCancelCause(context.Background())
				start := time.Now()
				time.AfterFunc(2*time.Second, func() { cancel(gone) })
				_, err := call(ctx, c, "POST", "http://h/?secret=S", "x")
				mustFail(t, err, Canceled, "h:80 was no longer waited for: the user left")
				if took := time.Since(start); took != 2*time.Second {
					t.Errorf("returned after %v, want 2 s", took)
				}
				wait()
			})
		})
	}
	f("while dialing", nil, true)
	f("while writing", func(p peer) { time.Sleep(time.Minute) }, false)
	f("while waiting", func(p peer) { io.Copy(io.Discard, p.br) }, false)
	f("while reading", func(p peer) {
		p.request()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfew")
		p.request()
	}, false)
}

// A connection whose call was given up carries no other call.
func TestDoDropsConnectionsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		c, wait := inMemory(Config{}, func(p peer) {
			if n.Add(1) > 1 {
				p.request()
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
				return
			}
			p.request()
			time.Sleep(2 * time.Second)
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := call(ctx, c, "POST", "http://h/", "x"); KindOf(err) != Timeout {
			t.Fatalf("error is %v, want a timeout", err)
		}
		mustAnswer(t, c, "POST", "http://h/", "x", "second")
		c.CloseIdle()
		wait()
	})
}

func TestIdleConnectionsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open, made atomic.Int32
		c, wait := inMemory(Config{}, func(p peer) {
			open.Add(1)
			made.Add(1)
			always(ok)(0, p)
			open.Add(-1)
		})
		f := func(pause time.Duration, wantMade int32) {
			t.Helper()
			time.Sleep(pause)
			mustAnswer(t, c, "POST", "http://h/", "x", "ok")
			if made.Load() != wantMade {
				t.Errorf("after a pause of %v %d connections were made in all, want %d", pause, made.Load(), wantMade)
			}
		}
		f(0, 1)
		f(1499*time.Millisecond, 1)
		f(1500*time.Millisecond, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		if open.Load() != 1 {
			t.Errorf("%d connections open, want the idle one", open.Load())
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("%d connections open after 1.5 s of idleness, want none", open.Load())
		}
		if n := len(c.pool.hosts); n != 0 || c.pool.timer != nil {
			t.Errorf("the pool still knows %d hosts, timer %v", n, c.pool.timer)
		}
		wait()
	})
}

func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		c, wait := inMemory(Config{MaxConns: 2}, func(p peer) {
			for {
				if _, _, err := p.request(); err != nil {
					return
				}
				<-release
				p.send(ok)
			}
		})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { mustAnswer(t, c, "POST", "http://h/", "x", "ok") })
		}
		synctest.Wait()
		_, err := call(t.Context(), c, "POST", "http://h/", "x")
		mustFail(t, err, Connect, "h:80 cannot be reached: all connections are in use")
		close(release)
		wg.Wait()
		mustAnswer(t, c, "POST", "http://h/", "x", "ok")
		mustAnswer(t, c, "POST", "http://other/", "x", "ok")
		c.CloseIdle()
		wait()
		if n := len(c.pool.hosts); n != 0 {
			t.Errorf("the pool still knows %d hosts", n)
		}
	})
}

// A full host makes room for a fresh connection by closing its longest idle one.
func TestFreshConnectionStaysWithinMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int32
		c, wait := inMemory(Config{MaxConns: 2}, func(p peer) {
			open.Add(1)
			defer open.Add(-1)
			always(ok)(0, p)
		})
		h := c.pool.hold(target{addr: "h:80"})
		for range 2 {
			if cn, err := c.pool.take(h, true, time.Now()); cn != nil || err != nil {
				t.Fatalf("take = %v, %v", cn, err)
			}
		}
		for range 2 {
			nc, _ := c.connect(t.Context(), h.at)
			c.pool.give(h, &conn{Conn: nc}, time.Now())
		}
		if cn, err := c.pool.take(h, true, time.Now()); cn != nil || err != nil {
			t.Fatalf("take = %v, %v", cn, err)
		}
		synctest.Wait()
		if open.Load() != 1 {
			t.Errorf("%d connections open beside the one being made, want 1 of 2", open.Load())
		}
		c.pool.give(h, nil, time.Now())
		c.CloseIdle()
		wait()
	})
}

func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(Config{}, noProxy)
		c.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		_, err := call(context.Background(), c, "POST", "http://h/", "x")
		mustFail(t, err, Connect, "h:80 cannot be reached: context deadline exceeded")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("dialed for %v, want 3 s", took)
		}
	})
}
