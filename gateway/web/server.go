// Package web is the glue between fasthttp and handlers that return errors:
// it recovers, turns errors into statuses in one place, and writes one log
// line a request. It knows nothing of WeChat.
package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"

	"github.com/valyala/fasthttp"
)

// Handler answers one request. A returned error is written and logged by the
// server; nothing of ctx may be used after the handler has returned.
type Handler func(ctx *fasthttp.RequestCtx) error

// headerBuffer holds the request line and all headers: browsers send cookies of
// 5 KB and more, which 4 KB would answer with 431.
const headerBuffer = 16 << 10

// Config says what a server needs besides its handler.
type Config struct {
	Name    string // in log lines: "public", "internal"
	MaxBody int    // bytes of a request body; larger ones get 413
	// BodyLimit is MaxBody for a request with these headers; may be nil.
	BodyLimit func(*fasthttp.RequestHeader) int
	Log       *slog.Logger // one line a request, faults at Warn
	// Refused counts requests that never reached a handler (malformed, too
	// large, too slow); may be nil.
	Refused func(reason string)
}

// Server answers the requests of a listener. Whoever is at the other end, what
// one connection can cost is bounded: in bytes here, in time by its limits.
type Server struct{ http *fasthttp.Server }

// NewServer returns a server that answers every request with h.
func NewServer(h Handler, cfg Config) *Server {
	s := &server{handler: h, cfg: cfg, faults: newFaultLimit(cfg.Name, cfg.Log)}
	srv := &fasthttp.Server{
		Handler:                      s.serve,
		ErrorHandler:                 s.refuse,
		Name:                         "",
		NoDefaultServerHeader:        true,
		ReadBufferSize:               headerBuffer,
		MaxRequestBodySize:           cfg.MaxBody,
		ReduceMemoryUsage:            true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		Logger:                       fasthttpLog{cfg.Log},
	}
	if cfg.BodyLimit != nil {
		srv.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{MaxRequestBodySize: cfg.BodyLimit(h)}
		}
	}
	return &Server{srv}
}

// Serve answers what comes in at l, until Shutdown or until l fails.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(listener{l, &usual}) }

// Shutdown closes the listeners and waits for the requests under way until ctx
// ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.ShutdownWithContext(ctx) }

type server struct {
	handler Handler
	cfg     Config
	faults  *faultLimit
}

func (s *server) serve(ctx *fasthttp.RequestCtx) {
	if ambiguous(&ctx.Request.Header) {
		s.refuse(ctx, errAmbiguous)
		return
	}
	err := s.run(ctx)
	if err != nil {
		asError(err).write(ctx)
	}
	s.logLine(ctx, err)
	forgetNotes(ctx)
}

// run calls the handler; a panic becomes an error, since fasthttp recovers
// none and would take the process down.
func (s *server) run(ctx *fasthttp.RequestCtx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.cfg.Log.Error("BUG: a handler panicked", "door", s.cfg.Name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = Fail(fasthttp.StatusInternalServerError, "internal error", fmt.Errorf("panic: %v", r))
		}
	}()
	return s.handler(ctx)
}

// refuse answers what fasthttp could not read as a request.
func (s *server) refuse(ctx *fasthttp.RequestCtx, err error) {
	status, reason := refusal(err)
	if s.cfg.Refused != nil {
		s.cfg.Refused(reason)
	}
	level := slog.LevelDebug // scanners and peers that vanish
	if status == fasthttp.StatusRequestEntityTooLarge {
		// This may be a push, which is lost unless the operator acts.
		level, err = slog.LevelWarn, fmt.Errorf("%w: raise max-body if the request was meant; a push of more than 16 KiB must also have a right signature: compare services[].wx-params.token", err)
	}
	if s.cfg.Log.Enabled(context.Background(), level) && s.faults.allow(fault{reason: reason}) {
		s.cfg.Log.Log(context.Background(), level, "request refused", "door", s.cfg.Name, "reason", reason, "peer", ctx.RemoteIP().String(), "err", err)
	}
	ctx.SetConnectionClose()
	Fail(status, reason, nil).write(ctx)
}

func refusal(err error) (status int, reason string) {
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fasthttp.StatusRequestEntityTooLarge, "body too large"
	case errors.As(err, &small):
		return fasthttp.StatusRequestHeaderFieldsTooLarge, "headers too large"
	case errors.As(err, &netErr) && netErr.Timeout():
		return fasthttp.StatusRequestTimeout, "request too slow"
	}
	return fasthttp.StatusBadRequest, "malformed request"
}

// RawPath is the path of the request line byte for byte: no decoding, no dot
// segments, no merged slashes. ctx.Path() does all three, which would let
// /wx/%2e%2e/tmpl-msg reach /tmpl-msg.
func RawPath(ctx *fasthttp.RequestCtx) []byte {
	uri := ctx.Request.Header.RequestURI()
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		return uri[:i]
	}
	return uri
}

// Drop ends the request's connection without a byte of an answer, as WeChat's
// own cut would: a held attempt that must not be answered.
func Drop(ctx *fasthttp.RequestCtx) {
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { _ = c.Close() })
}
