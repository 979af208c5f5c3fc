package msg

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"wx-gateway/gateway/codec"
)

// parseJSON reads a JSON push; text begins with '{'. The push is passed on as
// it came, since order ids exceed what other readers hold and their spelling
// must not change.
func parseJSON(text []byte) (*Message, error) {
	if jsonDepth(text) > maxJSONDepth {
		return nil, fmt.Errorf("its values nest deeper than %d levels", maxJSONDepth)
	}
	m := &Message{Format: JSON}
	if codec.Valid(text) {
		m.JSON = bytes.Clone(text)
	} else {
		m.JSON = cleanJSON(text)
		if !codec.Valid(m.JSON) {
			return nil, errors.New("it is not valid JSON")
		}
		m.Cleaned = true
	}
	seen := uint16(0) // bit s is set: a member has that slot
	for key, value := range members(m.JSON) {
		name := plainText(key)
		// Samples of WeChat's documentation have stray blanks in key names.
		trimmed := bytes.TrimSpace(name)
		s := slotOf(trimmed)
		if s == noSlot {
			continue
		}
		if seen>>s&1 == 1 {
			last, header := isHeader(string(trimmed))
			m.Injected = m.Injected || header
			if !last {
				continue
			}
		}
		seen |= 1 << s
		m.ownUserInfo = m.ownUserInfo || isUserInfo(name)
		if s < slotUserInfo {
			m.set(s, scalar(value))
		}
	}
	return m, nil
}

// jsonDepth returns how deep arrays and objects nest in text, valid or not.
func jsonDepth(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringLen(text[i:]) - 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

// cleanJSON replaces bad UTF-8 by U+FFFD and escapes control characters that
// stand bare in a string.
func cleanJSON(text []byte) []byte {
	text = bytes.ToValidUTF8(text, []byte("\ufffd"))
	out := make([]byte, 0, len(text)+16)
	for len(text) > 0 {
		n := 1
		if text[0] == '"' {
			n = stringLen(text)
		}
		for _, c := range text[:n] {
			if n > 1 && c < ' ' {
				out = fmt.Appendf(out, `\u%04x`, c)
			} else {
				out = append(out, c)
			}
		}
		text = text[n:]
	}
	return out
}

// members iterates over the keys, quoted, and the values of a JSON object, in
// order. The object must be valid JSON.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		rest := between(object)
		if len(rest) == 0 || rest[0] != '{' {
			return
		}
		rest = rest[1:]
		for {
			rest = between(rest)
			n := valueLen(rest)
			if n == 0 {
				return // the closing brace
			}
			key := rest[:n]
			rest = between(rest[n:])
			n = valueLen(rest)
			if !yield(key, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// elements iterates over the elements of a JSON array, in order. The array
// must be valid JSON.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rest := between(array)
		if len(rest) == 0 || rest[0] != '[' {
			return
		}
		rest = rest[1:]
		for {
			rest = between(rest)
			n := valueLen(rest)
			if n == 0 || !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// between skips what stands between the keys and values of valid JSON.
func between(b []byte) []byte {
	for i, c := range b {
		if !isBlank(c) && c != ',' && c != ':' {
			return b[i:]
		}
	}
	return nil
}

// valueLen returns the length of the JSON value that b begins with, 0 if b
// begins with the end of what it stands in.
func valueLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		return stringLen(b)
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				i += stringLen(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return len(b)
	}
	for i, c := range b {
		if isBlank(c) || c == ',' || c == ':' || c == ']' || c == '}' {
			return i
		}
	}
	return len(b)
}

// stringLen returns the length of the JSON string that b begins with, quotes
// included.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// unquote returns the text of a JSON string.
func unquote(raw []byte) string {
	if string(raw) == `"text"` { // the type of most answers
		return "text"
	}
	return codec.Unquote(raw)
}

// plainText is unquote that copies only where there are escapes.
func plainText(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return []byte(unquote(raw))
}

// scalar returns a JSON value as text: a string without its quotes, a number
// or boolean as it came, "" for everything else.
func scalar(raw []byte) string {
	switch raw[0] {
	case '"':
		return unquote(raw)
	case '{', '[', 'n':
		return ""
	}
	return string(raw)
}
