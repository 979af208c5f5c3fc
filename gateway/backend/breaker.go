package backend

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A dead backend is left alone after breakAfter failures in a row; after
// breakFor one call tries whether it has come back. breakFor is short since
// pushes wait inline for a backend that restarts.
const (
	breakAfter = 20
	breakFor   = 2 * time.Second
)

// breaker keeps calls away from a dead backend. As long as every call is good
// gobreaker's is neither asked nor told: it would only count.
type breaker struct {
	of   *gobreaker.TwoStepCircuitBreaker[struct{}]
	mu   sync.Mutex                  // held while of is told, so that well fits what it knows
	well atomic.Pointer[func(error)] // done of all calls; nil when of has something to say, or to forget
}

func newBreaker(service string, log *slog.Logger) *breaker {
	b := &breaker{of: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        service,
		MaxRequests: 1,
		Timeout:     breakFor,
		IsExcluded:  isUntried,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log.Warn("backend breaker changed", "service", service, "from", from.String(), "to", to.String())
		},
	})}
	b.look()
	return b
}

func (b *breaker) open() bool { return b.of.State() == gobreaker.StateOpen }

// allow asks for a call; done must be told how that ended.
func (b *breaker) allow() (done func(error), err error) {
	if well := b.well.Load(); well != nil {
		return *well, nil
	}
	of, err := b.of.Allow()
	if err != nil {
		return nil, &Error{Fate: Unreached, Unsent: true, Err: errors.New("left alone after repeated failures")}
	}
	return func(err error) { b.tell(of, err) }, nil
}

// tell reports a call that of has allowed.
func (b *breaker) tell(of func(error), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of(err)
	b.look()
}

// look finds out whether all is well. b.mu is held, or b is new.
func (b *breaker) look() {
	switch {
	case b.of.State() != gobreaker.StateClosed || b.of.Counts().ConsecutiveFailures > 0:
		b.well.Store(nil)
	case b.well.Load() == nil:
		b.calm()
	}
}

// calm makes the done of all calls that begin before the next failure. One asking
// stands for them all: gobreaker counts results, and by what it has allowed tells
// those that come too late, of calls from before it opened.
func (b *breaker) calm() {
	of, err := b.of.Allow()
	if err != nil {
		return // it is closed, and refuses nobody
	}
	done := func(err error) {
		if isUntried(err) || err == nil && b.well.Load() != nil {
			return
		}
		b.tell(of, err)
	}
	b.well.Store(&done)
}
