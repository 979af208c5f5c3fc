package web

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// noteKey is where a request keeps the attributes of its log line.
type noteKey struct{}

// Note adds attributes to the one log line of this request: what the handler
// learned on its way (service, kind, attempt). Never a secret or a body.
func Note(ctx *fasthttp.RequestCtx, attrs ...slog.Attr) {
	n, ok := ctx.UserValue(noteKey{}).(*notes)
	if !ok {
		n = spareNotes.Get().(*notes)
		ctx.SetUserValue(noteKey{}, n)
	}
	n.attrs = append(n.attrs, attrs...)
}

// notes are the attributes of one request. They are used again when its line
// is written.
type notes struct{ attrs []slog.Attr }

var spareNotes = sync.Pool{New: func() any { return &notes{make([]slog.Attr, 0, 8)} }}

// forgetNotes gives the notes of a request back.
func forgetNotes(ctx *fasthttp.RequestCtx) {
	n, ok := ctx.UserValue(noteKey{}).(*notes)
	if !ok {
		return
	}
	ctx.RemoveUserValue(noteKey{})
	clear(n.attrs)
	n.attrs = n.attrs[:0]
	spareNotes.Put(n)
}

// logLine writes the request's line: Info when it was answered as asked,
// Warn when it was refused or failed, which is not repeated without end. The
// query is left out: it carries signatures and OAuth codes.
func (s *server) logLine(ctx *fasthttp.RequestCtx, err error) {
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	bg := context.Background()
	if !s.cfg.Log.Enabled(bg, level) {
		return
	}
	var noted []slog.Attr
	if n, ok := ctx.UserValue(noteKey{}).(*notes); ok {
		noted = n.attrs
	}
	if err != nil && !s.faults.allow(fault{service: service(noted), reason: asError(err).Public}) {
		return
	}
	status := ctx.Response.StatusCode()
	if ctx.Hijacked() {
		status = 0 // Drop: nothing is answered
	}
	// A record of our own: who asked for the line is known, and need not be
	// found out from the stack.
	now := time.Now()
	line := slog.NewRecord(now, level, "request", 0)
	line.AddAttrs(
		slog.String("method", clip(ctx.Method(), 16)),
		slog.String("path", clip(RawPath(ctx), 200)),
		slog.Int("status", status),
		slog.Duration("took", now.Sub(ctx.Time())))
	line.AddAttrs(noted...)
	if err != nil {
		line.AddAttrs(slog.String("peer", ctx.RemoteIP().String()), slog.Any("err", err))
	}
	_ = s.cfg.Log.Handler().Handle(bg, line)
}

// service is the one among the notes of a request, "" where it reached none.
func service(notes []slog.Attr) string {
	for _, a := range notes {
		if a.Key == "service" {
			return a.Value.String()
		}
	}
	return ""
}

func clip(b []byte, n int) string {
	if len(b) > n {
		b = b[:n]
	}
	return string(b)
}

// fasthttpLog hands fasthttp's own lines (mostly peers that vanish) to slog at
// debug level. Its text may quote what a peer sent, so it is capped.
type fasthttpLog struct{ log *slog.Logger }

func (l fasthttpLog) Printf(format string, args ...any) {
	if !l.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	line := strings.TrimSpace(fmt.Sprintf(format, args...))
	if len(line) > 300 {
		line = line[:300]
	}
	l.log.Debug("http server", "line", line)
}
