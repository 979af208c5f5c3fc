//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
	"wx-gateway/gateway/store"
)

// The two accounts of these tests share their users' openids, so that nothing
// but the gateway keeps them apart.
const (
	testToken  = "wxgwCorpusToken"
	testKey    = "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ"
	testSecret = "test-secret-0000000000000000000001"
)

var appIDs = map[string]string{"a": "wx5d8f0a3b7c2e9146", "b": "wx0011223344556677"}

// TestProgram runs the real program, built once, through what may befall it.
func TestProgram(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wx-gateway")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the program: %v\n%s", err, out)
	}
	for name, test := range map[string]func(t *testing.T, path string){
		"crash": testCrash, "terminate": testTerminate, "torn queue": testTornQueue, "disk full": testDiskFull,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, path)
		})
	}
}

// program is a gateway in a process of its own, between a simulated WeChat and
// a backend of this process.
type program struct {
	t        *testing.T
	path     string // of the binary
	platform *sim.Platform
	backend  *moody
	conf     map[string]any
	file     string
	dataDir  string
	address  string
	logs     syncBuffer

	cmd    *exec.Cmd
	exited chan error // of cmd.Wait
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// tail is the end of what was written.
func (s *syncBuffer) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.b.Bytes()[max(0, s.b.Len()-4000):])
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newProgram writes the configuration; lateReply is that of each account.
func newProgram(t *testing.T, path string, lateReply map[string]map[string]any) *program {
	t.Helper()
	p := &program{t: t, path: path, platform: sim.New(sim.Config{}), backend: newMoody(t), dataDir: t.TempDir()}
	api, err := p.platform.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.platform.Close)
	port := freePort(t)
	p.address = "127.0.0.1:" + strconv.Itoa(port)
	var services []any
	for _, name := range []string{"a", "b"} {
		services = append(services, map[string]any{
			"name":             name,
			"wx-params":        map[string]any{"token": testToken, "app-id": appIDs[name], "app-secret": testSecret, "aes-key": testKey},
			"listen-endpoints": map[string]any{"service-path": "/" + name},
			"msg-proxy-pass":   p.backend.URL + "/" + name,
			"late-reply":       lateReply[name],
		})
	}
	p.conf = map[string]any{
		"listen-host": "127.0.0.1", "listen-port": port, "data-dir": p.dataDir, "dont-append-userinfo": true,
		"wx-api-base": api, "wx-open-base": api, "wx-mp-base": api, "services": services,
	}
	p.file = filepath.Join(t.TempDir(), "conf.json")
	text, err := json.Marshal(p.conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.cmd.Process.Kill()
			<-p.exited
		}
		sim.NoSecrets(t, []string{testToken, testKey, testSecret}, p.logs.String())
		if strings.Contains(p.logs.String(), "panic") {
			t.Errorf("a panic:\n%s", p.logs.tail())
		}
	})
	return p
}

// run starts the process and does not wait for anything.
func (p *program) run() {
	p.t.Helper()
	p.cmd = exec.Command(p.path)
	p.cmd.Env = append(os.Environ(), "CONF_FILE="+p.file)
	p.cmd.Stderr = &p.logs
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, exited := p.cmd, make(chan error, 1)
	p.exited = exited
	go func() { exited <- cmd.Wait() }()
}

// start runs the process and waits until it listens.
func (p *program) start() {
	p.t.Helper()
	p.run()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", p.address); err == nil {
			c.Close()
			return
		}
	}
	p.t.Fatalf("the gateway does not listen\n%s", p.logs.tail())
}

// end waits for the exit and returns its code, -1 for a signal.
func (p *program) end() int {
	p.t.Helper()
	select {
	case err := <-p.exited:
		p.cmd = nil
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			p.t.Fatal(err)
		}
		if failed != nil {
			return failed.ExitCode()
		}
		return 0
	case <-time.After(patience):
		p.t.Fatalf("the gateway did not end within %s\n%s", patience, p.logs.tail())
		return 0
	}
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the process as a power cut would.
func (p *program) kill() {
	p.t.Helper()
	if p.cmd.Process.Kill() != nil {
		p.t.Fatalf("the gateway ended by itself\n%s", p.logs.tail())
	}
	if code := p.end(); code != -1 {
		p.t.Fatalf("the gateway ended by itself with code %d\n%s", code, p.logs.tail())
	}
}

func (p *program) push(account string, body []byte) sim.Push {
	return sim.Push{URL: "http://" + p.address + "/" + account, Token: testToken, AppID: appIDs[account], AESKey: testKey, Body: body}
}

// send pushes once and returns what WeChat heard.
func (p *program) send(account string, body []byte) string {
	r, err := p.push(account, body).Send(context.Background(), sim.Schedule{Attempts: 1, Cut: 20 * time.Second})
	switch {
	case err != nil:
		return err.Error()
	case r.Answer == nil:
		return r.Attempts[0].Outcome + " " + strconv.Itoa(r.Attempts[0].Status)
	}
	return string(r.Answer.Opened)
}

// moody is a backend in a mood that changes.
type moody struct {
	*httptest.Server
	mu    sync.Mutex
	mood  mood
	took  map[string]acceptance // by text: the first
	calls map[string][]string
	wrong []string                 // calls for another account than they came for
	gates map[string]chan struct{} // by text: closed when it is released
}

// acceptance is a call that was answered with 200.
type acceptance struct {
	place int       // in the order of all, from 1
	began time.Time // when the call came
}

type mood int

const (
	well   mood = iota
	slow        // 100 ms
	hung        // no answer
	broken      // 500
	dead        // the connection closes
	async       // 202
)

func newMoody(t *testing.T) *moody {
	m := &moody{took: map[string]acceptance{}, calls: map[string][]string{}, gates: map[string]chan struct{}{}}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(func() {
		m.CloseClientConnections() // of those that hang
		m.Close()
	})
	return m
}

// serve answers a push whose text, or event key, begins with its account's
// name. One that ends with "on demand" is answered once it is released, one that
// ends with "anyway" whatever the mood.
func (m *moody) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var p struct{ Content, EventKey string }
	if err != nil || json.Unmarshal(body, &p) != nil {
		return
	}
	began := time.Now()
	text := p.Content + p.EventKey
	account, _, _ := strings.Cut(text, ":")
	m.mu.Lock()
	if !strings.HasPrefix(r.URL.Path, "/"+account+"/") || r.Header.Get("X-Wx-Appid") != appIDs[account] || r.Header.Get("X-Wx-Service") != account {
		m.wrong = append(m.wrong, r.URL.Path+" "+text)
	}
	m.calls[text] = append(m.calls[text], r.Header.Get("X-Wx-Attempt"))
	now := m.mood
	m.mu.Unlock()
	if strings.HasSuffix(text, "anyway") {
		now = well
	}
	switch now {
	case hung:
		select {
		case <-r.Context().Done():
		case <-time.After(30 * time.Second):
		}
		return
	case broken:
		http.Error(w, "no", http.StatusInternalServerError)
		return
	case dead:
		panic(http.ErrAbortHandler)
	case async:
		w.WriteHeader(http.StatusAccepted)
		return
	case slow:
		time.Sleep(100 * time.Millisecond)
	}
	if strings.HasSuffix(text, "on demand") {
		select {
		case <-m.released(text):
		case <-r.Context().Done():
			return
		}
	}
	m.mu.Lock()
	if _, again := m.took[text]; !again {
		m.took[text] = acceptance{len(m.took) + 1, began}
	}
	m.mu.Unlock()
	json.NewEncoder(w).Encode(map[string]string{"type": "text", "msg": "re " + text})
}

// released is closed when the answer to text may go.
func (m *moody) released(text string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gates[text] == nil {
		m.gates[text] = make(chan struct{})
	}
	return m.gates[text]
}

// release lets the answer to text go, once.
func (m *moody) release(text string) { close(m.released(text)) }

func (m *moody) set(now mood) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = now
}

// accepted tells of the first acceptance of text.
func (m *moody) accepted(text string) (acceptance, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.took[text]
	return a, ok
}

func (m *moody) has(text string) bool {
	_, ok := m.accepted(text)
	return ok
}

func (m *moody) callsOf(text string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls[text])
}

// sent is one push of the crash test and what WeChat heard.
type sent struct {
	text   string
	at     time.Time
	inline bool // it carried the backend's answer
}

var crashSeed = flag.Uint64("crash.seed", 0, "seed of the crash test's moments and moods; 0: a new one")

const (
	crashRounds  = 100
	crashFewest  = 40 // where those take longer than
	crashLongest = 2 * time.Minute
	crashUsers   = 4  // of each account
	crashEnough  = 80 // pushes told in either way, or the test proves little
)

// testCrash kills the real program at random moments under load, with a
// backend that comes and goes: whatever WeChat was told success for reaches
// the backend, in the order of each user, under the right account.
func testCrash(t *testing.T, path string) {
	rounds := crashRounds
	if testing.Short() {
		rounds = 10
	}
	seed := *crashSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-crash.seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newProgram(t, path, nil)

	stop := make(chan struct{})
	var load sync.WaitGroup
	histories := make([][]sent, 0, 2*crashUsers) // of each user of each account
	var mu sync.Mutex                            // guards histories
	told := &tellings{}
	for _, account := range []string{"a", "b"} {
		for user := range crashUsers {
			pause := rand.New(rand.NewPCG(seed, uint64(user)<<8|uint64(account[0])))
			load.Go(func() {
				history := p.load(account, fmt.Sprintf("oCrash%d", user), pause, told, stop)
				mu.Lock()
				defer mu.Unlock()
				histories = append(histories, history)
			})
		}
	}
	moods := []mood{well, well, well, slow, broken, dead}
	began := time.Now()
	for round := range rounds {
		if round >= crashFewest && time.Since(began) > crashLongest {
			t.Logf("this machine is slow: %d rounds", round)
			break
		}
		life := time.Duration(random.IntN(350)) * time.Millisecond
		p.backend.set(moods[random.IntN(len(moods))])
		if round%50 == 30 { // events are told success while their call goes on
			p.backend.set(hung)
			life = 6 * time.Second
		}
		if random.IntN(4) == 0 {
			p.run() // it may die before it listens
		} else {
			p.start()
		}
		first := life / time.Duration(1+random.IntN(3))
		time.Sleep(first)
		if life < time.Second {
			p.backend.set(moods[random.IntN(len(moods))])
		}
		time.Sleep(life - first)
		p.kill()
	}
	// However slow the machine, the load is to be answered in both ways.
	for range rounds {
		inline, success := told.inline.Load(), told.success.Load()
		if inline >= crashEnough && success >= 2*crashEnough {
			break
		}
		p.backend.set(broken)
		if inline < crashEnough {
			p.backend.set(well)
		}
		p.start()
		time.Sleep(time.Second)
		p.kill()
	}
	close(stop)
	load.Wait()
	p.backend.set(well)
	p.start()
	p.judge(histories)
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0\n%s", code, p.logs.tail())
	}
}

// tellings counts the pushes that WeChat took an answer to: the backend's, or
// success.
type tellings struct{ inline, success atomic.Int64 }

// load pushes for one user, one after the other, until stop.
func (p *program) load(account, user string, pause *rand.Rand, told *tellings, stop <-chan struct{}) []sent {
	var history []sent
	for n := 0; ; n++ {
		select {
		case <-stop:
			return history
		case <-time.After(time.Duration(5+pause.IntN(40)) * time.Millisecond):
		}
		text := fmt.Sprintf("%s:%s:%05d", account, user, n)
		f := sim.Fields{From: user, Content: text}
		if n%2 == 1 {
			f = sim.Fields{From: user, Event: "VIEW", EventKey: text}
		}
		r, err := p.push(account, f.XML()).Send(context.Background(), sim.Schedule{Attempts: 3, Cut: 5 * time.Second, OnClosed: 80 * time.Millisecond})
		if err != nil {
			p.t.Errorf("%s: %v", text, err)
			return history
		}
		if r.Answer == nil {
			continue // WeChat was promised nothing
		}
		one := sent{text: text, at: time.Now()}
		if r.Answer.Outcome != sim.OutcomeReply {
			told.success.Add(1)
		} else {
			told.inline.Add(1)
			one.inline = true
			if !strings.Contains(string(r.Answer.Opened), "re "+text) {
				p.t.Errorf("%s was answered with %s", text, r.Answer.Opened)
			}
		}
		history = append(history, one)
	}
}

// judge waits until every promise is kept and looks at the order.
func (p *program) judge(histories [][]sent) {
	p.t.Helper()
	told, inline, open := 0, 0, 0
	began := time.Now()
	for _, history := range histories {
		last := 0
		for _, one := range history {
			told++
			if one.inline {
				inline++
			}
			for !p.backend.has(one.text) {
				if time.Since(began) > 2*patience {
					p.t.Fatalf("%s was never delivered, though WeChat heard success; calls %v\n%s", one.text, p.backend.callsOf(one.text), p.logs.tail())
				}
				time.Sleep(10 * time.Millisecond)
			}
			got, _ := p.backend.accepted(one.text)
			if got.began.Before(one.at) {
				continue // not by redelivery: a live push waits for nobody
			}
			if one.inline {
				p.t.Errorf("%s was answered inline by nobody", one.text)
			}
			open++
			if got.place < last {
				p.t.Errorf("%s was delivered before the push before it", one.text)
			}
			last = got.place
		}
	}
	p.t.Logf("%d pushes told: %d answered inline, %d delivered after WeChat had heard success, the last of them %s after the backend was well",
		told, inline, open, time.Since(began).Round(10*time.Millisecond))
	if !testing.Short() && (inline < crashEnough || open < crashEnough) {
		p.t.Error("the load was one-sided: it proves little")
	}
	p.backend.mu.Lock()
	defer p.backend.mu.Unlock()
	for _, w := range p.backend.wrong {
		p.t.Errorf("delivered to the wrong account: %s", w)
	}
	for account, appID := range appIDs {
		for _, s := range p.platform.Sent(appID, "") {
			if !strings.Contains(string(s.JSON), `"re `+account+`:`) {
				p.t.Errorf("sent on account %s: %s", account, s.JSON)
			}
		}
	}
}

// TestTerminate: SIGTERM answers the open attempts, stores what is unfinished
// and exits with 0; the next start takes it up.
func testTerminate(t *testing.T, path string) {
	p := newProgram(t, path, map[string]map[string]any{"b": {"via": "pickup", "hold": false}})
	p.start()
	var wg sync.WaitGroup
	// expect pushes as WeChat does, so that a moment in which no attempt is
	// open, should this machine be that slow, is followed by the next attempt.
	expect := func(account, text, want string) (heard <-chan struct{}) {
		done := make(chan struct{})
		wg.Go(func() {
			t.Helper()
			defer close(done)
			r, err := p.push(account, sim.Fields{From: "oTerm", Content: text}.XML()).Send(context.Background(), sim.Schedule{Attempts: 3, Cut: 20 * time.Second})
			switch {
			case err != nil:
				t.Errorf("%s: %v", text, err)
			case r.Answer == nil || !strings.Contains(string(r.Answer.Opened), want):
				t.Errorf("%s: WeChat heard %+v, want %q", text, r.Attempts, want)
			case slices.ContainsFunc(r.Attempts, func(a sim.Attempt) bool { return a.Status > 299 }):
				t.Errorf("%s: an attempt was refused: %+v", text, r.Attempts)
			}
		})
		wait(t, "the call for "+text, func() bool { return len(p.backend.callsOf(text)) > 0 })
		return done
	}
	// An answer that waits to be picked up: it comes when WeChat has heard that
	// it will.
	ack := expect("b", "b:on demand", "继续")
	select {
	case <-ack:
	case <-time.After(patience):
		t.Fatal("no ack")
	}
	p.backend.release("b:on demand")
	wait(t, "an answer to be picked up", func() bool { return p.backend.has("b:on demand") })
	// An attempt that is held beyond 4.5 s, and shortly before it is that old
	// one whose backend hangs, one whose backend has answered 202, one that is
	// about to be answered.
	p.backend.set(hung)
	expect("a", "a:held", "success")
	beyond := time.After(4700 * time.Millisecond)
	time.Sleep(3 * time.Second)
	expect("a", "a:hung", "success")
	p.backend.set(async)
	expect("a", "a:later", "success")
	p.backend.set(well)
	expect("a", "a:answered on demand", "re a:answered")
	<-beyond

	began := time.Now()
	p.signal(syscall.SIGTERM)
	wait(t, "the stop", func() bool { return strings.Contains(p.logs.String(), "msg=stopping") })
	p.backend.release("a:answered on demand")
	wg.Wait()
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, p.logs.tail())
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the gateway took %s to stop", took)
	}

	states := p.stored()
	for text, want := range map[string]store.State{"a:held": store.Waiting, "a:hung": store.Waiting, "a:later": store.Async} {
		if states[text] != want {
			t.Errorf("%s is stored as %v, want %v; all: %v", text, states[text], want, states)
		}
	}
	if len(states) != 3 {
		t.Errorf("stored are %v, want three", states)
	}

	p.start()
	for _, text := range []string{"a:held", "a:hung"} {
		wait(t, text+" again", func() bool { return p.backend.has(text) })
		if calls := p.backend.callsOf(text); !slices.Equal(calls, []string{"1", "2"}) {
			t.Errorf("%s: attempts %v, want 1 and 2", text, calls)
		}
	}
	wait(t, "two late answers", func() bool { return len(p.platform.Sent(appIDs["a"], "oTerm")) == 2 })
	for i, text := range []string{"re a:held", "re a:hung"} { // in the order they came
		if got := string(p.platform.Sent(appIDs["a"], "oTerm")[i].JSON); !strings.Contains(got, text) {
			t.Errorf("late answer %d is %s, want %s", i, got, text)
		}
	}
	if got := p.send("b", sim.Fields{From: "oTerm", Content: "继续"}.XML()); !strings.Contains(got, "「b:on demand」\nre b:on demand") {
		t.Errorf("the word brought %q", got)
	}
	if calls := p.backend.callsOf("a:later"); len(calls) != 1 {
		t.Errorf("an async push was called again: %v", calls)
	}
}

// stored are the states of what lies in the queue, by text.
func (p *program) stored() map[string]store.State {
	p.t.Helper()
	s, err := store.OpenBolt(filepath.Join(p.dataDir, "queue.db"), store.BoltConfig{})
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	items, err := s.Queue().List(context.Background(), store.Filter{}, 0, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	states := map[string]store.State{}
	for _, it := range items {
		var rec struct {
			Push struct {
				Body struct{ Content, EventKey string } `json:"body"`
			} `json:"push"`
		}
		if err := json.Unmarshal(it.Data, &rec); err != nil {
			p.t.Fatal(err)
		}
		states[rec.Push.Body.Content+rec.Push.Body.EventKey] = it.State
	}
	return states
}

// TestTornQueue: a queue file that is not whole ends the start with a reason;
// nothing of it is deleted.
func testTornQueue(t *testing.T, path string) {
	// Not held: once so many calls have failed that the backend is left alone,
	// success takes its 4.5 s.
	p := newProgram(t, path, map[string]map[string]any{"a": {"hold": false}})
	p.backend.set(broken)
	p.start()
	for i := range 20 {
		if got := p.send("a", sim.Fields{Content: fmt.Sprintf("a:%d %s", i, strings.Repeat("x", 1500))}.XML()); got != "success" {
			t.Fatalf("WeChat heard %q", got)
		}
	}
	p.kill()
	file := filepath.Join(p.dataDir, "queue.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, torn []byte) {
		t.Helper()
		if err := os.WriteFile(file, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		var said syncBuffer
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, path)
		cmd.Env, cmd.Stderr = append(os.Environ(), "CONF_FILE="+p.file), &said
		err := cmd.Run()
		var failed *exec.ExitError
		if !errors.As(err, &failed) || failed.ExitCode() != 1 {
			t.Errorf("%s: the start ended with %v, want exit code 1\n%s", name, err, said.tail())
		}
		for _, part := range []string{"cannot open data-dir " + p.dataDir, "damaged"} {
			if !strings.Contains(said.String(), part) {
				t.Errorf("%s: the start said %q, want %q", name, said.tail(), part)
			}
		}
		if strings.Contains(said.String(), "goroutine ") {
			t.Errorf("%s: a stack trace:\n%s", name, said.tail())
		}
		if left, err := os.ReadFile(file); err != nil || !bytes.Equal(left, torn) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	f("cut in the middle of what is stored", whole[:5*os.Getpagesize()])
	f("less than a page", whole[:100])
	f("something else", []byte(strings.Repeat("this is no queue\n", 4000)))
	zeroed := bytes.Clone(whole)
	clear(zeroed[4*os.Getpagesize():])
	f("zeroes from the fifth page on", zeroed)

	// The whole file is taken up.
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	p.backend.set(well)
	p.start()
	for i := range 20 {
		text := fmt.Sprintf("a:%d %s", i, strings.Repeat("x", 1500))
		wait(t, text[:6]+" delivered", func() bool { return p.backend.has(text) })
	}
}
