package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// The account of the tests.
const (
	appID         = "wx5d8f0a3b7c2e9146"
	appSecret     = "test-secret-0000000000000000000001"
	token         = "wxgwCorpusToken"
	aesKey        = "q7Rk2mX9vB4nT6yL8cJ1wE3uH5sG0dFaZxPoIiUyTrQ"
	backendSecret = "a-backend-secret-of-the-tests-0001"
	internalToken = "an-internal-token-of-the-tests-001"
)

// patience is how long a process may take for anything; tests fail then
// instead of hanging. It is much more than any of them needs, since the machine
// may be busy with other tests, or its disk slow.
const patience = 2 * time.Minute

// process is the program, running.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	out *output

	exited chan struct{} // closed when it has ended
}

// output is what a process has written so far, both streams.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // holds a token when something was written
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs the program with only the given variables.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(env, actAsProgram+"=1")
	return startCommand(t, cmd)
}

// startCommand runs any program; it is killed when the test ends.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: &output{more: make(chan struct{}, 1)}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// find waits until the output matches and returns the first group, or the match.
func (p *process) find(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for ended := false; ; {
		if m := re.FindStringSubmatch(p.out.String()); m != nil {
			return m[len(m)-1]
		}
		if ended {
			p.t.Fatalf("it ended without writing %s:\n%s", pattern, p.out)
		}
		select {
		case <-p.out.more:
		case <-p.exited:
			ended = true // look once more
		case <-late:
			p.t.Fatalf("it did not write %s:\n%s", pattern, p.out)
		}
	}
}

// url is where the gateway takes pushes, once it has started.
func (p *process) url() string {
	p.t.Helper()
	return "http://" + p.find(`msg=started listen=(\S+)`)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("it does not end:\n%s", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the gateway as an operator does.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Errorf("exit code %d after SIGTERM:\n%s", code, p.out)
	}
}

// ports are those that freePort has given.
var ports sync.Map

// freePort finds a port below those that the kernel gives to outgoing
// connections, so that it is still free when a process listens there, and
// again after each restart.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		if _, given := ports.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// platform is a simulated WeChat for the length of a test.
func platform(t *testing.T) (*sim.Platform, string) {
	t.Helper()
	p := sim.New(sim.Config{Accounts: []sim.Account{{AppID: appID, Secret: appSecret}}})
	base, err := p.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, base
}

// object is a piece of configuration.
type object = map[string]any

// configuration of one account on free ports.
func configuration(wechat, backend string) (conf, service object) {
	service = object{
		"name":               "main",
		"wx-params":          object{"token": token, "app-id": appID, "app-secret": appSecret, "aes-key": aesKey},
		"listen-endpoints":   object{"service-path": "/wx"},
		"require-encryption": true,
		"backend-secret":     backendSecret,
	}
	if backend != "" {
		service["msg-proxy-pass"] = backend
	}
	return object{
		"listen-host": "127.0.0.1", "listen-port": 0,
		"wx-api-base": wechat, "wx-open-base": wechat, "wx-mp-base": wechat,
		"internal":         object{"listen": "127.0.0.1:0", "token": internalToken},
		"common-endpoints": object{"health-check": "/health", "wx-user": "/user", "sign-jsapi": "/sign-jsapi"},
		"log":              object{"level": "debug"},
		"services":         []any{service},
	}, service
}

func writeConf(t *testing.T, name string, conf any) {
	t.Helper()
	b, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sealed is a push in 安全模式.
func sealed(url string, body []byte) sim.Push {
	return sim.Push{URL: url, Token: token, AppID: appID, AESKey: aesKey, Body: body}
}

// answer sends p and returns the reply as the user gets it.
func answer(t *testing.T, p sim.Push) string {
	t.Helper()
	r, err := p.Send(t.Context(), sim.WeChat())
	if err != nil {
		t.Fatal(err)
	}
	if r.Answer == nil {
		t.Fatalf("WeChat took no answer: %+v", r.Attempts)
	}
	return string(r.Answer.Opened)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("%s did not happen within %s", what, patience)
		}
	}
}
