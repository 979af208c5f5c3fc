//go:build !race

package backend

import (
	"testing"

	"github.com/valyala/fasthttp"
)

func TestAllocations(t *testing.T) {
	b, call := benchCall("")
	req := fasthttp.AcquireRequest()
	if n := testing.AllocsPerRun(100, func() {
		req.Reset()
		b.fill(req, call)
	}); n > 3 {
		t.Errorf("a request to the backend allocates %v times, at most 3 wanted", n)
	}
}
