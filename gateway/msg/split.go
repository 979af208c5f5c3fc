package msg

import (
	"unicode"
	"unicode/utf8"
)

const (
	zwj = '\u200d' // joins emoji into one: a family, a flag of colours

	// maxCluster is how far a cut moves back, in bytes, to keep what a reader
	// sees as one character together. A family of four takes 25.
	maxCluster = 64
)

// SplitText cuts s into pieces of at most limit bytes that join to s again. It
// cuts between characters, and where it can not between a character and the
// marks, modifiers and joined emoji that belong to it, nor within a line end.
// No piece is empty, so an empty s has none. A limit below utf8.UTFMax, into
// which a character may not fit, is taken as utf8.UTFMax.
func SplitText(s string, limit int) []string {
	limit = max(limit, utf8.UTFMax)
	var pieces []string
	for len(s) > limit {
		n := cut(s, limit)
		pieces = append(pieces, s[:n])
		s = s[n:]
	}
	if s != "" {
		pieces = append(pieces, s)
	}
	return pieces
}

// cut returns the best place at or before limit to cut s, which is longer.
func cut(s string, limit int) int {
	at := limit
	for at > limit-utf8.UTFMax+1 && !utf8.RuneStart(s[at]) {
		at--
	}
	if !utf8.RuneStart(s[at]) {
		return limit // not UTF-8: there is no border to find
	}
	for n := at; n > 0 && n > at-maxCluster; {
		before, size := utf8.DecodeLastRuneInString(s[:n])
		after, _ := utf8.DecodeRuneInString(s[n:])
		if !together(s[:n], before, after) {
			return n
		}
		n -= size
	}
	return at
}

// together reports whether a reader sees the rune after as part of the same
// character as the rune before, the last of head.
func together(head string, before, after rune) bool {
	switch {
	case before == zwj || after == zwj:
		return true
	case before == '\r':
		return after == '\n'
	case unicode.Is(unicode.M, after): // variation selectors are among them
		return true
	case after >= 0x1F3FB && after <= 0x1F3FF: // skin tones
		return true
	case after >= 0xE0020 && after <= 0xE007F: // tags of regional flags
		return true
	case isRegional(before) && isRegional(after):
		// Two letters are a flag: a border stands after each pair.
		n := 0
		for len(head) > 0 && n <= maxCluster {
			r, size := utf8.DecodeLastRuneInString(head)
			if !isRegional(r) {
				break
			}
			n++
			head = head[:len(head)-size]
		}
		return n%2 == 1
	}
	return false
}

func isRegional(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }
