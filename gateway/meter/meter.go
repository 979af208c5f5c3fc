// Package meter counts and times what the gateway does, and writes it in the
// Prometheus text format. The number of series is bounded whatever strangers
// send: names from outside become labels only where they are known.
package meter

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// buckets lie around WeChat's marks: it cuts a push at 5 s (some at 3 s), an
// answer is given 4.5 s in at the latest, a held attempt ends at 6 s, and the
// third one is answered 14.5 s after the first.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 3, 4, 4.5, 5, 6, 10, 14.5, 30, 60, 120}

// stepBuckets begin far lower: most steps are the gateway's own work, which
// takes microseconds.
var stepBuckets = []float64{0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 4.5, 5, 15, 60, 120}

// metric is a name and its labels.
type metric struct {
	name   string
	labels []string
}

// The counters and histograms; docs/metrics.md tells what each means.
var (
	pushes         = metric{"wxgw_pushes_total", []string{"service", "kind", "mode", "outcome", "attempt"}}
	pushSeconds    = metric{"wxgw_push_seconds", []string{"service", "outcome"}}
	stepSeconds    = metric{"wxgw_step_seconds", []string{"step"}}
	refusals       = metric{"wxgw_refused_total", []string{"service", "reason"}}
	deliveryEvents = metric{"wxgw_delivery_events_total", []string{"service", "event"}}
	lateAnswers    = metric{"wxgw_late_answers_total", []string{"service", "via", "result"}}
	backendCalls   = metric{"wxgw_backend_calls_total", []string{"service", "fate"}}
	backendSeconds = metric{"wxgw_backend_seconds", []string{"service"}}
	wechatCalls    = metric{"wxgw_wechat_calls_total", []string{"appid", "path", "errcode"}}
	wechatSeconds  = metric{"wxgw_wechat_seconds", []string{"path"}}
	refreshes      = metric{"wxgw_token_refreshes_total", []string{"appid", "what", "cause", "result"}}
	lookups        = metric{"wxgw_userinfo_lookups_total", []string{"appid", "result"}}
	oldSecrets     = metric{"wxgw_old_secret_last_used_seconds", []string{"service", "what"}}
)

// with is the series of m with these values of its labels.
func (m metric) with(values ...string) string {
	text := m.name
	for i, label := range m.labels {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		text += sep + label + "=" + quote(values[i])
	}
	return text + "}"
}

// Meter is safe for concurrent use. A nil *Meter counts nothing.
type Meter struct {
	set   *metrics.Set
	kinds kinds
	steps [len(steps)]*metrics.PrometheusHistogram

	// What is not counted for every push, by name and values of the labels. A
	// typed map: a sync.Map would allocate for each look.
	found      sync.RWMutex
	counters   map[series]*metrics.Counter
	histograms map[series]*metrics.PrometheusHistogram

	mu     sync.Mutex
	gauges []func(w io.Writer) // what is read when it is asked for
}

// series is one counter or histogram.
type series struct{ name, v1, v2, v3, v4 string }

// New returns a meter that tells which build it runs in.
func New(version, built string) *Meter {
	m := &Meter{
		set: metrics.NewSet(), kinds: knownKinds(),
		counters: map[series]*metrics.Counter{}, histograms: map[series]*metrics.PrometheusHistogram{},
	}
	for i, step := range steps {
		m.steps[i] = m.set.NewPrometheusHistogramExt(stepSeconds.with(step), stepBuckets)
	}
	info := fmt.Sprintf(`wxgw_build_info{version=%s,built=%s,go=%s}`, quote(version), quote(built), quote(runtime.Version()))
	m.set.NewGauge(info, func() float64 { return 1 })
	return m
}

func key(name string, values []string) series {
	s := series{name: name}
	for i, v := range [...]*string{&s.v1, &s.v2, &s.v3, &s.v4} {
		if i < len(values) {
			*v = values[i]
		}
	}
	return s
}

func (m *Meter) count(of *metric, values ...string) {
	k := key(of.name, values)
	m.found.RLock()
	c := m.counters[k]
	m.found.RUnlock()
	if c == nil {
		c = m.set.GetOrCreateCounter(of.with(values...))
		m.found.Lock()
		m.counters[k] = c
		m.found.Unlock()
	}
	c.Inc()
}

func (m *Meter) observe(took time.Duration, of *metric, values ...string) {
	k := key(of.name, values)
	m.found.RLock()
	h := m.histograms[k]
	m.found.RUnlock()
	if h == nil {
		h = m.set.GetOrCreatePrometheusHistogramExt(of.with(values...), buckets)
		m.found.Lock()
		m.histograms[k] = h
		m.found.Unlock()
	}
	h.Update(took.Seconds())
}

// Kind is the label of a kind of push: its name where WeChat is known to push
// it, else "other".
func (m *Meter) Kind(kind string) string { return m.kinds.names[m.kinds.index[kind]] }

// steps are the parts of a push that are timed.
var steps = [...]string{"open", "parse", "userinfo", "backend", "seal"}

// Step times one part of a push: "open" (signatures and envelope), "parse",
// "userinfo", "backend" (one call), "seal" (writing and sealing the reply).
func (m *Meter) Step(step string, took time.Duration) {
	if m == nil {
		return
	}
	for i, name := range steps {
		if name == step {
			m.steps[i].Update(took.Seconds())
			return
		}
	}
}

// Refused counts a request that was refused, by the short reason it was given.
// service is "" where none was found.
func (m *Meter) Refused(service, reason string) {
	if m != nil {
		m.count(&refusals, service, reason)
	}
}

// lateWays tells of the events that end a late answer which way it took and
// how it went.
var lateWays = map[string][2]string{
	"late-sent":      {"customer-service", "sent"},
	"shelved":        {"pickup", "stored"},
	"picked-up":      {"pickup", "taken"},
	"pickup-dropped": {"pickup", "dropped"},
	"late-off":       {"none", "dropped"},
}

// Event counts what the clock does: kept, redelivered, late-sent, dead, …
func (m *Meter) Event(service, event string) {
	if m == nil {
		return
	}
	m.count(&deliveryEvents, service, event)
	if way, ok := lateWays[event]; ok {
		m.count(&lateAnswers, service, way[0], way[1])
	}
}

// WeChat times one call of WeChat's API, by path and errcode (0 is good).
func (m *Meter) WeChat(appID, path string, code int, took time.Duration) {
	if m == nil {
		return
	}
	m.count(&wechatCalls, appID, path, strconv.Itoa(code))
	m.observe(took, &wechatSeconds, path)
}

// Refresh counts a fetch of a token or ticket by its cause.
func (m *Meter) Refresh(appID, what, cause string, err error) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.count(&refreshes, appID, what, cause, result)
}

// Hit counts a user-info look-up of a push that the cache answered.
func (m *Meter) Hit(appID string) {
	if m != nil {
		m.count(&lookups, appID, "hit")
	}
}

// Lookup times a user-info look-up of a push that took a call, one's own or
// another's, and counts how it went: "fetched", "failed".
func (m *Meter) Lookup(appID, result string, took time.Duration) {
	if m == nil {
		return
	}
	m.Step("userinfo", took)
	m.count(&lookups, appID, result)
}

// OldSecret notes that an earlier token or key was used: "token", "aes-key".
// While the time of last use does not move, the old one can be removed.
func (m *Meter) OldSecret(service, what string, now time.Time) {
	if m != nil {
		m.set.GetOrCreateGauge(oldSecrets.with(service, what), nil).Set(float64(now.Unix()))
	}
}

// Gauges adds a writer of values that are read when they are asked for.
func (m *Meter) Gauges(write func(w io.Writer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges = append(m.gauges, write)
}

// Gauge writes one value with labels given in pairs.
func Gauge(w io.Writer, name string, value float64, labels ...string) {
	metrics.WriteGaugeFloat64(w, labelled(name, labels), value)
}

// Counter writes a count that is kept elsewhere, with labels given in pairs.
func Counter(w io.Writer, name string, value uint64, labels ...string) {
	metrics.WriteCounterUint64(w, labelled(name, labels), value)
}

func labelled(name string, labels []string) string {
	text := name
	sep := "{"
	for i := 0; i+1 < len(labels); i += 2 {
		text += sep + labels[i] + "=" + quote(labels[i+1])
		sep = ","
	}
	if sep == "," {
		text += "}"
	}
	return text
}

// Write writes every series, and the process's own.
func (m *Meter) Write(w io.Writer) {
	m.set.WritePrometheus(w)
	m.mu.Lock()
	gauges := m.gauges
	m.mu.Unlock()
	for _, write := range gauges {
		write(w)
	}
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}
