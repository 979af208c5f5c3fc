//go:build !race

package backend

import "testing"

func TestAllocations(t *testing.T) {
	b, call := benchCall("")
	if n := testing.AllocsPerRun(100, func() {
		p, err := b.send(&call)
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
	}); n > 0 {
		t.Errorf("a request to the backend allocates %v times, none wanted", n)
	}
}
