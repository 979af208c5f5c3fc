package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"wx-gateway/conf"
)

// logs is what a reload may change of the program's log.
type logs struct {
	level  slog.LevelVar
	asJSON atomic.Bool
	lines  *lines
}

// newLogs returns the program's log, which writes to w: warnings and errors at
// once, anything else within gather. close ends it.
func newLogs(c conf.Log, w io.Writer) (*slog.Logger, *logs) {
	l := &logs{lines: newLines(w)}
	l.set(c)
	opt := &slog.HandlerOptions{Level: &l.level}
	return slog.New(logHandler{l, slog.NewTextHandler(l.lines, opt), slog.NewJSONHandler(l.lines, opt)}), l
}

// close writes what is left.
func (l *logs) close() { l.lines.close() }

// set takes up the "log" of a configuration.
func (l *logs) set(c conf.Log) {
	l.level.Set(c.Level)
	l.asJSON.Store(c.Format == "json")
}

// logHandler writes each record in the format that is configured now.
type logHandler struct {
	*logs
	text, json slog.Handler
}

func (h logHandler) now() slog.Handler {
	if h.asJSON.Load() {
		return h.json
	}
	return h.text
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.now().Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.lines.flush()
	}
	return err
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.logs, h.text.WithAttrs(attrs), h.json.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.logs, h.text.WithGroup(name), h.json.WithGroup(name)}
}
