package msg

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A cleaner rewrites XML that real users' messages have broken into XML that
// a strict parser takes. It follows the way WeChat builds a push: an element
// per value, text in one CDATA section, nothing in it escaped. So the value
// of a top-level element runs to the last "]]></Name>" of its name, whatever
// its user typed. Header elements stand before that text and lists may repeat:
// they end at the first.
type cleaner struct {
	in   []byte // valid UTF-8 without control characters
	pos  int
	out  []byte
	last map[string]int // per name: where the last "]]>" directly before </name> stands
	cleanReport
}

type cleanReport struct {
	changed  bool // the text means something else now than it did
	injected bool // a value holds header elements
}

// clean returns text, which begins with its root element, as XML without
// attributes, comments and whatever stood between the top-level elements.
func clean(text []byte) ([]byte, cleanReport, error) {
	c := cleaner{in: sanitize(text)}
	c.changed = !bytes.Equal(c.in, text)
	c.findLast()
	c.out = make([]byte, 0, len(c.in)+64)
	name, empty, n, ok := startTag(c.in)
	if !ok {
		return nil, c.cleanReport, errors.New("it does not begin with an element")
	}
	c.pos = n
	if err := c.element(name, empty, 1); err != nil {
		return nil, c.cleanReport, err
	}
	if rest := trimBlanks(c.in[c.pos:]); len(rest) > 0 {
		return nil, c.cleanReport, errTrailing
	}
	return c.out, c.cleanReport, nil
}

// findLast notes where the last CDATA section of each name ends, in one pass:
// looking backwards for each element would take quadratic time.
func (c *cleaner) findLast() {
	c.last = make(map[string]int)
	for at := 0; ; {
		i := bytes.Index(c.in[at:], cdataClose)
		if i < 0 {
			return
		}
		at += i
		if name, _, ok := endTag(trimLeft(c.in[at+len(cdataClose):])); ok {
			c.last[string(name)] = at
		}
		at++ // the close of "]]]>" stands one further
	}
}

// element writes the element whose start tag was just read.
func (c *cleaner) element(name []byte, empty bool, depth int) error {
	if depth > maxXMLDepth {
		return errDepth
	}
	c.out = append(append(append(c.out, '<'), name...), '>')
	if !empty && !c.value(name, depth) {
		if err := c.content(name, depth); err != nil {
			return err
		}
	}
	c.out = append(append(append(c.out, "</"...), name...), '>')
	return nil
}

// value writes the content of an element that is a CDATA section, up to and
// without its end tag, and reports whether it was one.
func (c *cleaner) value(name []byte, depth int) bool {
	rest := trimLeft(c.in[c.pos:])
	if depth == 1 || !bytes.HasPrefix(rest, cdataOpen) {
		return false
	}
	begin := len(c.in) - len(rest) + len(cdataOpen)
	end, found := c.last[string(name)]
	if !found || end < begin {
		return false
	}
	if depth > 2 || endsAtFirst(string(name)) {
		for at := begin; ; at++ {
			at += bytes.Index(c.in[at:], cdataClose) // there is one: c.last
			if n, _, ok := endTag(trimLeft(c.in[at+len(cdataClose):])); ok && bytes.Equal(n, name) {
				end = at
				break
			}
		}
	}
	split := []byte("]]]]><![CDATA[>") // the proper way to write "]]>"
	value := bytes.ReplaceAll(c.in[begin:end], split, nil)
	if bytes.Contains(value, cdataClose) {
		c.changed = true
		c.injected = c.injected || holdsHeader(value)
	}
	value = bytes.ReplaceAll(c.in[begin:end], split, cdataClose)
	c.out = appendCData(c.out, string(value))
	tail := trimLeft(c.in[end+len(cdataClose):])
	_, n, _ := endTag(tail)
	c.pos = len(c.in) - len(tail) + n
	return true
}

// content writes text and child elements up to and without the end tag of
// name. Below the root there are only elements: what a broken value left
// there is dropped.
func (c *cleaner) content(name []byte, depth int) error {
	for {
		i := bytes.IndexByte(c.in[c.pos:], '<')
		if i < 0 {
			return fmt.Errorf("element <%s> is not closed", short(string(name)))
		}
		c.text(c.in[c.pos:c.pos+i], depth)
		c.pos += i
		rest := c.in[c.pos:]
		switch {
		case bytes.HasPrefix(rest, cdataOpen):
			section, _, found := bytes.Cut(rest[len(cdataOpen):], cdataClose)
			if !found {
				return fmt.Errorf("a CDATA section in <%s> is not closed", short(string(name)))
			}
			c.pos += len(cdataOpen) + len(section) + len(cdataClose)
			if depth == 1 {
				c.changed = true
				continue
			}
			c.out = appendCData(c.out, string(section))
		case bytes.HasPrefix(rest, []byte("<!--")):
			if err := c.skip(name, "-->"); err != nil {
				return err
			}
		case bytes.HasPrefix(rest, []byte("<?")):
			if err := c.skip(name, "?>"); err != nil {
				return err
			}
		case bytes.HasPrefix(rest, []byte("<!")):
			return errDoctype
		case bytes.HasPrefix(rest, []byte("</")):
			closed, n, ok := endTag(rest)
			if ok && bytes.Equal(closed, name) {
				c.pos += n
				return nil
			}
			if depth > 1 {
				return fmt.Errorf("element <%s> is closed by another's end tag", short(string(name)))
			}
			c.changed = true
			c.pos += max(n, 2)
		default:
			child, empty, n, ok := startTag(rest)
			if !ok {
				c.pos++
				c.changed = true
				if depth > 1 {
					c.out = append(c.out, "&lt;"...)
				}
				continue
			}
			c.pos += n
			if err := c.element(child, empty, depth+1); err != nil {
				return err
			}
		}
	}
}

// skip moves behind a comment or processing instruction.
func (c *cleaner) skip(name []byte, end string) error {
	i := bytes.Index(c.in[c.pos:], []byte(end))
	if i < 0 {
		return fmt.Errorf("a comment or instruction in <%s> is not closed", short(string(name)))
	}
	c.pos += i + len(end)
	return nil
}

// text writes text outside of CDATA, with the "&" and "]]>" escaped that the
// parser would refuse.
func (c *cleaner) text(b []byte, depth int) {
	if depth == 1 {
		c.changed = c.changed || len(trimBlanks(b)) > 0
		return
	}
	for len(b) > 0 {
		i := bytes.IndexAny(b, "&]")
		if i < 0 {
			break
		}
		c.out = append(c.out, b[:i]...)
		b = b[i:]
		switch n, char := entity(b); {
		case bytes.HasPrefix(b, cdataClose):
			c.out = append(c.out, "]]&gt;"...)
			b = b[len(cdataClose):]
			c.changed = true
		case b[0] == ']':
			c.out = append(c.out, ']')
			b = b[1:]
		case n == 0:
			c.out = append(c.out, "&amp;"...)
			b = b[1:]
			c.changed = true
		case !char: // a reference to a control character
			b = b[n:]
			c.changed = true
		default:
			c.out = append(c.out, b[:n]...)
			b = b[n:]
		}
	}
	c.out = append(c.out, b...)
}

// entity returns the length of the entity or character reference that b
// begins with, 0 if there is none, and whether it stands for a character that
// XML allows. There are five named ones; others are text.
func entity(b []byte) (n int, char bool) {
	const longest = len("&#x0010FFFF;")
	end := bytes.IndexByte(b[:min(len(b), longest)], ';')
	if end < 0 || b[0] != '&' {
		return 0, false
	}
	name := string(b[1:end])
	switch name {
	case "amp", "lt", "gt", "quot", "apos":
		return end + 1, true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	if digits == "" || digits[0] == '+' {
		return 0, false
	}
	r, err := strconv.ParseUint(digits, base, 31)
	if err != nil {
		return 0, false
	}
	return end + 1, r <= utf8.MaxRune && isXMLChar(rune(r))
}

// endsAtFirst reports whether the value of a top-level element ends at the
// first "]]></Name>": no user writes it, or several may follow.
func endsAtFirst(name string) bool {
	_, header := isHeader(name)
	return header || isList(name) || name == "InfoType" || name == "Encrypt"
}

// holdsHeader reports whether a value holds the start tag of a header element.
func holdsHeader(value []byte) bool {
	for {
		i := bytes.IndexByte(value, '<')
		if i < 0 {
			return false
		}
		value = value[i+1:]
		if end := bytes.IndexByte(value[:min(len(value), maxName)], '>'); end > 0 {
			if _, header := isHeader(string(value[:end])); header {
				return true
			}
		}
	}
}

// startTag reads the start tag that b begins with: its name, whether it is
// an empty element, and its length. Attributes are passed over.
func startTag(b []byte) (name []byte, empty bool, n int, ok bool) {
	if len(b) < 2 || b[0] != '<' {
		return nil, false, 0, false
	}
	name = tagName(b[1:])
	if len(name) == 0 {
		return nil, false, 0, false
	}
	quote := byte(0)
	for i := 1 + len(name); i < len(b); i++ {
		switch c := b[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '<':
			return nil, false, 0, false
		case c == '>':
			return name, b[i-1] == '/', i + 1, true
		}
	}
	return nil, false, 0, false
}

// endTag reads the end tag that b begins with: its name and its length.
func endTag(b []byte) (name []byte, n int, ok bool) {
	if !bytes.HasPrefix(b, []byte("</")) {
		return nil, 0, false
	}
	name = tagName(b[2:])
	rest := trimLeft(b[2+len(name):])
	if len(name) == 0 || len(rest) == 0 || rest[0] != '>' {
		return nil, 0, false
	}
	return name, len(b) - len(rest) + 1, true
}

// tagName returns the name that b begins with; the parser judges names
// outside ASCII.
func tagName(b []byte) []byte {
	n := 0
	for n < len(b) {
		c := b[n]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
		if !letter && (n == 0 || c != '-' && c != '.' && c != ':' && (c < '0' || '9' < c)) {
			break
		}
		n++
	}
	return b[:n]
}

// sanitize returns b with each run of bad UTF-8 as one U+FFFD and without the
// characters that XML forbids; b itself if there is nothing to do.
func sanitize(b []byte) []byte {
	b = bytes.ToValidUTF8(b, []byte("\ufffd"))
	if !bytes.ContainsFunc(b, isForbidden) {
		return b
	}
	return bytes.Map(func(r rune) rune {
		if isForbidden(r) {
			return -1
		}
		return r
	}, b)
}

// sanitizeText is sanitize for a reply, which hardly ever needs it.
func sanitizeText(s string) string {
	if hasOnlyXMLChars(s) {
		return s
	}
	return string(sanitize([]byte(s)))
}

// suspects are the bytes of characters that XML forbids. 0xEF begins U+FFFE and
// U+FFFF, and much that is welcome.
var suspects = func() (t [256]bool) {
	for c := range byte(' ') {
		t[c] = c != '\n' && c != '\t' && c != '\r'
	}
	t[0xEF] = true
	return t
}()

// hasOnlyXMLChars reports whether sanitize has nothing to do.
func hasOnlyXMLChars(s string) bool {
	high := byte(0)
	for i := range len(s) {
		c := s[i]
		high |= c
		if suspects[c] && (c != 0xEF || i+2 < len(s) && s[i+1] == 0xBF && s[i+2] >= 0xBE) {
			return false
		}
	}
	return high < utf8.RuneSelf || utf8.ValidString(s)
}

func isForbidden(r rune) bool { return !isXMLChar(r) }

// isXMLChar reports whether XML 1.0 allows r in a document.
func isXMLChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// appendCData appends value as CDATA.
func appendCData(dst []byte, value string) []byte {
	dst = append(dst, "<![CDATA["...)
	return append(appendInCData(dst, value), "]]>"...)
}

// appendInCData appends value to an open CDATA section. A "]]>" in it is divided
// between two sections, so that it cannot end the first.
func appendInCData(dst []byte, value string) []byte {
	const begin, end = "<![CDATA[", "]]>"
	for {
		i := strings.Index(value, end)
		if i < 0 {
			return append(dst, value...)
		}
		dst = append(dst, value[:i+2]...)
		dst = append(dst, end+begin...)
		value = value[i+2:]
	}
}
