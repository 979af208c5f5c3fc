package codec

import (
	"math/bits"
	"unicode/utf8"
)

// maxPlainNumber is the longest number in bytes that json-iterator is
// trusted with: it runs longer ones through float64 when it skips them.
const maxPlainNumber = 64

// What the scanner expects next.
type expect uint8

const (
	aValue        expect = iota
	aValueOrClose        // after [
	aKeyOrClose          // after {
	aKey                 // after a comma in an object
	aColon
	aCommaOrClose // after a value; at depth 0 only blanks may follow
)

// scan checks that data is one JSON value: RFC 8259, valid UTF-8, at most
// MaxDepth deep. It keeps no stack but one bit per level, so its cost is the
// length of data.
//
// odd says that the document holds something valid that json-iterator reads
// differently from encoding/json: unpaired surrogate escapes, which it pairs
// up greedily, and numbers with an exponent or very many digits, which it
// cannot skip when they exceed a float64.
func scan(data []byte) (odd bool, err error) {
	if !utf8.Valid(data) {
		return false, &SyntaxError{badUTF8(data), "invalid UTF-8"}
	}
	var (
		objects [MaxDepth/bits.UintSize + 1]uint // bit d is set: level d is an object
		depth   int
		next    = aValue
	)
	inObject := func() bool { return objects[depth/bits.UintSize]>>(depth%bits.UintSize)&1 == 1 }

	for i := 0; i < len(data); {
		c := data[i]
		switch c {
		case ' ', '\t', '\n', '\r':
			i++
			continue

		case '{', '[':
			if next != aValue && next != aValueOrClose {
				return false, &SyntaxError{i, unexpected(next, depth)}
			}
			if depth == MaxDepth {
				return false, &SyntaxError{i, "nested too deeply"}
			}
			depth++
			word, bit := depth/bits.UintSize, uint(1)<<(depth%bits.UintSize)
			if c == '{' {
				objects[word] |= bit
				next = aKeyOrClose
			} else {
				objects[word] &^= bit
				next = aValueOrClose
			}
			i++

		case '}', ']':
			var fits bool
			if c == '}' {
				fits = next == aKeyOrClose || next == aCommaOrClose && depth > 0 && inObject()
			} else {
				fits = next == aValueOrClose || next == aCommaOrClose && depth > 0 && !inObject()
			}
			if !fits {
				return false, &SyntaxError{i, unexpected(next, depth)}
			}
			depth--
			next = aCommaOrClose
			i++

		case ',':
			if next != aCommaOrClose || depth == 0 {
				return false, &SyntaxError{i, unexpected(next, depth)}
			}
			next = aValue
			if inObject() {
				next = aKey
			}
			i++

		case ':':
			if next != aColon {
				return false, &SyntaxError{i, unexpected(next, depth)}
			}
			next = aValue
			i++

		case '"':
			if next == aColon || next == aCommaOrClose {
				return false, &SyntaxError{i, unexpected(next, depth)}
			}
			end, lone, err := scanString(data, i)
			if err != nil {
				return false, err
			}
			odd = odd || lone
			if next == aKey || next == aKeyOrClose {
				next = aColon
			} else {
				next = aCommaOrClose
			}
			i = end

		default:
			if next != aValue && next != aValueOrClose {
				return false, &SyntaxError{i, unexpected(next, depth)}
			}
			end, exponent := i, false
			if c == 't' || c == 'f' || c == 'n' {
				end += wordLen(data[i:])
			} else {
				end, exponent = scanNumber(data, i)
			}
			if end == i {
				return false, &SyntaxError{i, "not a value"}
			}
			odd = odd || exponent || end-i > maxPlainNumber
			next = aCommaOrClose
			i = end
		}
	}
	if next != aCommaOrClose || depth > 0 {
		return false, &SyntaxError{len(data), "the text ends too early"}
	}
	return odd, nil
}

func unexpected(next expect, depth int) string {
	switch next {
	case aKeyOrClose:
		return "expected a key or }"
	case aKey:
		return "expected a key"
	case aColon:
		return "expected a colon"
	case aValueOrClose:
		return "expected a value or ]"
	case aCommaOrClose:
		if depth == 0 {
			return "text after the value"
		}
		return "expected a comma or the closing bracket"
	default:
		return "expected a value"
	}
}

// scanString returns the index after the string that begins at data[i], and
// whether it holds a surrogate escape without its other half.
func scanString(data []byte, i int) (end int, lone bool, err error) {
	start := i
	for i++; i < len(data); {
		c := data[i]
		switch {
		case c == '"':
			return i + 1, lone, nil
		case c < ' ':
			return 0, false, &SyntaxError{i, "a control character in a string"}
		case c != '\\':
			i++
			continue
		}
		if i+1 == len(data) {
			break // the string is not closed
		}
		switch data[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			u, ok := hex4(data, i+2)
			if !ok {
				return 0, false, &SyntaxError{i, "a bad \\u escape"}
			}
			i += 6
			switch {
			case 0xDC00 <= u && u <= 0xDFFF:
				lone = true
			case 0xD800 <= u && u <= 0xDBFF:
				low, ok := uint(0), i+1 < len(data) && data[i] == '\\' && data[i+1] == 'u'
				if ok {
					low, ok = hex4(data, i+2)
				}
				if ok && 0xDC00 <= low && low <= 0xDFFF {
					i += 6
				} else {
					lone = true
				}
			}
		default:
			return 0, false, &SyntaxError{i, "a bad escape"}
		}
	}
	return 0, false, &SyntaxError{start, "a string is not closed"}
}

// hex4 reads the four hexadecimal digits at data[i].
func hex4(data []byte, i int) (u uint, ok bool) {
	if len(data)-i < 4 {
		return 0, false
	}
	for _, c := range data[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | uint(c)
	}
	return u, true
}

// scanNumber returns the index after the number that begins at data[i], i
// itself when there is none, and whether the number has an exponent.
func scanNumber(data []byte, i int) (end int, exponent bool) {
	start := i
	if i < len(data) && data[i] == '-' {
		i++
	}
	whole := digits(data, i)
	if whole == i || data[i] == '0' && whole > i+1 {
		return start, false
	}
	i = whole
	if i < len(data) && data[i] == '.' {
		fraction := digits(data, i+1)
		if fraction == i+1 {
			return start, false
		}
		i = fraction
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		power := digits(data, i)
		if power == i {
			return start, false
		}
		return power, true
	}
	return i, false
}

// digits returns the index after the decimal digits at data[i].
func digits(data []byte, i int) int {
	for i < len(data) && '0' <= data[i] && data[i] <= '9' {
		i++
	}
	return i
}

// wordLen is the length of the true, false or null that data begins with.
func wordLen(data []byte) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(data) >= len(word) && string(data[:len(word)]) == word {
			return len(word)
		}
	}
	return 0
}

func badUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}
