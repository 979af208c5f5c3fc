package main

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"

	"wx-gateway/conf"
)

// Level and format change while loggers derived from the log are in use.
func TestLogsChange(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, l := newLogs(conf.Log{Level: slog.LevelInfo, Format: "text"}, &out)
	derived := log.With("service", "shop").WithGroup("push")
	f := func(want string) {
		t.Helper()
		out.Reset()
		derived.Debug("looked", "id", 1)
		derived.Info("seen", "id", 2)
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
