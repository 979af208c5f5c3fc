package main

import (
	"fmt"
	"time"
)

// entrant is one line of the report: a program under its load.
type entrant struct {
	name   string
	proc   *process
	load   *load
	base   *entrant // what its ratio is to, nil for one that others are compared with
	turns  []turn
	opened memory // after the warm-up
	tally         // of all turns
}

// turn is one measurement.
type turn struct {
	sent  int64
	rate  float64       // pushes a second
	cpu   time.Duration // processor time of the program
	whole time.Duration // the same with the load's and the backend's
	noise float64       // share of the processors that neither used, nor left idle
}

// lead is how long a turn runs before it counts: connections to the backend
// have gone idle while others had their turns.
const lead = 100 * time.Millisecond

// warmUp uses every connection and meets every user.
func (e *entrant) warmUp() (err error) {
	enough := int64(2 * max(users, len(e.load.conns)))
	e.load.prepare(int(enough))
	var t tally
	for i := 0; i < 20 && t.sent < enough; i++ {
		t.add(e.load.closed(300 * time.Millisecond))
	}
	if t.sent < enough {
		return fmt.Errorf("%s: %d pushes were answered and %d were not: %w", e.name, t.sent, t.failed, t.why)
	}
	e.opened, err = e.proc.memory()
	return err
}

// turn measures one turn of the closed loop.
func (e *entrant) turn(length time.Duration) error {
	e.load.prepare(e.likely(length + lead))
	e.load.closed(lead)
	before, err := e.proc.clocks()
	if err != nil {
		return err
	}
	t := e.load.closed(length)
	after, err := e.proc.clocks()
	if err != nil {
		return err
	}
	used := after.minus(before)
	e.turns = append(e.turns, turn{sent: t.sent, rate: t.rate(), cpu: used.program, whole: used.program + used.own, noise: used.noise()})
	e.add(t)
	return nil
}

// likely is how many pushes a turn may take.
func (e *entrant) likely(length time.Duration) int {
	rate := 60_000.0
	if len(e.turns) > 0 {
		rate = 1.3 * e.best()
	}
	return int(rate * length.Seconds())
}

// usual is the rate of the median turn.
func (e *entrant) usual() float64 {
	var rates []float64
	for _, t := range e.turns {
		rates = append(rates, t.rate)
	}
	return median(rates)
}

// best is the rate of the best turn.
func (e *entrant) best() float64 {
	best := 0.0
	for _, t := range e.turns {
		best = max(best, t.rate)
	}
	return best
}

// rates are those of the rounds given.
func (e *entrant) rates(rounds []int) []float64 {
	var all []float64
	for _, i := range rounds {
		all = append(all, e.turns[i].rate)
	}
	return all
}

// ratios compares e with other, turn by turn of the rounds given.
func (e *entrant) ratios(other *entrant, rounds []int) []float64 {
	all := e.rates(rounds)
	for i, rate := range other.rates(rounds) {
		all[i] /= rate
	}
	return all
}

// perPush is the processor time that a push took in the rounds given: of the
// program, and of all that take part.
func (e *entrant) perPush(rounds []int) (program, whole time.Duration) {
	var sum turn
	for _, i := range rounds {
		sum.sent += e.turns[i].sent
		sum.cpu += e.turns[i].cpu
		sum.whole += e.turns[i].whole
	}
	n := time.Duration(max(1, sum.sent))
	return sum.cpu / n, sum.whole / n
}
