//go:build !race

package push

import "testing"

// TestAllocations pins what opening a push costs: the query's strings, and the
// texts that signatures and decryption need.
func TestAllocations(t *testing.T) {
	h, request := benchHandler(t)
	f := func(what string, most float64, sealed bool) {
		t.Helper()
		ctx := request(sealed)
		n := testing.AllocsPerRun(100, func() {
			if _, err := h.open(ctx, readQuery(ctx)); err != nil {
				t.Fatal(err)
			}
		})
		if n > most {
			t.Errorf("opening a %s push allocates %v times, at most %v wanted", what, n, most)
		}
	}
	f("plain", 3, false)
	f("sealed", 9, true)
}
