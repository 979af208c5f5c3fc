package gateway

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

// What New, Start and Reload set going, Stop ends.
func TestMain(m *testing.M) { goleak.VerifyTestMain(leakMain{m}, mayStay...) }

// mayStay are fasthttp's own goroutines.
var mayStay = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
}

// leakMain closes what the tests' own HTTP client keeps open, and gives what is
// ending more than the half second that goleak does: the machine may be busy.
type leakMain struct{ *testing.M }

func (m leakMain) Run() int {
	code := m.M.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for range 60 {
		if code != 0 || goleak.Find(mayStay...) == nil {
			break
		}
	}
	return code
}
