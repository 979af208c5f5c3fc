package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// half is what an entrant and its base need for a push when both are sent half
// of what the entrant can do.
type half struct {
	*entrant
	rate      float64 // pushes a second
	own, bare latencies
	noise     []float64
}

// latencies are of each turn.
type latencies struct{ p50, p99 []float64 } // nanoseconds

// halfLoad measures every entrant that has a base.
func (r *race) halfLoad(ctx context.Context, o options) ([]*half, error) {
	var all []*half
	for _, e := range r.entrants {
		if e.base != nil {
			all = append(all, &half{entrant: e, rate: e.usual() / 2})
		}
	}
	for i := range o.rounds {
		for _, h := range all {
			if err := h.round(ctx, i, o.length); err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "half load %d: %s at %.0f: p50 %s, p99 %s; %s p50 %s, p99 %s; others used %.0f %%\n", i+1, h.name, h.rate,
				last(h.own.p50), last(h.own.p99), h.base.name, last(h.bare.p50), last(h.bare.p99), 100*h.noise[i])
		}
	}
	return all, nil
}

func last(nanoseconds []float64) time.Duration {
	return time.Duration(nanoseconds[len(nanoseconds)-1]).Round(time.Microsecond)
}

// round gives the entrant and its base a turn each; who begins changes.
func (h *half) round(ctx context.Context, i int, length time.Duration) error {
	own := func() (float64, error) { return h.own.turn(ctx, h.entrant, h.rate, length) }
	bare := func() (float64, error) { return h.bare.turn(ctx, h.base, h.rate, length) }
	first, second := own, bare
	if i%2 == 1 {
		first, second = bare, own
	}
	a, err := first()
	if err != nil {
		return err
	}
	b, err := second()
	h.noise = append(h.noise, max(a, b))
	return err
}

// turn measures one turn of the open loop.
func (l *latencies) turn(ctx context.Context, e *entrant, rate float64, length time.Duration) (noise float64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	e.load.prepare(int(rate*(length+lead).Seconds()) + 1)
	if _, _, err := e.load.open(newArrivals(rate, lead)); err != nil {
		return 0, fmt.Errorf("%s: %w", e.name, err)
	}
	before, err := e.proc.clocks()
	if err != nil {
		return 0, err
	}
	took, t, err := e.load.open(newArrivals(rate, length))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", e.name, err)
	}
	after, err := e.proc.clocks()
	e.add(t)
	l.p50 = append(l.p50, quantile(took, 0.5))
	l.p99 = append(l.p99, quantile(took, 0.99))
	return after.minus(before).noise(), err
}
