package httpc

import (
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// conn is a connection and what its current exchange did. Only the goroutine
// of that exchange reads and writes; SetDeadline and Close may come from
// anywhere.
type conn struct {
	net.Conn
	reused bool  // has carried a request before
	sent   int64 // request bytes of this exchange
	got    int64 // response bytes of this exchange
	failed error // what ended the last Read or Write, io.EOF included

	ahead []byte  // read already, given out first
	dry   bool    // give out nothing beyond ahead
	short bool    // more was asked of a dry one
	first [1]byte // room for ahead of a connection that is waited on

	until     time.Time // the deadline that a Post has left; zero when it is another's
	idleSince time.Time // while in the pool
}

func (c *conn) begin() { c.sent, c.got, c.failed, c.ahead = 0, 0, nil, nil }

// errDry ends a read from a conn that is dry.
var errDry = errors.New("no more bytes yet")

func (c *conn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	if c.dry {
		c.short = true
		return 0, errDry
	}
	return c.receive(b)
}

func (c *conn) receive(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.got += int64(n)
	if err != nil {
		c.failed = err
	}
	return n, err
}

// exchanger is a connection that knows whether an answer came unasked: package
// socket's. TLS does not know: what lies unread may be a record of its own.
type exchanger interface {
	Exchange(out, in []byte) (written, read int, err error)
	Clean() bool
}

// unclean reports that an idle connection is known to be of no use: its server
// has hung up, or has said something that nobody asked for and that must not be
// taken for the answer to the next request.
func (c *conn) unclean() bool {
	x, ok := c.Conn.(exchanger)
	return ok && !x.Clean()
}

// exchange writes out and then reads once, if all of it was written; what went
// wrong is in failed, or comes again with the next call. A connection that is
// not clean has failed before it was used.
func (c *conn) exchange(out, in []byte) (written, read int) {
	x, ok := c.Conn.(exchanger)
	if !ok {
		written, err := c.Write(out)
		if err == nil {
			read, _ = c.receive(in)
		}
		return written, read
	}
	written, read, err := x.Exchange(out, in)
	c.sent += int64(written)
	c.got += int64(read)
	if err != nil {
		c.failed = err
	}
	return written, read
}

// await waits for the first byte of a response. Until it is there no buffer is
// needed: thousands of calls may wait for slow backends.
func (c *conn) await() error {
	if len(c.ahead) > 0 {
		return nil
	}
	n, err := c.receive(c.first[:])
	if n > 0 {
		c.ahead = c.first[:]
		return nil
	}
	return err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent += int64(n)
	if err != nil {
		c.failed = err
	}
	return n, err
}

var errBusy = errors.New("all connections are in use")

// pool keeps the idle connections and counts the busy ones.
type pool struct {
	maxConns int           // per target
	keep     time.Duration // an idle connection's time

	mu    sync.Mutex
	hosts map[target]*host
	timer *time.Timer // runs sweep; nil while nothing is idle
}

// host is in the pool while it is held or has an idle connection.
type host struct {
	at   target
	held int // by Routes and by calls of Do
	busy int
	idle []*conn // longest idle first
}

// hold returns the host of t, which stays the same until it is let go.
func (p *pool) hold(t target) *host {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[t]
	if h == nil {
		h = &host{at: t}
		if p.hosts == nil {
			p.hosts = map[target]*host{}
		}
		p.hosts[t] = h
	}
	h.held++
	return h
}

func (p *pool) letGo(h *host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.held--
	p.forget(h)
}

// forget removes h if nothing is left of it. p.mu is held.
func (p *pool) forget(h *host) {
	if h.held == 0 && len(h.idle) == 0 {
		delete(p.hosts, h.at)
	}
}

// take returns an idle connection to h, or nil when the caller has to make one.
// Either way a slot is taken until give.
func (p *pool) take(h *host, fresh bool, now time.Time) (*conn, error) {
	var surplus *conn
	defer func() { closeAll(surplus) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	// The newest first, so that a burst's extra connections go away.
	if n := len(h.idle); n > 0 && !fresh && now.Sub(h.idle[n-1].idleSince) < p.keep {
		cn := h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		h.busy++
		return cn, nil
	}
	if h.busy >= p.maxConns {
		return nil, errBusy
	}
	if h.busy+len(h.idle) >= p.maxConns { // make room for the fresh one
		surplus = h.idle[0]
		h.idle = slices.Delete(h.idle, 0, 1)
	}
	h.busy++
	return nil, nil
}

// give returns the slot, with the connection if it may be used again; it
// counts as idle from now on.
func (p *pool) give(h *host, cn *conn, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.busy--
	if cn != nil {
		cn.reused = true
		cn.idleSince = now
		h.idle = append(h.idle, cn)
		if p.timer == nil {
			p.timer = time.AfterFunc(p.keep, p.sweep)
		}
	}
}

// sweep closes what has been idle for too long and sets the timer for the next.
func (p *pool) sweep() {
	var old []*conn
	defer func() { closeAll(old...) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	next := time.Duration(-1)
	for _, h := range p.hosts {
		n := 0
		for n < len(h.idle) && now.Sub(h.idle[n].idleSince) >= p.keep {
			n++
		}
		old = append(old, h.idle[:n]...)
		h.idle = slices.Delete(h.idle, 0, n)
		if len(h.idle) > 0 {
			if left := p.keep - now.Sub(h.idle[0].idleSince); next < 0 || left < next {
				next = left
			}
		}
		p.forget(h)
	}
	if next < 0 {
		p.timer = nil
		return
	}
	p.timer.Reset(next)
}

func (p *pool) closeIdle() {
	var idle []*conn
	defer func() { closeAll(idle...) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hosts {
		idle = append(idle, h.idle...)
		h.idle = nil
		p.forget(h)
	}
	if p.timer != nil && p.timer.Stop() {
		p.timer = nil // otherwise sweep is about to see that nothing is idle
	}
}

// closeAll is called without the pool's lock: closing TLS writes a farewell.
func closeAll(conns ...*conn) {
	for _, cn := range conns {
		if cn != nil {
			cn.Close()
		}
	}
}
