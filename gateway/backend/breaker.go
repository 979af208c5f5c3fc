package backend

import (
	"errors"
	"log/slog"
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

// breaker keeps calls away from a dead backend.
type breaker struct {
	of *gobreaker.TwoStepCircuitBreaker[struct{}]
}

func newBreaker(service string, log *slog.Logger) *breaker {
	return &breaker{gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        service,
		MaxRequests: 1,
		Timeout:     breakFor,
		IsExcluded:  isUntried,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log.Warn("backend breaker changed", "service", service, "from", from.String(), "to", to.String())
		},
	})}
}

func (b *breaker) open() bool { return b.of.State() == gobreaker.StateOpen }

// allow asks for a call; done must be told how that ended.
func (b *breaker) allow() (done func(error), err error) {
	if done, err = b.of.Allow(); err != nil {
		return nil, &Error{Fate: Unreached, Unsent: true, Err: errors.New("left alone after repeated failures")}
	}
	return done, nil
}
