package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"wx-gateway/conf"
)

// logs is what a reload may change of the program's log.
type logs struct {
	level  slog.LevelVar
	asJSON atomic.Bool
}

// newLogs returns the program's log, which writes to w.
func newLogs(c conf.Log, w io.Writer) (*slog.Logger, *logs) {
	l := &logs{}
	l.set(c)
	w = &lockedWriter{w: w} // the two handlers write to it, each with a lock of its own
	opt := &slog.HandlerOptions{Level: &l.level}
	return slog.New(logHandler{l, slog.NewTextHandler(w, opt), slog.NewJSONHandler(w, opt)}), l
}

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

func (h logHandler) Handle(ctx context.Context, r slog.Record) error { return h.now().Handle(ctx, r) }

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.logs, h.text.WithAttrs(attrs), h.json.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.logs, h.text.WithGroup(name), h.json.WithGroup(name)}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
