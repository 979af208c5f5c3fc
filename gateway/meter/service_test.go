package meter

import (
	"strings"
	"sync"
	"testing"
)

// Two handles of one account, as before and after a reload, count together,
// and nothing is lost when they begin at the same time.
func TestServicesShareTheirSeries(t *testing.T) {
	m := New("v", "b")
	const pushers, each = 8, 500
	var wg sync.WaitGroup
	for range pushers {
		s := m.Service("main")
		wg.Go(func() {
			for range each {
				s.Push("msg/image", "plain", "held", 2, 0)
			}
		})
	}
	wg.Wait()
	got := text(m)
	for _, want := range []string{
		`wxgw_pushes_total{service="main",kind="msg/image",mode="plain",outcome="held",attempt="2"} 4000`,
		`wxgw_push_seconds_count{service="main",outcome="held"} 4000`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("metrics do not hold %s\n%s", want, got)
		}
	}
}

// The first dead letter is an increase only after a 0.
func TestAlarmingEventsBeginAtZero(t *testing.T) {
	m := New("v", "b")
	m.Service("main")
	want := `wxgw_delivery_events_total{service="main",event="dead"} `
	if got := text(m); !strings.Contains(got, want+"0\n") {
		t.Errorf("metrics do not hold %s0\n%s", want, got)
	}
	m.Event("main", "dead")
	m.Service("main")
	if got := text(m); !strings.Contains(got, want+"1\n") {
		t.Errorf("metrics do not hold %s1\n%s", want, got)
	}
}
