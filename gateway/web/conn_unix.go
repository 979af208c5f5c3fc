//go:build unix

package web

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"wx-gateway/gateway/socket"
)

// conn is a TCP connection of a server that holds no buffer while it waits for
// a request (fasthttp's ReduceMemoryUsage). For that the server reads the first
// byte alone, which would cost every request a system call of its own: conn
// reads as much as has come into a buffer that it borrows just then, and gives
// out the rest at the next read. Deadlines are set only when a read or a write
// has to wait: a request that is there at once costs neither a clock nor a timer.
//
// One goroutine at a time uses a conn, but for Close. Nothing else may set its
// deadlines.
type conn struct {
	net.Conn // nothing of *net.TCPConn that would read past rest
	raw      syscall.RawConn
	pull     func(fd uintptr) bool // c.receive, made once
	push     func(fd uintptr) bool // c.send, made once
	phase

	into []byte  // where a read goes
	from []byte  // what is left of a write
	n    int     // what either brought so far
	err  error   // how it ended
	rest []byte  // read ahead and not given out yet: part of room
	room *[]byte // borrowed from rooms while rest is not empty

	waited     bool      // this read has had to wait
	readForce  time.Time // the read deadline in force
	writeForce bool      // a write deadline is in force
}

// rooms are the buffers of reads; a push with its headers is smaller.
var rooms = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// limit gives a connection its limits.
func limit(c net.Conn, l *limits) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return &limited{c, phase{limits: l}}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return &limited{c, phase{limits: l}}
	}
	cn := &conn{Conn: tcp, raw: raw, phase: phase{limits: l}}
	cn.pull, cn.push = cn.receive, cn.send
	return cn
}

func (c *conn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.giveBack()
		}
		return n, nil
	}
	if len(b) == 0 {
		return 0, nil
	}
	c.into, c.n, c.err, c.waited = b, 0, nil, false
	err := c.raw.Read(c.pull)
	if err != nil && !c.waited && errors.Is(err, os.ErrDeadlineExceeded) {
		// The deadline of an earlier wait passed while the connection was busy.
		if err = c.setReadDeadline(time.Time{}); err == nil {
			err = c.raw.Read(c.pull)
		}
	}
	c.into = nil
	switch {
	case err != nil:
		return 0, err
	case c.err != nil:
		return 0, c.err
	}
	c.phase.read()
	if c.writeForce {
		c.writeForce = false
		return c.n, c.Conn.SetWriteDeadline(time.Time{})
	}
	return c.n, nil
}

// receive reads once; false waits until there is something to read.
func (c *conn) receive(fd uintptr) bool {
	b := c.into
	ahead := c.idle(len(b))
	if ahead {
		c.room = rooms.Get().(*[]byte)
		b = *c.room
	}
	n, err := socket.Read(fd, b)
	if ahead && n > 0 {
		c.into[0] = b[0]
		c.rest = b[1:n]
		n = 1
	}
	if len(c.rest) == 0 {
		c.giveBack()
	}
	switch {
	case err == syscall.EAGAIN:
		c.err = c.enforce()
		return c.err != nil
	case err != nil:
		c.err = socket.Failed(c, "read", err)
	case n == 0:
		c.err = io.EOF
	}
	c.n = n
	return true
}

// slack is the part of the idle limit by which a deadline in force may lie
// before the one that a connection between two requests would get: with
// thousands of them nearly every request would set a timer anew.
const slack = 12

// enforce puts the deadline of a read that has to wait in force.
func (c *conn) enforce() error {
	c.waited = true
	want := c.deadline(len(c.into))
	switch early := want.Sub(c.readForce); {
	case early == 0:
		return nil
	case c.idle(len(c.into)) && early > 0 && early <= c.limits.idle/slack:
		return nil
	}
	return c.setReadDeadline(want)
}

func (c *conn) setReadDeadline(t time.Time) error {
	c.readForce = t
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Write(b []byte) (int, error) {
	c.answered(b)
	c.from, c.n, c.err = b, 0, nil
	err := c.raw.Write(c.push)
	c.from = nil
	if err == nil {
		err = c.err
	}
	return c.n, err
}

// send writes as much as the socket takes; false waits until it takes more.
func (c *conn) send(fd uintptr) bool {
	for len(c.from) > 0 {
		n, err := socket.Write(fd, c.from)
		switch {
		case err == syscall.EAGAIN:
			if !c.writeForce {
				c.writeForce = true
				c.err = c.Conn.SetWriteDeadline(c.takenBy())
			}
			return c.err != nil
		case err != nil:
			c.err = socket.Failed(c, "write", err)
			return true
		}
		c.n += n
		c.from = c.from[n:]
	}
	return true
}

func (c *conn) giveBack() {
	if c.room != nil {
		rooms.Put(c.room)
		c.room, c.rest = nil, nil
	}
}

// SyscallConn lets PeerGone look into the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }
