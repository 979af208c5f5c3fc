package msg

import (
	"strings"

	"github.com/beevik/etree"

	"wx-gateway/gateway/codec"
)

// A group is all children of one name, where the first of them stands.
type group struct {
	name string
	els  []*etree.Element
}

// counts returns the one element of a header that counts.
func (g group) counts(last bool) *etree.Element {
	if last {
		return g.els[len(g.els)-1]
	}
	return g.els[0]
}

// groupChildren groups the children of all parents by name, in document order.
func groupChildren(parents ...*etree.Element) []group {
	n := 0
	for _, p := range parents {
		n += len(p.Child)
	}
	groups := make([]group, 0, n)
	single := make([]*etree.Element, 0, n) // the groups of one share this array
	const few = 16
	var index map[string]int // made when there are more groups than one likes to search
	for _, p := range parents {
		for _, t := range p.Child {
			e, ok := t.(*etree.Element)
			if !ok {
				continue
			}
			name, at := e.FullTag(), -1
			if index != nil {
				if i, found := index[name]; found {
					at = i
				}
			} else {
				for i := range groups {
					if groups[i].name == name {
						at = i
						break
					}
				}
			}
			if at >= 0 {
				groups[at].els = append(groups[at].els, e)
				continue
			}
			single = append(single, e)
			k := len(single)
			groups = append(groups, group{name, single[k-1 : k : k]})
			if index != nil {
				index[name] = len(groups) - 1
			} else if len(groups) == few {
				index = make(map[string]int, n)
				for i := range groups {
					index[groups[i].name] = i
				}
			}
		}
	}
	return groups
}

// appendPush appends the object that a backend receives for the push m.
func appendPush(dst []byte, m *Message, root *etree.Element, groups []group) []byte {
	w := objectWriter{dst: append(dst, '{')}
	for _, g := range groups {
		w.key(g.name)
		if last, header := isHeader(g.name); header {
			w.dst = appendLeaf(w.dst, g.name, textOf(g.counts(last)))
			continue
		}
		w.dst = appendGroup(w.dst, g)
	}
	list, known := extrasOf(m)
	if known {
		w.extras(everyKnown, root, groups)
	}
	w.extras(list, root, groups)
	return append(w.dst, '}')
}

// An objectWriter writes the members of one object.
type objectWriter struct {
	dst []byte
	any bool
}

func (w *objectWriter) key(name string) {
	if w.any {
		w.dst = append(w.dst, ',')
	}
	w.any = true
	w.dst = append(codec.AppendString(w.dst, name), ':')
}

// extras adds the fields of list that the push has no element for.
func (w *objectWriter) extras(list []extra, root *etree.Element, groups []group) {
next:
	for _, x := range list {
		for _, g := range groups {
			if g.name == x.name {
				continue next
			}
		}
		w.key(x.name)
		w.dst = appendExtra(w.dst, x, root)
	}
}

func appendExtra(dst []byte, x extra, root *etree.Element) []byte {
	var found []*etree.Element
	if x.from != "" {
		found = find([]*etree.Element{root}, x.from)
	}
	switch x.list {
	case ofStrings:
		dst = append(dst, '[')
		for i, e := range found {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = codec.AppendString(dst, textOf(e))
		}
		return append(dst, ']')
	case ofElements:
		return appendList(dst, "item", found)
	}
	if len(found) == 0 {
		return appendLeaf(dst, x.name, "")
	}
	return appendLeaf(dst, x.name, textOf(found[0]))
}

// find returns the elements at a path like "A/B" below the given ones.
func find(from []*etree.Element, path string) []*etree.Element {
	for step := range strings.SplitSeq(path, "/") {
		var next []*etree.Element
		for _, e := range from {
			for _, t := range e.Child {
				if c, ok := t.(*etree.Element); ok && c.FullTag() == step {
					next = append(next, c)
				}
			}
		}
		from = next
	}
	return from
}

func appendGroup(dst []byte, g group) []byte {
	switch {
	case isList(g.name):
		return appendList(dst, g.name, g.els)
	case len(g.els) == 1:
		return appendElement(dst, g.name, g.els[0])
	case isObject(g.name) && noneIsText(g.els):
		// Some clients send one PicList per picture: together they are the
		// object that a single one would have been.
		return appendObject(dst, g.els...)
	}
	dst = append(dst, '[')
	for i, e := range g.els {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendElement(dst, g.name, e)
	}
	return append(dst, ']')
}

// appendList appends els as an array. Empty ones add nothing: an empty
// element is how XML spells an empty list.
func appendList(dst []byte, name string, els []*etree.Element) []byte {
	dst = append(dst, '[')
	any := false
	for _, e := range els {
		if !hasElements(e) && textOf(e) == "" {
			continue
		}
		if any {
			dst = append(dst, ',')
		}
		any = true
		dst = appendElement(dst, name, e)
	}
	return append(dst, ']')
}

// appendElement appends one element: an object if it has children, whatever
// text stands between them, else a string or number.
func appendElement(dst []byte, name string, e *etree.Element) []byte {
	if hasElements(e) {
		return appendObject(dst, e)
	}
	text := textOf(e)
	if text == "" && isObject(name) {
		return append(dst, "{}"...)
	}
	return appendLeaf(dst, name, text)
}

func appendObject(dst []byte, parents ...*etree.Element) []byte {
	w := objectWriter{dst: append(dst, '{')}
	for _, g := range groupChildren(parents...) {
		w.key(g.name)
		w.dst = appendGroup(w.dst, g)
	}
	return append(w.dst, '}')
}

// appendLeaf appends a text: as a number, digit for digit, if the table says
// so and it is one.
func appendLeaf(dst []byte, name, text string) []byte {
	if isNumber(name) {
		return appendNumber(dst, text)
	}
	return codec.AppendString(dst, text)
}

func appendNumber(dst []byte, text string) []byte {
	switch {
	case text == "":
		return append(dst, '0')
	case isJSONNumber(text):
		return append(dst, text...)
	}
	return codec.AppendString(dst, text)
}

func noneIsText(els []*etree.Element) bool {
	for _, e := range els {
		if !hasElements(e) && textOf(e) != "" {
			return false
		}
	}
	return true
}

// isJSONNumber reports whether s is a number as RFC 8259 spells it.
func isJSONNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	n := digits(s)
	if n == 0 || n > 1 && s[0] == '0' {
		return false
	}
	if s = s[n:]; strings.HasPrefix(s, ".") {
		if n = digits(s[1:]); n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if n = digits(s); n == 0 {
			return false
		}
		s = s[n:]
	}
	return s == ""
}

func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
