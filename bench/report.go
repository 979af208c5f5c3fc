package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table is one table of the report.
type table struct {
	about string // a sentence before it
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// markdown writes t as README.md holds it.
func (t *table) markdown(out io.Writer) {
	fmt.Fprintf(out, "%s\n\n", t.about)
	fmt.Fprintf(out, "| | %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)+1))
	for _, row := range t.rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(out)
}

// text writes t for a terminal.
func (t *table) text(out io.Writer) {
	fmt.Fprintf(out, "%s\n\n", t.about)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\t%s\n", strings.Join(t.head, "\t"))
	for _, row := range t.rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	fmt.Fprintln(out)
}

// report gathers what the races showed.
type report struct {
	rates, compared, half, memory table
	noise                         []float64
	failed                        []string
}

func newReport(o options) *report {
	return &report{
		rates: table{about: fmt.Sprintf("At full load, %d connections:", o.conns),
			head: []string{"pushes/s", "ratio", "half of it", "by cpu", "cpu/push", "bare/s", "bare cpu", "load cpu"}},
		half: table{about: "At half of the rate of its median turn, gateway and bare proxy alike:",
			head: []string{"pushes/s", "p50", "p99", "bare p50", "bare p99"}},
		compared: table{about: "In pairs, the ratio to the line above:",
			head: []string{"pushes/s", "cpu/push", "load cpu", "ratio", "half of it", "by cpu"}},
		memory: table{about: "Memory of the gateway's process:",
			head: []string{"all connections open", "highest", "at the end", "pushes answered"}},
	}
}

// race adds what the closed loop showed.
func (rep *report) race(r *race) {
	rounds := r.counted()
	for _, i := range rounds {
		rep.noise = append(rep.noise, r.noise()[i])
	}
	for _, e := range r.entrants {
		if e.base == nil || e.base.name != bareName {
			continue
		}
		c := newComparison(e, e.base, rounds)
		cpu, _ := e.perPush(rounds)
		bareCPU, bareAll := e.base.perPush(rounds)
		rep.rates.add(e.name, perSecond(e.best()), c.ratio, c.half, c.byCPU, micro(cpu), perSecond(e.base.best()), micro(bareCPU), micro(bareAll-bareCPU))
	}
	for _, p := range r.pairs {
		c := newComparison(p[0], p[1], rounds)
		for _, e := range []*entrant{p[1], p[0]} {
			cpu, whole := e.perPush(rounds)
			row := []string{e.name, perSecond(e.best()), micro(cpu), micro(whole - cpu)}
			if e == p[0] {
				row = append(row, c.ratio, c.half, c.byCPU)
			} else {
				row = append(row, "", "", "")
			}
			rep.compared.add(row...)
		}
	}
}

// halves adds what the open loop showed.
func (rep *report) halves(all []*half) {
	for _, h := range all {
		rounds := quieter(h.noise)
		at := func(values []float64) string {
			return milli(time.Duration(median(pick(values, rounds))))
		}
		rep.half.add(h.name, perSecond(h.rate), at(h.own.p50), at(h.own.p99), at(h.bare.p50), at(h.bare.p99))
	}
}

// failures adds the pushes that were not answered as they should be.
func (rep *report) failures(r *race) {
	for _, e := range r.entrants {
		if e.failed > 0 {
			rep.failed = append(rep.failed, fmt.Sprintf("%s: %s pushes failed: %v", e.name, count(int(e.failed)), e.why))
		}
	}
}

// memories adds what the gateways hold.
func (rep *report) memories(r *race) error {
	for _, e := range r.entrants {
		m, err := e.proc.memory()
		if err != nil {
			return err
		}
		rep.memory.add(e.name, mega(e.opened.now), mega(m.highest), mega(m.now), count(int(e.sent)))
	}
	return nil
}

func (rep *report) write(out io.Writer, o options) {
	write := (*table).text
	if o.markdown {
		write = (*table).markdown
	}
	noise := ""
	if len(rep.noise) > 0 {
		noise = fmt.Sprintf(", of which other work used %.0f %%", 100*median(rep.noise))
	}
	command := strings.Join(append([]string{"go run ./bench"}, os.Args[1:]...), " ")
	fmt.Fprintf(out, "`%s` with %s on %s/%s, %d processors%s; %d rounds of %s.\n\n", command, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), noise, o.rounds, o.length)
	for _, t := range []*table{&rep.rates, &rep.half, &rep.compared, &rep.memory} {
		if len(t.rows) > 0 {
			write(t, out)
		}
	}
	for _, line := range rep.failed {
		fmt.Fprintln(out, line)
	}
}

// comparison is how one entrant does against another.
type comparison struct{ ratio, half, byCPU string }

func newComparison(e, base *entrant, rounds []int) comparison {
	all := e.ratios(base, rounds)
	_, own := e.perPush(rounds)
	_, other := base.perPush(rounds)
	return comparison{
		ratio: fmt.Sprintf("%.2f", median(all)),
		half:  fmt.Sprintf("%.2f-%.2f", quantile(all, 0.25), quantile(all, 0.75)),
		byCPU: fmt.Sprintf("%.2f", other.Seconds()/own.Seconds()),
	}
}

func perSecond(rate float64) string { return count(int(rate)) }
func micro(d time.Duration) string  { return fmt.Sprintf("%.1f µs", float64(d)/1e3) }
func milli(d time.Duration) string  { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
func mega(bytes int64) string       { return fmt.Sprintf("%d MB", bytes/1e6) }

// count writes n with a comma before every three digits.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
