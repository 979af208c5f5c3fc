package conf

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxProblems bounds each of the two lists, faults and warnings, so that a hostile or machine-made file
// cannot make more of them than anyone would read.
const maxProblems = 1000

// Problem is one fault or warning: where it is and how to mend it. It never holds a secret.
type Problem struct {
	Path    string // services[0].wx-params.aes-key; "line 3, column 7" for text that is no JSON; an environment variable's name
	Service string // name of the service that Path leads into, "" where it leads into none
	Text    string // what is wrong, and the mend
}

// String returns `path: text (service "name")`, without what there is none of.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Text
	}
	return named(p.Path+": "+p.Text, p.Service)
}

// named adds a service's name for people, who do not count services.
func named(s, service string) string {
	if service == "" {
		return s
	}
	return s + " (service " + quote(service) + ")"
}

// Faults is the error of a configuration that is refused: everything that is wrong with it at once.
type Faults struct{ List []Problem }

// Error returns the faults, one per line.
func (f *Faults) Error() string {
	var b strings.Builder
	for i, p := range f.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// problems collects up to maxProblems and counts the rest.
type problems struct {
	list    []Problem
	dropped int
}

func (p *problems) add(path, format string, args ...any) {
	if p.full() {
		p.dropped++
		return
	}
	p.list = append(p.list, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (p *problems) full() bool { return len(p.list) >= maxProblems }

// all returns the list, with a last line that says how many were left out.
func (p *problems) all() []Problem {
	if p.dropped == 0 {
		return p.list
	}
	return append(p.list, Problem{Text: fmt.Sprintf("and %d more of this sort", p.dropped)})
}

// quote shows a text of the file inside a problem.
func quote(s string) string { return strconv.Quote(shorten(s)) }

// shorten cuts a text of the file to a length that fits a line.
func shorten(s string) string {
	const maxRunes = 60
	if utf8.RuneCountInString(s) > maxRunes {
		s = string([]rune(s)[:maxRunes]) + "…"
	}
	return s
}
