package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// What the accounts under attack differ in from the account of the tests.
const (
	twinAppID = "wx0f1e2d3c4b5a6978"
	otherKey  = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	hostBody  = 4 << 20 // max-body: what is refused for its shape may be large
)

// hostileWorld is the running program with accounts that are attacked, and a
// neighbour on it that must not notice.
type hostileWorld struct {
	*faultWorld
	prey *prey // backend of the accounts under attack

	mu      sync.Mutex
	reasons map[string]int // what attackers were told

	quiet    func() // ends the neighbour's pushes
	answered int    // of them
	acked    int    // told success instead, since the machine was busy
	slowest  time.Duration
}

// prey is a backend that nothing hostile may reach: it notes all that arrives.
type prey struct {
	*httptest.Server

	mu  sync.Mutex
	got []string // path and body
}

func newPrey(t *testing.T) *prey {
	p := &prey{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.got = append(p.got, r.URL.Path+" "+string(body))
		p.mu.Unlock()
		var push struct{ Content string }
		_ = json.Unmarshal(body, &push)
		_ = json.NewEncoder(w).Encode(map[string]string{"type": "text", "msg": "re " + push.Content})
	}))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// calls are what has arrived so far.
func (p *prey) calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// newHostileWorld starts the program with these accounts, and the pushes of a
// neighbour of theirs:
//
//	/wx     sealed pushes only; /login is its redirect-path
//	/mixed  sealed and plaintext ones
//	/open   no aes-key
//	/twin   token and aes-key of /wx, another app-id
func newHostileWorld(t *testing.T) *hostileWorld {
	t.Helper()
	w := &hostileWorld{prey: newPrey(t), reasons: map[string]int{}}
	w.faultWorld = newFaultWorld(t, func(f *faultWorld) {
		f.conf["max-body"] = hostBody
		f.conf["dont-append-userinfo"] = true
		var services []any
		add := func(name string, change func(service, params object)) {
			one := maps.Clone(f.service)
			params := maps.Clone(f.service["wx-params"].(object))
			delete(params, "app-secret") // nobody asks WeChat's API
			one["name"], one["wx-params"], one["msg-proxy-pass"] = name, params, w.prey.URL
			one["listen-endpoints"] = object{"service-path": "/" + name}
			change(one, params)
			services = append(services, one)
		}
		add("wx", func(s, _ object) {
			s["listen-endpoints"].(object)["redirect-path"], s["redirect-url"] = "/login", w.prey.URL
		})
		add("mixed", func(s, _ object) { s["require-encryption"] = false })
		add("open", func(s, p object) {
			delete(s, "require-encryption")
			delete(p, "aes-key")
		})
		add("twin", func(_, p object) { p["app-id"] = twinAppID })
		add("other", func(s, _ object) { s["msg-proxy-pass"] = f.backend.URL })
		f.conf["services"] = services
	})
	w.start()
	halt, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w.neighbour(halt)
	}()
	w.quiet = sync.OnceFunc(func() {
		close(halt)
		<-ended
	})
	t.Cleanup(w.quiet)
	return w
}

// neighbour pushes to the account beside those under attack until halt is
// closed. Its pushes are answered inline, but for a few that a machine busy with
// other tests may have kept for 4.5 s.
func (w *hostileWorld) neighbour(halt <-chan struct{}) {
	for i := 0; ; i++ {
		text, began := fmt.Sprint("neighbour", i), time.Now()
		switch got := w.heardAt("/other", sim.Fields{From: fmt.Sprint("oNext", i), Content: text}); got {
		case "re " + text:
			w.answered++
		case "success":
			w.acked++
		default:
			if w.t.Context().Err() == nil {
				w.t.Errorf("the neighbour's push %d heard %q, want the answer", i, got)
			}
			return
		}
		w.slowest = max(w.slowest, time.Since(began))
		select {
		case <-halt:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// push is one to the account at path, sealed where the account has a key.
func (w *hostileWorld) push(path string, body []byte) sim.Push {
	p := sealed(w.url+path, body)
	switch path {
	case "/open":
		p.Mode = sim.Plain
	case "/twin":
		p.AppID = twinAppID
	}
	return p
}

// build returns the parts of a push, to be tampered with.
func (w *hostileWorld) build(p sim.Push) (target, body string) {
	w.t.Helper()
	address, b, err := p.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(address, w.url), string(b)
}

// post is the request that carries body to target, more are further headers.
func post(target, body string, more ...string) string {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: gateway\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n", target, len(body))
	for _, m := range more {
		head += m + "\r\n"
	}
	return head + "\r\n" + body
}

// lastPost is a post that asks for the end of the connection.
func lastPost(target, body string) string { return post(target, body, "Connection: close") }

// exchange sends bytes as they are on a connection of their own and returns
// the answers, status and body of each, that came until the gateway closed it.
func (w *hostileWorld) exchange(request string) ([]string, error) {
	c, err := w.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	// What the gateway refuses early it does not read to the end.
	_, _ = io.WriteString(c, request)
	return answers(bufio.NewReader(c))
}

// dial opens a connection that lasts as long as a test is patient.
func (w *hostileWorld) dial() (net.Conn, error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

func answers(r *bufio.Reader) (all []string, err error) {
	for {
		// A reset ends a connection whose last bytes were not wanted.
		if _, err := r.Peek(1); err == io.EOF || len(all) > 0 && errors.Is(err, syscall.ECONNRESET) {
			return all, nil
		}
		one, err := oneAnswer(r)
		if err != nil {
			return all, err
		}
		all = append(all, one)
	}
}

// oneAnswer reads an answer: "403 bad signature". A reply is opened only so
// far as to tell that it is one.
func oneAnswer(r *bufio.Reader) (string, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(string(body), "<xml>") {
		body = []byte("a reply")
	}
	return strconv.Itoa(resp.StatusCode) + " " + string(body), nil
}

// attack is a request and what its sender is told.
type attack struct {
	name, request string
	want          []string // the answers on its connection
}

// attack sends all attacks, some at a time, and checks the answers.
func (w *hostileWorld) attack(attacks []attack) {
	w.t.Helper()
	const atOnce = 8
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, a := range attacks {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			got, err := w.exchange(a.request)
			if err != nil || !slices.Equal(got, a.want) {
				w.t.Errorf("%s: answered %q, %v; want %q", a.name, clipped(got), err, a.want)
			}
			w.told(got...)
		})
	}
	all.Wait()
}

func clipped(all []string) []string {
	for i, s := range all {
		all[i] = s[:min(len(s), 200)]
	}
	return all[:min(len(all), 5)]
}

// told notes answers.
func (w *hostileWorld) told(answers ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range answers {
		if status, reason, _ := strings.Cut(a, " "); status[0] == '4' {
			w.reasons[reason]++
		}
	}
}

// forwardsNothing checks that nothing has reached the backend of the accounts
// under attack.
func (w *hostileWorld) forwardsNothing() {
	w.t.Helper()
	for _, call := range w.prey.calls() {
		w.t.Errorf("the backend got %.200q", call)
	}
}

// unhurt checks, after the attacks, that they were counted, that memory has
// stayed within bounds, that every account works as ever, and that the program
// ends as it should.
func (w *hostileWorld) unhurt(most int) {
	w.t.Helper()
	w.quiet()
	if w.answered+w.acked == 0 || w.acked > max(2, w.answered/10) {
		w.t.Errorf("of the neighbour's pushes %d were answered, %d only acked", w.answered, w.acked)
	}
	for reason, n := range w.reasons {
		if got := w.metric("wxgw_refused_total", `reason="`+reason+`"`); got != float64(n) {
			w.t.Errorf("%q is counted %.0f times, was told %d times", reason, got, n)
		}
	}
	peak := w.memory("VmHWM")
	w.t.Logf("%d pushes of the neighbour, the slowest took %s; %d MiB at most", w.answered, w.slowest, peak>>20)
	if peak > most*raceCost {
		w.t.Errorf("the process took %d MiB, want at most %d", peak>>20, most*raceCost>>20)
	}
	before := len(w.prey.calls())
	paths := []string{"/wx", "/mixed", "/open", "/twin"}
	for _, path := range paths {
		text := "after" + path[1:]
		if got := answer(w.t, w.push(path, sim.Fields{Content: text}.XML())); !strings.Contains(got, "re "+text) {
			w.t.Errorf("%s: a good push afterwards heard %q", path, got)
		}
	}
	if n := len(w.prey.calls()) - before; n != len(paths) {
		w.t.Errorf("%d good pushes reached the backend %d times", len(paths), n)
	}
	w.p.stop()
	for _, trouble := range []string{"panic", "BUG"} {
		if strings.Contains(w.p.out.String(), trouble) {
			w.t.Errorf("%q stands in the log:\n%s", trouble, w.p.out)
		}
	}
}

// memory is a line of the process's status on Linux, in bytes; 0 elsewhere.
func (w *hostileWorld) memory(line string) int {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), line+":")
	text, _, _ := strings.Cut(rest, " kB")
	kb, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		w.t.Fatalf("%s of the process: %v", line, err)
	}
	return kb << 10
}
