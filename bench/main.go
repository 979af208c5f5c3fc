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
	flag.IntVar(&o.rounds, "rounds", 11, "turns of each line")
	flag.BoolVar(&o.half, "half", true, "measure the times of answers at half load too")
	flag.IntVar(&o.accounts, "accounts", 1000, "accounts of the line that has many")
	flag.IntVar(&o.many, "many", 10_000, "connections of the lines that have many")
	flag.IntVar(&o.pushes, "pushes", 600_000, "pushes that the gateway with many connections has to answer before its memory counts: more than it remembers")
	flag.StringVar(&o.program, "gateway", "./wx-gateway", "the program to measure")
	flag.StringVar(&o.reference, "reference", "", "another program that takes the same configuration, to be measured beside it")
	flag.StringVar(&o.only, "only", "", "measure only the lines whose name holds this")
	flag.StringVar(&o.profile, "profile", "", "write a processor and a memory profile of each line to this folder")
	flag.BoolVar(&o.markdown, "markdown", false, "write the tables as README.md holds them")
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
	conns     int
	length    time.Duration // of a turn
	rounds    int
	half      bool
	accounts  int
	many      int // connections
	pushes    int
	program   string // the gateway
	reference string // "" for none
	profile   string // folder of the profiles, "" for none
	only      string // part of the names of the lines to measure, "" for all
	markdown  bool
}

func (o *options) check() (err error) {
	// WeChat's repeats are known by the age of a push's timestamp, from 4 s on.
	if o.length <= 0 || o.length > 3*time.Second {
		return fmt.Errorf("-for %s: a turn takes up to 3s, since the pushes of a turn are signed before it; more -rounds measure longer", o.length)
	}
	if o.conns < 1 || o.rounds < 1 || o.accounts < 1 || o.many < o.conns {
		return fmt.Errorf("-conns, -rounds and -accounts must be at least 1, -many at least -conns")
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	if o.reference != "" {
		if o.reference, err = filepath.Abs(o.reference); err != nil {
			return err
		}
	}
	o.program, err = filepath.Abs(o.program)
	return err
}

func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	w, err := newWorld(o.profile != "")
	if err != nil {
		return err
	}
	defer w.close()
	rep := newReport(o)
	if err := (runner{ctx: ctx, w: w, o: o}).all(rep); err != nil {
		return err
	}
	rep.write(os.Stdout, o)
	return nil
}
