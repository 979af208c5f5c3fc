package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	width  = 78 // of a heading
	indent = "      "
)

// rule is a heading over the whole width.
func rule(title string) string {
	// a Chinese character takes two columns
	columns := 0
	for _, r := range title {
		columns++
		if r > 0x2e80 {
			columns++
		}
	}
	return "━━ " + title + " " + strings.Repeat("━", max(2, width-columns-4))
}

func (s *stage) arrow(who, what string) { fmt.Fprintf(s.out, "  %s   %s\n", who, what) }

func (s *stage) note(text string) { fmt.Fprintf(s.out, "%s%s\n", indent, text) }

// xml prints a body, each child of <xml> on one line; what is sealed is shortened.
func (s *stage) xml(body []byte) {
	text := longBase64.ReplaceAllStringFunc(string(body), func(v string) string {
		return fmt.Sprintf("%s… (%d characters)", v[:24], len(v))
	})
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, "<xml>")
	if !ok {
		s.note(cut(text)) // success
		return
	}
	s.note("<xml>")
	for {
		rest = strings.TrimSpace(rest)
		name, _, ok := strings.Cut(strings.TrimPrefix(rest, "<"), ">")
		end := strings.Index(rest, "</"+name+">")
		if !ok || end < 0 {
			break
		}
		end += len("</" + name + ">")
		s.note("  " + strings.ReplaceAll(rest[:end], "\n", ""))
		rest = rest[end:]
	}
	s.note(rest)
}

var longBase64 = regexp.MustCompile(`[A-Za-z0-9+/=]{80,}`)

// shortURI cuts the long values of a query.
func shortURI(uri string) string {
	return longHex.ReplaceAllString(uri, "$1…")
}

var longHex = regexp.MustCompile(`([0-9a-f]{8})[0-9a-f]{32}\b`)

// json prints an object member by member, in the order it came, each on one line.
func (s *stage) json(body []byte) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		s.note(cut(string(body)))
		return
	}
	s.note("{")
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return
		}
		comma := ""
		if d.More() {
			comma = ","
		}
		s.note(fmt.Sprintf("  %q: %s%s", name, cut(compact(value)), comma))
	}
	s.note("}")
}

func compact(value []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, value) != nil {
		return string(value)
	}
	return b.String()
}

// cut keeps a line readable.
func cut(line string) string {
	const limit = 240
	line = strings.TrimSpace(line)
	if utf8.RuneCountInString(line) <= limit {
		return line
	}
	return string([]rune(line)[:limit]) + " …"
}

// printCall shows one call to the backend and its answer.
func (s *stage) printCall(h hop) {
	head := h.method + " " + h.path
	for _, name := range []string{"X-Wx-Service", "X-Wx-Attempt"} {
		if v := h.header.Get(name); v != "" {
			head += "   " + name + ": " + v
		}
	}
	s.arrow("gateway → backend", head)
	s.json(h.request)
	s.arrow("backend → gateway", fmt.Sprint(h.status))
	s.note(cut(string(h.answer)))
}
