//go:build !race

package codec

import "testing"

func TestAppendStringAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 256)
	for _, s := range []string{"plain text", "中文👋", "a\"b\n\x01\xff\u2028"} {
		if n := testing.AllocsPerRun(100, func() { buf = AppendString(buf[:0], s) }); n != 0 {
			t.Errorf("AppendString(%q) allocates %v times", s, n)
		}
	}
}

func TestUnquoteAllocatesItsResult(t *testing.T) {
	for _, s := range []string{`"plain text"`, `"a\"b\n\\c"`, `"\u4f60\u597d \ud83d\udc4b"`, `"\\\\u4f60"`} {
		if n := testing.AllocsPerRun(100, func() { Unquote([]byte(s)) }); n > 1 {
			t.Errorf("Unquote(%s) allocates %v times", s, n)
		}
	}
}

func TestValidAllocatesNothing(t *testing.T) {
	data := []byte(`{"a":[1,2,{"b":"c\u00e9"}],"d":null}`)
	if n := testing.AllocsPerRun(100, func() { Valid(data) }); n != 0 {
		t.Errorf("Valid allocates %v times", n)
	}
}
