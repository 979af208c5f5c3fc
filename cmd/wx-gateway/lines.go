package main

import (
	"io"
	"sync"
	"time"
)

const (
	gather       = 10 * time.Millisecond // how long a line may wait for others
	maxGathered  = 1 << 20               // bytes: who brings more waits until they are written
	keepGathered = 64 << 10              // bytes of a buffer that is used again
)

// lines gathers the lines of a log and writes them together: thousands of
// pushes a second, each of which writes its own line to a file, wait for each
// other more than the line is worth.
type lines struct {
	w   io.Writer
	end chan struct{}

	mu       sync.Mutex
	gathered []byte
	wake     chan struct{} // of capacity 1: something is gathered

	writing sync.Mutex // held over a write, so that lines keep their order; taken before mu
	spare   []byte
	ended   sync.WaitGroup
}

// newLines returns lines to w; close writes what is left.
func newLines(w io.Writer) *lines {
	l := &lines{w: w, end: make(chan struct{}), wake: make(chan struct{}, 1)}
	l.ended.Go(l.run)
	return l
}

// Write takes a line. It implements io.Writer for handlers that write a line at
// a time, and hears of no error: there is nowhere to tell it.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	first := len(l.gathered) == 0
	l.gathered = append(l.gathered, p...)
	full := len(l.gathered) >= maxGathered
	l.mu.Unlock()
	switch {
	case full:
		l.flush()
	case first:
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func (l *lines) run() {
	for {
		select {
		case <-l.wake:
		case <-l.end:
			return
		}
		select {
		case <-time.After(gather):
		case <-l.end:
		}
		l.flush()
	}
}

// flush writes what is gathered.
func (l *lines) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	out := l.gathered
	l.gathered = l.spare[:0]
	l.mu.Unlock()
	if len(out) > 0 {
		_, _ = l.w.Write(out)
	}
	if l.spare = out; cap(out) > keepGathered {
		l.spare = nil
	}
}

// close writes what is left and ends the gathering; lines that come later are
// written with the next flush.
func (l *lines) close() {
	close(l.end)
	l.ended.Wait()
	l.flush()
}
