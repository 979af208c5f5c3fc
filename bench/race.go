package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// race is a set of lines that are measured in turns under one kind of load,
// so that whatever else the machine does meets all of them.
type race struct {
	bare    *entrant // what the others are compared with
	others  []*entrant
	stopped []func()
}

// entrant is one line of the report: a program under its load.
type entrant struct {
	name  string
	proc  *process
	load  *load
	rates []float64     // pushes a second, of each turn
	cpu   time.Duration // of the program, in all turns
	whole time.Duration // the same with the load's and the backend's
	tally
}

func (r *race) close() {
	for _, stop := range r.stopped {
		stop()
	}
}

// enter adds proc as an entrant that is loaded with pushes of lines.
func (r *race) enter(name string, proc *process, o options, lines ...line) (*entrant, error) {
	l, err := newLoad(proc.addr, lines, o.conns, o.conns)
	if err != nil {
		return nil, err
	}
	r.stopped = append(r.stopped, l.close, proc.stop)
	return &entrant{name: name, proc: proc, load: l}, nil
}

// plainRace: plain pushes, in three configurations that differ in what the
// gateway does beside forwarding.
func plainRace(ctx context.Context, w *world, o options) (*race, error) {
	a := newAccount(0, false)
	return newRace(ctx, w, o, &plain{account: a, ids: &w.ids}, map[string]setup{
		"plain push":                   {accounts: []account{a}},
		"plain push, cached user info": {accounts: []account{a}, userInfo: true},
		"plain push, with a data-dir":  {accounts: []account{a}, dataDir: filepath.Join(w.dir, "data")},
	}, "plain push", "plain push, with a data-dir", "plain push, cached user info")
}

func sealedRace(ctx context.Context, w *world, o options) (*race, error) {
	a := newAccount(0, true)
	s, err := newSealed(a, &w.ids)
	if err != nil {
		return nil, err
	}
	return newRace(ctx, w, o, s, map[string]setup{"sealed push": {accounts: []account{a}}}, "sealed push")
}

// newRace starts the bare proxy and a gateway for each name that is to be
// measured. It is nil when there is none.
func newRace(ctx context.Context, w *world, o options, l line, setups map[string]setup, names ...string) (r *race, err error) {
	r = &race{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for _, name := range names {
		if !strings.Contains(name, o.only) {
			continue
		}
		proc, err := startGateway(ctx, w, o.program, setups[name])
		if err != nil {
			return nil, err
		}
		e, err := r.enter(name, proc, o, l)
		if err != nil {
			return nil, err
		}
		r.others = append(r.others, e)
	}
	if r.others == nil {
		return nil, nil
	}
	proc, err := startBare(ctx, w)
	if err != nil {
		return nil, err
	}
	r.bare, err = r.enter("bare proxy", proc, o, l)
	return r, err
}

func (r *race) run(ctx context.Context, o options) error {
	all := append([]*entrant{r.bare}, r.others...)
	for _, e := range all {
		if err := e.warmUp(); err != nil {
			return err
		}
	}
	for i := range o.rounds {
		for j := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			// Each begins as often as any other, and follows each other as often.
			if err := all[(i+j)%len(all)].turn(o.length); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "round %d: bare proxy %.0f", i+1, r.bare.rates[i])
		for _, e := range r.others {
			fmt.Fprintf(os.Stderr, ", %s %.0f (%.2f)", e.name, e.rates[i], e.rates[i]/r.bare.rates[i])
		}
		fmt.Fprintln(os.Stderr)
	}
	return nil
}

// warmUp uses every connection and meets every user.
func (e *entrant) warmUp() error {
	e.load.prepare(2 * users)
	var t tally
	for range 20 {
		t.add(e.load.closed(300 * time.Millisecond))
		if t.sent > int64(2*max(users, len(e.load.conns))) {
			e.rates = append(e.rates, t.rate())
			break
		}
	}
	e.rates = nil
	if t.sent == 0 {
		return fmt.Errorf("%s: no push was answered: %w", e.name, t.why)
	}
	return nil
}

// turn measures one turn. The first moments are not counted: connections to
// the backend have gone idle while others had their turns.
func (e *entrant) turn(length time.Duration) error {
	const lead = 100 * time.Millisecond
	e.load.prepare(e.likely(length + lead))
	e.load.closed(lead)
	before, err := e.proc.cpu()
	if err != nil {
		return err
	}
	mine := ownCPU()
	t := e.load.closed(length)
	mine = ownCPU() - mine
	after, err := e.proc.cpu()
	if err != nil {
		return err
	}
	e.cpu += after - before
	e.whole += after - before + mine
	e.rates = append(e.rates, t.rate())
	e.add(t)
	return nil
}

// likely is how many pushes a turn may take.
func (e *entrant) likely(length time.Duration) int {
	rate := 60_000.0
	if len(e.rates) > 0 {
		rate = 1.3 * quantile(e.rates, 1)
	}
	return int(rate * length.Seconds())
}

// cpuPerPush is the processor time of the entrant's process for a push.
func (e *entrant) cpuPerPush() time.Duration { return e.cpu / time.Duration(max(1, e.sent)) }

// wholePerPush is the processor time of all that a push takes part in.
func (e *entrant) wholePerPush() time.Duration { return e.whole / time.Duration(max(1, e.sent)) }

// ratios compares e with other, turn by turn.
func (e *entrant) ratios(other *entrant) []float64 {
	all := make([]float64, len(e.rates))
	for i, rate := range e.rates {
		all[i] = rate / other.rates[i]
	}
	return all
}
