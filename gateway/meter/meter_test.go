package meter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func text(m *Meter) string {
	var b bytes.Buffer
	m.Write(&b)
	return b.String()
}

func TestSeries(t *testing.T) {
	m := New("v1", "today")
	m.Service("main").Push("msg/text", "sealed", "answer", 1, 30*time.Millisecond)
	m.Service("main").Push("msg/text", "sealed", "answer", 1, 30*time.Millisecond)
	m.Service("main").Push("event/CLICK", "plain", "late", 7, 4500*time.Millisecond)
	m.Service("main").Push("event/CLICK", "plain", "of tomorrow", 0, time.Second)
	m.Refused("main", "bad signature")
	m.Event("main", "kept")
	m.Event("main", "late-sent")
	m.Event("main", "shelved")
	m.Step("open", 30*time.Microsecond)
	m.Step("of nothing", time.Second)
	m.Service("main").Backend("ok", 20*time.Millisecond)
	m.WeChat("wx1", "cgi-bin/user/info", 48001, time.Millisecond)
	m.Refresh("wx1", "access_token", "cold", nil)
	m.Refresh("wx1", "access_token", "stale", errors.New("x"))
	m.Hit("wx1")
	m.Lookup("wx1", "fetched", time.Microsecond)
	m.OldSecret("main", "aes-key", time.Unix(1767000000, 0))
	m.Gauges(func(w io.Writer) { Gauge(w, "wxgw_queue_items", 3, "service", "main", "state", "dead") })
	got := text(m)
	for _, want := range []string{
		`wxgw_build_info{version="v1",built="today",go="go`,
		`wxgw_pushes_total{service="main",kind="msg/text",mode="sealed",outcome="answer",attempt="1"} 2`,
		`wxgw_pushes_total{service="main",kind="event/CLICK",mode="plain",outcome="late",attempt="4+"} 1`,
		`wxgw_pushes_total{service="main",kind="event/CLICK",mode="plain",outcome="other",attempt="4+"} 1`,
		`wxgw_push_seconds_bucket{service="main",outcome="answer",le="0.05"} 2`,
		`wxgw_step_seconds_bucket{step="open",le="5e-05"} 1`,
		`wxgw_step_seconds_count{step="parse"} 0`,
		`wxgw_step_seconds_count{step="userinfo"} 1`,
		`wxgw_step_seconds_bucket{step="backend",le="0.025"} 1`,
		`wxgw_late_answers_total{service="main",via="customer-service",result="sent"} 1`,
		`wxgw_late_answers_total{service="main",via="pickup",result="stored"} 1`,
		`wxgw_delivery_events_total{service="main",event="late-sent"} 1`,
		`wxgw_push_seconds_bucket{service="main",outcome="late",le="4.5"} 1`,
		`wxgw_refused_total{service="main",reason="bad signature"} 1`,
		`wxgw_delivery_events_total{service="main",event="kept"} 1`,
		`wxgw_backend_calls_total{service="main",fate="ok"} 1`,
		`wxgw_wechat_calls_total{appid="wx1",path="cgi-bin/user/info",errcode="48001"} 1`,
		`wxgw_token_refreshes_total{appid="wx1",what="access_token",cause="cold",result="ok"} 1`,
		`wxgw_token_refreshes_total{appid="wx1",what="access_token",cause="stale",result="failed"} 1`,
		`wxgw_userinfo_lookups_total{appid="wx1",result="hit"} 1`,
		`wxgw_userinfo_lookups_total{appid="wx1",result="fetched"} 1`,
		`wxgw_old_secret_last_used_seconds{service="main",what="aes-key"} 1767000000`,
		`wxgw_queue_items{service="main",state="dead"} 3`,
		`process_resident_memory_bytes`,
		`process_open_fds`,
		`process_max_fds`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("metrics do not hold %s\n%s", want, got)
		}
	}
}

// TestSeriesStayBounded: names that strangers invent share one series.
func TestSeriesStayBounded(t *testing.T) {
	m := New("v1", "today")
	for i := range 5000 {
		m.Service("main").Push(fmt.Sprintf("event/invented%d", i), "plain", "answer", 1, 0)
	}
	if n := strings.Count(text(m), "wxgw_pushes_total{"); n != 1 {
		t.Errorf("%d series for invented names, want 1", n)
	}
	for _, kind := range []string{"msg/text", "event/CLICK", "event/channels_ec_order_pay", "event/channels_ec_vip_user_info_get", "event/complaint_callback", "info/component_verify_ticket"} {
		if m.Kind(kind) != kind {
			t.Errorf("%s has no series of its own", kind)
		}
	}
}

func TestNilMeterCountsNothing(t *testing.T) {
	var m *Meter
	m.Service("a").Push("b", "c", "d", 1, 0)
	m.Refused("a", "b")
	m.Event("a", "b")
	m.Service("a").Backend("b", 0)
	m.WeChat("a", "b", 0, 0)
	m.Refresh("a", "b", "c", nil)
	m.Lookup("a", "b", 0)
	m.Step("open", 0)
	m.OldSecret("a", "b", time.Time{})
}

// FuzzLabel: no label value can end its quotes or its line, or make the
// library panic.
func FuzzLabel(f *testing.F) {
	for _, s := range []string{"", "main", `a"b`, `a\`, "a\nb", "主号", "{}=,", "\xff", strings.Repeat("x", 500)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := New("v", "b")
		m.Event(s, "kept")
		var own bytes.Buffer
		m.set.WritePrometheus(&own)
		var line string
		for _, l := range strings.Split(own.String(), "\n") {
			if strings.HasPrefix(l, "wxgw_delivery_events_total") {
				line = l
			}
		}
		if !strings.HasSuffix(line, `",event="kept"} 1`) {
			t.Errorf("label %q breaks its line: %q", s, line)
		}
	})
}

func BenchmarkPush(b *testing.B) {
	s := New("v", "b").Service("main")
	b.ReportAllocs()
	for b.Loop() {
		s.Push("msg/text", "sealed", "answer", 1, time.Millisecond)
	}
}

func BenchmarkBackend(b *testing.B) {
	s := New("v", "b").Service("main")
	b.ReportAllocs()
	for b.Loop() {
		s.Backend("ok", time.Millisecond)
	}
}
