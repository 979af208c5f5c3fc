package msg

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplitText(t *testing.T) {
	t.Parallel()
	f := func(s string, limit int, want ...string) {
		t.Helper()
		if got := SplitText(s, limit); !slices.Equal(got, want) {
			t.Errorf("SplitText(%q, %d) = %q, want %q", s, limit, got, want)
		}
	}
	f("", 10)
	f("abc", 10, "abc")
	f("abcdefgh", 4, "abcd", "efgh")
	f("abcdefghi", 4, "abcd", "efgh", "i")
	f("中文字", 7, "中文", "字")
	f("中文字", 5, "中", "文", "字")
	f("👍👍", 0, "👍", "👍")
	f("👍👍", -1, "👍", "👍")
	// what a reader sees as one stays one
	f("ab e\u0301x", 4, "ab ", "e\u0301x")
	f("abc👍🏽x", 8, "abc", "👍🏽", "x")
	f("abc👨‍👩‍👧x", 20, "abc", "👨‍👩‍👧x")
	f("abc🇨🇳🇯🇵", 12, "abc🇨🇳", "🇯🇵")
	f("abc🇨🇳🇯🇵", 16, "abc🇨🇳", "🇯🇵")
	f("abcd❤\ufe0fx", 8, "abcd", "❤\ufe0fx")
	f("abc\r\ndef", 4, "abc", "\r\nde", "f")
	// a sequence longer than a piece is cut between its characters
	f("👨‍👩‍👧‍👦", 8, "👨\u200d", "👩\u200d", "👧\u200d", "👦")
	f("e"+strings.Repeat("\u0301", 4), 5, "e\u0301\u0301", "\u0301\u0301")
	// not UTF-8
	f("\x80\x80\x80\x80\x80\x80", 4, "\x80\x80\x80\x80", "\x80\x80")
	f("abc\xe4\xb8\xadx", 5, "abc", "\xe4\xb8\xadx")
}

func TestSplitTextOfManyPieces(t *testing.T) {
	t.Parallel()
	s := strings.Repeat("你好，world 👨‍👩‍👧‍👦", 5000)
	pieces := SplitText(s, TextLimit)
	if strings.Join(pieces, "") != s {
		t.Error("the pieces do not join to the text")
	}
	for _, p := range pieces {
		if len(p) > TextLimit || !utf8.ValidString(p) || len(p) < TextLimit-maxCluster && p != pieces[len(pieces)-1] {
			t.Errorf("piece of %d bytes", len(p))
		}
	}
}
