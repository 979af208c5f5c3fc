//go:build unix

package web

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is a TCP connection of a server that holds no buffer while it waits for
// a request (fasthttp's ReduceMemoryUsage). For that the server reads the first
// byte alone, which would cost every request a system call of its own: conn
// reads as much as has come into a buffer that it borrows just then, and gives
// out the rest at the next read. Deadlines are put in force only when a read
// has to wait.
//
// One goroutine at a time uses a conn, but for Close.
type conn struct {
	net.Conn // nothing of *net.TCPConn that would read past rest
	raw      syscall.RawConn
	pull     func(fd uintptr) bool // c.receive, made once

	into []byte  // where a read goes
	n    int     // what it brought
	err  error   // how it ended
	rest []byte  // read ahead and not given out yet: part of room
	room *[]byte // borrowed from rooms while rest is not empty

	readBy, readForce time.Time // the read deadline asked for, and the one in force
	writeForce        time.Time
}

// rooms are the buffers of reads; a push with its headers is smaller.
var rooms = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// thrifty wraps a TCP connection; any other is returned as it is.
func thrifty(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	c := &conn{Conn: tcp, raw: raw}
	c.pull = c.receive
	return c
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
	c.into, c.n, c.err = b, 0, nil
	// A deadline in force that has passed would end the read before it is tried.
	if early := c.readBy.Sub(c.readForce) > c.slack() || c.readBy.IsZero(); early && !c.readForce.IsZero() {
		if err := c.enforce(); err != nil {
			return 0, err
		}
	}
	err := c.raw.Read(c.pull)
	c.into = nil
	switch {
	case err != nil:
		return 0, err
	case c.err != nil:
		return 0, c.err
	}
	return c.n, nil
}

// receive reads once; false waits until there is something to read.
func (c *conn) receive(fd uintptr) bool {
	b := c.into
	ahead := len(b) == 1
	if ahead {
		c.room = rooms.Get().(*[]byte)
		b = *c.room
	}
	n, err := readAgain(int(fd), b)
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
		c.err = &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		c.err = io.EOF
	}
	c.n = max(n, 0)
	return true
}

func readAgain(fd int, b []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(fd, b); err != syscall.EINTR {
			return n, err
		}
	}
}

func (c *conn) giveBack() {
	if c.room != nil {
		rooms.Put(c.room)
		c.room, c.rest = nil, nil
	}
}

// slack is that of the read deadline: a first byte may be long in coming.
func (c *conn) slack() time.Duration {
	if len(c.into) == 1 {
		return longSlack
	}
	return slack
}

// enforce puts the read deadline in force.
func (c *conn) enforce() error {
	if c.readBy.Equal(c.readForce) || serves(c.readForce, c.readBy, c.slack()) {
		return nil
	}
	c.readForce = c.readBy
	return c.Conn.SetReadDeadline(c.readBy)
}

// SetReadDeadline takes effect when a read has to wait.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return nil
}

// SetWriteDeadline may leave one in force that is up to longSlack earlier.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if serves(c.writeForce, t, longSlack) {
		return nil
	}
	c.writeForce = t
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline takes effect at once.
func (c *conn) SetDeadline(t time.Time) error {
	c.readBy, c.readForce, c.writeForce = t, t, t
	return c.Conn.SetDeadline(t)
}

// SyscallConn lets PeerGone look into the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }
