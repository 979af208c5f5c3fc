//go:build !race

package msg

import (
	"os"
	"testing"
)

func TestAllocations(t *testing.T) {
	push, err := os.ReadFile("testdata/push/msg-text.xml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(push)
	if err != nil {
		t.Fatal(err)
	}
	r := &Reply{Type: "text", Text: "您好 👋 x"}
	answer := []byte(`{"type":"text","msg":"您好"}`)
	buf := make([]byte, 0, 1024)
	f := func(what string, most float64, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, run); n > most {
			t.Errorf("%s allocates %v times, at most %v wanted", what, n, most)
		}
	}
	f("Parse", 3, func() { Parse(push) })
	f("Path", 0, func() { m.Path() })
	f("ParseAnswer", 2, func() { ParseAnswer("application/json", answer) })
	f("AppendXML", 0, func() { buf = r.AppendXML(buf[:0], "oU", "gh", 1767000060) })
}
