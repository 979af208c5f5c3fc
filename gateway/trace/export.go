package trace

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"wx-gateway/gateway/codec"
)

// The exporter's times: how long ended spans wait for others, how long the
// collector has for one batch, and how long Stop waits for what is left.
const (
	flushEvery    = 2 * time.Second
	exportTimeout = 5 * time.Second
	flushFor      = 3 * time.Second
)

// queue takes ended spans in. The SDK's own processor neither counts what it
// drops nor keeps its errors away from standard error.
type queue struct{ t *Tracer }

// OnStart does nothing: a span counts once it has ended.
func (queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd queues s, or drops it where there is no room.
func (q queue) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	select {
	case q.t.spans <- s:
	default:
		q.t.dropped.Add(1)
	}
}

// Shutdown does nothing: Tracer.Stop ends the loop.
func (queue) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (queue) ForceFlush(context.Context) error { return nil }

// Run sets the exporter going; Stop ends it.
func (t *Tracer) Run() {
	if t != nil {
		t.loop.Go(t.run)
	}
}

// Stop sends what is left, within 3 s. Spans that end later are dropped.
func (t *Tracer) Stop() {
	if t == nil {
		return
	}
	t.once.Do(func() { close(t.stop) })
	timer := time.AfterFunc(flushFor, t.cancel)
	t.loop.Wait()
	timer.Stop()
	t.cancel()
	t.cfg.HTTP.CloseIdle()
}

func (t *Tracer) run() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	batch := make([]sdk.ReadOnlySpan, 0, maxBatch)
	for {
		select {
		case s := <-t.spans:
			if batch = append(batch, s); len(batch) < maxBatch {
				continue
			}
		case <-tick.C:
		case <-t.stop:
			t.flush(batch)
			return
		}
		t.export(batch)
		clear(batch) // an idle gateway keeps no spans
		batch = batch[:0]
	}
}

// flush sends batch and everything that is queued now.
func (t *Tracer) flush(batch []sdk.ReadOnlySpan) {
	for range maxQueue {
		select {
		case s := <-t.spans:
			if batch = append(batch, s); len(batch) < maxBatch {
				continue
			}
			t.export(batch)
			batch = batch[:0]
			continue
		default:
		}
		break
	}
	t.export(batch)
}

// export sends one batch. A batch that fails is dropped: spans are not worth
// holding pushes' memory for. Only changes are logged.
func (t *Tracer) export(batch []sdk.ReadOnlySpan) {
	if len(batch) == 0 {
		return
	}
	rejected, err := t.post(batch)
	if err != nil {
		rejected = len(batch)
	}
	t.dropped.Add(uint64(rejected))
	t.exported.Add(uint64(len(batch) - rejected))
	switch {
	case err != nil && !t.failing:
		t.cfg.Log.Warn("spans are dropped: the collector of tracing.endpoint does not take them", "err", err)
	case err == nil && t.failing:
		t.cfg.Log.Info("spans are exported again", "dropped", t.dropped.Load())
	}
	t.failing = err != nil
}

// post calls the collector; rejected is how many of the batch it did not want.
func (t *Tracer) post(batch []sdk.ReadOnlySpan) (rejected int, err error) {
	body, err := codec.Marshal(t.request(batch))
	if err != nil {
		return 0, fmt.Errorf("cannot write spans: %w", err)
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(t.url)
	req.Header.SetMethod(fasthttp.MethodPost)
	for _, h := range *t.headers.Load() {
		req.Header.Set(h.Name, h.Value)
	}
	req.Header.SetContentType("application/json")
	req.SetBodyRaw(body)
	ctx, cancel := context.WithTimeout(t.ctx, exportTimeout)
	defer cancel()
	if err := t.cfg.HTTP.Do(ctx, req, resp); err != nil {
		return 0, fmt.Errorf("cannot export spans: %w", err)
	}
	switch status := resp.StatusCode(); {
	case status == fasthttp.StatusUnauthorized, status == fasthttp.StatusForbidden:
		return 0, fmt.Errorf("cannot export spans: the collector answered %d; check tracing.headers", status)
	case status == fasthttp.StatusNotFound, status == fasthttp.StatusMethodNotAllowed, status == fasthttp.StatusUnsupportedMediaType:
		return 0, fmt.Errorf("cannot export spans: the collector answered %d; tracing.endpoint must speak OTLP over HTTP as JSON (by default port 4318, not 4317)", status)
	case status < 200 || status > 299:
		return 0, fmt.Errorf("cannot export spans: the collector answered %d", status)
	}
	return min(rejectedSpans(resp.Body()), len(batch)), nil
}

// rejectedSpans reads a partial success, 0 where the answer names none.
func rejectedSpans(body []byte) int {
	var answer struct {
		Partial struct {
			Rejected codec.RawMessage `json:"rejectedSpans"` // an int64: as a string in Protobuf's JSON
		} `json:"partialSuccess"`
	}
	if codec.Unmarshal(body, &answer) != nil {
		return 0
	}
	var n int
	if codec.Unmarshal([]byte(strings.Trim(string(answer.Partial.Rejected), `"`)), &n) != nil || n < 0 {
		return 0
	}
	return n
}
