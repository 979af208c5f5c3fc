package sim

import (
	"fmt"
	"net"
	"time"
)

// Schedule is how WeChat repeats a push that was not answered: the part of its
// behaviour that no document settles. The zero value is WeChat().
type Schedule struct {
	Attempts int           // how many in all; default 3, at most 100
	Cut      time.Duration // an attempt without a complete answer is dropped then; default 5 s

	// Spacing passes between a cut and the next attempt. Default 0: the next
	// one starts when the time is up.
	Spacing time.Duration

	// OnClosed passes after a connection that was closed without an answer, and
	// after a bad answer. Default 0: WeChat's repeats were seen within a second.
	OnClosed time.Duration

	// Skip lists attempts (from 1) that are lost on the way: their time passes
	// as if they had been cut, but the server never sees them.
	Skip []int

	// LocalAddr is the source address of each attempt, such as "127.0.0.2";
	// attempts beyond the list, and empty ones, come from the default address.
	LocalAddr []string

	// Reseal signs and seals the same content anew for each attempt, with a new
	// nonce and timestamp. By default repeats are identical to the letter.
	Reseal bool

	// Start, if set, is when each attempt starts, counted from the first; it
	// replaces Spacing and OnClosed, and attempts may overlap. Attempts is then
	// its length at most.
	Start []time.Duration
}

const (
	maxAttempts = 100
	maxSpacing  = 24 * time.Hour
)

// WeChat is the schedule the documents and observed logs suggest: three
// attempts, cut after 5 s, the next one when the time is up or at once after a
// bad answer.
func WeChat() Schedule { return Schedule{Attempts: 3, Cut: 5 * time.Second} }

// Shop is the documented schedule of a shop's pushes: ten of them over 3.6 hours.
// Nobody waits that long outside of a test's fake clock, so Schedules leaves it out.
func Shop() Schedule {
	s := Schedule{Cut: 5 * time.Second, Start: []time.Duration{0}}
	at := time.Duration(0)
	for _, pause := range []time.Duration{
		0, 0, 10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, time.Hour, time.Hour, time.Hour,
	} {
		at += s.Cut + pause
		s.Start = append(s.Start, at)
	}
	s.Attempts = len(s.Start)
	return s
}

// Schedules returns every schedule a server should survive, by name. The
// returned map is the caller's own.
func Schedules() map[string]Schedule {
	with := func(change func(*Schedule)) Schedule {
		s := WeChat()
		change(&s)
		return s
	}
	return map[string]Schedule{
		"wechat":         WeChat(),
		"cut-4.8s":       with(func(s *Schedule) { s.Cut = 4800 * time.Millisecond }),
		"cut-5.2s":       with(func(s *Schedule) { s.Cut = 5200 * time.Millisecond }),
		"spaced-1s":      with(func(s *Schedule) { s.Spacing = time.Second }),
		"spaced-5s":      with(func(s *Schedule) { s.Spacing = 5 * time.Second }),
		"closed-1s":      with(func(s *Schedule) { s.OnClosed = time.Second }),
		"closed-5s":      with(func(s *Schedule) { s.OnClosed = 5 * time.Second }),
		"one":            with(func(s *Schedule) { s.Attempts = 1 }),
		"two":            with(func(s *Schedule) { s.Attempts = 2 }),
		"four":           with(func(s *Schedule) { s.Attempts = 4 }),
		"missing-first":  with(func(s *Schedule) { s.Skip = []int{1} }),
		"missing-second": with(func(s *Schedule) { s.Skip = []int{2} }),
		"missing-third":  with(func(s *Schedule) { s.Skip = []int{3} }),
		"other-address":  with(func(s *Schedule) { s.LocalAddr = []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} }),
		"resealed":       with(func(s *Schedule) { s.Reseal = true }),
		"overlapping": with(func(s *Schedule) {
			s.Start = []time.Duration{0, 4800 * time.Millisecond, 9600 * time.Millisecond}
		}),
	}
}

// settled returns s with its defaults, or why it makes no sense.
func (s Schedule) settled() (Schedule, error) {
	if s.Cut == 0 {
		s.Cut = 5 * time.Second
	}
	if s.Attempts == 0 {
		s.Attempts = 3
		if len(s.Start) > 0 {
			s.Attempts = len(s.Start)
		}
	}
	if len(s.Start) > 0 {
		s.Attempts = min(s.Attempts, len(s.Start))
	}
	if s.Attempts < 1 || s.Attempts > maxAttempts {
		return s, fmt.Errorf("bad schedule: %d attempts, want 1 to %d", s.Attempts, maxAttempts)
	}
	for _, d := range append([]time.Duration{s.Cut, s.Spacing, s.OnClosed}, s.Start...) {
		if d < 0 || d > maxSpacing {
			return s, fmt.Errorf("bad schedule: %s is not between 0 and %s", d, maxSpacing)
		}
	}
	for i := 1; i < len(s.Start); i++ {
		if s.Start[i] < s.Start[i-1] {
			return s, fmt.Errorf("bad schedule: attempt %d starts before attempt %d", i+1, i)
		}
	}
	for _, a := range s.LocalAddr {
		if a != "" && net.ParseIP(a) == nil {
			return s, fmt.Errorf("bad schedule: %q is not an IP address", a)
		}
	}
	return s, nil
}

// localIP is the source address of attempt n, nil for the default.
func (s Schedule) localIP(n int) net.IP {
	if n > len(s.LocalAddr) {
		return nil
	}
	return net.ParseIP(s.LocalAddr[n-1])
}
