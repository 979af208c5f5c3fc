// Command bench measures the running gateway against a bare fasthttp proxy:
// the same load, the same backend, in short turns of one run. Load and
// backend live in this process, each measured program in its own. README.md
// describes the method and holds the figures.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	var o options
	proxyTo := flag.String("proxy-to", "", "be the bare proxy to this address (used by bench itself)")
	listen := flag.String("listen", "", "address of the bare proxy")
	flag.IntVar(&o.conns, "conns", 64, "pushes under way at a time, and connections unless a line names more")
	flag.DurationVar(&o.length, "for", time.Second, "length of one turn, at most 3s")
	flag.IntVar(&o.rounds, "rounds", 15, "turns of each line")
	flag.StringVar(&o.program, "gateway", "./wx-gateway", "the program to measure")
	flag.StringVar(&o.only, "only", "", "measure only the lines whose name holds this")
	flag.Parse()
	if *proxyTo != "" {
		exit(bareProxy(*listen, *proxyTo))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		exit(err)
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// options are the flags.
type options struct {
	conns   int
	length  time.Duration
	rounds  int
	program string // the gateway
	only    string // part of the names of the lines to measure, "" for all
}

func (o *options) check() (err error) {
	// WeChat's repeats are known by the age of a push's timestamp, from 4 s on.
	if o.length <= 0 || o.length > 3*time.Second {
		return fmt.Errorf("-for %s: a turn takes up to 3s, since the pushes of a turn are signed before it; more -rounds measure longer", o.length)
	}
	if o.conns < 1 || o.rounds < 1 {
		return fmt.Errorf("-conns and -rounds must be at least 1")
	}
	o.program, err = filepath.Abs(o.program)
	return err
}

func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer w.close()
	var rep report
	for _, f := range []func(context.Context, *world, options) (*race, error){plainRace, sealedRace} {
		r, err := f(ctx, w, o)
		if err != nil {
			return err
		}
		if r != nil {
			err = r.run(ctx, o)
			rep.add(r)
			r.close()
		}
		if err != nil {
			return err
		}
	}
	return rep.write(os.Stdout, o)
}
