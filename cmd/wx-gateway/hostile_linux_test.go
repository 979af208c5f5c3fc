package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"wx-gateway/gateway/sim"
)

// TestHostileIdleness: ten thousand connections that have asked for something
// and stay, all at once, cost little and keep nobody out.
func TestHostileIdleness(t *testing.T) {
	t.Parallel()
	const (
		many    = 10_000
		dialers = 32
		spare   = 5000 // files that other tests have open meanwhile
		most    = 200 << 20
	)
	allowFiles(t, many+spare)
	w := newHostileWorld(t)
	before := w.memory("VmRSS")
	const request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
	ask := func(c net.Conn) (string, error) {
		if _, err := c.Write([]byte(request)); err != nil {
			return "", err
		}
		// Its own reader for each, small enough for ten thousand.
		return oneAnswer(bufio.NewReaderSize(c, 256))
	}
	conns := make([]net.Conn, many)
	failed := once(t)
	var all sync.WaitGroup
	for first := range dialers {
		all.Go(func() {
			for i := first; i < many; i += dialers {
				c, err := w.dial()
				if err != nil {
					failed("connection %d: %v", i, err)
					return
				}
				conns[i] = c
				if got, err := ask(c); err != nil || got != "200 OK\n" {
					failed("connection %d: answered %q, %v", i, got, err)
				}
			}
		})
	}
	all.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.(*net.TCPConn).SetLinger(0) // leaves no port behind
				c.Close()
			}
		}
	}()
	if t.Failed() {
		return
	}
	if n := w.openSockets(); n < many {
		t.Errorf("the gateway holds %d sockets, want at least %d", n, many)
	}
	t.Logf("%d idle connections take %d bytes each", many, (w.memory("VmRSS")-before)/many)
	for i := range 20 {
		text := fmt.Sprint("beside", i)
		if got := answer(t, w.push("/wx", sim.Fields{Content: text}.XML())); !strings.Contains(got, "re "+text) {
			t.Errorf("a push beside them heard %q", got)
		}
	}
	// The latest ones, so that a slow machine has not let them grow old.
	for _, c := range conns[many-100:] {
		if got, err := ask(c); err != nil || got != "200 OK\n" {
			t.Fatalf("an idle connection is answered %q, %v", got, err)
		}
	}
	w.unhurt(most)
}

// allowFiles raises the limit of open files for this process, and with it for
// the program that it starts.
func allowFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur, limit.Max = max(limit.Cur, n), max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("needs %d open files, and the limit cannot be raised: %v", n, err)
	}
}

// openSockets counts the gateway's.
func (w *hostileWorld) openSockets() int {
	w.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", w.p.cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if to, err := os.Readlink(dir + "/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
