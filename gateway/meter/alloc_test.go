//go:build !race

package meter

import (
	"testing"
	"time"
)

// Counting is part of every push: it makes no garbage.
func TestCountingAllocatesNothing(t *testing.T) {
	m := New("v", "b")
	s := m.Service("main")
	f := func(what string, count func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, count); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
	f("Push", func() { s.Push("msg/text", "sealed", "answer", 1, time.Millisecond) })
	f("Backend", func() { s.Backend("ok", time.Millisecond) })
	f("Event", func() { m.Event("main", "late-sent") })
	f("Hit", func() { m.Hit("wx1") })
	f("Step", func() { m.Step("open", time.Millisecond) })
	f("Refused", func() { m.Refused("main", "bad signature") })
}
