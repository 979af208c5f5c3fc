// Package trace makes spans of what the gateway does and sends them to a
// collector by OTLP over HTTP in its JSON form. It is the one place that
// imports OpenTelemetry: whoever has something to tell gets a function or a
// small interface, and the official exporters, which bring gRPC, are not linked.
//
// A nil *Tracer, and the nil *Span it starts, do nothing and cost nothing.
//
//	t := trace.New(trace.Config{Endpoint: "http://127.0.0.1:4318", Sample: 1, …})
//	t.Run()
//	span := t.Start("push msg/text", trace.Server, "", time.Now())
//	span.Set("wxgw.service", "main")
//	span.End(time.Now())
//	t.Stop()
//
// No span waits for the collector: ended ones go into a bounded queue, and what
// does not fit is dropped and counted.
package trace

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"

	"wx-gateway/gateway/httpc"
)

// Header is one header of every call to the collector.
type Header struct{ Name, Value string }

// Config says where spans go.
type Config struct {
	// Endpoint is the collector's URL; /v1/traces is appended unless it ends so.
	Endpoint string
	// Sample is the part of new traces that is kept, 0 to 1. A trace that came
	// with a traceparent is kept if its sender kept it.
	Sample  float64
	Version string // service.version of every span
	HTTP    *httpc.Client
	Log     *slog.Logger
}

// Tracer starts spans. It is safe for concurrent use.
type Tracer struct {
	cfg      Config
	url      string
	resource []keyValue
	provider *sdk.TracerProvider
	tracer   otel.Tracer

	headers atomic.Pointer[[]Header]

	spans    chan sdk.ReadOnlySpan // ended ones on their way
	exported atomic.Uint64
	dropped  atomic.Uint64

	ctx    context.Context // of every export
	cancel context.CancelFunc
	stop   chan struct{} // closed by Stop
	once   sync.Once
	loop   sync.WaitGroup

	failing bool // the last export failed; of the loop alone
}

// Bounds of what is kept for a collector that is slow or away. A span takes
// about 1 KB.
const (
	maxQueue = 4096
	maxBatch = 512
	maxValue = 256 // bytes of an attribute's value
	path     = "/v1/traces"
	scope    = "wx-gateway"
)

// New returns a tracer, nil without an Endpoint. Nothing is sent before Run.
func New(cfg Config) *Tracer {
	if cfg.Endpoint == "" {
		return nil
	}
	t := &Tracer{cfg: cfg, spans: make(chan sdk.ReadOnlySpan, maxQueue), stop: make(chan struct{})}
	t.headers.Store(new([]Header))
	t.url = strings.TrimRight(cfg.Endpoint, "/")
	if !strings.HasSuffix(t.url, path) {
		t.url += path
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	about := resource.NewSchemaless(attribute.String("service.name", scope), attribute.String("service.version", cfg.Version))
	limits := sdk.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxValue
	t.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Sample))),
		sdk.WithResource(about),
		sdk.WithRawSpanLimits(limits),
		sdk.WithSpanProcessor(queue{t}),
	)
	t.resource = keyValues(about.Attributes())
	t.tracer = t.provider.Tracer(scope, otel.WithInstrumentationVersion(cfg.Version))
	return t
}

// Kind is a span's side of a call.
type Kind uint8

const (
	// Server is the side that was called.
	Server Kind = iota
	// Client is the side that calls.
	Client
)

// Start begins a span at a moment. parent is a traceparent header of the W3C's;
// one that is empty or not valid begins a new trace.
func (t *Tracer) Start(name string, kind Kind, parent string, at time.Time) *Span {
	if t == nil {
		return nil
	}
	ctx := context.Background()
	if parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: parent})
	}
	side := otel.SpanKindServer
	if kind == Client {
		side = otel.SpanKindClient
	}
	ctx, s := t.tracer.Start(ctx, name, otel.WithSpanKind(side), otel.WithTimestamp(at))
	return &Span{ctx: ctx, s: s}
}

// traceparent is the header's name: W3C Trace Context.
const traceparent = "traceparent"

// Span is one piece of work; it belongs to one goroutine.
type Span struct {
	ctx context.Context
	s   otel.Span
}

// Traceparent is the header that makes other spans children of s; "" for nil.
func (s *Span) Traceparent() string {
	if s == nil {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(s.ctx, carrier)
	return carrier[traceparent]
}

// Set notes a text about s.
func (s *Span) Set(key, value string) {
	if s != nil {
		s.s.SetAttributes(attribute.String(key, value))
	}
}

// SetInt notes a number about s.
func (s *Span) SetInt(key string, value int) {
	if s != nil {
		s.s.SetAttributes(attribute.Int(key, value))
	}
}

// Fail marks s as failed; why is a short word, not an error's text.
func (s *Span) Fail(why string) {
	if s != nil {
		s.s.SetStatus(codes.Error, why)
	}
}

// End ends s at a moment and leaves it to the exporter.
func (s *Span) End(at time.Time) {
	if s != nil {
		s.s.End(otel.WithTimestamp(at))
	}
}

// TraceID is the trace that a traceparent names, "" where it is not valid.
func TraceID(parent string) string {
	if parent == "" {
		return ""
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: parent})
	sc := otel.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	return sc.TraceID().String()
}

// SetHeaders gives the headers of every call from now on: what the collector
// asks for. Their values are never logged.
func (t *Tracer) SetHeaders(list []Header) {
	if t != nil {
		t.headers.Store(&list)
	}
}

// Stats are how many spans a collector took, and how many were dropped: the
// queue was full, or the collector was away or refused them.
func (t *Tracer) Stats() (exported, dropped uint64) {
	if t == nil {
		return 0, 0
	}
	return t.exported.Load(), t.dropped.Load()
}
