//go:build unix

package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// conn is a TCP connection whose reads and writes are those of this package.
// One goroutine at a time may read, and one may write.
type conn struct {
	net.Conn // nothing of *net.TCPConn that reads or writes in another way
	raw      syscall.RawConn
	in, out  transfer
	both     func(fd uintptr) bool // of Exchange
	clean    bool                  // of an Exchange: nothing had come before it
}

// transfer is a read or a write under way.
type transfer struct {
	try  func(fd uintptr) bool // made once for each connection
	left []byte
	n    int
	err  error
}

// Wrap returns c with reads and writes as of this package, if it is a TCP
// connection, and else as it is.
func Wrap(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	w := &conn{Conn: c, raw: raw}
	w.in.try, w.out.try, w.both = w.read, w.write, w.exchange
	return w
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return c.in.run(c.raw.Read, b, c.in.try)
}

func (c *conn) Write(b []byte) (int, error) {
	return c.out.run(c.raw.Write, b, c.out.try)
}

// errUnclean ends an Exchange on a connection whose peer has spoken, or hung
// up, without being spoken to. Nothing was written.
var errUnclean = errors.New("the peer spoke or hung up before it was spoken to")

// Exchange is a Write and then a Read of a connection whose peer speaks only
// when spoken to: what came before is no answer. Where the socket does not take
// all of out at once, or the write fails, it reads nothing; an error is that of
// the read.
func (c *conn) Exchange(out, in []byte) (written, read int, err error) {
	c.out.left, c.out.n, c.out.err, c.clean = out, 0, nil, false
	read, err = c.in.run(c.raw.Read, in, c.both)
	c.out.left = nil
	return c.out.n, read, err
}

// exchange writes what has not been written, else it is read. The wait for the
// answer has begun with RawConn.Read, before the write, so that it cannot come
// unnoticed in between; so the first look can be one before the write, which
// costs no more than the vain one after it would.
func (c *conn) exchange(fd uintptr) bool {
	t := &c.out
	if len(t.left) == 0 {
		return c.read(fd)
	}
	if !c.clean {
		if _, err := Read(fd, c.in.left); err != syscall.EAGAIN {
			c.in.err = errUnclean
			return true
		}
		c.clean = true
	}
	n, err := Write(fd, t.left)
	if err != nil {
		return true
	}
	t.n += n
	t.left = t.left[n:]
	return len(t.left) > 0
}

// Clean reports that nothing has come unasked, nor the end. A connection of
// which that is not true must not be used any more. Deadlines do not matter: the
// one in force may be of what it carried last.
func (c *conn) Clean() bool {
	var b [1]byte
	var err error
	if c.raw.Control(func(fd uintptr) { _, err = Read(fd, b[:]) }) != nil {
		return false
	}
	return err == syscall.EAGAIN
}

func (t *transfer) run(wait func(func(uintptr) bool) error, b []byte, try func(uintptr) bool) (int, error) {
	t.left, t.n, t.err = b, 0, nil
	err := wait(try)
	t.left = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

// read reads once; false waits until there is something to read.
func (c *conn) read(fd uintptr) bool {
	t := &c.in
	n, err := Read(fd, t.left)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		t.err = Failed(c, "read", err)
	case n == 0:
		t.err = io.EOF
	}
	t.n = n
	return true
}

// write writes all of it; false waits until the socket takes more.
func (c *conn) write(fd uintptr) bool {
	for t := &c.out; len(t.left) > 0; {
		n, err := Write(fd, t.left)
		switch {
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			t.err = Failed(c, "write", err)
			return true
		}
		t.n += n
		t.left = t.left[n:]
	}
	return true
}

// Failed is what package net makes of the errno of a call on c.
func Failed(c net.Conn, call string, errno error) error {
	return &net.OpError{Op: call, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(call, errno)}
}
