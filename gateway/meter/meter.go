// Package meter counts and times what the gateway does, and writes it in the
// Prometheus text format. The number of series is bounded whatever strangers
// send: names from outside become labels only where they are known.
package meter

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// buckets lie around WeChat's marks: it cuts a push at 5 s (some at 3 s), an
// answer is given 4.5 s in at the latest, a held attempt ends at 6 s, and the
// third one is answered 14.5 s after the first.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 3, 4, 4.5, 5, 6, 10, 14.5, 30, 60, 120}

// Meter is safe for concurrent use. A nil *Meter counts nothing.
type Meter struct {
	set   *metrics.Set
	kinds map[string]bool

	counters   sync.Map // labels struct → *metrics.Counter
	histograms sync.Map // labels struct → *metrics.PrometheusHistogram

	mu     sync.Mutex
	gauges []func(w io.Writer) // what is read when it is asked for
}

// New returns a meter that tells which build it runs in.
func New(version, built string) *Meter {
	m := &Meter{set: metrics.NewSet(), kinds: knownKinds()}
	info := fmt.Sprintf(`wxgw_build_info{version=%q,built=%q,go=%q}`, version, built, runtime.Version())
	m.set.NewGauge(info, func() float64 { return 1 })
	return m
}

// series names one counter or histogram: a metric and up to five label values.
type series struct {
	name               string
	v1, v2, v3, v4, v5 string
	l1, l2, l3, l4, l5 string
}

func (s series) String() string {
	text := s.name
	sep := "{"
	for _, l := range [...][2]string{{s.l1, s.v1}, {s.l2, s.v2}, {s.l3, s.v3}, {s.l4, s.v4}, {s.l5, s.v5}} {
		if l[0] != "" {
			text += sep + l[0] + "=" + quote(l[1])
			sep = ","
		}
	}
	if sep == "," {
		text += "}"
	}
	return text
}

func (m *Meter) count(s series) {
	c, ok := m.counters.Load(s)
	if !ok {
		c, _ = m.counters.LoadOrStore(s, m.set.GetOrCreateCounter(s.String()))
	}
	c.(*metrics.Counter).Inc()
}

func (m *Meter) observe(s series, took time.Duration) {
	h, ok := m.histograms.Load(s)
	if !ok {
		h, _ = m.histograms.LoadOrStore(s, m.set.GetOrCreatePrometheusHistogramExt(s.String(), buckets))
	}
	h.(*metrics.PrometheusHistogram).Update(took.Seconds())
}

// Kind is the label of a kind of push: its name where WeChat is known to push
// it, else "other".
func (m *Meter) Kind(kind string) string {
	if m.kinds[kind] {
		return kind
	}
	return "other"
}

// Push counts a push that was answered: which attempt of WeChat's it was, how
// it was sealed ("plain", "sealed"), what WeChat heard, and how long it took.
func (m *Meter) Push(service, kind, mode, outcome string, attempt int, took time.Duration) {
	if m == nil {
		return
	}
	seen := "4+"
	if attempt >= 1 && attempt <= 3 {
		seen = [...]string{"1", "2", "3"}[attempt-1]
	}
	m.count(series{name: "wxgw_pushes_total", l1: "service", v1: service, l2: "kind", v2: m.Kind(kind), l3: "mode", v3: mode, l4: "outcome", v4: outcome, l5: "attempt", v5: seen})
	m.observe(series{name: "wxgw_push_seconds", l1: "service", v1: service, l2: "outcome", v2: outcome}, took)
}

// Refused counts a request that was refused, by the short reason it was given.
// service is "" where none was found.
func (m *Meter) Refused(service, reason string) {
	if m != nil {
		m.count(series{name: "wxgw_refused_total", l1: "service", v1: service, l2: "reason", v2: reason})
	}
}

// Event counts what the clock does: kept, redelivered, late-sent, dead, …
func (m *Meter) Event(service, event string) {
	if m != nil {
		m.count(series{name: "wxgw_delivery_events_total", l1: "service", v1: service, l2: "event", v2: event})
	}
}

// Backend times one call of a backend; fate is "ok" or why there was no answer.
func (m *Meter) Backend(service, fate string, took time.Duration) {
	if m == nil {
		return
	}
	m.count(series{name: "wxgw_backend_calls_total", l1: "service", v1: service, l2: "fate", v2: fate})
	m.observe(series{name: "wxgw_backend_seconds", l1: "service", v1: service}, took)
}

// WeChat times one call of WeChat's API, by path and errcode (0 is good).
func (m *Meter) WeChat(appID, path string, code int, took time.Duration) {
	if m == nil {
		return
	}
	m.count(series{name: "wxgw_wechat_calls_total", l1: "appid", v1: appID, l2: "path", v2: path, l3: "errcode", v3: fmt.Sprint(code)})
	m.observe(series{name: "wxgw_wechat_seconds", l1: "path", v1: path}, took)
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
	m.count(series{name: "wxgw_token_refreshes_total", l1: "appid", v1: appID, l2: "what", v2: what, l3: "cause", v3: cause, l4: "result", v4: result})
}

// Lookup counts a user-info lookup: "hit", "fetched", "failed".
func (m *Meter) Lookup(appID, result string) {
	if m != nil {
		m.count(series{name: "wxgw_userinfo_lookups_total", l1: "appid", v1: appID, l2: "result", v2: result})
	}
}

// OldSecret notes that an earlier token or key was used: "token", "aes-key".
// While the time of last use does not move, the old one can be removed.
func (m *Meter) OldSecret(service, what string, now time.Time) {
	if m == nil {
		return
	}
	name := series{name: "wxgw_old_secret_last_used_seconds", l1: "service", v1: service, l2: "what", v2: what}.String()
	m.set.GetOrCreateGauge(name, nil).Set(float64(now.Unix()))
}

// Gauges adds a writer of values that are read when they are asked for.
func (m *Meter) Gauges(write func(w io.Writer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges = append(m.gauges, write)
}

// Gauge writes one value with labels given in pairs.
func Gauge(w io.Writer, name string, value float64, labels ...string) {
	text := name
	sep := "{"
	for i := 0; i+1 < len(labels); i += 2 {
		text += sep + labels[i] + "=" + quote(labels[i+1])
		sep = ","
	}
	if sep == "," {
		text += "}"
	}
	metrics.WriteGaugeFloat64(w, text, value)
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
}
