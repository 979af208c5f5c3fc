// Package gateway puts the rooms of the house together: New builds everything
// from a validated configuration, Start opens the doors, Reload swaps what the
// configuration describes, Stop drains and closes.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/conf"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/meter"
	"wx-gateway/gateway/store"
	"wx-gateway/gateway/trace"
	"wx-gateway/gateway/web"
)

// Options are what a gateway needs besides its configuration.
type Options struct {
	Log *slog.Logger
	// Version and Built are what the metrics tell of the build.
	Version, Built string
	// Load reads the configuration again, for Reload.
	Load func() (*conf.Config, []conf.Problem, error)
}

// Gateway is one running process: any number of accounts behind one or two
// listeners.
type Gateway struct {
	// These live as long as the gateway; jobs, tokens and user info survive a
	// reload in them.
	opt      Options
	log      *slog.Logger
	meter    *meter.Meter
	tracer   *trace.Tracer // nil: there is no tracing
	store    storage
	engine   *delivery.Engine
	shared   *shared
	public   *web.Server
	internal *web.Server
	doors    []net.Listener
	serving  sync.WaitGroup
	stopping chan struct{} // closed: nobody waits for requests any more
	failed   chan error    // a server that ended by itself

	// site is what a reload swaps: routes and accounts as configured now.
	site   atomic.Pointer[site]
	reload sync.Mutex // one reload at a time; guards cfg
	cfg    *conf.Config
}

// storage is where pushes and answers are kept.
type storage interface {
	Queue() store.Queue
	Values() store.Values
	Durable() bool
	Healthy() error
	Close() error
}

// New builds a gateway; nothing is listened to or called yet.
func New(cfg *conf.Config, opt Options) (*Gateway, error) {
	g := &Gateway{opt: opt, log: opt.Log, meter: meter.New(opt.Version, opt.Built), cfg: cfg, stopping: make(chan struct{}), failed: make(chan error, 2)}
	st, err := g.openStore(cfg)
	if err != nil {
		return nil, err
	}
	g.store = st
	g.tracer = newTracer(cfg, opt)
	g.shared = newShared(g.log, g.meter)
	g.shared.tracer = g.tracer
	g.engine = delivery.New(delivery.Config{
		Log:     g.log,
		Service: g.service,
		Queue:   st.Queue(),
		Values:  st.Values(),
		Durable: st.Durable(),
		Count:   g.meter.Event,
	})
	first, err := newSite(g, cfg)
	if err != nil {
		st.Close()
		return nil, err
	}
	g.site.Store(first)
	g.meter.Gauges(g.gauges)
	// The servers outlive reloads, max-body does not.
	g.public = web.NewServer(g.servePublic, web.Config{Name: "public", Log: g.log, Refused: g.refused,
		BodyLimit: func(h *fasthttp.RequestHeader) int { return g.site.Load().bodyLimit(h) }})
	g.internal = web.NewServer(g.serveInternal, web.Config{Name: "internal", Log: g.log, Refused: g.refused,
		BodyLimit: func(*fasthttp.RequestHeader) int { return g.site.Load().maxBody }})
	return g, nil
}

// openStore opens data-dir, or a queue in memory where there is none.
func (g *Gateway) openStore(cfg *conf.Config) (storage, error) {
	if cfg.DataDir == "" {
		return store.NewMemory(store.MemoryConfig{Dropped: func(it store.Item) {
			g.meter.Event(it.Service, "dropped")
			g.log.Error("push dropped: the queue in memory is full; a data-dir would keep it on disk", "service", it.Service, "kind", it.Kind, "push", it.ID)
		}}), nil
	}
	b, err := store.OpenBolt(filepath.Join(cfg.DataDir, "queue.db"), store.BoltConfig{Log: g.log})
	if err != nil {
		return nil, fmt.Errorf("cannot open data-dir %s: %w", cfg.DataDir, err)
	}
	return b, nil
}

// Start opens the listeners and begins to serve. An address that cannot be
// bound is an error at once.
func (g *Gateway) Start() error {
	cfg := g.cfg
	main, err := net.Listen("tcp", net.JoinHostPort(cfg.ListenHost, strconv.Itoa(cfg.ListenPort)))
	if err != nil {
		return fmt.Errorf("cannot listen on listen-host, listen-port: %w", err)
	}
	g.doors = append(g.doors, main)
	if cfg.Internal.Listen != "" {
		own, err := net.Listen("tcp", cfg.Internal.Listen)
		if err != nil {
			main.Close()
			return fmt.Errorf("cannot listen on internal.listen: %w", err)
		}
		g.doors = append(g.doors, own)
	}
	if err := g.engine.Start(); err != nil {
		for _, d := range g.doors {
			d.Close()
		}
		return err
	}
	g.tracer.Run()
	g.site.Load().start(nil)
	for i, server := range []*web.Server{g.public, g.internal}[:len(g.doors)] {
		door := g.doors[i]
		g.serving.Go(func() {
			if err := server.Serve(door); err != nil {
				g.failed <- fmt.Errorf("cannot serve %s: %w", door.Addr(), err)
			}
		})
	}
	g.log.Info("started", "listen", g.PublicAddr(), "internal", g.InternalAddr(), "services", len(cfg.Services), "durable", g.store.Durable())
	return nil
}

// PublicAddr is the address WeChat's pushes arrive at, once started.
func (g *Gateway) PublicAddr() string { return g.addr(0) }

// InternalAddr is the address of internal.listen, "" without one.
func (g *Gateway) InternalAddr() string { return g.addr(1) }

func (g *Gateway) addr(i int) string {
	if i >= len(g.doors) {
		return ""
	}
	return g.doors[i].Addr().String()
}

// Failed delivers the error of a server that ended by itself.
func (g *Gateway) Failed() <-chan error { return g.failed }

// Reload reads the configuration again and swaps to it. A configuration with
// faults, or one that a running process cannot take up, changes nothing.
func (g *Gateway) Reload() error {
	g.reload.Lock()
	defer g.reload.Unlock()
	cfg, warnings, err := g.opt.Load()
	if err != nil {
		return fmt.Errorf("cannot reload; still serving the previous configuration: %w", err)
	}
	if keys := g.cfg.NeedsRestart(cfg); len(keys) > 0 {
		return fmt.Errorf("cannot reload; still serving the previous configuration: %v need a restart", keys)
	}
	next, err := newSite(g, cfg)
	if err != nil {
		return fmt.Errorf("cannot reload; still serving the previous configuration: %w", err)
	}
	for _, w := range warnings {
		g.log.Warn("configuration: " + w.String())
	}
	next.start(g.site.Load())
	prev := g.site.Swap(next) // nothing below can fail
	g.cfg = cfg
	g.tracer.SetHeaders(collectorHeaders(cfg))
	g.serving.Go(func() { g.retire(prev) })
	g.log.Info("reloaded", "services", len(cfg.Services))
	return nil
}

// Files are what a change of should lead to Reload.
func (g *Gateway) Files() []string {
	g.reload.Lock()
	defer g.reload.Unlock()
	return g.cfg.Files
}

// Log is the "log" of the configuration that is served, which the writer of
// Options.Log may have to take up after a Reload.
func (g *Gateway) Log() conf.Log {
	g.reload.Lock()
	defer g.reload.Unlock()
	return g.cfg.Log
}

// How long a stopping gateway waits: for open attempts (WeChat cuts them at
// 5 s), and for answers on their way out.
const (
	drainFor    = 15 * time.Second
	shutdownFor = 3 * time.Second
)

// Stop answers the open attempts, closes the doors, stores what is unfinished
// and ends everything that runs.
func (g *Gateway) Stop() error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	g.engine.Drain(ctx)
	down, cancel := context.WithTimeout(context.Background(), shutdownFor)
	defer cancel()
	var errs []error
	for _, s := range []*web.Server{g.public, g.internal} {
		if err := s.Shutdown(down); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, err)
		}
	}
	for _, d := range g.doors {
		d.Close() // a server that was not serving yet has not closed it
	}
	g.engine.Stop()
	close(g.stopping)
	g.serving.Wait()
	g.site.Load().stop()
	g.shared.close()
	g.tracer.Stop()
	errs = append(errs, g.store.Close())
	g.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
	return errors.Join(errs...)
}

// service finds an account by name for the engine.
func (g *Gateway) service(name string) (*delivery.Service, bool) {
	a, ok := g.site.Load().services[name]
	if !ok {
		return nil, false
	}
	return a, true
}

func (g *Gateway) servePublic(ctx *fasthttp.RequestCtx) error {
	s := g.enter()
	defer s.leave()
	return s.public.serve(ctx)
}

func (g *Gateway) serveInternal(ctx *fasthttp.RequestCtx) error {
	s := g.enter()
	defer s.leave()
	return s.internal.serve(ctx)
}

// enter takes part in the current site, so that a reload waits for this
// request before it closes anything of it.
func (g *Gateway) enter() *site {
	for {
		s := g.site.Load()
		s.inFlight.Add(1)
		if g.site.Load() == s {
			return s
		}
		s.leave() // swapped in between
	}
}
