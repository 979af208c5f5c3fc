package msg

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
)

var (
	errDoctype  = errors.New("it holds a DOCTYPE or another declaration, which WeChat never sends")
	errDepth    = fmt.Errorf("its elements nest deeper than %d levels", maxXMLDepth)
	errElements = fmt.Errorf("it has more than %d elements", maxElements)
	errTrailing = errors.New("text follows its root element")
)

var cdataOpen, cdataClose = []byte("<![CDATA["), []byte("]]>")

// parseXML reads an XML push; text begins with '<'.
func parseXML(text []byte) (*Message, error) {
	text, err := skipProlog(text)
	if err != nil {
		return nil, err
	}
	if m, ok := readFast(text); ok {
		return m, nil
	}
	return parseTree(text)
}

// parseTree reads an XML push of any spelling; text begins with its root
// element.
func parseTree(text []byte) (*Message, error) {
	root, cleaned, injected, err := readXML(text)
	if err != nil {
		return nil, err
	}
	m := &Message{Format: XML, Cleaned: cleaned, Injected: injected}
	groups := groupChildren(root)
	for _, g := range groups {
		last, header := isHeader(g.name)
		m.Injected = m.Injected || header && len(g.els) > 1
		m.ownUserInfo = m.ownUserInfo || isUserInfo(g.name)
		m.set(slotOf(g.name), textOf(g.counts(last)))
	}
	m.JSON = appendPush(make([]byte, 0, len(text)+128), m, root, groups)
	return m, nil
}

// readXML builds the tree of an XML text that begins with its root element.
// Text that the parser refuses, or whose tree shows that a value broke out of
// its CDATA section, is cleaned and read again.
func readXML(text []byte) (root *etree.Element, cleaned, injected bool, err error) {
	root, err = buildTree(text)
	if err == nil && !brokeOut(root) {
		return root, false, false, nil
	}
	// A header that repeats in the text as it came was meant to mislead, even
	// if cleaning puts it back into the value it stood in.
	injected = err == nil && repeatsHeader(root)
	cleanText, report, cleanErr := clean(text)
	var second *etree.Element
	if cleanErr == nil && (err != nil || report.changed) {
		second, cleanErr = buildTree(cleanText)
	}
	switch {
	case second != nil:
		return second, true, injected || report.injected, nil
	case err == nil:
		return root, false, injected, nil
	}
	return nil, false, false, cleanErr
}

// skipProlog returns text from its root element on, after a look at what
// stands before: the XML declaration, comments, processing instructions.
func skipProlog(text []byte) ([]byte, error) {
	for {
		text = trimLeft(text)
		switch {
		case bytes.HasPrefix(text, []byte("<?")):
			inst, rest, found := bytes.Cut(text[2:], []byte("?>"))
			if !found {
				return nil, errors.New("its <?…?> is not closed")
			}
			if enc := declaredEncoding(inst); enc != "" && !isUTF8Name(enc) {
				return nil, fmt.Errorf("it declares encoding %q, only UTF-8 is accepted", short(enc))
			}
			text = rest
		case bytes.HasPrefix(text, []byte("<!--")):
			_, rest, found := bytes.Cut(text[4:], []byte("-->"))
			if !found {
				return nil, errors.New("its comment is not closed")
			}
			text = rest
		case bytes.HasPrefix(text, []byte("<!")):
			return nil, errDoctype
		default:
			return text, nil
		}
	}
}

// declaredEncoding returns the encoding of an XML declaration, "" if inst is
// something else or names none.
func declaredEncoding(inst []byte) string {
	s := string(inst)
	if !strings.HasPrefix(s, "xml") || len(s) == 3 || !strings.ContainsRune(blanks, rune(s[3])) {
		return ""
	}
	_, s, found := strings.Cut(s, "encoding")
	if !found {
		return ""
	}
	s = strings.TrimLeft(s, blanks+"=")
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return ""
	}
	enc, _, _ := strings.Cut(s[1:], s[:1])
	return enc
}

func isUTF8Name(enc string) bool {
	return strings.EqualFold(enc, "utf-8") || strings.EqualFold(enc, "utf8")
}

// buildTree parses text, which begins with its root element, and returns that
// element, which is <xml>.
func buildTree(text []byte) (*etree.Element, error) {
	if err := countTags(text); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	// PreserveCData: blanks around a CDATA section are layout, blanks inside
	// belong to the value.
	doc.ReadSettings = etree.ReadSettings{PreserveCData: true, MaxDepth: maxXMLDepth}
	if err := doc.ReadFromBytes(text); err != nil {
		if errors.Is(err, etree.ErrMaxDepth) {
			return nil, errDepth
		}
		// The parser's own words quote the text, which is a user's.
		return nil, errors.New("it is not well-formed XML")
	}
	var root *etree.Element
	for _, t := range doc.Child {
		switch t := t.(type) {
		case *etree.Element:
			if root != nil {
				return nil, errTrailing
			}
			root = t
		case *etree.CharData:
			if strings.Trim(t.Data, blanks) != "" {
				return nil, errTrailing
			}
		}
	}
	if root == nil {
		return nil, errors.New("it has no root element")
	}
	if root.FullTag() != "xml" {
		return nil, fmt.Errorf("its root element is <%s>, not <xml>", short(root.FullTag()))
	}
	return root, nil
}

// countTags refuses what would cost too much memory as a tree, and
// declarations wherever they stand.
func countTags(text []byte) error {
	n := 0
	for {
		i := bytes.IndexByte(text, '<')
		if i < 0 {
			return nil
		}
		text = text[i:]
		var end []byte
		switch {
		case bytes.HasPrefix(text, cdataOpen):
			end = cdataClose
		case bytes.HasPrefix(text, []byte("<!--")):
			end = []byte("-->")
		case bytes.HasPrefix(text, []byte("<!")):
			return errDoctype
		case bytes.HasPrefix(text, []byte("</")):
			text = text[2:]
			continue
		default:
			if n++; n > maxElements {
				return errElements
			}
			text = text[1:]
			continue
		}
		j := bytes.Index(text, end)
		if j < 0 {
			return nil // the parser will say so
		}
		text = text[j+len(end):]
	}
}

// brokeOut reports whether the tree has the marks of a text that closed its
// own CDATA section: a name twice that comes once, or something behind the
// section that an element begins with.
func brokeOut(root *etree.Element) bool {
	for _, g := range groupChildren(root) {
		if len(g.els) > 1 {
			if _, header := isHeader(g.name); header || comesOnce(g.name) {
				return true
			}
		}
		for _, e := range g.els {
			if beginsWithCData(e) && hasMoreThanCData(e) {
				return true
			}
		}
	}
	return false
}

func repeatsHeader(root *etree.Element) bool {
	for _, g := range groupChildren(root) {
		if _, header := isHeader(g.name); header && len(g.els) > 1 {
			return true
		}
	}
	return false
}

func beginsWithCData(e *etree.Element) bool {
	for _, t := range e.Child {
		c, ok := t.(*etree.CharData)
		switch {
		case !ok:
			return false
		case c.IsCData():
			return true
		case strings.Trim(c.Data, blanks) != "":
			return false
		}
	}
	return false
}

// hasMoreThanCData reports whether anything but blanks stands beside the CDATA
// sections of e.
func hasMoreThanCData(e *etree.Element) bool {
	for _, t := range e.Child {
		c, ok := t.(*etree.CharData)
		if !ok || !c.IsCData() && strings.Trim(c.Data, blanks) != "" {
			return true
		}
	}
	return false
}

func hasElements(e *etree.Element) bool {
	for _, t := range e.Child {
		if _, ok := t.(*etree.Element); ok {
			return true
		}
	}
	return false
}

// textOf returns the text that stands directly in e. Where there are CDATA
// sections they are joined, and blanks around them dropped; other text is
// trimmed.
func textOf(e *etree.Element) string {
	if len(e.Child) == 1 {
		if c, ok := e.Child[0].(*etree.CharData); ok {
			if c.IsCData() {
				return c.Data
			}
			return strings.Trim(c.Data, blanks)
		}
	}
	cdata := false
	for _, t := range e.Child {
		if c, ok := t.(*etree.CharData); ok && c.IsCData() {
			cdata = true
		}
	}
	var b strings.Builder
	for _, t := range e.Child {
		c, ok := t.(*etree.CharData)
		switch {
		case !ok:
		case cdata && !c.IsCData():
			b.WriteString(strings.Trim(c.Data, blanks))
		default:
			b.WriteString(c.Data)
		}
	}
	if !cdata {
		return strings.Trim(b.String(), blanks)
	}
	return b.String()
}
