package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// TestHostileSlowness: whoever sends slowly, or nothing, holds a connection for
// the time that a request may take, and nobody else up.
func TestHostileSlowness(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	const (
		each = 40
		slow = "408 request too slow"
		head = "POST /wx HTTP/1.1\r\nHost: x\r\n"
	)
	target, body := w.build(w.push("/wx", sim.Fields{Content: "slow"}.XML()))
	signed := post(target, body)
	starts := map[string][]string{ // how a request begins, and the answers
		"":                                     nil,
		"P":                                    {slow},
		head + "X-Slow: ":                      {slow},
		head + "X-Slow: a\r\n":                 {slow},
		head + "Content-Length: 10000\r\n\r\n": {slow},
		head + "Transfer-Encoding: chunked\r\n\r\n3fff\r\n":                 {slow},
		head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: ":                 {slow},
		head + "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n":       {"100 ", slow},
		strings.Replace(signed, "Content-Length: ", "Content-Length: 1", 1): {slow},
		head + "Content-Length: 0\r\n\r\n" + head:                           {"403 the query lacks signature, timestamp or nonce", slow},
	}
	var all sync.WaitGroup
	for start, want := range starts {
		told := once(t) // forty of a kind
		for range each {
			all.Go(func() {
				got, err := w.drip(start)
				if err != nil || !slices.Equal(got, want) {
					told("dripping after %q: answered %q, %v; want %q", start, got, err, want)
				}
				w.told(got...)
			})
		}
	}
	if got := answer(t, w.push("/wx", sim.Fields{Content: "meanwhile"}.XML())); !strings.Contains(got, "re meanwhile") {
		t.Errorf("a push meanwhile heard %q", got)
	}
	all.Wait()
	if n := len(w.prey.calls()); n != 1 {
		t.Errorf("the backend got %q, want one push", w.prey.calls())
	}
	w.unhurt(hostileMost)
}

// once is t.Errorf for the first of many equal failures.
func once(t *testing.T) func(format string, args ...any) {
	var o sync.Once
	return func(format string, args ...any) { o.Do(func() { t.Errorf(format, args...) }) }
}

// drip sends start and then a byte now and then, until the gateway has closed
// the connection. After nothing comes nothing.
func (w *hostileWorld) drip(start string) ([]string, error) {
	c, err := w.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, start); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	var dripping sync.WaitGroup
	if start != "" {
		dripping.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(300 * time.Millisecond):
					_, _ = io.WriteString(c, "a") // fails when it is closed, which the reader sees too
				}
			}
		})
	}
	got, err := answers(bufio.NewReader(c))
	close(ended)
	dripping.Wait()
	return got, err
}

// TestHostileSizes: what is too large is refused at the first sign of it, and a
// stranger's body before it takes memory.
func TestHostileSizes(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	const tooLarge = "413 body too large"
	target, _ := w.build(w.push("/wx", sim.Fields{Content: "large"}.XML()))
	head := func(target string, lines ...string) string {
		return "POST " + target + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	}
	length := func(n int) string { return fmt.Sprint("Content-Length: ", n) }
	const chunked = "Transfer-Encoding: chunked"
	chunks := func(n, size int) string { // n of them, and the size of one more
		return strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat("x", size)), n) + fmt.Sprintf("%x\r\n", size)
	}
	var attacks []attack
	add := func(name, request, want string) {
		attacks = append(attacks, attack{name, request, []string{want}})
	}
	add("a length", head(target, length(hostBody+1)), tooLarge)
	add("a length of exabytes", head(target, length(1<<62)), tooLarge)
	add("a length, asked for first", head(target, length(hostBody+1), "Expect: 100-continue"), "100 ")
	attacks[len(attacks)-1].want = []string{"100 ", tooLarge}
	add("one chunk", head(target, chunked)+fmt.Sprintf("%x\r\n", hostBody+1), tooLarge)
	add("a chunk of petabytes", head(target, chunked)+"fffffffffffff\r\n", tooLarge)
	add("many chunks", head(target, chunked)+chunks(hostBody>>12, 4096), tooLarge)
	add("tiny chunks", head(target, chunked)+chunks(hostBody>>4, 16), tooLarge)
	add("a length at a path that is none", head("/none", length(1<<20)), tooLarge)
	add("a length at a redirect-path", head("/login", length(1<<20)), tooLarge)
	add("headers", head(target, "Cookie: "+strings.Repeat("c", 16<<10)), "431 headers too large")
	add("a query", head(target+"&x="+strings.Repeat("x", 16<<10)), "431 headers too large")
	add("many headers", head(target, strings.Repeat("A: b\r\n", 3000)), "431 headers too large")
	w.attack(attacks)

	// Bodies within the limit, of nobody who has shown a signature.
	const many = 40
	part := strings.Repeat("x", 3<<20)
	attacks = nil
	forged := target + "&signature=0" // the first one counts
	forged = strings.Replace(forged, "signature=", "signature=0", 1)
	for i := range many {
		add(fmt.Sprint("a forged length ", i), head(forged, length(hostBody))+part, tooLarge)
		add(fmt.Sprint("forged chunks ", i), head(forged, chunked)+fmt.Sprintf("%x\r\n", hostBody)+part, tooLarge)
	}
	w.attack(attacks)
	w.forwardsNothing()
	w.unhurt(hostileMost)
}
