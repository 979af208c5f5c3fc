package msg

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// Most pushes are a dozen flat elements in the spelling that WeChat itself
// writes, and building a tree of them costs more than everything else that
// happens to a push. readFast reads exactly that spelling and gives up on
// anything else, which parseXML then reads with care. What it does read has
// to come out as from there, to the byte: FuzzFastReader holds the two
// together.

const (
	maxFastText     = 16 << 10 // offsets into it are of 16 bits
	maxFastElements = 32
)

// A leaf is an element that holds nothing but text.
type leaf struct {
	name, text span
	grows      uint16 // by so many bytes its text grows in JSON at most, 0 if it stands there as it is
	slot       slot
	number     bool
}

// A span is a part of the text of leaves. Slices would make these eight times
// as large, on each of thousands of stacks.
type span struct{ from, to uint16 }

func (s span) size() int { return int(s.to) - int(s.from) }

// leaves are the elements of a push that readFast reads.
type leaves struct {
	xml  []byte
	all  [maxFastElements]leaf
	n    int
	seen uint16 // bit s is set: a leaf has that slot
}

func (ls *leaves) of(s span) []byte { return ls.xml[s.from:s.to] }

// readFast reads <xml> with a few elements, each of a name of its own that is
// no list or object, without attributes, holding one CDATA section or plain
// text without markup. text begins with its root element.
func readFast(text []byte) (*Message, bool) {
	const open, end = "<xml>", "</xml>"
	if len(text) > maxFastText || !bytes.HasPrefix(text, []byte(open)) {
		return nil, false
	}
	ls := leaves{xml: text}
	for at := len(open); ; ls.n++ {
		at = afterBlanks(text, at)
		if string(text[at:]) == end {
			return ls.message(), true
		}
		if ls.n == len(ls.all) {
			return nil, false
		}
		l := &ls.all[ls.n]
		var ok bool
		if at, ok = cutLeaf(text, at, l); !ok || !ls.classify(l) {
			return nil, false
		}
	}
}

func afterBlanks(text []byte, at int) int {
	for at < len(text) && isBlank(text[at]) {
		at++
	}
	return at
}

// classify finds out what the name of l, the next leaf, means. It returns false
// for a name that comes twice and for those that are no leaves.
func (ls *leaves) classify(l *leaf) bool {
	name := ls.of(l.name)
	l.slot = slotOf(name)
	l.number = l.slot == slotCreateTime
	if l.slot != noSlot {
		again := ls.seen>>l.slot&1 == 1
		ls.seen |= 1 << l.slot
		return !again && l.slot < slotUserInfo
	}
	s := string(name)
	l.number = isNumber(s)
	return !isList(s) && !isObject(s) && ls.find(s) == nil
}

// find returns the leaf of a name, nil if there is none.
func (ls *leaves) find(name string) *leaf {
	for i := range ls.all[:ls.n] {
		if l := &ls.all[i]; string(ls.of(l.name)) == name {
			return l
		}
	}
	return nil
}

// marks are the bytes that matter to readText.
var marks = func() (t [256]bool) {
	for c := range byte(' ') {
		t[c] = true
	}
	for _, c := range []byte("\"\\<>&]\xe2\xef") {
		t[c] = true
	}
	return t
}()

// readText reads the text of an element, up to the "]]>" of its CDATA section
// or the '<' of its end tag, in one pass: where it ends, and by how much it
// grows at most as a JSON string. ok is false where a parser would not take
// the text as it is: for bad UTF-8, characters that XML forbids, the line end
// that it changes and, outside of CDATA, other markup.
func readText(text []byte, from int, cdata bool) (to, grows int, ok bool) {
	high := byte(0)
	for i := from; i < len(text); i++ {
		c := text[i]
		high |= c
		if !marks[c] {
			continue
		}
		switch {
		case c == '"' || c == '\\' || c == '\n' || c == '\t':
			grows++
		case c == 0xE2: // begins U+2028 and U+2029, which become \u2028 and \u2029
			grows += len(`\u2028`) - len("\u2028")
		case c == 0xEF: // begins U+FFFE and U+FFFF
			if i+2 < len(text) && text[i+1] == 0xBF && text[i+2] >= 0xBE {
				return 0, 0, false
			}
		case c < ' ':
			return 0, 0, false
		case cdata && c == ']' && bytes.HasPrefix(text[i:], cdataClose), !cdata && c == '<':
			return i, grows, high < utf8.RuneSelf || utf8.Valid(text[from:i])
		case !cdata:
			return 0, 0, false
		}
	}
	return 0, 0, false
}

// cutLeaf reads the element that begins at text[at] into l and returns where
// the next one may begin.
func cutLeaf(text []byte, at int, l *leaf) (next int, ok bool) {
	if at == len(text) || text[at] != '<' {
		return 0, false
	}
	begin := at + 1
	for at = begin; at < len(text) && isFastNameByte(text[at]); {
		at++
	}
	name := text[begin:at]
	if len(name) == 0 || '0' <= name[0] && name[0] <= '9' || at == len(text) || text[at] != '>' {
		return 0, false
	}
	l.name = span{uint16(begin), uint16(at)}

	at = afterBlanks(text, at+1)
	cdata := bytes.HasPrefix(text[at:], cdataOpen)
	if cdata {
		at += len(cdataOpen)
	}
	end, grows, ok := readText(text, at, cdata)
	if !ok {
		return 0, false
	}
	l.text, l.grows = span{uint16(at), uint16(end)}, uint16(grows)
	if cdata {
		end = afterBlanks(text, end+len(cdataClose))
	} else {
		for l.text.to > l.text.from && isBlank(text[l.text.to-1]) {
			l.text.to--
		}
	}

	nameEnd := end + len("</") + len(name)
	if nameEnd >= len(text) || text[end] != '<' || text[end+1] != '/' || !bytes.Equal(text[end+2:nameEnd], name) || text[nameEnd] != '>' {
		return 0, false
	}
	return nameEnd + 1, true
}

func isFastNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// asText reports whether the text of l is needed as a string.
func (l *leaf) asText() bool { return l.slot != noSlot || l.grows > 0 || l.number }

// message is parseTree for a push of leaves.
func (ls *leaves) message() *Message {
	m := &Message{Format: XML}
	all, texts, size := ls.all[:ls.n], 0, len("{}")
	for i := range all {
		l := &all[i]
		size += len(`"":"",`) + l.name.size() + l.text.size() + int(l.grows)
		if l.asText() {
			texts += l.text.size()
		}
	}
	var b strings.Builder // all strings are parts of one
	b.Grow(texts)
	for i := range all {
		if l := &all[i]; l.asText() {
			b.Write(ls.of(l.text))
			m.set(l.slot, b.String()[b.Len()-l.text.size():])
		}
	}
	list, known := extrasOf(m)
	if known {
		size += ls.sizeOf(everyKnown)
	}
	size += ls.sizeOf(list)

	w := objectWriter{dst: append(make([]byte, 0, size), '{')}
	rest := b.String()
	for i := range all {
		l := &all[i]
		w.fastKey(ls.of(l.name))
		if !l.asText() {
			w.dst = append(append(append(w.dst, '"'), ls.of(l.text)...), '"')
			continue
		}
		text := rest[:l.text.size()]
		rest = rest[l.text.size():]
		w.dst = l.append(w.dst, text)
	}
	if known {
		w.leafExtras(everyKnown, ls)
	}
	w.leafExtras(list, ls)
	m.JSON = append(w.dst, '}')
	return m
}

// append appends text, which is that of l, as appendLeaf does.
func (l *leaf) append(dst []byte, text string) []byte {
	switch {
	case l.number:
		return appendNumber(dst, text)
	case l.grows > 0:
		return codec.AppendString(dst, text)
	}
	return append(append(append(dst, '"'), text...), '"')
}

// fastKey is key for a name of fast name bytes, which need no escapes.
func (w *objectWriter) fastKey(name []byte) {
	if w.any {
		w.dst = append(w.dst, ',')
	}
	w.any = true
	w.dst = append(append(append(w.dst, '"'), name...), `":`...)
}

// has reports whether there is a leaf in the place of x.
func (ls *leaves) has(x *extra) bool {
	if x.slot != noSlot {
		return ls.seen>>x.slot&1 == 1
	}
	return ls.find(x.name) != nil
}

// sizeOf is how many bytes the extras of list usually take.
func (ls *leaves) sizeOf(list []extra) int {
	size := 0
	for i := range list {
		if x := &list[i]; !ls.has(x) {
			size += len(`"":"",`) + len(x.name)
		}
	}
	return size
}

// leafExtras adds the fields of list that the push has no element for.
func (w *objectWriter) leafExtras(list []extra, ls *leaves) {
	for i := range list {
		x := &list[i]
		if ls.has(x) {
			continue
		}
		w.key(x.name)
		if x.list != noList {
			w.dst = append(w.dst, "[]"...) // its elements stand in nested ones
			continue
		}
		text := ""
		if from := ls.find(x.from); from != nil { // a path leads nowhere here
			text = string(ls.of(from.text))
		}
		w.dst = appendLeaf(w.dst, x.name, text)
	}
}
