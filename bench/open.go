package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// arrivals is a schedule: n pushes, evenly spaced.
type arrivals struct {
	n     int
	apart time.Duration
}

func newArrivals(rate float64, length time.Duration) arrivals {
	return arrivals{n: int(rate * length.Seconds()), apart: time.Duration(float64(time.Second) / rate)}
}

// due is when the i-th push is to be sent, from the beginning.
func (a arrivals) due(i int) time.Duration { return time.Duration(i) * a.apart }

// slot is a connection with at most one push under way.
type slot struct {
	*conn
	out    []byte
	due    atomic.Int64 // of the push under way, a time.Duration
	took   []float64    // nanoseconds from due to the answer, of each push
	failed int64
	why    error
}

// listen reads the answers, each of which frees the slot, until its read
// deadline.
func (s *slot) listen(began time.Time, free chan<- *slot) error {
	in := make([]byte, bufferSize)
	for {
		err := readAnswer(s.Conn, in)
		switch {
		case err == nil:
			s.took = append(s.took, float64(int64(time.Since(began))-s.due.Load()))
		case errors.Is(err, errAnswer):
			s.failed++
			s.why = err
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		default:
			return fmt.Errorf("a connection ended under load: %w", err)
		}
		free <- s
	}
}

// open sends the pushes of a schedule, however long the answers take, and
// returns how long each took in nanoseconds, counted from when it was due: a
// push that had to wait for a free connection has waited.
func (l *load) open(a arrivals) (took []float64, t tally, err error) {
	// One more, so that the sleeper does not take the place of a goroutine that has work.
	before := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(before + 1)
	defer runtime.GOMAXPROCS(before)
	slots := make([]*slot, len(l.conns))
	free := make(chan *slot, len(slots))
	for i, c := range l.conns {
		if c.Conn == nil {
			if err := c.dial(); err != nil {
				return nil, t, err
			}
		}
		slots[i] = &slot{conn: c, out: make([]byte, bufferSize), took: make([]float64, 0, 2*a.n/len(slots)+1)}
		free <- slots[i]
	}
	broken := make(chan error, len(slots)+1)
	var wg sync.WaitGroup
	began := time.Now()
	for _, s := range slots {
		wg.Go(func() {
			if err := s.listen(began, free); err != nil {
				broken <- err
			}
		})
	}
	sent := make(chan error, 1)
	go func() { sent <- send(a, began, free, broken) }()
	err = <-sent
	t.took = time.Since(began)
	for _, s := range slots { // also after an error, which leaves some waiting
		s.SetReadDeadline(time.Unix(1, 0))
	}
	wg.Wait()
	for _, s := range slots {
		s.SetReadDeadline(time.Time{})
		took = append(took, s.took...)
		t.add(tally{sent: int64(len(s.took)), failed: s.failed, why: s.why})
	}
	return took, t, err
}

// send sends every push when it is due, or as soon after it as a slot is free,
// and waits for the last answer.
func send(a arrivals, began time.Time, free <-chan *slot, broken <-chan error) error {
	exactly()
	for i := range a.n {
		due := a.due(i)
		sleepUntil(began.Add(due))
		select {
		case s := <-free:
			s.due.Store(int64(due))
			if _, err := s.Write(s.line.next(s.out)); err != nil {
				return err
			}
		case err := <-broken:
			return err
		}
	}
	for range cap(free) {
		select {
		case <-free:
		case err := <-broken:
			return err
		}
	}
	return nil
}
