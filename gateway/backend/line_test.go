package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// enter takes a slot for user and notes it in turns, holds it for a second.
type turns struct {
	mu  sync.Mutex
	all []string
}

func (o *turns) work(t *testing.T, wg *sync.WaitGroup, l *Line, user string) {
	wg.Go(func() {
		if err := l.Acquire(t.Context(), user); err != nil {
			t.Error(err)
			return
		}
		o.mu.Lock()
		o.all = append(o.all, user)
		o.mu.Unlock()
		time.Sleep(time.Second)
		l.Release()
	})
	synctest.Wait() // in line, in this order
}

// TestLineIsFair: one user's burst delays another user by one call, not by the
// burst; each user's own calls keep their order of arrival.
func TestLineIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, o, wg := NewLine(1), &turns{}, &sync.WaitGroup{}
		for range 10 {
			o.work(t, wg, l, "busy")
		}
		o.work(t, wg, l, "quiet")
		o.work(t, wg, l, "other")
		wg.Wait()
		if at := slices.Index(o.all, "quiet"); at > 2 {
			t.Errorf("the quiet user was served as number %d: %v", at+1, o.all)
		}
		if at := slices.Index(o.all, "other"); at > 3 {
			t.Errorf("the other user was served as number %d: %v", at+1, o.all)
		}
		if busy, waiting := l.Load(); busy != 0 || waiting != 0 || len(l.lanes) != 0 || len(l.turn) != 0 {
			t.Errorf("%d busy, %d waiting, %d lanes, %d turns left", busy, waiting, len(l.lanes), len(l.turn))
		}
	})
}

// TestLineBounds: never more calls in flight than workers, never more in line
// than the larger of 1,000 and 20 for each worker.
func TestLineBounds(t *testing.T) {
	f := func(workers, want int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			l := NewLine(workers)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for i := range workers + want {
				wg.Go(func() {
					if err := l.Acquire(ctx, fmt.Sprint(i%7)); err == nil {
						<-ctx.Done()
						l.Release()
					}
				})
			}
			synctest.Wait()
			if busy, waiting := l.Load(); busy != workers || waiting != want {
				t.Errorf("%d busy, %d waiting; want %d and %d", busy, waiting, workers, want)
			}
			if err := l.Acquire(ctx, "late"); !errors.Is(err, ErrFull) {
				t.Errorf("Acquire in a full line = %v, want %v", err, ErrFull)
			}
			cancel()
			wg.Wait()
			if busy, waiting := l.Load(); busy != 0 || waiting != 0 {
				t.Errorf("%d busy, %d waiting after the end", busy, waiting)
			}
			if err := l.Acquire(t.Context(), "next"); err != nil {
				t.Errorf("Acquire afterwards: %v", err)
			}
		})
	}
	f(1, 1000)
	f(60, 1200)
}

// TestLineResize: a reload with fewer workers takes effect as calls end, one
// with more at once.
func TestLineResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, o, wg := NewLine(4), &turns{}, &sync.WaitGroup{}
		for range 8 {
			o.work(t, wg, l, "u")
		}
		l.Resize(1)
		time.Sleep(time.Second)
		synctest.Wait()
		if busy, _ := l.Load(); busy != 1 {
			t.Errorf("%d busy with one worker", busy)
		}
		l.Resize(3)
		if busy, _ := l.Load(); busy != 3 {
			t.Errorf("%d busy with three workers and three waiting", busy)
		}
		wg.Wait()
	})
}

// TestLineGivesUp: whoever stops waiting leaves no slot behind and takes none,
// even if the slot comes at the same moment.
func TestLineGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLine(1)
		for range 200 {
			if err := l.Acquire(t.Context(), "first"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got := make(chan error, 1)
			go func() { got <- l.Acquire(ctx, "second") }()
			time.Sleep(time.Second)
			l.Release()
			if err := <-got; err == nil {
				l.Release()
			}
			cancel()
			if busy, waiting := l.Load(); busy != 0 || waiting != 0 {
				t.Fatalf("%d busy, %d waiting", busy, waiting)
			}
		}
	})
}
