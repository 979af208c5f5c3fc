package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"wx-gateway/conf"
	"wx-gateway/gateway"
)

// serve runs the gateway until ctx ends; the exit code tells how that went.
func serve(ctx context.Context, getenv func(string) (string, bool), stderr io.Writer) int {
	defer paceHeap(getenv)()

	// Before the first read, so that no change in between is missed.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	cfg, warnings, err := load(getenv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	log, logs := newLogs(cfg.Log, stderr)
	defer logs.close()
	for _, w := range warnings {
		log.Warn("configuration: " + w.String())
	}
	log.Info("wx-gateway", "version", version, "built", buildTime)
	g, err := gateway.New(cfg, gateway.Options{
		Version: version, Built: buildTime,
		Log:  log,
		Load: func() (*conf.Config, []conf.Problem, error) { return load(getenv) },
	})
	var changed <-chan struct{}
	if err == nil {
		changed = watch(ctx, g.Files)
		err = g.Start()
	}
	if err != nil {
		logs.lines.flush()
		fmt.Fprintln(stderr, err)
		return 1
	}
	code := 0
	r := reloader{g: g, log: log, logs: logs}
	again := time.NewTicker(watchEvery)
	defer again.Stop()
loop:
	for {
		select {
		case <-ctx.Done():
			break loop
		case err := <-g.Failed():
			log.Error("a listener ended", "err", err)
			code = 1
			break loop
		case <-hup:
			r.reload("SIGHUP")
		case <-changed:
			r.reload("file changed")
		case <-again.C:
			r.retry()
		}
	}
	log.Info("stopping")
	if err := g.Stop(); err != nil {
		log.Error("cannot stop cleanly", "err", err)
		code = 1
	}
	return code
}

// reloader takes up changes of the configuration.
type reloader struct {
	g       *gateway.Gateway
	log     *slog.Logger
	logs    *logs
	refused string // why the last reload changed nothing; "" when it was taken
}

func (r *reloader) reload(why string) {
	r.refused = ""
	r.attempt(why)
}

// retry repeats a reload that was refused: what it lacked may be there now. A
// mounted secret can come after the file that names it, and nobody watches a
// file that only a refused configuration names.
func (r *reloader) retry() {
	if r.refused != "" {
		r.attempt("retry")
	}
}

func (r *reloader) attempt(why string) {
	err := r.g.Reload()
	if err == nil {
		r.refused = ""
		r.logs.set(r.g.Log())
		return
	}
	if err.Error() != r.refused { // told once
		r.log.Error(err.Error(), "why", why)
	}
	r.refused = err.Error()
}

// watchEvery is how often the files of the configuration are read for a
// change. Reading beats notifications here: mounted secrets change by a
// symlink swap far away from the file.
const watchEvery = 2 * time.Second

// watch tells when the content of the files has changed and stayed the same
// for one look, so that a file half written is not taken up.
func watch(ctx context.Context, files func() []string) <-chan struct{} {
	out := make(chan struct{}, 1)
	served := fingerprint(files()) // at once: what changes from here on is seen
	go func() {
		t := time.NewTicker(watchEvery)
		defer t.Stop()
		last := served
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			now := fingerprint(files())
			if now != served && now == last {
				served = now
				select {
				case out <- struct{}{}:
				default:
				}
			}
			last = now
		}
	}()
	return out
}

// fingerprint is a hash over the files' names and contents.
func fingerprint(files []string) [sha256.Size]byte {
	h := sha256.New()
	for _, f := range files {
		data, err := os.ReadFile(f)
		fmt.Fprintf(h, "%s %d %v\n", f, len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
