package gateway

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

// What New, Start and Reload set going, Stop ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(leakMain{m},
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// leakMain closes what the tests' own HTTP client keeps open.
type leakMain struct{ *testing.M }

func (m leakMain) Run() int {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return m.M.Run()
}
