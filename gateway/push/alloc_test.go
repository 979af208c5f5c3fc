//go:build !race

package push

import "testing"

// TestAllocations holds that neither the opening of a push nor its reply
// allocates.
func TestAllocations(t *testing.T) {
	h, request := benchHandler(t)
	f := func(what string, most float64, sealed bool) {
		t.Helper()
		ctx := request(sealed)
		n := testing.AllocsPerRun(100, func() {
			q := readQuery(ctx)
			o, err := h.open(ctx, &q)
			if err != nil {
				t.Fatal(err)
			}
			o.release()
		})
		if n > most {
			t.Errorf("opening a %s push allocates %v times, at most %v wanted", what, n, most)
		}
	}
	f("plain", 0, false)
	f("sealed", 0, true)
	reply := benchReply(t)
	for _, sealed := range []bool{false, true} {
		if n := testing.AllocsPerRun(100, func() { reply(sealed) }); n > 0 {
			t.Errorf("a reply (sealed %t) allocates %v times", sealed, n)
		}
	}
}
