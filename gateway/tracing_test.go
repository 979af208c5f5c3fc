package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"wx-gateway/gateway/sim"
)

// collector is an OTLP endpoint that keeps what it is sent.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	keys   []string // of each call
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		c.bodies, c.keys = append(c.bodies, string(body)), append(c.keys, r.Header.Get("Api-Key"))
		c.mu.Unlock()
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(c.Close)
	return c
}

// traced is a span as exported.
type traced struct {
	TraceID, SpanID, ParentSpanID, Name string
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
	Status struct{ Message string }
}

func (s traced) get(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// spans are those of a name, in the order they ended.
func (c *collector) spans(t *testing.T, name string) []traced {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var some []traced
	for _, body := range c.bodies {
		var doc struct {
			ResourceSpans []struct{ ScopeSpans []struct{ Spans []traced } }
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, s := range doc.ResourceSpans[0].ScopeSpans[0].Spans {
			if s.Name == name {
				some = append(some, s)
			}
		}
	}
	return some
}

func (c *collector) tracing(sample float64) edit {
	return setTop("tracing", map[string]any{"endpoint": c.URL, "sample": sample, "headers": map[string]string{"api-key": "collector-key-0001"}})
}

const (
	proxyTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	proxySpan   = "00f067aa0ba902b7"
	proxyHeader = "00-" + proxyTrace + "-" + proxySpan + "-01"
)

// through pushes body as a proxy in front would pass it on.
func (w *world) through(body []byte, traceparent string) {
	w.t.Helper()
	url, sealed, err := w.push(sim.Safe, body).Build()
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", url, bytes.NewReader(sealed))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("traceparent", traceparent)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if status, text := readAll(w.t, resp); status != 200 {
		w.t.Fatalf("%d %s", status, text)
	}
}

// One trace holds the proxy's span, the push, the call, and whatever the backend
// hangs below it.
func TestTracing(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, c.tracing(1), endpointPath("metrics", "/metrics"))
	w.through(text("a private message"), proxyHeader)
	calls := w.backend.calls("/msg/text")
	w.send(sim.Safe, event("CLICK", "K"))
	status, metrics := w.get("/metrics")
	if status != 200 {
		t.Errorf("metrics: %d", status)
	}
	wantContains(t, "metrics", metrics, `wxgw_spans_total{result="exported"} `, `wxgw_spans_total{result="dropped"} 0`)
	w.stop() // which sends what is left

	pushes, backend := c.spans(t, "push msg/text"), c.spans(t, "backend call")
	if len(calls) != 1 || len(pushes) != 1 || len(backend) != 2 || len(c.spans(t, "push event/CLICK")) != 1 {
		t.Fatalf("%d calls, spans %+v %+v", len(calls), pushes, backend)
	}
	push, call := pushes[0], backend[0]
	if push.TraceID != proxyTrace || push.ParentSpanID != proxySpan {
		t.Errorf("the push does not continue the proxy's trace: %+v", push)
	}
	if call.TraceID != proxyTrace || call.ParentSpanID != push.SpanID {
		t.Errorf("the call is no child of the push: %+v", call)
	}
	if got, want := calls[0].header.Get("traceparent"), "00-"+proxyTrace+"-"+call.SpanID+"-01"; got != want {
		t.Errorf("the backend heard traceparent %q, want %q", got, want)
	}
	f := func(s traced, key, want string) {
		t.Helper()
		if got := s.get(key); got != want {
			t.Errorf("%s of %q is %q, want %q", key, s.Name, got, want)
		}
	}
	id := calls[0].header.Get("X-Wx-Push-Id")
	f(push, "wxgw.service", "main")
	f(push, "wxgw.kind", "msg/text")
	f(push, "wxgw.push.id", id)
	f(push, "wxgw.attempt", "1")
	f(push, "wxgw.outcome", "answer")
	f(call, "wxgw.service", "main")
	f(call, "wxgw.kind", "msg/text")
	f(call, "wxgw.push.id", id)
	f(call, "wxgw.attempt", "1")
	f(call, "wxgw.fate", "ok")
	if tokens := c.spans(t, "wechat cgi-bin/stable_token"); len(tokens) != 1 || tokens[0].get("wxgw.errcode") != "0" || tokens[0].ParentSpanID != "" {
		t.Errorf("the token's fetch is %+v", tokens)
	}
	for i, body := range c.bodies {
		if c.keys[i] != "collector-key-0001" {
			t.Errorf("the collector heard the key %q", c.keys[i])
		}
		for _, private := range []string{sim.DefaultFrom, "a private message", "collector-key"} {
			if strings.Contains(body, private) {
				t.Errorf("spans tell %q", private)
			}
		}
		w.noSecrets(body)
	}
	if strings.Contains(w.logs.String(), "collector-key") {
		t.Error("the log shows a header of the collector")
	}
}

// A redelivery may come hours later: it is a trace of its own that names the first.
func TestTracingOfARedelivery(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, c.tracing(1), setTop("data-dir", t.TempDir()))
	var mu sync.Mutex
	failed := false
	w.backend.on("/msg/text", func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !failed {
			failed = true
			rw.WriteHeader(500)
		}
	})
	w.through(text("x"), proxyHeader)
	eventually(t, "the redelivery", func() bool { return len(w.backend.calls("/msg/text")) == 2 })
	second := w.backend.calls("/msg/text")[1].header.Get("traceparent")
	w.stop()
	calls := c.spans(t, "backend call")
	if len(calls) != 2 {
		t.Fatalf("spans %+v", calls)
	}
	first, again := calls[0], calls[1]
	if first.TraceID != proxyTrace || first.get("wxgw.fate") != "failed" || first.Status.Message != "failed" || first.get("http.response.status_code") != "500" {
		t.Errorf("the first call is %+v", first)
	}
	if again.TraceID == proxyTrace || again.ParentSpanID != "" || again.get("wxgw.origin.trace_id") != proxyTrace || again.get("wxgw.attempt") != "2" {
		t.Errorf("the redelivery is %+v", again)
	}
	if !strings.Contains(second, again.TraceID+"-"+again.SpanID) {
		t.Errorf("the backend heard %q of %+v", second, again)
	}
	if push := c.spans(t, "push msg/text"); len(push) != 1 || push[0].Status.Message != "failed" {
		t.Errorf("the push is %+v", push)
	}
}

// A backend may write the ids into its log even of traces that are not kept;
// the collector hears of none.
func TestTracingKeepsNothing(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, c.tracing(0))
	w.send(sim.Safe, text("x"))
	got := w.backend.calls("/msg/text")[0].header.Get("traceparent")
	if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[02]$`).MatchString(got) {
		t.Errorf("the backend heard traceparent %q", got)
	}
	w.stop()
	if len(c.bodies) > 0 {
		t.Errorf("exported %s", c.bodies)
	}
}

func TestWithoutTracing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.through(text("x"), proxyHeader)
	if got, ok := w.backend.calls("/msg/text")[0].header["Traceparent"]; ok {
		t.Errorf("the backend heard traceparent %q", got)
	}
}

// The key of a collector is replaced while the gateway runs.
func TestTracingHeadersReload(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	w := newWorld(t, c.tracing(1))
	w.conf["tracing"].(map[string]any)["headers"] = map[string]string{"api-key": "collector-key-0002"}
	w.write()
	if err := w.g.Reload(); err != nil {
		t.Fatal(err)
	}
	w.send(sim.Safe, text("x"))
	w.stop()
	if n := len(c.keys); n == 0 || c.keys[n-1] != "collector-key-0002" {
		t.Errorf("the collector heard the keys %q", c.keys)
	}
}
