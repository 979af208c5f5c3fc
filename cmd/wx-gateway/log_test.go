package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/conf"
)

// Level and format change while loggers derived from the log are in use.
func TestLogsChange(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, l := newLogs(conf.Log{Level: slog.LevelInfo, Format: "text"}, &out)
	defer l.close()
	derived := log.With("service", "shop").WithGroup("push")
	f := func(want string) {
		t.Helper()
		out.Reset()
		derived.Debug("looked", "id", 1)
		derived.Info("seen", "id", 2)
		l.lines.flush()
		got := regexp.MustCompile(`time=\S+ |"time":"[^"]*",`).ReplaceAllString(out.String(), "")
		if got != want {
			t.Errorf("the log holds\n%swant\n%s", got, want)
		}
	}
	f("level=INFO msg=seen service=shop push.id=2\n")
	l.set(conf.Log{Level: slog.LevelDebug, Format: "json"})
	f(`{"level":"DEBUG","msg":"looked","service":"shop","push":{"id":1}}` + "\n" +
		`{"level":"INFO","msg":"seen","service":"shop","push":{"id":2}}` + "\n")
	l.set(conf.Log{Level: slog.LevelError, Format: "text"})
	f("")
}

// A line is written within 10 ms, with those that came meanwhile; a warning
// takes them along at once.
func TestLinesAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &written{}
		log, l := newLogs(conf.Log{Level: slog.LevelInfo, Format: "text"}, out)
		log.Info("a")
		time.Sleep(gather / 2)
		log.Info("b")
		if got := out.counts(); got != nil {
			t.Errorf("writes of %v lines, want none yet", got)
		}
		time.Sleep(gather)
		if got := out.counts(); !slices.Equal(got, []int{2}) {
			t.Errorf("writes of %v lines, want both in one", got)
		}
		log.Info("c")
		log.Warn("d")
		if got := out.counts(); !slices.Equal(got, []int{2, 2}) {
			t.Errorf("writes of %v lines, want the warning's at once", got)
		}
		log.Info("e")
		l.close()
		if got := out.counts(); !slices.Equal(got, []int{2, 2, 1}) {
			t.Errorf("writes of %v lines, want the last one at the end", got)
		}
	})
}

// However many write, each line comes once, whole and in its writer's order, and
// what waits is bounded while nothing can be written.
func TestLinesFromMany(t *testing.T) {
	t.Parallel()
	out := &written{}
	out.mu.Lock() // nothing can be written
	l := newLines(out)
	const writers, each = 8, 20_000
	line := func(w, n int) string { return fmt.Sprintf("%d %d %s\n", w, n, strings.Repeat("x", n%50)) }
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				l.Write([]byte(line(w, n)))
			}
		})
	}
	full := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.gathered) >= maxGathered
	}
	for !full() {
		runtime.Gosched()
	}
	l.mu.Lock()
	if most := maxGathered + writers*100; len(l.gathered) > most {
		t.Errorf("%d bytes wait, want %d at most", len(l.gathered), most)
	}
	l.mu.Unlock()
	out.mu.Unlock()
	all.Wait()
	l.close()
	next := make([]int, writers)
	for got := range strings.Lines(out.text.String()) {
		w, err := strconv.Atoi(got[:1])
		if err != nil || got != line(w, next[w]) {
			t.Fatalf("%q came, want line %d of its writer", got, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d lines of writer %d came, want %d", n, w, each)
		}
	}
}

// written is what was written, and how many lines each time.
type written struct {
	mu    sync.Mutex
	text  strings.Builder
	lines []int
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, bytes.Count(p, []byte("\n")))
	return w.text.Write(p)
}

func (w *written) counts() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines)
}
