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

// pair is a conn with those limits, and its peer.
func pair(t *testing.T, of limits) (c *conn, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if peer, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	nc, err := listener{l, &of}.Accept()
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
		c, peer := pair(t, usual)
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

// TestConnReadLimits: a read that has to wait ends when its time is over, which
// is another one before a request, in it and after it.
func TestConnReadLimits(t *testing.T) {
	const short, long = 20 * time.Millisecond, time.Hour
	one, many := make([]byte, 1), make([]byte, 10)
	read := func(c *conn, b []byte) {
		t.Helper()
		if _, err := c.Read(b); err != nil {
			t.Errorf("%v, want a byte", err)
		}
	}
	timesOut := func(when string, c *conn, b []byte) {
		t.Helper()
		var netErr net.Error
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &netErr) || !netErr.Timeout() {
			t.Errorf("%s: %v, want a timeout", when, err)
		}
	}
	c, _ := pair(t, limits{read: short, idle: long, write: long})
	timesOut("no first byte", c, one)

	c, peer := pair(t, limits{read: short, idle: long, write: long})
	peer.Write([]byte("x"))
	read(c, one)
	timesOut("a request that has begun", c, many)

	// Dripping gains no time: the limit is that of the whole request, also where
	// its body is asked for.
	drips := func(asked bool) {
		t.Helper()
		c, peer := pair(t, limits{read: 200 * time.Millisecond, idle: long, write: long})
		over := time.AfterFunc(5*time.Second, func() { c.Close() })
		defer over.Stop()
		dripping := make(chan struct{})
		go func() {
			defer close(dripping)
			for {
				if _, err := peer.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		var err error
		for err == nil {
			_, err = c.Read(one) // also one byte at a time, as the last of a body is read
			if err == nil && asked {
				_, err = c.Write([]byte(goOn))
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a dripping peer, asked to go on %v: %v, want a timeout", asked, err)
		}
		c.Close()
		<-dripping
	}
	drips(false)
	drips(true)

	c, peer = pair(t, limits{read: long, idle: short, write: long})
	peer.Write([]byte("x"))
	read(c, one)
	c.Write([]byte("answer"))
	timesOut("idle after an answer", c, one)
}

// TestConnPassedDeadline: the deadline of an earlier wait, which passes while
// the connection is busy, does not end a read of what is there.
func TestConnPassedDeadline(t *testing.T) {
	c, peer := pair(t, limits{read: time.Hour, idle: time.Hour, write: time.Hour})
	one := make([]byte, 1)
	for range 2 {
		if err := c.setReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		peer.Write([]byte("x"))
		if _, err := c.Read(one); err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("answer"))
	}
}

// TestConnWriteLimit: a peer that takes nothing holds a write that long, and
// one that comes back in time gets all of it and more.
func TestConnWriteLimit(t *testing.T) {
	c, _ := pair(t, limits{read: time.Hour, idle: time.Hour, write: 50 * time.Millisecond})
	var err error
	for b := make([]byte, 1<<20); err == nil; {
		_, err = c.Write(b)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want a timeout", err)
	}

	c, peer := pair(t, limits{read: time.Hour, idle: time.Hour, write: time.Hour})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(peer)
		got <- all
	}()
	for range 2 { // in several writes, as a long answer is
		if n, err := c.Write(sent); n != len(sent) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	c.Close()
	if all := <-got; !bytes.Equal(all, append(sent, sent...)) {
		t.Errorf("%d bytes came, not the %d that were sent", len(all), 2*len(sent))
	}
}

// TestConnWriteLimitOfAnAnswer: the limit is that of the whole answer, however
// many writes bring it, and the next one has its own.
func TestConnWriteLimitOfAnAnswer(t *testing.T) {
	c, peer := pair(t, limits{read: time.Hour, idle: time.Hour, write: time.Hour})
	big := make([]byte, 16<<20)
	take := func() {
		t.Helper()
		over := make(chan error)
		go func() {
			_, err := io.ReadFull(peer, make([]byte, len(big)))
			over <- err
		}()
		if _, err := c.Write(big); err != nil {
			t.Error(err)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
	take()
	first := c.taken
	take()
	if first.IsZero() || c.taken != first {
		t.Errorf("the answer was to be taken by %v, and then by %v", first, c.taken)
	}
	c.Conn.SetWriteDeadline(time.Now().Add(-time.Second)) // its time is over
	peer.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	take()
	if c.taken == first {
		t.Error("the next answer has the time of the one before")
	}
}

// TestConnEnds: a peer that goes ends the read, and so does Close.
func TestConnEnds(t *testing.T) {
	c, peer := pair(t, usual)
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	var op *net.OpError
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &op) {
		t.Errorf("after a reset: %v", err)
	}
	c, _ = pair(t, usual)
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
	c, peer := pair(t, usual)
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
