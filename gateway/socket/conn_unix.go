//go:build unix

package socket

import (
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
	w.in.try, w.out.try = w.read, w.write
	return w
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return c.in.run(c.raw.Read, b)
}

func (c *conn) Write(b []byte) (int, error) {
	return c.out.run(c.raw.Write, b)
}

func (t *transfer) run(wait func(func(uintptr) bool) error, b []byte) (int, error) {
	t.left, t.n, t.err = b, 0, nil
	err := wait(t.try)
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
