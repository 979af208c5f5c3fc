// Package grant remembers for a short while what an OAuth code was exchanged
// for. A code is good for one exchange, but phones send it twice (preloading,
// reloading, two requests at once): the first caller exchanges it, everybody
// else who may is given the same result.
//
// The package knows nothing of WeChat or HTTP: what is exchanged, and who may
// ask again, is the caller's.
//
//	codes := grant.New[Identity](10_000, time.Minute)
//	who, err := codes.Do(ctx, grant.Key(appID, code), owner, exchange)
package grant

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrOwner is the error of Do for a key that somebody else has used.
var ErrOwner = errors.New("already used by somebody else")

// ErrFull is the error of Do when as many exchanges as the memory may hold are
// under way.
var ErrFull = errors.New("too many exchanges at once")

// Memory keeps the results of exchanges. Its methods may be called at the same
// time; it starts no goroutines.
type Memory[V any] struct {
	max  int
	keep time.Duration

	mu     sync.Mutex
	byKey  map[string]*exchange[V]
	stored []*exchange[V] // those that succeeded, oldest first
}

// exchange is one key's.
type exchange[V any] struct {
	key, owner string
	done       chan struct{} // closed when what follows is set
	value      V
	err        error
	at         time.Time // of success
}

// New returns an empty memory of at most max results, each kept for keep after
// its exchange succeeded. When it is full the oldest goes first.
func New[V any](max int, keep time.Duration) *Memory[V] {
	return &Memory[V]{max: max, keep: keep, byKey: make(map[string]*exchange[V])}
}

// Key makes one key out of parts, so that ("ab", "c") and ("a", "bc") differ.
// The parts cannot be read from it.
func Key(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return string(h.Sum(nil))
}

// Do returns the stored result of key, waits for the exchange that is under way
// (until ctx ends), or else calls fetch. A failure is told to those who wait,
// and forgotten: the next one tries again.
//
// The first owner of a key keeps it: others get ErrOwner. An empty owner may
// ask for anybody's; a key that it was the first to use is nobody else's.
func (m *Memory[V]) Do(ctx context.Context, key, owner string, fetch func() (V, error)) (V, error) {
	var none V
	x, first, err := m.join(key, owner)
	if err != nil {
		return none, err
	}
	if first {
		m.run(x, fetch)
		return x.value, x.err
	}
	select {
	case <-x.done:
		return x.value, x.err
	case <-ctx.Done():
		return none, fmt.Errorf("cannot wait for the exchange under way: %w", context.Cause(ctx))
	}
}

// join finds the exchange of key, or starts one; first says that the caller has
// to run it.
func (m *Memory[V]) join(key, owner string) (x *exchange[V], first bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	if x = m.byKey[key]; x != nil {
		if owner != "" && owner != x.owner {
			return nil, false, ErrOwner
		}
		return x, false, nil
	}
	if len(m.byKey) >= m.max {
		if len(m.stored) == 0 {
			return nil, false, ErrFull
		}
		m.forgetOldest()
	}
	x = &exchange[V]{key: key, owner: owner, done: make(chan struct{}), err: errors.New("the exchange was broken off")}
	m.byKey[key] = x
	return x, true, nil
}

// run calls fetch for x. Should it panic, those who wait are told the error
// that join put there.
func (m *Memory[V]) run(x *exchange[V], fetch func() (V, error)) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if x.err == nil {
			x.at = time.Now()
			m.stored = append(m.stored, x)
		} else {
			delete(m.byKey, x.key)
		}
		close(x.done)
	}()
	x.value, x.err = fetch()
}

// expire drops what is older than keep. mu is held.
func (m *Memory[V]) expire() {
	for len(m.stored) > 0 && time.Since(m.stored[0].at) >= m.keep {
		m.forgetOldest()
	}
}

// forgetOldest drops the oldest result. mu is held.
func (m *Memory[V]) forgetOldest() {
	delete(m.byKey, m.stored[0].key)
	m.stored[0] = nil // the array behind the slice outlives it
	m.stored = m.stored[1:]
}
