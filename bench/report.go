package main

import (
	"fmt"
	"io"
	"runtime"
	"time"
)

// report gathers what the races showed.
type report struct{ rates []string }

func (rep *report) add(r *race) {
	for _, e := range r.others {
		ratios := e.ratios(r.bare)
		note := ""
		if e.failed > 0 {
			note = fmt.Sprintf("  %d failed: %v", e.failed, e.why)
		}
		us := time.Microsecond
		rep.rates = append(rep.rates, fmt.Sprintf("%-30s %9.0f %6.2f  %4.2f-%4.2f %6.2f %9s %9.0f %9s %9s%s", e.name, quantile(e.rates, 1),
			median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75),
			r.bare.wholePerPush().Seconds()/e.wholePerPush().Seconds(), e.cpuPerPush().Round(us/10), quantile(r.bare.rates, 1), r.bare.cpuPerPush().Round(us/10),
			(r.bare.wholePerPush()-r.bare.cpuPerPush()).Round(us/10), note))
	}
}

func (rep *report) write(out io.Writer, o options) error {
	fmt.Fprintf(out, "%d connections, %d rounds of %s; GOMAXPROCS %d, %s\n\n", o.conns, o.rounds, o.length, runtime.GOMAXPROCS(0), runtime.Version())
	fmt.Fprintf(out, "%-30s %9s %6s %10s %6s %9s %9s %9s %9s\n", "", "pushes/s", "ratio", "half of it", "by cpu", "cpu/push", "bare/s", "bare cpu", "load cpu")
	for _, line := range rep.rates {
		fmt.Fprintln(out, line)
	}
	return nil
}
