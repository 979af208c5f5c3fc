package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// race is a set of entrants that are measured in turns, so that whatever else
// the machine does meets all of them.
type race struct {
	entrants []*entrant
	pairs    [][2]*entrant // to be compared with each other beside their bases
	undo     []func()
}

// enter adds proc, which then belongs to the race, under load over conns
// connections with pushes of lines, and warms it up.
func (r *race) enter(name string, proc *process, base *entrant, workers, conns int, lines ...line) (*entrant, error) {
	r.undo = append(r.undo, proc.stop)
	l, err := newLoad(proc.addr, lines, workers, conns)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.undo = append(r.undo, l.close)
	e := &entrant{name: name, proc: proc, load: l, base: base}
	r.entrants = append(r.entrants, e)
	// At once, since a connection that sends nothing after it was opened is soon closed.
	return e, e.warmUp()
}

// compare has the report show a beside b, if both take part.
func (r *race) compare(a, b string) {
	var pair [2]*entrant
	for _, e := range r.entrants {
		switch e.name {
		case a:
			pair[0] = e
		case b:
			pair[1] = e
		}
	}
	if pair[0] != nil && pair[1] != nil {
		r.pairs = append(r.pairs, pair)
	}
}

func (r *race) close() {
	for _, f := range slices.Backward(r.undo) {
		f()
	}
}

// run measures the entrants, each o.rounds times.
func (r *race) run(ctx context.Context, o options) error {
	for i := range o.rounds {
		// Each begins a round as often as any other.
		for _, e := range slices.Concat(r.entrants[i%len(r.entrants):], r.entrants[:i%len(r.entrants)]) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := e.turn(o.length); err != nil {
				return err
			}
		}
		r.tell(i)
	}
	return nil
}

// tell shows round i to who waits for the report.
func (r *race) tell(i int) {
	var said []string
	for _, e := range r.entrants {
		ratio := ""
		if e.base != nil {
			ratio = fmt.Sprintf(" (%.2f)", e.turns[i].rate/e.base.turns[i].rate)
		}
		said = append(said, fmt.Sprintf("%s %.0f%s", e.name, e.turns[i].rate, ratio))
	}
	fmt.Fprintf(os.Stderr, "round %d: %s; others used %.0f %%\n", i+1, strings.Join(said, "; "), 100*r.noise()[i])
}

// noise is how much others used of the processors in the worst turn of each round.
func (r *race) noise() []float64 {
	var all []float64
	for i := range r.entrants[0].turns {
		worst := 0.0
		for _, e := range r.entrants {
			worst = max(worst, e.turns[i].noise)
		}
		all = append(all, worst)
	}
	return all
}

// counted are the rounds that count.
func (r *race) counted() []int { return quieter(r.noise()) }

// quieter are the indices of the lower half of noise.
func quieter(noise []float64) []int {
	all := make([]int, len(noise))
	for i := range all {
		all[i] = i
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(noise[a], noise[b]) })
	return all[:(len(all)+1)/2]
}
