package meter

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// The values of the labels of a push. What is not in outcomes counts as the
// last of them, so that each value has a place in an array.
var (
	modes    = [...]string{"plain", "sealed"}
	attempts = [...]string{"1", "2", "3", "4+"}
	fates    = [...]string{"ok", "unreached", "failed", "timeout", "unhandled", "unusable", "none"}
	outcomes = [...]string{"answer", "success", "echo", "held", "ack", "late", "failed", "repeat", "refused", "other"}
)

// Service counts the pushes of one account. Each push counts here, so the
// series lie in arrays and are made when they are first needed: a look costs
// neither a lock nor memory. A nil *Service counts nothing.
type Service struct {
	meter   *Meter
	name    string
	kinds   []atomic.Pointer[ofKind] // by number
	seconds [len(outcomes)]atomic.Pointer[metrics.PrometheusHistogram]
	calls   [len(fates)]atomic.Pointer[metrics.Counter]
	called  atomic.Pointer[metrics.PrometheusHistogram]
}

// ofKind are the counters of one kind of push.
type ofKind [len(modes)][len(outcomes)][len(attempts)]atomic.Pointer[metrics.Counter]

// alarming are the events that alert rules wait for. Their series begin at 0:
// of one that first appears as 1, Prometheus sees no increase.
var alarming = [...]string{"dead", "lost", "dropped", "unusable"}

// Service returns what counts the pushes of the account of that name. Several
// of one name share their series.
func (m *Meter) Service(name string) *Service {
	if m == nil {
		return nil
	}
	for _, event := range alarming {
		m.set.GetOrCreateCounter(deliveryEvents.with(name, event))
	}
	return &Service{meter: m, name: name, kinds: make([]atomic.Pointer[ofKind], len(m.kinds.names))}
}

// Push counts a push that was answered: how it was sealed ("plain", "sealed"),
// what WeChat heard, which attempt of WeChat's it was, and how long it took.
func (s *Service) Push(kind, mode, outcome string, attempt int, took time.Duration) {
	if s == nil {
		return
	}
	k, o := s.meter.kinds.index[kind], indexOf(outcomes[:], outcome)
	m := 0
	if mode == modes[1] {
		m = 1
	}
	a := len(attempts) - 1
	if attempt >= 1 && attempt < len(attempts) {
		a = attempt - 1
	}
	of := s.kinds[k].Load()
	if of == nil {
		s.kinds[k].CompareAndSwap(nil, &ofKind{})
		of = s.kinds[k].Load()
	}
	c := of[m][o][a].Load()
	if c == nil {
		c = s.meter.set.GetOrCreateCounter(pushes.with(s.name, s.meter.kinds.names[k], modes[m], outcomes[o], attempts[a]))
		of[m][o][a].Store(c)
	}
	c.Inc()
	s.meter.histogram(&s.seconds[o], &pushSeconds, s.name, outcomes[o]).Update(took.Seconds())
}

// Backend times one call of the account's backend; fate is "ok" or why there
// was no answer.
func (s *Service) Backend(fate string, took time.Duration) {
	if s == nil {
		return
	}
	s.meter.Step("backend", took)
	f := indexOf(fates[:], fate)
	c := s.calls[f].Load()
	if c == nil {
		c = s.meter.set.GetOrCreateCounter(backendCalls.with(s.name, fates[f]))
		s.calls[f].Store(c)
	}
	c.Inc()
	s.meter.histogram(&s.called, &backendSeconds, s.name).Update(took.Seconds())
}

// histogram is the one at place, made when it is first needed.
func (m *Meter) histogram(place *atomic.Pointer[metrics.PrometheusHistogram], of *metric, values ...string) *metrics.PrometheusHistogram {
	h := place.Load()
	if h == nil {
		h = m.set.GetOrCreatePrometheusHistogramExt(of.with(values...), buckets)
		place.Store(h)
	}
	return h
}

// indexOf finds value among all; what is not there counts as the last.
func indexOf(all []string, value string) int {
	if i := slices.Index(all, value); i >= 0 {
		return i
	}
	return len(all) - 1
}
