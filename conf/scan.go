package conf

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// The scanner splits JSON into its parts without decoding it. It exists beside gateway/codec because a
// configuration is written by hand: a broken file is told its line and column, and a key that stands twice
// is noticed. Neither can be had from a decoder that fills Go values.

// maxDepth bounds the nesting of the file; the format itself needs five levels.
const maxDepth = 64

// syntaxError is a place where the text stops being JSON.
type syntaxError struct {
	offset int // in bytes
	text   string
}

// checkSyntax returns nil if data is one JSON value with nothing but blanks around it.
func checkSyntax(data []byte) *syntaxError {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return &syntaxError{i, "is not UTF-8; save the file as UTF-8"}
		}
		i += n
	}
	s := scanner{data: data}
	s.blanks()
	if s.pos == len(data) {
		return &syntaxError{s.pos, "the file is empty; see sample.conf.json"}
	}
	if err := s.value(0); err != nil {
		return err
	}
	s.blanks()
	if s.pos < len(data) {
		return s.fail("there is more text after the end of the configuration; remove it, or one closing bracket before it")
	}
	return nil
}

// position turns a byte offset into a line and a column, both counted from 1, the column in characters.
func position(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	line = bytes.Count(before, []byte{'\n'}) + 1
	column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return line, column
}

type member struct {
	key   string
	value []byte
}

// members splits a JSON object, which must have passed checkSyntax, into its keys and raw values, in file order:
// at most limit of them, and whether there were more.
func members(object []byte, limit int) (list []member, more bool) {
	s := scanner{data: object}
	s.blanks()
	s.pos++ // {
	for s.blanks(); s.peek() != '}'; s.blanks() {
		if len(list) == limit {
			return list, true
		}
		key := s.raw()
		s.blanks()
		s.pos++ // :
		s.blanks()
		list = append(list, member{unquote(key), s.raw()})
		s.blanks()
		if s.peek() == ',' {
			s.pos++
		}
	}
	return list, false
}

// elements splits a JSON array, which must have passed checkSyntax, into its raw values: at most limit of them,
// and whether there were more.
func elements(array []byte, limit int) (list [][]byte, more bool) {
	s := scanner{data: array}
	s.blanks()
	s.pos++ // [
	for s.blanks(); s.peek() != ']'; s.blanks() {
		if len(list) == limit {
			return list, true
		}
		list = append(list, s.raw())
		s.blanks()
		if s.peek() == ',' {
			s.pos++
		}
	}
	return list, false
}

// unquote decodes a JSON string that has passed checkSyntax.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if err := codec.Unmarshal(raw, &s); err != nil {
		return string(raw[1 : len(raw)-1])
	}
	return s
}

type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) fail(format string, args ...any) *syntaxError {
	return &syntaxError{s.pos, fmt.Sprintf(format, args...)}
}

// peek returns the next byte, 0 at the end: a zero byte is no JSON either.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) blanks() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// raw returns the value that starts here and steps over it.
func (s *scanner) raw() []byte {
	start := s.pos
	if err := s.value(0); err != nil {
		// Unreachable after checkSyntax; ending the walk keeps even a mistake here from looping.
		s.pos = len(s.data)
		return []byte("null")
	}
	return s.data[start:s.pos]
}

func (s *scanner) value(depth int) *syntaxError {
	if depth > maxDepth {
		return s.fail("is nested deeper than %d levels", maxDepth)
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		return s.str()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	return s.unexpected("a value")
}

func (s *scanner) object(depth int) *syntaxError {
	s.pos++ // {
	s.blanks()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.unexpected(`a key in "double quotes"`)
		}
		if err := s.str(); err != nil {
			return err
		}
		s.blanks()
		if s.peek() != ':' {
			return s.unexpected(`":" after a key`)
		}
		s.pos++
		s.blanks()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.blanks()
		switch s.peek() {
		case '}':
			s.pos++
			return nil
		case ',':
			s.pos++
			s.blanks()
			if s.peek() == '}' {
				return s.fail(`"}" after a comma; remove the comma before it`)
			}
		default:
			return s.unexpected(`"," or "}" after a value`)
		}
	}
}

func (s *scanner) array(depth int) *syntaxError {
	s.pos++ // [
	s.blanks()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.blanks()
		switch s.peek() {
		case ']':
			s.pos++
			return nil
		case ',':
			s.pos++
			s.blanks()
			if s.peek() == ']' {
				return s.fail(`"]" after a comma; remove the comma before it`)
			}
		default:
			return s.unexpected(`"," or "]" after a value`)
		}
	}
}

func (s *scanner) str() *syntaxError {
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c < 0x20:
			return s.fail(`a line break or control character inside a string; is the closing " missing?`)
		case c == '\\':
			s.pos++
			switch s.peek() {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					s.pos++
					if !isHex(s.peek()) {
						return s.fail(`\u needs four hexadecimal digits`)
					}
				}
			default:
				return s.fail(`unknown escape after \; write \\ for a backslash`)
			}
		}
	}
	return &syntaxError{start, `a string without its closing "`}
}

func (s *scanner) number() *syntaxError {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return s.unexpected("a digit")
	}
	if c := s.peek(); c >= '0' && c <= '9' {
		return s.fail("a number must not start with 0")
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.unexpected("a digit")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.unexpected("a digit")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

// unexpected says what should stand here and, for the usual slips, what to do about what does.
func (s *scanner) unexpected(want string) *syntaxError {
	if s.pos >= len(s.data) {
		return s.fail("the file ends where %s should be; is a closing bracket missing?", want)
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	switch r {
	case '/', '#':
		return s.fail("expected %s, found %q; JSON has no comments, keep notes under a key of their own", want, r)
	case '\'':
		return s.fail("expected %s, found %q; strings stand in double quotes", want, r)
	case '“', '”', '‘', '’', '，', '：', '｛', '｝', '［', '］', '【', '】', '＂', '\u3000', '\u00a0':
		return s.fail("expected %s, found %q; type it with the input method in its English mode", want, r)
	}
	return s.fail("expected %s, found %q", want, r)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
