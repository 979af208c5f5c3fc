package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestQuieter(t *testing.T) {
	if got := quieter([]float64{0.3, 0.1, 0.5, 0.2, 0.4}); !slices.Equal(got, []int{1, 3, 0}) {
		t.Errorf("quieter = %v", got)
	}
	if got := pick([]float64{1, 2, 3}, []int{2, 0}); !slices.Equal(got, []float64{3, 1}) {
		t.Errorf("pick = %v", got)
	}
}

// shown is the report on a race with two rounds, the second of which others
// have spoilt.
func shown(t *testing.T, markdown bool) string {
	t.Helper()
	bare := &entrant{name: bareName, turns: []turn{{sent: 40, rate: 40_000, cpu: 800, whole: 1600}, {sent: 1, rate: 1, noise: 0.9}}}
	own := &entrant{name: plainName, base: bare, turns: []turn{{sent: 20, rate: 20_000, cpu: 1000, whole: 1400}, {sent: 1, rate: 1, noise: 0.9}}}
	own.add(tally{failed: 3, why: errAnswer})
	o := options{conns: 64, rounds: 2, markdown: markdown}
	rep := newReport(o)
	r := &race{entrants: []*entrant{bare, own}, pairs: [][2]*entrant{{own, bare}}}
	rep.race(r)
	rep.failures(r)
	rep.halves([]*half{{entrant: own, rate: 10_000, noise: []float64{0}, own: latencies{[]float64{2e6}, []float64{3e6}}, bare: latencies{[]float64{1e6}, []float64{2e6}}}})
	rep.memory.add(plainName, mega(20e6), mega(30e6), mega(25e6), count(1000))
	var out strings.Builder
	rep.write(&out, o)
	return out.String()
}

func TestReport(t *testing.T) {
	text := shown(t, true)
	for _, want := range []string{
		"| plain push | 20,000 | 0.50 | 0.50-0.50 | 0.57 | 0.1 µs | 40,000 | 0.0 µs | 0.0 µs |",
		"| plain push | 10,000 | 2.00 ms | 3.00 ms | 1.00 ms | 2.00 ms |",
		"| bare proxy | 40,000 | 0.0 µs | 0.0 µs |  |  |  |\n| plain push | 20,000 |",
		"| plain push | 20 MB | 30 MB | 25 MB | 1,000 |",
		"plain push: 3 pushes failed: a push was not answered as it should be",
		"other work used 0 %",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if text := shown(t, false); !strings.Contains(text, "plain push   20,000     0.50") {
		t.Errorf("the report for a terminal:\n%s", text)
	}
}

// README.md holds the tables that the program writes today.
func TestREADMEHoldsTheTables(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(shown(t, true)) {
		if strings.HasPrefix(line, "| |") && !strings.Contains(string(readme), line) {
			t.Errorf("README.md lacks the table with %s", line)
		}
	}
}
