package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Token is a value with its end.
type Token struct {
	Value   string    // secret
	Expires time.Time // wall clock
}

// Config of a Keeper.
type Config struct {
	// Name stands in errors and log lines, for example "access_token wx1234".
	Name string

	// Fetch gets a value and how long it lives from now on. force asks for a
	// new one even if the old one is still good (stable_token's force_refresh);
	// only the Stable policy ever sets it. ctx ends after 15 s or at Stop.
	// Its errors must not hold the value.
	Fetch func(ctx context.Context, force bool) (value string, life time.Duration, err error)

	// Policy says when to renew. By default Classic.
	Policy Policy

	// Cache keeps the value over restarts. nil: none.
	Cache Cache

	// Wait says how long to leave WeChat alone after a failed fetch, 0 if it
	// has no opinion: then, and when it is nil, 1 s doubling to 60 s.
	Wait func(err error, now time.Time) time.Duration

	// Eager fetches at Start when the cache has no good value, and goes on
	// trying, instead of waiting for the first caller.
	Eager bool

	// Log hears of renewals, and of failures when they begin and every 10
	// minutes while they last. nil: silent.
	Log *slog.Logger

	// Observe hears of every fetch and why it was made: "cold" (there was no
	// good value), "early" (before the end), "stale" (a caller saw the value
	// fail), "forced" (the value seen failing was given again). nil: nobody.
	Observe func(cause string, err error)
}

// State of a Keeper, for readiness and metrics. It holds no secret.
type State struct {
	Have    bool      // a good value is held
	Expires time.Time // its end; zero without one
	Fetched time.Time // when it was fetched; zero if it came from the cache
	Err     error     // why the last fetch failed; nil after a good one
	NextTry time.Time // when the keeper fetches next; zero if only once asked
	Hits    uint64    // how often Token had a good value at hand
	Waited  uint64    // how often it had none: it waited for a fetch, or failed
}

// Limits of what is believed.
const (
	fetchTimeout = 15 * time.Second
	maxValue     = 4096           // bytes of a value; WeChat asks for room for 512
	maxLife      = day            // WeChat says 7,200 s
	maxStored    = 2 * time.Hour  // of a value read back: its end was written under a clock that may have been wrong
	maxWait      = 25 * time.Hour // "tomorrow" and a bit
	maxDead      = 4              // values remembered as seen failing
	checkEvery   = time.Minute    // the wall clock may step, a timer does not notice
	logEvery     = 10 * time.Minute
)

var errStopped = errors.New("keeper stopped")

// Keeper keeps one value. Its methods may be called at the same time.
// Token and Renew also work before Start, without renewal and cache.
type Keeper struct {
	cfg    Config
	policy Policy
	base   time.Time               // zero of the monotonic clock
	wall   func() time.Time        // wall clock; tests step it
	cur    atomic.Pointer[entry]   // value being served, nil: none; written under mu
	ctx    context.Context         // of every fetch
	cancel context.CancelCauseFunc // ends ctx at Stop
	wake   chan struct{}           // capacity 1: tells the loop to look again
	tasks  sync.WaitGroup          // loop and fetch; added to under mu while !stopped

	hits, waited atomic.Uint64 // calls of Token, by whether there was a good value

	mu       sync.Mutex
	flight   *flight       // fetch going on, nil: none
	dead     []string      // values seen failing, newest last, never served again
	forces   forceBudget   // force_refreshes of the last day
	err      error         // of the last fetch
	failures int           // in a row
	retry    time.Duration // while err != nil: no fetch before this
	pause    time.Duration // no early renewal before this
	warm     bool          // a value is wanted even if nobody asks
	skip     bool          // the cache is not read
	started  bool
	stopped  bool
	logged   time.Duration // when a failure was last logged

	saving sync.Mutex // held while the cache is written
}

// entry is a value as it is served: never changed once published.
type entry struct {
	Token
	end     time.Duration // the same end on the monotonic clock
	fetched time.Time     // zero: from the cache
	lead    time.Duration // renewed when less than this is left
}

// flight is one fetch and those who wait for it.
type flight struct {
	cause string
	done  chan struct{} // closed when value and err are set
	value string
	err   error
}

// New returns a Keeper that holds nothing yet.
func New(cfg Config) *Keeper {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{
		cfg:    cfg,
		policy: cfg.Policy.orDefault(),
		base:   time.Now(),
		wall:   func() time.Time { return time.Now().Round(0) },
		wake:   make(chan struct{}, 1),
		warm:   cfg.Eager,
	}
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	return k
}

// Start reads the cache and starts renewing. A cache that cannot be read is
// logged and treated as empty.
func (k *Keeper) Start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.started || k.stopped {
		return
	}
	k.started = true
	if k.cfg.Cache != nil && !k.skip && k.cur.Load() == nil {
		k.load()
	}
	k.tasks.Go(k.loop)
}

// TakeOver lets k go on where from is: with its good value, with what was seen
// failing and with the force_refreshes spent. k has not been started.
func (k *Keeper) TakeOver(from *Keeper) {
	if k == from {
		return
	}
	from.mu.Lock()
	e, dead, ago := from.good(), slices.Clone(from.dead), from.forces.ago(from.now())
	var left time.Duration
	if e != nil {
		left = from.left(e)
	}
	from.mu.Unlock()

	k.mu.Lock()
	defer k.mu.Unlock()
	if k.started {
		return
	}
	k.dead = dead
	k.forces = spent(ago, k.now())
	if left <= 0 {
		return
	}
	mine := k.newEntry(e.Value, left, k.policy.lead())
	mine.fetched = e.fetched
	k.cur.Store(mine)
	k.warm = true
}

// SkipCache makes Start read no cache: what is in it is of no use. It is
// written all the same. k has not been started.
func (k *Keeper) SkipCache() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.skip = true
}

// Stop ends the renewing and any fetch going on, and waits for both. A good
// value is still served afterwards; nothing is fetched any more.
func (k *Keeper) Stop() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.cancel(errStopped)
	k.tasks.Wait()
}

// Token returns a good value. It never waits while there is one; otherwise it
// joins or starts the one fetch and waits for it until ctx ends, which does not
// end the fetch. After a failed fetch it returns that failure at once until the
// next try is due.
func (k *Keeper) Token(ctx context.Context) (string, error) {
	if e := k.good(); e != nil {
		k.hits.Add(1)
		return e.Value, nil
	}
	k.mu.Lock()
	if e := k.good(); e != nil {
		k.mu.Unlock()
		k.hits.Add(1)
		return e.Value, nil
	}
	f, err := k.join("cold")
	k.mu.Unlock()
	k.waited.Add(1)
	if err != nil {
		return "", err
	}
	return k.await(ctx, f)
}

// Renew says that WeChat refused the value stale and returns another one: the
// one held if it is another already, else a new one. A value told of here is
// not served again. Waiting and errors are those of Token.
func (k *Keeper) Renew(ctx context.Context, stale string) (string, error) {
	k.mu.Lock()
	e := k.good()
	if e != nil && e.Value != stale {
		k.mu.Unlock()
		return e.Value, nil
	}
	k.bury(stale)
	f, err := k.join("stale")
	k.mu.Unlock()
	if err != nil {
		return "", err
	}
	return k.await(ctx, f)
}

// State reports how the keeper is doing.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{Err: k.err, Hits: k.hits.Load(), Waited: k.waited.Load()}
	e, now, wall := k.good(), k.now(), k.wall()
	if e != nil {
		s.Have, s.Expires, s.Fetched = true, e.Expires, e.fetched
	}
	if d, ok := k.untilDue(e, now); ok && k.started && !k.stopped {
		s.NextTry = wall.Add(max(d, 0))
	}
	return s
}

// now is the monotonic clock.
func (k *Keeper) now() time.Duration { return time.Since(k.base) }

// good returns the value held if it may be served now.
func (k *Keeper) good() *entry {
	if e := k.cur.Load(); e != nil && k.left(e) > 0 {
		return e
	}
	return nil
}

// left is what is left of e's life by the clock that is stricter: the wall
// clock may be set back, the monotonic one may stand still while the machine
// sleeps.
func (k *Keeper) left(e *entry) time.Duration {
	return min(e.Expires.Sub(k.wall()), e.end-k.now())
}

// newEntry makes an entry of a value that lives for life from now on.
func (k *Keeper) newEntry(value string, life, lead time.Duration) *entry {
	return &entry{
		Token: Token{Value: value, Expires: k.wall().Add(life)},
		end:   k.now() + life,
		lead:  lead,
	}
}

// bury remembers that value was seen failing. mu is held.
func (k *Keeper) bury(value string) {
	if e := k.cur.Load(); e != nil && e.Value == value {
		k.cur.Store(nil)
	}
	if value == "" || len(value) > maxValue || k.isDead(value) {
		return
	}
	if len(k.dead) == maxDead {
		k.dead = append(k.dead[:0], k.dead[1:]...)
	}
	k.dead = append(k.dead, value)
}

// isDead reports whether value was seen failing. mu is held.
func (k *Keeper) isDead(value string) bool {
	for _, d := range k.dead {
		if d == value {
			return true
		}
	}
	return false
}

// load takes over the cached value if it is still good. mu is held.
func (k *Keeper) load() {
	t, ok, err := k.cfg.Cache.Load()
	if err != nil {
		k.cfg.Log.Warn("token cache ignored", "kind", k.cfg.Name, "err", err)
		return
	}
	left := min(t.Expires.Sub(k.wall()), maxStored)
	if !ok || left <= 0 || t.Value == "" || len(t.Value) > maxValue || k.isDead(t.Value) {
		return
	}
	k.cur.Store(k.newEntry(t.Value, left, k.policy.lead()))
	k.warm = true
	k.cfg.Log.Info("token read from the cache", "kind", k.cfg.Name, "expires_in", left.Round(time.Second))
}

// loop renews until Stop.
func (k *Keeper) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		timer.Reset(k.step())
	}
}

// step starts a fetch if one is due, and returns when to look again.
func (k *Keeper) step() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil || k.stopped {
		return checkEvery // its end wakes the loop
	}
	e := k.good()
	d, ok := k.untilDue(e, k.now())
	switch {
	case !ok:
		return checkEvery
	case d > 0:
		return min(d, checkEvery)
	case e != nil:
		k.launch("early")
	default:
		k.launch("cold")
	}
	return checkEvery
}

// untilDue is how long until the loop fetches, given the good value e or nil;
// false: not before somebody asks. mu is held.
func (k *Keeper) untilDue(e *entry, now time.Duration) (time.Duration, bool) {
	var d time.Duration
	switch {
	case e != nil:
		left := k.left(e)
		d = max(left-e.lead, min(k.pause-now, left))
	case !k.warm:
		return 0, false
	}
	if k.err != nil {
		d = max(d, k.retry-now)
	}
	return d, true
}

// join returns the fetch to wait for, starting one if none is going on and none
// has failed too recently. mu is held.
func (k *Keeper) join(cause string) (*flight, error) {
	switch {
	case k.stopped:
		return nil, fmt.Errorf("cannot get %s: %w", k.cfg.Name, errStopped)
	case k.flight != nil:
		return k.flight, nil
	case k.err != nil && k.now() < k.retry:
		return nil, k.failure()
	}
	return k.launch(cause), nil
}

// failure words the last failed fetch. mu is held.
func (k *Keeper) failure() error {
	in := max(k.retry-k.now(), 0)
	if in >= time.Second {
		in = in.Round(time.Second)
	} else {
		in = in.Round(time.Millisecond)
	}
	return fmt.Errorf("cannot get %s, next try in %s: %w", k.cfg.Name, in, k.err)
}

// await waits for f until ctx ends.
func (k *Keeper) await(ctx context.Context, f *flight) (string, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return "", fmt.Errorf("cannot wait for %s: %w", k.cfg.Name, context.Cause(ctx))
	}
}
