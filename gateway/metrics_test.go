package gateway

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wx-gateway/gateway/sim"
)

func endpointPath(key, path string) edit {
	return func(c map[string]any) { c["common-endpoints"].(map[string]any)[key] = path }
}

// TestMetrics: what happens to pushes is there to be scraped, and what
// strangers invent makes no series of its own.
func TestMetrics(t *testing.T) {
	t.Parallel()
	const newer = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	w := newWorld(t, endpointPath("metrics", "/metrics"), param("aes-key", newer), set("aes-keys-old", []string{testKey}))
	if status, body := w.get("/user?s=main&o=oOther"); status != 200 { // so that no push waits for a token
		t.Fatalf("%d %s", status, body)
	}
	w.send(sim.Safe, text("x"))
	w.send(sim.Plain, event("invented_by_a_stranger", ""))
	forged := w.push(sim.Safe, text("x"))
	forged.Token = "another"
	target, body, err := forged.Build()
	if err != nil {
		t.Fatal(err)
	}
	post(t, "forged", target, body, 403, "bad signature")
	w.backend.answer("/msg/text", `{"broken`)
	w.send(sim.Safe, text("y"))

	status, got := w.get("/metrics")
	if status != 200 {
		t.Fatalf("%d %s", status, got)
	}
	wantContains(t, "metrics", got,
		`wxgw_build_info{`,
		`wxgw_pushes_total{service="main",kind="msg/text",mode="sealed",outcome="answer",attempt="1"} 1`,
		`wxgw_pushes_total{service="main",kind="other",mode="plain",outcome="success",attempt="1"} 1`,
		`wxgw_refused_total{service="main",reason="bad signature"} 1`,
		`wxgw_backend_calls_total{service="main",fate="unusable"} 1`,
		`wxgw_delivery_events_total{service="main",event="unusable"} 1`,
		`wxgw_wechat_calls_total{appid="`+testAppID+`",path="cgi-bin/stable_token",errcode="0"} 1`,
		`wxgw_token_refreshes_total{appid="`+testAppID+`",what="access_token",cause="cold",result="ok"} 1`,
		`wxgw_token_asked_total{appid="`+testAppID+`",what="access_token",result="hit"} `,
		`wxgw_token_asked_total{appid="`+testAppID+`",what="access_token",result="waited"} `,
		`wxgw_token_asked_total{appid="`+testAppID+`",what="jsapi_ticket",result="hit"} 0`,
		`wxgw_token_expires_in_seconds{appid="`+testAppID+`"} 7`,
		`wxgw_userinfo_lookups_total{appid="`+testAppID+`",result="fetched"} 1`,
		`wxgw_userinfo_lookups_total{appid="`+testAppID+`",result="hit"} `,
		`wxgw_step_seconds_count{step="open"} 3`, `wxgw_step_seconds_count{step="parse"} 3`,
		`wxgw_step_seconds_count{step="userinfo"} 1`, `wxgw_step_seconds_count{step="backend"} 3`, `wxgw_step_seconds_count{step="seal"} 1`,
		`wxgw_hold_limit{service="main"} 30`,
		`wxgw_old_secret_last_used_seconds{service="main",what="aes-key"} 1`,
		`wxgw_store_writable 1`, `wxgw_breaker_open{service="main"} 0`,
		`wxgw_push_seconds_bucket{service="main",outcome="answer",le="4.5"} 1`,
	)
	if strings.Contains(got, "invented_by_a_stranger") {
		t.Error("an invented event has a series of its own")
	}
	w.noSecrets(got)
	wantAsDocumented(t, got)
}

// wantAsDocumented compares the labels of every series with docs/metrics.md.
func wantAsDocumented(t *testing.T, got string) {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(wxgw_[a-z_]+)` \\|[^|]*\\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		labels[row[1]] = regexp.MustCompile("[a-z]+").FindAllString(row[2], -1)
	}
	label := regexp.MustCompile(`[{,]([a-z]+)="`)
	for _, m := range regexp.MustCompile(`(?m)^(wxgw_[a-z_]+?)(?:_bucket|_sum|_count)?(\{.*\})? [0-9]`).FindAllStringSubmatch(got, -1) {
		var names []string
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				names = append(names, l[1])
			}
		}
		want, ok := labels[m[1]]
		if !ok || !slices.Equal(names, want) {
			t.Errorf("%s has the labels %q, docs/metrics.md says %q", m[1], names, want)
		}
	}
}

// TestPprof: profiles are there behind the guard for power endpoints.
func TestPprof(t *testing.T) {
	t.Parallel()
	w := newWorld(t, endpointPath("pprof", "/debug/prof"))
	for path, want := range map[string]string{
		// The links of the list are relative, so its address ends in a slash.
		"/debug/prof/": "<a href='heap?debug=1'>", "/debug/prof": "<a href='heap?debug=1'>",
		"/debug/prof/goroutine?debug=1": "goroutine profile", "/debug/prof/cmdline": "",
	} {
		status, body := w.get(path)
		if status != 200 {
			t.Errorf("%s: %d %.100s", path, status, body)
		}
		wantContains(t, path, body, want)
	}
	if status, _ := w.get("/debug/profile"); status != 404 {
		t.Errorf("a path that only begins alike: %d, want 404", status)
	}
}
