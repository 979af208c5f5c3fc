package web

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

func (l *faultLimit) remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

// TestRefusalsAreNotRepeated: whoever floods a service finds five lines a
// second and a number in its log, and every other service and reason has its own.
func TestRefusalsAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &served{}
		l := newFaultLimit("public", slog.New(slog.NewTextHandler(log, nil)))
		flood := func(f fault, n int) (written int) {
			for range n {
				if l.allow(f) {
					written++
				}
			}
			return written
		}
		want := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d lines, want %d", what, got, want)
			}
		}
		forged := fault{"a", "bad signature"}
		want("a flood", flood(forged, 1000), faultLines)
		want("another service", flood(fault{"b", "bad signature"}, 2), 2)
		want("another reason", flood(fault{"a", "bad timestamp"}, faultLines), faultLines)
		time.Sleep(faultWindow - 1)
		want("within the second", flood(forged, 1), 0)
		if log.logs() != "" {
			t.Errorf("told early: %s", log.logs())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		line := `level=WARN msg="more requests refused" door=public service=a reason="bad signature" suppressed=996`
		if strings.Count(log.logs(), "\n") != 1 || !strings.Contains(log.logs(), line) {
			t.Errorf("log %q, want one line with %q", log.logs(), line)
		}
		want("the next second", flood(forged, 3), 3)
		time.Sleep(faultWindow)
		synctest.Wait()
		if l.remembered() > 0 || strings.Count(log.logs(), "\n") != 1 {
			t.Errorf("%d faults remembered, log %q", l.remembered(), log.logs())
		}
	})
}

// TestManyFaultsShareOnePlace: reasons without end cost neither memory nor lines.
func TestManyFaultsShareOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFaultLimit("public", slog.New(slog.NewTextHandler(io.Discard, nil)))
		written := 0
		for i := range 10_000 {
			if l.allow(fault{"a", fmt.Sprint("reason ", i)}) {
				written++
			}
		}
		if written != maxFaults+faultLines || l.remembered() != maxFaults+1 {
			t.Errorf("%d lines of %d faults, want %d of %d", written, l.remembered(), maxFaults+faultLines, maxFaults+1)
		}
		time.Sleep(faultWindow)
		synctest.Wait()
		if l.remembered() > 0 {
			t.Errorf("%d faults remembered", l.remembered())
		}
	})
}

// TestFloodedLog: through the server, with the service that the handler found,
// and with every request answered all the same. The lines are at most five a
// second, so a slow machine may see some more of them.
func TestFloodedLog(t *testing.T) {
	s := newServed(t, slog.LevelInfo, func(ctx *fasthttp.RequestCtx) error {
		Note(ctx, slog.String("service", "main"))
		if string(ctx.Path()) == "/fine" {
			return nil
		}
		return Fail(403, "bad signature", nil)
	})
	began := time.Now()
	for range 100 {
		wantAnswer(t, s.talk(t, get("/wx")), "403", "bad signature")
		wantAnswer(t, s.talk(t, get("/fine")), "200", "")
	}
	allowed := faultLines * (1 + int(time.Since(began)/faultWindow))
	if n := strings.Count(s.logs(), "level=WARN msg=request "); n == 0 || n > allowed {
		t.Errorf("%d lines about refusals, want at most %d", n, allowed)
	}
	if n := strings.Count(s.logs(), "level=INFO msg=request "); n != 100 {
		t.Errorf("%d lines about good requests, want all 100", n)
	}
}

// TestHeldIsNo200: of an attempt that was not answered the log says so.
func TestHeldIsNo200(t *testing.T) {
	s := newServed(t, slog.LevelInfo, func(ctx *fasthttp.RequestCtx) error {
		Drop(ctx)
		return nil
	})
	s.talk(t, get("/wx"))
	if !strings.Contains(s.logs(), "path=/wx status=0 took=") {
		t.Errorf("log %s", s.logs())
	}
}
