package backend

import (
	"context"
	"errors"
	"sync"
)

// ErrFull says that the line behind a backend is full: the call was never
// tried, as if there had been no connection.
var ErrFull = errors.New("the line behind the backend is full")

// minLine and perWorker size the line behind workerNum calls in flight.
const (
	minLine   = 1000
	perWorker = 20
)

// Line limits the calls in flight to one backend. Those that have to wait are
// served in turn by user, so that one user's burst delays nobody else. It
// outlives a reload; Resize follows the configuration.
type Line struct {
	mu      sync.Mutex
	workers int
	busy    int
	waiting int
	lanes   map[string]*lane
	turn    []*lane // lanes with somebody waiting, next one first
}

// lane is the queue of one user.
type lane struct {
	user    string
	waiters []*waiter
}

type waiter struct {
	ready chan struct{} // closed when the slot is the waiter's
	gone  bool          // gave up waiting
}

// NewLine returns a line for workers calls in flight.
func NewLine(workers int) *Line {
	return &Line{workers: workers, lanes: map[string]*lane{}}
}

// Resize changes the number of calls in flight. Fewer takes effect as running
// calls end.
func (l *Line) Resize(workers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.workers = workers
	for l.busy < l.workers && l.next() {
	}
}

// Acquire waits for a slot until ctx ends. A nil error obliges the caller to
// Release.
func (l *Line) Acquire(ctx context.Context, user string) error {
	l.mu.Lock()
	if l.busy < l.workers && l.waiting == 0 {
		l.busy++
		l.mu.Unlock()
		return nil
	}
	if l.waiting >= max(minLine, perWorker*l.workers) {
		l.mu.Unlock()
		return ErrFull
	}
	w := &waiter{ready: make(chan struct{})}
	ln := l.lanes[user]
	if ln == nil {
		ln = &lane{user: user}
		l.lanes[user] = ln
		l.turn = append(l.turn, ln)
	}
	ln.waiters = append(ln.waiters, w)
	l.waiting++
	l.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready: // the slot came at the same moment: pass it on
		l.busy--
		if l.busy < l.workers {
			l.next()
		}
	default:
		w.gone = true
		l.waiting--
	}
	return context.Cause(ctx)
}

// TryAcquire is Acquire where that takes no waiting.
func (l *Line) TryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := l.busy < l.workers && l.waiting == 0
	if free {
		l.busy++
	}
	return free
}

// Release gives a slot back to whoever's turn it is.
func (l *Line) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	if l.busy < l.workers {
		l.next()
	}
}

// Load tells how many calls are in flight and how many wait.
func (l *Line) Load() (busy, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy, l.waiting
}

// next gives a slot to the first waiter of the next lane; false when nobody
// waits. l.mu is held.
func (l *Line) next() bool {
	for len(l.turn) > 0 {
		ln := l.turn[0]
		l.turn[0] = nil
		l.turn = l.turn[1:]
		w := ln.pop()
		if len(ln.waiters) > 0 {
			l.turn = append(l.turn, ln)
		} else {
			delete(l.lanes, ln.user)
		}
		if w == nil {
			continue
		}
		l.waiting--
		l.busy++
		close(w.ready)
		return true
	}
	return false
}

// pop takes the first waiter that still waits, nil when there is none.
func (ln *lane) pop() *waiter {
	for len(ln.waiters) > 0 {
		w := ln.waiters[0]
		ln.waiters[0] = nil
		ln.waiters = ln.waiters[1:]
		if !w.gone {
			return w
		}
	}
	return nil
}
