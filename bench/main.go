// Command bench measures the running gateway against a bare fasthttp proxy:
// the same load, the same backend, one after the other in one run. Load and
// backend live in this process, the measured one in its own.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

func main() {
	proxyTo := flag.String("proxy-to", "", "be the bare proxy to this address (used by bench itself)")
	listen := flag.String("listen", "", "address of the bare proxy")
	conns := flag.Int("conns", 64, "connections")
	length := flag.Duration("for", 5*time.Second, "length of one measurement")
	rounds := flag.Int("rounds", 3, "measurements of each kind; the best counts")
	program := flag.String("gateway", "./wx-gateway", "the program to measure")
	only := flag.String("only", "", "measure only the kinds whose name holds this")
	flag.Parse()
	if *proxyTo != "" {
		bareProxy(*listen, *proxyTo)
		return
	}
	b := bench{program: *program, only: *only, conns: *conns, length: *length, rounds: *rounds}
	if err := b.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bareProxy forwards every POST to one backend: what any gateway has to cost
// at the least.
func bareProxy(listen, to string) {
	client := &fasthttp.HostClient{Addr: to, MaxConns: 4096, NoDefaultUserAgentHeader: true}
	s := &fasthttp.Server{
		NoDefaultServerHeader: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(resp)
			req.Header.SetMethod("POST")
			req.SetRequestURI("http://" + to + "/msg/text")
			req.Header.SetContentType("application/json")
			req.SetBodyRaw(ctx.PostBody())
			if err := client.Do(req, resp); err != nil {
				ctx.Error("backend: "+err.Error(), fasthttp.StatusBadGateway)
				return
			}
			ctx.SetContentType("text/xml")
			ctx.SetBody(resp.Body())
		},
	}
	if err := s.ListenAndServe(listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// result is the best of several measurements.
type result struct {
	rate     float64 // pushes a second
	p50, p99 time.Duration
	failed   int64
	cpu      time.Duration // of the measured process, for each push of all rounds
}

// bench is one run: every measurement is made alike.
type bench struct {
	program string // the gateway
	only    string // part of the name of the kinds to measure, "" for all
	conns   int
	length  time.Duration
	rounds  int
}

func (b bench) run() error {
	dir, err := os.MkdirTemp("", "wx-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stop, err := backend()
	if err != nil {
		return err
	}
	defer stop()
	platform, err := startPlatform()
	if err != nil {
		return err
	}
	defer platform.close()

	fmt.Printf("%d connections, %d rounds of %s, the best counts; GOMAXPROCS %d, %s\n\n", b.conns, b.rounds, b.length, runtime.GOMAXPROCS(0), runtime.Version())
	fmt.Printf("%-30s %9s %6s %9s %9s %9s %9s %9s\n", "", "pushes/s", "ratio", "cpu/push", "p50", "p99", "bare/s", "bare cpu")
	for _, k := range scenarios(platform) {
		if !strings.Contains(k.name, b.only) {
			continue
		}
		own, bare, err := b.compare(dir, k)
		if err != nil {
			return err
		}
		note := ""
		if own.failed > 0 {
			note = fmt.Sprintf("  %d failed", own.failed)
		}
		us := time.Microsecond
		fmt.Printf("%-30s %9.0f %6.2f %9s %9s %9s %9.0f %9s%s\n", k.name, own.rate, own.rate/bare.rate,
			own.cpu.Round(us/10), own.p50.Round(us), own.p99.Round(us), bare.rate, bare.cpu.Round(us/10), note)
	}
	return nil
}

// compare measures the gateway and the bare proxy in turns, so that whatever
// else the machine does meets both.
func (b bench) compare(dir string, k scenario) (own, bare result, err error) {
	gateway, err := startGateway(b.program, dir, k)
	if err != nil {
		return own, bare, err
	}
	defer gateway.stop()
	proxy, err := startBare()
	if err != nil {
		return own, bare, err
	}
	defer proxy.stop()
	for _, m := range []*measured{gateway, proxy} {
		m.sent += k.load(m.addr, b.conns, b.length/5).sent // warm up
	}
	for range b.rounds {
		gateway.round(k, b.conns, b.length)
		proxy.round(k, b.conns, b.length)
	}
	if own, err = gateway.stop(); err != nil {
		return own, bare, err
	}
	bare, err = proxy.stop()
	return own, bare, err
}

// measured is a process under load.
type measured struct {
	cmd  *exec.Cmd
	addr string
	best result
	sent int64 // pushes answered in all
	over bool
}

func startBare() (*measured, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr := freeAddr()
	return start(exec.Command(self, "-proxy-to", backendAddr, "-listen", addr), addr)
}

func startGateway(program, dir string, k scenario) (*measured, error) {
	addr := freeAddr()
	file := filepath.Join(dir, strings.ReplaceAll(k.name, " ", "-")+".json")
	if err := os.WriteFile(file, k.conf(addr, dir), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "CONF_FILE="+file)
	return start(cmd, addr)
}

func start(cmd *exec.Cmd, addr string) (*measured, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s (make build first): %w", cmd.Path, err)
	}
	m := &measured{cmd: cmd, addr: addr}
	if err := waitFor(addr); err != nil {
		m.stop()
		return nil, fmt.Errorf("%w: %s", err, said.String())
	}
	return m, nil
}

func (m *measured) round(k scenario, conns int, length time.Duration) {
	l := k.load(m.addr, conns, length)
	m.sent += l.sent
	if l.rate > m.best.rate {
		m.best = l.result
	}
}

// stop ends the process and returns the best round. A second call does nothing.
func (m *measured) stop() (result, error) {
	if m.over {
		return m.best, nil
	}
	m.over = true
	// Not an interrupt, which is ignored by what a shell has put into the background.
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return m.best, err
	}
	m.cmd.Wait() // the bare proxy has no handler for the signal
	if m.sent > 0 {
		used := m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()
		m.best.cpu = used / time.Duration(m.sent)
	}
	return m.best, nil
}

func waitFor(addr string) error {
	for range 100 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("nothing listens on %s", addr)
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// loaded is one round of load.
type loaded struct {
	result
	sent int64 // pushes answered
}

// load sends pushes over conns connections for length, each connection one
// after the other as WeChat does.
func (k scenario) load(addr string, conns int, length time.Duration) loaded {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var failed atomic.Int64
	took := make([][]time.Duration, conns)
	var wg sync.WaitGroup
	began := time.Now()
	for c := range conns {
		wg.Go(func() {
			client := &fasthttp.HostClient{Addr: addr, MaxConns: 1, NoDefaultUserAgentHeader: true}
			req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			req.Header.SetMethod("POST")
			for ctx.Err() == nil {
				query, body := k.next()
				req.SetRequestURI("http://" + addr + "/wx?" + query)
				req.SetBodyRaw(body)
				sent := time.Now()
				if err := client.Do(req, resp); err != nil || resp.StatusCode() != 200 || len(resp.Body()) < 20 {
					failed.Add(1)
					continue
				}
				took[c] = append(took[c], time.Since(sent))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	all := slices.Concat(took...)
	l := loaded{sent: int64(len(all)), result: result{failed: failed.Load()}}
	if len(all) > 0 {
		slices.Sort(all)
		l.rate = float64(len(all)) / elapsed.Seconds()
		l.p50, l.p99 = all[len(all)/2], all[len(all)*99/100]
	}
	return l
}
