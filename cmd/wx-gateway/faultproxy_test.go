package main

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// weather is what a faultProxy does to the connections through it.
type weather int

const (
	fair      weather = iota
	laggy             // every piece is 100 ms late, both ways
	refusing          // connections are reset as they come
	resetting         // reset once the request is there
	blackHole         // connections are taken, nothing comes back
	dripping          // the response comes a byte at a time, 1 ms each
	stalling          // the response stops in the middle
	cutting           // the response ends in the middle, in order
	babbling          // the response is no HTTP
	weathers          // how many there are
)

func (w weather) String() string {
	return [...]string{"fair", "laggy", "refusing", "resetting", "black hole", "dripping", "stalling", "cutting", "babbling"}[w]
}

// faultProxy carries TCP to a server and does to it what networks do.
type faultProxy struct {
	address string // of the proxy, host:port
	target  string
	ln      net.Listener
	ctx     context.Context
	work    sync.WaitGroup

	mu    sync.Mutex
	now   weather
	conns map[net.Conn]bool // of both sides
}

// newFaultProxy carries to target (host:port) until the test ends.
func newFaultProxy(t *testing.T, target string) *faultProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &faultProxy{address: ln.Addr().String(), target: target, ln: ln, ctx: ctx, conns: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		cancel()
		ln.Close()
		p.set(fair)
		p.work.Wait()
	})
	return p
}

// set changes the weather; connections under the old one break.
func (p *faultProxy) set(w weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = w
	for c := range p.conns {
		c.Close()
	}
}

func (p *faultProxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.carry(c) })
	}
}

// hold notes c, to be closed by set; false when it is too late for that.
func (p *faultProxy) hold(c net.Conn) (w weather, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return 0, false
	}
	p.conns[c] = true
	return p.now, true
}

func (p *faultProxy) release(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *faultProxy) carry(client net.Conn) {
	defer p.release(client)
	w, ok := p.hold(client)
	if !ok {
		return
	}
	reset := func() { client.(*net.TCPConn).SetLinger(0) } // what Close sends then is a reset
	switch w {
	case refusing:
		reset()
		return
	case resetting:
		client.Read(make([]byte, 64<<10))
		reset()
		return
	case blackHole:
		io.Copy(io.Discard, client)
		return
	case babbling:
		client.Read(make([]byte, 64<<10))
		client.Write([]byte("SSH-2.0-dropbear\r\n\x00\x01\x02\r\n\r\n"))
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		reset()
		return
	}
	defer p.release(server)
	if _, ok := p.hold(server); !ok {
		return
	}
	p.work.Go(func() {
		p.pipe(server, client, w == laggy)
		server.(*net.TCPConn).CloseWrite()
	})
	switch w {
	case dripping:
		p.drip(client, server)
	case stalling, cutting:
		p.half(client, server)
		if w == stalling {
			<-p.gone(client)
			return
		}
		client.(*net.TCPConn).CloseWrite() // half-closed: the other way stays open
		<-p.gone(client)
	default:
		p.pipe(client, server, w == laggy)
	}
}

// pipe copies until either side ends.
func (p *faultProxy) pipe(to, from net.Conn, slowly bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if slowly && !p.pause(100*time.Millisecond) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *faultProxy) drip(to, from net.Conn) {
	buf := make([]byte, 1)
	for {
		if _, err := from.Read(buf); err != nil {
			return
		}
		if _, err := to.Write(buf); err != nil || !p.pause(time.Millisecond) {
			return
		}
	}
}

// half passes all but the last 8 bytes of the first piece of a response.
func (p *faultProxy) half(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	n, _ := from.Read(buf)
	to.Write(buf[:max(0, n-8)])
}

// gone is closed once c is closed by set, or by the proxy's end, or 30 s later.
func (p *faultProxy) gone(c net.Conn) <-chan struct{} {
	done := make(chan struct{})
	p.work.Go(func() {
		defer close(done)
		for range 300 {
			p.mu.Lock()
			err := c.SetDeadline(time.Time{}) // fails on a closed connection
			p.mu.Unlock()
			if err != nil || !p.pause(100*time.Millisecond) {
				return
			}
		}
	})
	return done
}

// pause is false when the proxy has ended meanwhile.
func (p *faultProxy) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}
