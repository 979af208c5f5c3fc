//go:build unix

package web

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// pair is a conn and its peer.
func pair(t *testing.T) (c *conn, peer net.Conn) {
	t.Helper()
	l, err := Listen("tcp", "127.0.0.1:0")
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
	t.Cleanup(func() { peer.Close(); nc.Close() })
	return nc.(*conn), peer
}

// TestConnRead: however reads are cut, they bring what the peer sent.
func TestConnRead(t *testing.T) {
	f := func(sizes ...int) {
		t.Helper()
		c, peer := pair(t)
		want := []byte(strings.Repeat("0123456789", 3000))
		go func() {
			peer.Write(want)
			peer.(*net.TCPConn).CloseWrite()
		}()
		var got []byte
		for i := 0; ; i++ {
			b := make([]byte, sizes[i%len(sizes)])
			n, err := c.Read(b)
			got = append(got, b[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 && len(b) > 0 {
				t.Fatal("a read brought nothing and no error")
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("reads of %v brought %d bytes, want %d", sizes, len(got), len(want))
		}
		if c.room != nil {
			t.Error("a buffer is still borrowed")
		}
	}
	f(1)
	f(1, 1<<14)
	f(1, 1, 7)
	f(2, 1)
	f(1<<14, 0, 1)
}

// TestConnDeadlines: a deadline holds for the reads that wait, also when it was
// moved while nothing waited.
func TestConnDeadlines(t *testing.T) {
	c, peer := pair(t)
	one := make([]byte, 1)
	soon := func() time.Time { return time.Now().Add(20 * time.Millisecond) }
	timesOut := func(when string) {
		t.Helper()
		if _, err := c.Read(one); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want a timeout", when, err)
		}
	}
	reads := func(when string) {
		t.Helper()
		peer.Write([]byte("x"))
		if _, err := c.Read(one); err != nil {
			t.Errorf("%s: %v, want a byte", when, err)
		}
	}
	c.SetReadDeadline(soon())
	timesOut("a first deadline")
	c.SetReadDeadline(time.Now().Add(time.Minute))
	reads("a passed deadline that was moved on")
	c.SetReadDeadline(soon())
	timesOut("a deadline that was moved back")
	c.SetReadDeadline(time.Time{})
	reads("a passed deadline that was lifted")
	c.SetReadDeadline(soon())
	c.SetDeadline(time.Time{})
	reads("all deadlines lifted")

	var netErr net.Error
	c.SetReadDeadline(soon())
	if _, err := c.Read(one); !errors.As(err, &netErr) || !netErr.Timeout() {
		t.Errorf("%v is no net.Error of a timeout", err)
	}
}

// TestConnWriteDeadline: a peer that takes nothing holds a write until then.
func TestConnWriteDeadline(t *testing.T) {
	c, _ := pair(t)
	c.SetWriteDeadline(time.Now().Add(time.Hour))
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	var err error
	for b := make([]byte, 1<<20); err == nil; {
		_, err = c.Write(b)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want a timeout", err)
	}
}

// TestConnEnds: a peer that goes ends the read, and so does Close.
func TestConnEnds(t *testing.T) {
	c, peer := pair(t)
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	var op *net.OpError
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &op) {
		t.Errorf("after a reset: %v", err)
	}
	c, _ = pair(t)
	done := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
}

// TestConnHoldsNoBuffer: what waits for a first byte has borrowed nothing.
func TestConnHoldsNoBuffer(t *testing.T) {
	c, peer := pair(t)
	waits := make(chan struct{})
	var once sync.Once
	pull := c.pull
	c.pull = func(fd uintptr) bool {
		done := pull(fd)
		if !done {
			if c.room != nil {
				t.Error("a buffer is held while the read waits")
			}
			once.Do(func() { close(waits) })
		}
		return done
	}
	go func() {
		<-waits
		peer.Write([]byte("hello"))
	}()
	br := bufio.NewReader(c)
	first := make([]byte, 1)
	if _, err := c.Read(first); err != nil || first[0] != 'h' {
		t.Fatalf("%q, %v", first, err)
	}
	if rest, err := br.Peek(4); string(rest) != "ello" || err != nil || c.room != nil {
		t.Errorf("%q, %v, buffer %v", rest, err, c.room != nil)
	}
}
