//go:build !race

package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

const (
	heldPushes  = 5000
	heldFewest  = 600
	heldWorkers = 256
	heldMost    = 26 << 10 // bytes of the gateway's memory for each: 22 to 23 KB here, and what Go may add by starting goroutines with larger stacks

	// heldChild marks the process that plays WeChat and the backend.
	heldChild = "GATEWAY_TEST_HELD"
)

// TestHeldPushes measures what a push costs while it waits: 5,000 sealed ones
// are open at once, 256 of them in a backend that does not answer, the others
// in the line behind it. The clients and the backend are another process, so
// that what grows here is the gateway alone: its heap in use and its stacks,
// after a collection, before and while the pushes are held. What the kernel
// keeps for the sockets is not in it. It does not run in parallel with other
// tests, whose memory it would count. A machine that is too slow to have so many
// open within the 6 s that an attempt lasts is measured with fewer.
func TestHeldPushes(t *testing.T) {
	if os.Getenv(heldChild) != "" {
		playHeld()
		return
	}
	for pushes := heldPushes; ; pushes /= 2 {
		if pushes < heldFewest {
			t.Skip("this machine is too slow to hold many pushes at once")
		}
		if holdPushes(t, pushes) {
			return
		}
		t.Logf("too slow for %d pushes at once", pushes)
	}
}

// holdPushes measures with so many; false: the attempts ended before it was
// through.
func holdPushes(t *testing.T, pushes int) (inTime bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestHeldPushes$", "-test.timeout=60s")
	child.Stderr = os.Stderr
	orders, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Env = append(os.Environ(), heldChild+"=1")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		child.Process.Kill()
		child.Wait()
	}()
	said := bufio.NewScanner(out)
	hear := func(want string) string {
		t.Helper()
		said.Scan()
		rest, ok := strings.CutPrefix(said.Text(), want)
		if strings.HasPrefix(said.Text(), "SKIP") {
			t.Skip(said.Text())
		} else if !ok {
			t.Fatalf("the clients said %q, want %q", said.Text(), want)
		}
		return rest
	}

	backend := hear("http://")
	before := runtime.NumGoroutine()
	w := newWorld(t, set("msg-proxy-pass", "http://"+backend), set("workerNum", heldWorkers),
		set("user-info", "off"), set("late-reply", map[string]any{"hold-limit": 10_000}))
	line := w.g.shared.line("main", heldWorkers)
	inLine := func() bool {
		busy, waiting := line.Load()
		return busy == heldWorkers && waiting == pushes-heldWorkers
	}
	fmt.Fprintln(orders, w.g.PublicAddr())
	hear("ready") // one push has gone through, so that what is made once is made
	empty := memoryInUse()
	began := time.Now() // the first attempt ends 6 s later at the earliest
	late := func() bool { return time.Since(began) > 5900*time.Millisecond }
	fmt.Fprintln(orders, pushes)
	hear("pushed")
	eventually(t, "all pushes held", func() bool { return inLine() || late() })
	held := memoryInUse()
	all := inLine()
	if late() {
		w.stop()
		return false
	}
	if !all {
		t.Fatal("not all pushes were held while the memory was measured")
	}
	fmt.Fprintln(orders, "answer")
	said.Scan()
	switch answered := said.Text() == "answered"; {
	case !answered && late():
		w.stop()
		return false
	case !answered:
		t.Fatalf("the clients said %q, want the answers", said.Text())
	}
	n := int64(pushes)
	each := int64(held.heap+held.stack-empty.heap-empty.stack) / n
	t.Logf("%d held pushes: %d bytes each (heap %d, stacks %d), %d goroutines", pushes, each,
		(int64(held.heap)-int64(empty.heap))/n, (int64(held.stack)-int64(empty.stack))/n, held.goroutines)
	if each > heldMost {
		t.Errorf("a held push costs %d bytes, want at most %d", each, heldMost)
	}

	orders.Close()
	io.Copy(io.Discard, out)
	if err := child.Wait(); err != nil {
		t.Errorf("the clients ended with %v", err)
	}
	w.stop()
	w.platform.Close()
	w.backend.Close()
	// fasthttp's own may stay: a cleaner for each of the two listeners, which
	// sleeps out its 10 s, and the clock of the Date header.
	eventually(t, "every goroutine gone", func() bool { return runtime.NumGoroutine() <= before+3 })
	return true
}

type inUse struct {
	heap, stack uint64
	goroutines  int
}

// memoryInUse is what is left after the pools were emptied and the stacks shrunk.
func memoryInUse() inUse {
	for range 3 { // a pool lives through one collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return inUse{m.HeapInuse, m.StackInuse, runtime.NumGoroutine()}
}

// playHeld is the other process: a backend that answers nothing until it is
// told to, and connections that each push once.
func playHeld() {
	say := func(text string) { os.Stdout.WriteString(text + "\n") }
	release := make(chan struct{})
	var first sync.Once
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		warm := false
		first.Do(func() { warm = true })
		if !warm {
			<-release
		}
		rw.Write([]byte(`{"type":"text","msg":"answered"}`))
	}))
	defer backend.Close()
	say(backend.URL)
	orders := bufio.NewScanner(os.Stdin)
	orders.Scan()
	address := orders.Text()

	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	send := func(i int) bool {
		p := sim.Push{URL: "http://" + address + "/wx", Token: testToken, AppID: testAppID, AESKey: testKey,
			Body: sim.Fields{From: fmt.Sprintf("oHeld%d", i), Content: strings.Repeat("问", 50)}.XML()}
		url, body, err := p.Build()
		if err != nil {
			say("FAIL: " + err.Error())
			return false
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			say(fmt.Sprintf("SKIP: this machine does not give %d connections: %v", i, err))
			return false
		}
		conns = append(conns, c)
		_, query, _ := strings.Cut(url, "?")
		fmt.Fprintf(c, "POST /wx?%s HTTP/1.1\r\nHost: gateway\r\nUser-Agent: Mozilla/4.0\r\nAccept: */*\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", query, len(body), body)
		return true
	}
	answered := func(c net.Conn) bool {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return false
		}
		body, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK && bytes.Contains(body, []byte("<Encrypt>"))
	}

	if !send(0) || !answered(conns[0]) {
		say("FAIL: the first push was not answered")
		return
	}
	say("ready")
	orders.Scan()
	pushes, err := strconv.Atoi(orders.Text())
	if err != nil {
		say("FAIL: " + err.Error())
		return
	}
	for i := 1; i <= pushes; i++ {
		if !send(i) {
			return
		}
	}
	say("pushed")
	orders.Scan()
	close(release)
	for i, c := range conns[1:] {
		if !answered(c) {
			say(fmt.Sprintf("FAIL: push %d was not answered", i+1))
			return
		}
	}
	say("answered")
}
