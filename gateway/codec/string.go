package codec

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain holds the bytes that stand in a JSON string as they are, if it is valid
// UTF-8. 0xE2 begins U+2028 and U+2029.
var plain = func() (t [256]bool) {
	for c := int(' '); c < len(t); c++ {
		t[c] = c != '"' && c != '\\' && c != 0xE2
	}
	return t
}()

// AppendString appends s to dst as a JSON string, quotes included, exactly
// as Marshal writes it: invalid UTF-8 becomes U+FFFD, control characters and
// U+2028 and U+2029 are escaped, < > & are not. It allocates only to grow
// dst.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // s[start:i] is plain and not yet copied
	valid := utf8.ValidString(s)
	for i := 0; i < len(s); {
		if plain[s[i]] && (valid || s[i] < utf8.RuneSelf) {
			i++
			continue
		}
		if c := s[i]; c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\b':
				dst = append(dst, `\b`...)
			case '\f':
				dst = append(dst, `\f`...)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			// Legal in JSON but line ends in older JavaScript: escaped,
			// as encoding/json does.
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&0xF])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// Unquote returns the text of quoted, a JSON string that Valid accepts without
// blanks around it, exactly as Unmarshal does: half a surrogate pair becomes
// U+FFFD.
func Unquote(quoted []byte) string {
	text := quoted[1 : len(quoted)-1]
	i := bytes.IndexByte(text, '\\')
	if i < 0 {
		return string(text)
	}
	var b strings.Builder
	const shrinks = len(`\uFFFD`) - len("\uFFFD") // at least
	b.Grow(max(i, len(text)-shrinks*bytes.Count(text, []byte(`\u`))))
	for ; i >= 0; i = bytes.IndexByte(text, '\\') {
		b.Write(text[:i])
		escape := text[i+1]
		text = text[i+2:]
		switch escape {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			u, _ := hex4(text, 0)
			text = text[4:]
			r := rune(u)
			if utf16.IsSurrogate(r) {
				r = utf8.RuneError
				if bytes.HasPrefix(text, []byte(`\u`)) {
					low, _ := hex4(text, 2)
					if pair := utf16.DecodeRune(rune(u), rune(low)); pair != utf8.RuneError {
						r = pair
						text = text[6:]
					}
				}
			}
			b.WriteRune(r)
		default:
			b.WriteByte(escape)
		}
	}
	b.Write(text)
	return b.String()
}
