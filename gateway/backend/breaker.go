package backend

import (
	"errors"
	"log/slog"
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
	of     *gobreaker.TwoStepCircuitBreaker[struct{}]
	failed atomic.Bool // of has something to say, or to forget: a call has failed since the last good one
	report func(error) // tell, made once
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
	b.report = b.tell
	return b
}

func (b *breaker) open() bool { return b.of.State() == gobreaker.StateOpen }

// allow asks for a call; done must be told how that ended.
func (b *breaker) allow() (done func(error), err error) {
	if !b.failed.Load() {
		return b.report, nil
	}
	of, err := b.of.Allow()
	if err != nil {
		return nil, &Error{Fate: Unreached, Unsent: true, Err: errors.New("left alone after repeated failures")}
	}
	return func(err error) {
		of(err)
		b.look()
	}, nil
}

// tell hears of a call that began when all was well. What has come to light
// meanwhile counts, as long as nobody is kept away for it.
func (b *breaker) tell(err error) {
	if isUntried(err) || err == nil && !b.failed.Load() {
		return
	}
	b.failed.Store(true)
	if b.of.State() != gobreaker.StateClosed {
		return
	}
	if done, refused := b.of.Allow(); refused == nil {
		done(err)
	}
	b.look()
}

// look finds out whether all is well again.
func (b *breaker) look() {
	b.failed.Store(b.of.State() != gobreaker.StateClosed || b.of.Counts().ConsecutiveFailures > 0)
}
