// Package user knows who an openid is: user info as cgi-bin/user/info returns
// it, with the fields that backends rely on, cached, one call per openid at a
// time, and never waited for longer than a push can afford.
//
// It knows neither WeChat's HTTP API nor pushes: Config names a function that
// fetches.
//
//	d := user.New(user.Config{Fetch: client.UserInfo, Denied: isDenied})
//	defer d.Close()
//	d.Forget(openid)                 // a subscribe event: what is cached is old
//	info, err := d.Info(ctx, openid) // within a second, or an error
package user

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"wx-gateway/gateway/codec"
)

// Config of a Directory.
type Config struct {
	// Fetch asks WeChat. ctx ends after 5 s or at Close. It may be called for
	// several openids at once, never twice at once for one.
	Fetch func(ctx context.Context, openid string) (codec.RawMessage, error)

	// Denied reports whether err means that the account may not ask at all
	// (48001): then it is not asked again for an hour. nil: never.
	Denied func(err error) bool

	// TTL is how long an answer is kept. By default 10 minutes.
	TTL time.Duration

	// Max is how many answers are kept, fewer when they are large: an answer
	// counts once per 2 KiB, and one of more than 64 KiB is not kept. By
	// default 10,000, which is at most about 20 MiB.
	Max int

	// Timeout is how long Info waits. By default 1 s.
	Timeout time.Duration
}

// Limits.
const (
	fetchTimeout = 5 * time.Second
	deniedFor    = time.Hour
	maxFetches   = 64       // calls at once
	maxFlights   = 4096     // calls at once and in line
	maxOpenID    = 128      // bytes; WeChat's have 28
	maxKept      = 64 << 10 // bytes of an answer that is cached
	unit         = 2 << 10  // bytes that count as one entry
)

var (
	errClosed = errors.New("cannot look up user info: closed")
	errBusy   = errors.New("cannot look up user info: too many look-ups at once")
)

// Directory is the user info of one account's users. Its methods may be called
// at the same time.
type Directory struct {
	cfg    Config
	cache  atomic.Pointer[cache] // nil until the first info; written under mu
	slots  chan struct{}         // capacity maxFetches: held during Fetch
	ctx    context.Context       // of every Fetch
	cancel context.CancelFunc    // ends ctx at Close
	tasks  sync.WaitGroup        // flights; added to under mu while !closed

	mu          sync.Mutex
	flights     map[string]*flight // by openid: the call going on or in line
	count       int                // flights, those after others included
	deniedErr   error              // why the account may not ask; nil: never heard
	deniedUntil time.Time
	closed      bool
}

type cache = otter.Cache[string, codec.RawMessage]

// flight is one call for an openid and those who wait for it.
type flight struct {
	done chan struct{} // closed when info and err are set
	info codec.RawMessage
	err  error

	// Guarded by Directory.mu. A flight that Forget has made old still answers
	// those who came before, but fills no cache; who comes later waits for next,
	// which starts when this one has ended.
	old  bool
	next *flight
}

// New returns an empty Directory.
func New(cfg Config) *Directory {
	if cfg.TTL <= 0 {
		cfg.TTL = 10 * time.Minute
	}
	if cfg.Max <= 0 {
		cfg.Max = 10_000
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Second
	}
	d := &Directory{
		cfg:     cfg,
		slots:   make(chan struct{}, maxFetches),
		flights: make(map[string]*flight),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// keep puts info into the cache, which is made for the first: an empty one takes
// 16 KB, and most of an agency's accounts may never look anybody up. d.mu is held.
func (d *Directory) keep(openid string, info codec.RawMessage) {
	c := d.cache.Load()
	if c == nil {
		c = otter.Must(&otter.Options[string, codec.RawMessage]{
			MaximumWeight:    uint64(d.cfg.Max),
			Weigher:          weigh,
			ExpiryCalculator: otter.ExpiryWriting[string, codec.RawMessage](d.cfg.TTL),
			Clock:            newClock(),
			// Upkeep runs inside the call that caused it: nothing is left behind
			// at Close, and it is too little to be worth a goroutine.
			Executor: func(fn func()) { fn() },
		})
		d.cache.Store(c)
	}
	c.Set(openid, info)
}

// weigh counts info in units of memory.
func weigh(openid string, info codec.RawMessage) uint32 {
	return uint32((len(openid) + len(info) + unit - 1) / unit)
}

// clock is the cache's: monotonic, since a wall clock set back would keep
// entries alive.
type clock struct{ start time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) NowNano() int64 { return c.start.UnixNano() + int64(time.Since(c.start)) }

// Tick drives the clearing of expired entries; once a minute is enough, since
// the cache never shows them.
func (c clock) Tick(time.Duration) <-chan time.Time { return time.Tick(time.Minute) }

// Info returns the user info of openid as Fill makes it, waiting for it at most
// Config.Timeout or until ctx ends. A call that takes longer goes on and fills
// the cache. The result is shared and must not be changed.
func (d *Directory) Info(ctx context.Context, openid string) (codec.RawMessage, error) {
	if info, ok := d.Cached(openid); ok {
		return info, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.Timeout, fmt.Errorf("no answer within %s", d.cfg.Timeout))
	defer cancel()
	return d.lookup(ctx, openid)
}

// Lookup is Info for callers who have more time: it waits until ctx ends, 5 s
// at most when the openid is neither in line nor just being forgotten.
func (d *Directory) Lookup(ctx context.Context, openid string) (codec.RawMessage, error) {
	if info, ok := d.Cached(openid); ok {
		return info, nil
	}
	return d.lookup(ctx, openid)
}

// Forget drops what is known of openid, for an event says that it changed. An
// answer to a call already under way is not cached, and not given to anybody who
// asks from now on.
func (d *Directory) Forget(openid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.cache.Load(); c != nil {
		c.Invalidate(openid)
	}
	if f := d.flights[openid]; f != nil {
		f.old = true
	}
}

// Close ends every call and waits for them. Who still waits gets an error, as
// does who asks later for what is not cached.
func (d *Directory) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.tasks.Wait()
	if c := d.cache.Load(); c != nil {
		c.StopAllGoroutines()
	}
}

// Cached returns the user info of openid if it is known, without asking. It is
// shared and must not be changed.
func (d *Directory) Cached(openid string) (codec.RawMessage, bool) {
	c := d.cache.Load()
	if c == nil {
		return nil, false
	}
	return c.GetIfPresent(openid)
}

// lookup joins or starts the call for openid and waits for it until ctx ends.
func (d *Directory) lookup(ctx context.Context, openid string) (codec.RawMessage, error) {
	if openid == "" || len(openid) > maxOpenID {
		return nil, fmt.Errorf("cannot look up user info: an openid of %d bytes", len(openid))
	}
	d.mu.Lock()
	info, ok := d.Cached(openid) // it may have come meanwhile
	if ok {
		d.mu.Unlock()
		return info, nil
	}
	f, err := d.join(openid)
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f.info, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("cannot look up user info: %w", context.Cause(ctx))
	}
}

// join returns the flight to wait for. mu is held.
func (d *Directory) join(openid string) (*flight, error) {
	if d.closed {
		return nil, errClosed
	}
	if err := d.denied(); err != nil {
		return nil, fmt.Errorf("cannot look up user info: %w", err)
	}
	f := d.flights[openid]
	switch {
	case f != nil && !f.old:
		return f, nil
	case f != nil && f.next != nil:
		return f.next, nil
	case d.count >= maxFlights:
		return nil, errBusy
	}
	d.count++
	next := &flight{done: make(chan struct{})}
	if f != nil {
		f.next = next
		return next, nil
	}
	d.flights[openid] = next
	d.tasks.Go(func() { d.fly(openid, next) })
	return next, nil
}

// denied returns the denial that stands, nil if none does. mu is held.
func (d *Directory) denied() error {
	left := time.Until(d.deniedUntil)
	if d.deniedErr == nil || left <= 0 {
		return nil
	}
	return fmt.Errorf("not asked again for %s: %w", left.Round(time.Second), d.deniedErr)
}

// fly makes the call of f and of those that follow it.
func (d *Directory) fly(openid string, f *flight) {
	for f != nil {
		info, err := d.fetch(openid)
		f = d.land(openid, f, info, err)
	}
}

// fetch waits in line and asks WeChat.
func (d *Directory) fetch(openid string) (codec.RawMessage, error) {
	ctx, cancel := context.WithTimeoutCause(d.ctx, fetchTimeout, fmt.Errorf("no answer within %s", fetchTimeout))
	defer cancel()
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// The line may have been long: the one before may have been denied.
	d.mu.Lock()
	err := d.denied()
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	raw, err := d.cfg.Fetch(ctx, openid)
	if err != nil {
		return nil, err
	}
	return Fill(raw)
}

// land ends f and returns the flight that follows it, nil if none does.
func (d *Directory) land(openid string, f *flight, info codec.RawMessage, err error) *flight {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		f.info = info
		if !f.old && len(info) <= maxKept {
			d.keep(strings.Clone(openid), info) // openid may be part of a whole message
		}
	case d.closed:
		f.err = errClosed
	default:
		f.err = fmt.Errorf("cannot look up user info: %w", err)
		if d.denied() == nil && d.cfg.Denied != nil && d.cfg.Denied(err) {
			d.deniedErr, d.deniedUntil = err, time.Now().Add(deniedFor)
		}
	}
	close(f.done)
	d.count--
	if f.next == nil {
		delete(d.flights, openid)
		return nil
	}
	d.flights[openid] = f.next
	return f.next
}
