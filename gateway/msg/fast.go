package msg

import (
	"strings"
	"unicode/utf8"
)

// Most pushes are a dozen flat elements in the spelling that WeChat itself
// writes, and building a tree of them costs more than everything else that
// happens to a push. readFast reads exactly that spelling and gives up on
// anything else, which parseXML then reads with care. What it does read has
// to come out as from there, to the byte: FuzzFastReader holds the two
// together.

const (
	maxFastText     = 16 << 10 // its leaves keep the whole text alive
	maxFastElements = 32
)

// A leaf is an element that holds nothing but text.
type leaf struct{ name, text string }

// readFast reads <xml> with a few elements, each of a name of its own that is
// no list or object, without attributes, holding one CDATA section or plain
// text without markup. text begins with its root element.
func readFast(text []byte) (*Message, bool) {
	if len(text) > maxFastText || !hasOnlyXMLChars(text) {
		return nil, false
	}
	rest, ok := strings.CutPrefix(string(text), "<xml>")
	if !ok {
		return nil, false
	}
	var all [maxFastElements]leaf
	for n := 0; ; n++ {
		rest = trimLeft(rest)
		if rest == "</xml>" {
			return leafMessage(all[:n], len(text)), true
		}
		if n == len(all) {
			return nil, false
		}
		if all[n], rest, ok = cutLeaf(rest); !ok {
			return nil, false
		}
		name := all[n].name
		if isList(name) || isObject(name) || isUserInfo(name) {
			return nil, false
		}
		for i := range n {
			if all[i].name == name {
				return nil, false
			}
		}
	}
}

// suspects are the bytes of characters that a parser would not take as they
// are: those that XML forbids and the line end that it changes. 0xEF begins
// U+FFFE and U+FFFF, and much that is welcome.
var suspects = func() (t [256]bool) {
	for c := range byte(' ') {
		t[c] = c != '\n' && c != '\t'
	}
	t[0xEF] = true
	return t
}()

// hasOnlyXMLChars reports whether a parser would take text as it is.
func hasOnlyXMLChars(text []byte) bool {
	for i, c := range text {
		if suspects[c] && (c != 0xEF || i+2 < len(text) && text[i+1] == 0xBF && text[i+2] >= 0xBE) {
			return false
		}
	}
	return utf8.Valid(text)
}

// cutLeaf cuts off the element that s begins with.
func cutLeaf(s string) (l leaf, rest string, ok bool) {
	n := 0
	for n+1 < len(s) && isFastNameByte(s[n+1]) {
		n++
	}
	if n == 0 || s[0] != '<' || '0' <= s[1] && s[1] <= '9' || n+2 > len(s) || s[n+1] != '>' {
		return leaf{}, "", false
	}
	l.name, rest = s[1:n+1], s[n+2:]
	if value := trimLeft(rest); strings.HasPrefix(value, "<![CDATA[") {
		if l.text, rest, ok = strings.Cut(value[len("<![CDATA["):], "]]>"); !ok {
			return leaf{}, "", false
		}
		rest = trimLeft(rest)
	} else {
		end := 0
		for end < len(rest) && rest[end] != '<' && rest[end] != '>' && rest[end] != '&' && rest[end] != ']' {
			end++
		}
		l.text, rest = trimBlanks(rest[:end]), rest[end:]
	}
	if !strings.HasPrefix(rest, "</") || !strings.HasPrefix(rest[2:], l.name) {
		return leaf{}, "", false
	}
	rest, ok = strings.CutPrefix(rest[2+n:], ">")
	return l, rest, ok
}

func isFastNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// leafMessage is parseXML for a push of leaves.
func leafMessage(all []leaf, size int) *Message {
	m := &Message{Format: XML}
	for _, l := range all {
		m.set(l.name, l.text)
	}
	w := objectWriter{dst: append(make([]byte, 0, size+128), '{')}
	for _, l := range all {
		w.fastKey(l.name)
		w.dst = appendLeaf(w.dst, l.name, l.text)
	}
	list, known := extrasOf(m)
	if known {
		w.leafExtras(everyKnown, all)
	}
	w.leafExtras(list, all)
	m.JSON = append(w.dst, '}')
	return m
}

// fastKey is key for a name of fast name bytes, which need no escapes.
func (w *objectWriter) fastKey(name string) {
	if w.any {
		w.dst = append(w.dst, ',')
	}
	w.any = true
	w.dst = append(append(append(w.dst, '"'), name...), `":`...)
}

// leafExtras adds the fields of list that the push has no element for.
func (w *objectWriter) leafExtras(list []extra, all []leaf) {
	for _, x := range list {
		if _, there := leafText(all, x.name); there {
			continue
		}
		w.key(x.name)
		if x.list != noList {
			w.dst = append(w.dst, "[]"...) // its elements stand in nested ones
			continue
		}
		text, _ := leafText(all, x.from) // a path leads nowhere here
		w.dst = appendLeaf(w.dst, x.name, text)
	}
}

func leafText(all []leaf, name string) (text string, there bool) {
	for _, l := range all {
		if l.name == name {
			return l.text, true
		}
	}
	return "", false
}
