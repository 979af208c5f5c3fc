package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// load is what one measured program is loaded with: pushes of some lines over
// some open connections.
type load struct {
	conns []*conn
	lines []line
	next  []int // connection that each worker goes on with: as many as pushes are under way at a time
}

// newLoad opens conns connections to addr. Connection c carries pushes of
// lines[c%len(lines)].
func newLoad(addr string, lines []line, workers, conns int) (*load, error) {
	l := &load{lines: lines, next: make([]int, workers)}
	for i := range l.next {
		l.next[i] = i
	}
	for i := range conns {
		c := &conn{addr: addr, line: lines[i%len(lines)]}
		if err := c.dial(); err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, c)
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.conns {
		if c.Conn != nil {
			c.Close()
		}
	}
}

// prepare readies the lines for a turn of that many pushes in all, and clears
// away what the turns before have left.
func (l *load) prepare(pushes int) {
	now := time.Now()
	for _, line := range l.lines {
		line.prepare(now, pushes/len(l.lines))
	}
	runtime.GC()
}

// tally is what came of some load.
type tally struct {
	sent   int64 // pushes answered as they should be
	failed int64
	why    error // of one that failed
	took   time.Duration
}

func (t tally) rate() float64 {
	if t.sent == 0 {
		return 0
	}
	return float64(t.sent) / t.took.Seconds()
}

func (t *tally) add(other tally) {
	t.sent += other.sent
	t.failed += other.failed
	if t.why == nil {
		t.why = other.why
	}
}

// closed keeps every worker busy for length: each sends the next push when the
// one before is answered. With more connections than workers, each worker goes
// round its share of them.
func (l *load) closed(length time.Duration) tally {
	var over atomic.Bool
	time.AfterFunc(length, func() { over.Store(true) })
	tallies := make([]tally, len(l.next))
	var wg sync.WaitGroup
	began := time.Now()
	for w := range l.next {
		wg.Go(func() {
			out, in := make([]byte, bufferSize), make([]byte, bufferSize)
			var t tally
			for !over.Load() {
				err := l.conns[l.next[w]].push(out, in)
				if l.next[w] += len(l.next); l.next[w] >= len(l.conns) {
					l.next[w] = w
				}
				if err != nil {
					t.failed++
					t.why = err
					continue
				}
				t.sent++
			}
			tallies[w] = t
		})
	}
	wg.Wait()
	all := tally{took: time.Since(began)}
	for _, t := range tallies {
		all.add(t)
	}
	return all
}
