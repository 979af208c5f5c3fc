package web

import (
	"log/slog"
	"sync"
	"time"
)

// Bounds of the lines about refused and failed requests: strangers decide how
// many there are.
const (
	faultLines  = 5           // of one service and reason
	faultWindow = time.Second // within
	maxFaults   = 256         // services and reasons at a time; the others share one place
)

// fault is what lines about requests have in common.
type fault struct {
	service string // "" where the request reached none
	reason  string // what the caller was told
}

// others stands for the faults beyond maxFaults.
var others = fault{reason: "others"}

// faultLimit lets the first lines of each fault through and counts the rest,
// which it tells when the time is up. It keeps nothing of a fault that does
// not go on.
type faultLimit struct {
	door string
	log  *slog.Logger

	mu   sync.Mutex
	seen map[fault]int // lines in the window that is open
}

func newFaultLimit(door string, log *slog.Logger) *faultLimit {
	return &faultLimit{door: door, log: log, seen: map[fault]int{}}
}

// allow reports whether one more line of f may be written.
func (l *faultLimit) allow(f fault) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[f] == 0 && len(l.seen) >= maxFaults {
		f = others
	}
	l.seen[f]++
	if l.seen[f] == 1 {
		time.AfterFunc(faultWindow, func() { l.end(f) })
	}
	return l.seen[f] <= faultLines
}

// end closes the window of f.
func (l *faultLimit) end(f fault) {
	l.mu.Lock()
	n := l.seen[f] - faultLines
	delete(l.seen, f)
	l.mu.Unlock()
	if n > 0 {
		l.log.Warn("more requests refused", "door", l.door, "service", f.service, "reason", f.reason, "suppressed", n)
	}
}
