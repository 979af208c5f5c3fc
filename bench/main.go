// Command bench measures the running gateway against a bare fasthttp proxy:
// the same load, the same backend, one after the other in one run. Load and
// backend live in this process, the measured one in its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
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

// result is one measurement.
type result struct {
	rate     float64 // pushes a second
	p50, p99 time.Duration
	failed   int64
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

	fmt.Printf("%d connections, %s each, best of %d; GOMAXPROCS %d, %s\n", b.conns, b.length, b.rounds, runtime.GOMAXPROCS(0), runtime.Version())
	kinds := scenarios(platform)
	bare, err := b.bare(kinds[0])
	if err != nil {
		return err
	}
	print("bare proxy", bare, bare)
	for _, k := range kinds {
		if !strings.Contains(k.name, b.only) {
			continue
		}
		r, err := b.gateway(dir, k)
		if err != nil {
			return err
		}
		print(k.name, r, bare)
	}
	return nil
}

func print(name string, r, bare result) {
	note := ""
	if r.failed > 0 {
		note = fmt.Sprintf("  %d failed", r.failed)
	}
	fmt.Printf("%-34s %8.0f/s  ratio %.2f   p50 %8s  p99 %8s%s\n", name, r.rate, r.rate/bare.rate,
		r.p50.Round(time.Microsecond), r.p99.Round(time.Microsecond), note)
}

func (b bench) bare(k scenario) (result, error) {
	addr := freeAddr()
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	return b.measure(exec.Command(self, "-proxy-to", backendAddr, "-listen", addr), addr, k)
}

func (b bench) gateway(dir string, k scenario) (result, error) {
	addr := freeAddr()
	file := filepath.Join(dir, strings.ReplaceAll(k.name, " ", "-")+".json")
	if err := os.WriteFile(file, k.conf(addr, dir), 0o600); err != nil {
		return result{}, err
	}
	cmd := exec.Command(b.program)
	cmd.Env = append(os.Environ(), "CONF_FILE="+file)
	return b.measure(cmd, addr, k)
}

// measure runs cmd, loads it, and ends it.
func (b bench) measure(cmd *exec.Cmd, addr string, k scenario) (result, error) {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return result{}, fmt.Errorf("cannot start %s (make build first): %w", cmd.Path, err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGTERM) // an interrupt is ignored by what a shell has put into the background
	if err := waitFor(addr); err != nil {
		return result{}, err
	}
	var best result
	k.load(addr, b.conns, b.length/5) // warm up
	for range b.rounds {
		if r := k.load(addr, b.conns, b.length); r.rate > best.rate {
			best = r
		}
	}
	return best, nil
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

// load sends pushes over conns connections for length, each connection one
// after the other as WeChat does.
func (k scenario) load(addr string, conns int, length time.Duration) result {
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
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	if len(all) == 0 {
		return result{failed: failed.Load()}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return result{
		rate: float64(len(all)) / elapsed.Seconds(), failed: failed.Load(),
		p50: all[len(all)/2], p99: all[len(all)*99/100],
	}
}
