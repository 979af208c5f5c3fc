package gateway

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// logAt restarts the world with a log of that level, and empties it.
func (w *world) logAt(level slog.Level) {
	w.t.Helper()
	w.stop()
	w.logs = &syncBuffer{}
	cfg, opt := w.options()
	opt.Log = slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: level}))
	g, err := New(cfg, opt)
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.g = g
}

// TestOneLineAPush: it tells all that an operator asks, and neither who wrote
// nor what.
func TestOneLineAPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.logAt(slog.LevelInfo)
	w.send(sim.Safe, text("nobody's business"))
	w.send(sim.Plain, text("nobody's business"))
	lines := regexp.MustCompile(`(?m)^.* msg=request .*$`).FindAllString(w.logs.String(), -1)
	if len(lines) != 2 {
		t.Fatalf("%d lines for 2 pushes:\n%s", len(lines), w.logs)
	}
	shape := regexp.MustCompile(`level=INFO msg=request method=POST path=/wx status=200 took=\S+ service=main push=[0-9a-f]{32} kind=msg/text attempt=1 outcome=answer openid=(#[0-9a-f]{12})$`)
	var users []string
	for _, line := range lines {
		m := shape.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line %s\nwant %s", line, shape)
		}
		users = append(users, m[1])
	}
	if users[0] != users[1] {
		t.Errorf("one user is called %s and %s", users[0], users[1])
	}
	for _, never := range []string{sim.DefaultFrom, "nobody", "signature", "nonce"} {
		if strings.Contains(w.logs.String(), never) {
			t.Errorf("the log holds %q:\n%s", never, w.logs)
		}
	}
}

// TestOpenIDsAtDebug: who looks for one user's pushes sets the log to debug.
func TestOpenIDsAtDebug(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(sim.Safe, text("x"))
	wantContains(t, "log", w.logs.String(), "outcome=answer openid="+sim.DefaultFrom+"\n")
}

// TestForgedPushesDoNotFillTheLog: each is refused and counted, few are told.
func TestForgedPushesDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, endpointPath("metrics", "/metrics"))
	forged := w.push(sim.Safe, text("x"))
	forged.Token = "another"
	target, body, err := forged.Build()
	if err != nil {
		t.Fatal(err)
	}
	const all = 200
	began := time.Now()
	for range all {
		post(t, "forged", target, body, 403, "bad signature")
	}
	allowed := 5 * (2 + int(time.Since(began)/time.Second)) // five a second
	eventually(t, "the line about those left out", func() bool {
		return strings.Contains(w.logs.String(), `msg="more requests refused" door=public service=main reason="bad signature" suppressed=`)
	})
	if n := strings.Count(w.logs.String(), "status=403"); n == 0 || n > allowed {
		t.Errorf("%d lines for %d forged pushes, want at most %d", n, all, allowed)
	}
	_, got := w.get("/metrics")
	wantContains(t, "metrics", got, `wxgw_refused_total{service="main",reason="bad signature"} 200`)
}
