package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"wx-gateway/gateway/httpc"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// collector notes what it is sent and answers by answer.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*http.Request
	bodies [][]byte
	answer http.HandlerFunc // nil: {}
}

func newCollector(t *testing.T, answer http.HandlerFunc) *collector {
	c := &collector{answer: answer}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		c.got, c.bodies = append(c.got, r), append(c.bodies, body)
		answer := c.answer
		c.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) set(answer http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *collector) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// object is decoded JSON.
type object = map[string]any

// spans are all spans that c was sent, by name.
func (c *collector) spans(t *testing.T) map[string]object {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]object{}
	for _, body := range c.bodies {
		var doc struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []object }
			}
		}
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, s := range doc.ResourceSpans[0].ScopeSpans[0].Spans {
			all[s["name"].(string)] = s
		}
	}
	return all
}

func (c *collector) tracer(sample float64, log io.Writer) *Tracer {
	return New(Config{
		Endpoint: c.URL, Sample: sample, Version: "v1.2.3",
		HTTP: httpc.New(httpc.Config{Name: "collector"}), Log: slog.New(slog.NewTextHandler(log, nil)),
	})
}

var began = time.Unix(1_700_000_000, 123_456_789)

const (
	givenTrace  = "0af7651916cd43dd8448eb211c80319c"
	givenParent = "00-" + givenTrace + "-b7ad6b7169203331-01"
)

// The whole request, by the example of the OTLP specification.
func TestRequest(t *testing.T) {
	t.Parallel()
	c := newCollector(t, nil)
	tr := c.tracer(1, io.Discard)
	tr.SetHeaders([]Header{{"Authorization", "Bearer k"}, {"X-Team", "wx"}})
	tr.Run()
	push := tr.Start("push msg/text", Server, givenParent, began)
	push.Set("wxgw.service", "main")
	push.SetInt("wxgw.attempt", 2)
	call := tr.Start("backend call", Client, push.Traceparent(), began.Add(time.Millisecond))
	call.Fail("timeout")
	call.Set("long", strings.Repeat("x", 1000))
	call.End(began.Add(time.Second))
	push.End(began.Add(2 * time.Second))
	tr.Stop()

	if len(c.got) != 1 {
		t.Fatalf("the collector was called %d times", len(c.got))
	}
	r := c.got[0]
	if r.Method != "POST" || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" ||
		r.Header.Get("Authorization") != "Bearer k" || r.Header.Get("X-Team") != "wx" {
		t.Errorf("the call was %s %s %v", r.Method, r.URL, r.Header)
	}
	var got any
	if err := json.Unmarshal(c.bodies[0], &got); err != nil {
		t.Fatal(err)
	}
	spans := c.spans(t)
	id := regexp.MustCompile(`^[0-9a-f]{16}$`)
	for _, s := range spans {
		if !id.MatchString(s["spanId"].(string)) {
			t.Errorf("spanId %v is not 16 hex digits", s["spanId"])
		}
	}
	pushID, callID := spans["push msg/text"]["spanId"], spans["backend call"]["spanId"]
	text := func(key, value string) object { return object{"key": key, "value": object{"stringValue": value}} }
	want := object{"resourceSpans": []any{object{
		"resource": object{"attributes": []any{text("service.name", "wx-gateway"), text("service.version", "v1.2.3")}},
		"scopeSpans": []any{object{
			"scope": object{"name": "wx-gateway", "version": "v1.2.3"},
			"spans": []any{
				object{
					"traceId": givenTrace, "spanId": callID, "parentSpanId": pushID, "flags": 769.0,
					"name": "backend call", "kind": 3.0,
					"startTimeUnixNano": "1700000000124456789", "endTimeUnixNano": "1700000001123456789",
					"attributes": []any{text("long", strings.Repeat("x", 256))},
					"status":     object{"code": 2.0, "message": "timeout"},
				},
				object{
					"traceId": givenTrace, "spanId": pushID, "parentSpanId": "b7ad6b7169203331", "flags": 769.0,
					"name": "push msg/text", "kind": 2.0,
					"startTimeUnixNano": "1700000000123456789", "endTimeUnixNano": "1700000002123456789",
					"attributes": []any{text("wxgw.service", "main"), object{"key": "wxgw.attempt", "value": object{"intValue": "2"}}},
					"status":     object{},
				},
			},
		}},
	}}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if exported, dropped := tr.Stats(); exported != 2 || dropped != 0 {
		t.Errorf("Stats = %d, %d", exported, dropped)
	}
}

// A trace that is not kept is told to the backend all the same: the ids are for
// its log, and its sampler follows ours.
func TestSampling(t *testing.T) {
	t.Parallel()
	c := newCollector(t, nil)
	tr := c.tracer(0, io.Discard)
	tr.Run()
	parent := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0([0-9])$`)
	f := func(name, header string, kept bool) {
		t.Helper()
		s := tr.Start(name, Server, header, began)
		m := parent.FindStringSubmatch(s.Traceparent())
		if m == nil || (m[1] == "1" || m[1] == "3") != kept {
			t.Errorf("%s: traceparent %q, kept %t", name, s.Traceparent(), kept)
		}
		s.End(began)
	}
	f("root", "", false)
	f("not kept upstream", strings.TrimSuffix(givenParent, "01")+"00", false)
	f("kept upstream", givenParent, true)
	f("no traceparent at all", "hunter2", false)
	tr.Stop()
	spans := c.spans(t)
	if len(spans) != 1 || spans["kept upstream"] == nil {
		t.Errorf("exported %v", spans)
	}
}

func TestWithoutEndpoint(t *testing.T) {
	tr := New(Config{})
	if tr != nil {
		t.Fatal("there is a tracer")
	}
	tr.Run()
	tr.SetHeaders(nil)
	tr.Stop()
	if n := testing.AllocsPerRun(100, func() {
		s := tr.Start("push", Server, "", began)
		s.Set("a", "b")
		s.SetInt("c", 1)
		s.Fail("d")
		if s.Traceparent() != "" {
			t.Error("there is a traceparent")
		}
		s.End(began)
	}); n != 0 {
		t.Errorf("a push without tracing allocates %v times", n)
	}
}

// What does not fit is dropped and counted; no push waits.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	c := newCollector(t, nil)
	tr := c.tracer(1, io.Discard)
	for range maxQueue + 10 { // nobody takes them out yet
		tr.Start("push", Server, "", began).End(began)
	}
	if _, dropped := tr.Stats(); dropped != 10 {
		t.Errorf("dropped %d, want 10", dropped)
	}
	tr.Run()
	tr.Stop()
	if exported, dropped := tr.Stats(); exported != maxQueue || dropped != 10 {
		t.Errorf("Stats = %d, %d", exported, dropped)
	}
	if n := c.calls(); n != maxQueue/maxBatch {
		t.Errorf("%d calls, want %d batches", n, maxQueue/maxBatch)
	}
	tr.Start("late", Server, "", began).End(began) // after Stop: must not block or panic
}

// A collector that is away costs spans and one line of the log, however long.
func TestCollectorIsAway(t *testing.T) {
	t.Parallel()
	const secret = "hunter2secret"
	var log bytes.Buffer
	c := newCollector(t, nil)
	tr := c.tracer(1, &log)
	tr.SetHeaders([]Header{{"Authorization", secret}})
	f := func(answer http.HandlerFunc, dropped uint64) {
		t.Helper()
		c.set(answer)
		_, before := tr.Stats()
		for range 3 {
			tr.Start("push", Server, "", began).End(began)
		}
		tr.flush(nil)
		if _, after := tr.Stats(); after-before != dropped {
			t.Errorf("dropped %d, want %d", after-before, dropped)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "refused: "+r.Header.Get("Authorization"), code)
		}
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	f(status(503), 3)
	f(status(401), 3)
	f(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 3)
	f(body(`{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}`), 2)
	f(body(`{"partialSuccess": {"rejectedSpans": 1}}`), 1)
	f(body(`{"partialSuccess": {"rejectedSpans": -4}}`), 0)
	f(body(`{"partialSuccess": {"rejectedSpans": "9999"}}`), 3)
	f(body(`nonsense`), 0)
	f(status(404), 3)
	tr.Stop()
	text := log.String()
	if strings.Contains(text, secret) {
		t.Errorf("the log shows a header:\n%s", text)
	}
	if n := strings.Count(text, "\n"); n != 3 || !strings.Contains(text, "503") || !strings.Contains(text, "spans are exported again") || !strings.Contains(text, "4318") {
		t.Errorf("the log has %d lines:\n%s", n, text)
	}
}

// Stop waits for a collector that hangs, but not for ever.
func TestStopEnds(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	c := newCollector(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	tr := c.tracer(1, io.Discard)
	tr.Run()
	tr.Start("push", Server, "", began).End(began)
	tr.Stop()
	if exported, dropped := tr.Stats(); exported != 0 || dropped != 1 {
		t.Errorf("Stats = %d, %d", exported, dropped)
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	f := func(endpoint, want string) {
		t.Helper()
		tr := New(Config{Endpoint: endpoint, HTTP: httpc.New(httpc.Config{})})
		if tr.url != want {
			t.Errorf("%q is called at %q, want %q", endpoint, tr.url, want)
		}
		tr.Stop()
	}
	f("http://c:4318", "http://c:4318/v1/traces")
	f("http://c:4318/", "http://c:4318/v1/traces")
	f("https://c/otlp", "https://c/otlp/v1/traces")
	f("https://c/otlp/v1/traces", "https://c/otlp/v1/traces")
}

// A traceparent comes from outside: whatever it holds, there is a span, and a
// valid one is continued.
func FuzzTraceparent(f *testing.F) {
	for _, s := range []string{
		givenParent, "", "00", "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01",
		"00-" + givenTrace + "-0000000000000000-01", "ff-" + givenTrace + "-b7ad6b7169203331-01",
		strings.ToUpper(givenParent), givenParent + "-more", "01" + givenParent[2:] + "-more", givenParent + "\n",
	} {
		f.Add(s)
	}
	tr := New(Config{Endpoint: "http://127.0.0.1:1", Sample: 0, HTTP: httpc.New(httpc.Config{})})
	valid := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	f.Fuzz(func(t *testing.T, header string) {
		s := tr.Start("push", Server, header, began)
		defer s.End(began)
		got := s.Traceparent()
		if !valid.MatchString(got) {
			t.Fatalf("%q makes the traceparent %q", header, got)
		}
		if id := TraceID(header); id != "" && got[3:35] != id {
			t.Errorf("%q is not continued: %q", header, got)
		}
		// The library takes version 00 with flags it knows.
		if valid.MatchString(header) && strings.HasPrefix(header[52:], "-0") && header[54] < '2' && TraceID(header) == "" && header[3:35] != strings.Repeat("0", 32) && header[36:52] != strings.Repeat("0", 16) {
			t.Errorf("%q is not taken", header)
		}
	})
}
