package trace

import (
	"encoding/hex"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// ExportTraceServiceRequest in the JSON encoding of OTLP 1.x: lowerCamelCase
// keys, ids in hex (not base64), 64-bit numbers as strings, enums as numbers.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
type request struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resourceOf   `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resourceOf struct {
	Attributes []keyValue `json:"attributes"`
}

type scopeSpans struct {
	Scope scopeOf `json:"scope"`
	Spans []span  `json:"spans"`
}

type scopeOf struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type span struct {
	TraceID      string     `json:"traceId"`
	SpanID       string     `json:"spanId"`
	ParentSpanID string     `json:"parentSpanId,omitempty"`
	Flags        uint32     `json:"flags"`
	Name         string     `json:"name"`
	Kind         int        `json:"kind"`
	Start        string     `json:"startTimeUnixNano"`
	End          string     `json:"endTimeUnixNano"`
	Attributes   []keyValue `json:"attributes,omitempty"`
	Status       status     `json:"status"`
}

type status struct {
	Code    int    `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

type keyValue struct {
	Key   string   `json:"key"`
	Value anyValue `json:"value"`
}

// anyValue holds one of them.
type anyValue struct {
	String *string `json:"stringValue,omitempty"`
	Int    string  `json:"intValue,omitempty"`
}

// The flags of a span beside those of its trace.
const (
	flagKnowsParent  = 1 << 8 // the next one has a meaning
	flagRemoteParent = 1 << 9
)

// Status codes of OTLP, which are not the API's.
const (
	statusOK    = 1
	statusError = 2
)

func (t *Tracer) request(batch []sdk.ReadOnlySpan) request {
	spans := make([]span, len(batch))
	for i, s := range batch {
		spans[i] = spanOf(s)
	}
	return request{[]resourceSpans{{
		Resource:   resourceOf{t.resource},
		ScopeSpans: []scopeSpans{{Scope: scopeOf{scope, t.cfg.Version}, Spans: spans}},
	}}}
}

func spanOf(s sdk.ReadOnlySpan) span {
	sc, parent := s.SpanContext(), s.Parent()
	trace, id := sc.TraceID(), sc.SpanID()
	out := span{
		TraceID: hex.EncodeToString(trace[:]), SpanID: hex.EncodeToString(id[:]),
		Flags: uint32(sc.TraceFlags()) | flagKnowsParent,
		Name:  s.Name(), Kind: int(s.SpanKind()), // the numbers are the same
		Start: nanos(s.StartTime()), End: nanos(s.EndTime()),
		Attributes: keyValues(s.Attributes()),
	}
	if parent.SpanID().IsValid() {
		out.ParentSpanID = parent.SpanID().String()
		if parent.IsRemote() {
			out.Flags |= flagRemoteParent
		}
	}
	switch st := s.Status(); st.Code {
	case codes.Error:
		out.Status = status{statusError, st.Description}
	case codes.Ok:
		out.Status.Code = statusOK
	}
	return out
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func keyValues(list []attribute.KeyValue) []keyValue {
	out := make([]keyValue, len(list))
	for i, kv := range list {
		out[i].Key = string(kv.Key)
		if kv.Value.Type() == attribute.INT64 {
			out[i].Value.Int = strconv.FormatInt(kv.Value.AsInt64(), 10)
			continue
		}
		text := kv.Value.String()
		out[i].Value.String = &text
	}
	return out
}
