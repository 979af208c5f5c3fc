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
	name      string
	rate      float64 // pushes a second
	own, base latencies
	noise     []float64
}

// latencies are of each turn.
type latencies struct{ p50, p99 []float64 } // nanoseconds

// halfLoad measures every entrant that has a base.
func (r *race) halfLoad(ctx context.Context, o options) ([]*half, error) {
	var all []*half
	for _, e := range r.entrants {
		if e.base != nil {
			all = append(all, &half{name: e.name, rate: median(e.rates(r.counted())) / 2})
		}
	}
	for i := range o.rounds {
		j := 0
		for _, e := range r.entrants {
			if e.base == nil {
				continue
			}
			h := all[j]
			j++
			if err := h.round(ctx, i, e, o.length); err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "half load %d: %s at %.0f: p50 %s, p99 %s; %s p50 %s, p99 %s; others used %.0f %%\n", i+1, e.name, h.rate,
				last(h.own.p50), last(h.own.p99), e.base.name, last(h.base.p50), last(h.base.p99), 100*h.noise[i])
		}
	}
	return all, nil
}

func last(nanoseconds []float64) time.Duration {
	return time.Duration(nanoseconds[len(nanoseconds)-1]).Round(time.Microsecond)
}

// round gives e and its base a turn each; who begins changes.
func (h *half) round(ctx context.Context, i int, e *entrant, length time.Duration) error {
	own := func() (float64, error) { return h.own.turn(ctx, e, h.rate, length) }
	base := func() (float64, error) { return h.base.turn(ctx, e.base, h.rate, length) }
	first, second := own, base
	if i%2 == 1 {
		first, second = base, own
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
