//go:build unix

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair is a wrapped connection and its peer.
func pair(t testing.TB) (c net.Conn, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c = Wrap(nc)
	t.Cleanup(func() { peer.Close(); c.Close() })
	return c, peer
}

// Everything that is written comes, however often either side has to wait.
func TestAllComes(t *testing.T) {
	c, peer := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	got := make(chan []byte, 1)
	go func() {
		all := make([]byte, len(sent))
		io.ReadFull(peer, all)
		got <- all
		peer.Write(all) // and back
		peer.(*net.TCPConn).CloseWrite()
	}()
	if n, err := c.Write(sent); n != len(sent) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	if all := <-got; !bytes.Equal(all, sent) {
		t.Error("the peer got something else")
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing = %d, %v", n, err)
	}
	back, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(back, sent) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", len(back), err, len(sent))
	}
}

// An Exchange brings the answer, whether it comes at once or later, and nothing
// that came before.
func TestExchange(t *testing.T) {
	c, peer := pair(t)
	in := make([]byte, 100)
	go func() {
		for n := range 2000 {
			if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
				return
			}
			if n%500 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			peer.Write([]byte("well?"))
		}
	}()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	for range 2000 {
		if written, n, err := c.(*conn).Exchange([]byte("hello"), in); written != 5 || string(in[:n]) != "well?" || err != nil {
			t.Fatalf("Exchange = %d, %q, %v", written, in[:n], err)
		}
	}
	if !c.(*conn).Clean() {
		t.Error("a connection is not clean on which all was asked for")
	}
	c.SetDeadline(time.Now().Add(-time.Second)) // of what it carried last
	if !c.(*conn).Clean() {
		t.Error("a connection is not clean whose deadline is over")
	}
	f := func(name string, do func(peer net.Conn)) {
		t.Helper()
		c, peer := pair(t)
		do(peer)
		for c.(*conn).Clean() { // until it has come
			time.Sleep(time.Millisecond)
		}
		if written, n, err := c.(*conn).Exchange([]byte("hello"), in); written != 0 || n != 0 || !errors.Is(err, errUnclean) {
			t.Errorf("%s: Exchange = %d, %d, %v", name, written, n, err)
		}
	}
	f("spoke unasked", func(peer net.Conn) { peer.Write([]byte("!!")) }) // Clean takes one
	f("hung up", func(peer net.Conn) { peer.Close() })
	f("reset", func(peer net.Conn) { peer.(*net.TCPConn).SetLinger(0); peer.Close() })

	// Of what a socket does not take at once the rest is the caller's.
	c, _ = pair(t)
	big := make([]byte, 64<<20)
	if written, n, err := c.(*conn).Exchange(big, in); written == 0 || written == len(big) || n != 0 || err != nil {
		t.Errorf("Exchange of too much = %d, %d, %v", written, n, err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Millisecond))
	if _, n, err := c.(*conn).Exchange(nil, in); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Exchange without an answer = %d, %v", n, err)
	}
}

// The errors are those of package net: callers tell them apart.
func TestErrors(t *testing.T) {
	one := make([]byte, 1)
	t.Run("end", func(t *testing.T) {
		c, peer := pair(t)
		peer.Close()
		if _, err := c.Read(one); err != io.EOF {
			t.Errorf("Read: %v", err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		c, peer := pair(t)
		peer.(*net.TCPConn).SetLinger(0)
		peer.Close()
		var op *net.OpError
		if _, err := c.Read(one); !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
			t.Errorf("Read: %v", err)
		}
		if _, err := c.Write(one); !errors.Is(err, syscall.EPIPE) || !errors.As(err, &op) || op.Op != "write" {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		c, _ := pair(t)
		c.SetDeadline(time.Now().Add(20 * time.Millisecond))
		var nerr net.Error
		if _, err := c.Read(one); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &nerr) || !nerr.Timeout() {
			t.Errorf("Read: %v", err)
		}
		var err error
		for b := make([]byte, 1<<20); err == nil; {
			_, err = c.Write(b)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		c, _ := pair(t)
		over := make(chan error)
		go func() {
			_, err := c.Read(one)
			over <- err
		}()
		c.Close()
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a Read under way: %v", err)
		}
		if _, err := c.Write(one); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
	})
}

// What was done before a write is done for whoever has read what it brought: the
// race detector is to see that as it does with the connections of package net.
func TestOrder(t *testing.T) {
	c, peer := pair(t)
	var told, heard int
	go func() {
		peer.Read(make([]byte, 1))
		heard = told
		peer.Write([]byte("x"))
	}()
	told = 1
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil || heard != 1 {
		t.Errorf("heard %d, %v", heard, err)
	}
}

// What is no TCP connection stays what it is.
func TestWrapOthers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Wrap(a) != a {
		t.Error("a pipe was wrapped")
	}
}

// BenchmarkEcho is a byte there and back, wrapped and not.
func BenchmarkEcho(b *testing.B) {
	for _, wrap := range []struct {
		name string
		of   func(net.Conn) net.Conn
	}{{"wrapped", func(c net.Conn) net.Conn { return c }}, {"plain", func(c net.Conn) net.Conn { return c.(*conn).Conn }}} {
		b.Run(wrap.name, func(b *testing.B) {
			c, peer := pair(b)
			c, peer = wrap.of(c), wrap.of(Wrap(peer))
			go io.Copy(peer, peer)
			one := make([]byte, 1)
			for b.Loop() {
				if _, err := c.Write(one); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
