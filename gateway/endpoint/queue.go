package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
	"wx-gateway/gateway/web"
)

// Pushes is what the endpoints reply and queue ask of the delivery engine.
type Pushes interface {
	Reply(service string, id delivery.ID, replies []msg.Reply, more bool) (delivery.Accepted, error)
	Counts(ctx context.Context) (map[string]store.Counts, error)
	List(ctx context.Context, f store.Filter, after uint64, limit int) (list []delivery.Stored, next uint64, err error)
	Show(ctx context.Context, id string) (delivery.Stored, error)
	Retry(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
	RetryAll(ctx context.Context, f store.Filter, after uint64) (n int, next uint64, err error)
	DropAll(ctx context.Context, f store.Filter, after uint64) (n int, next uint64, err error)
}

// Limits of a list, and the longest age that older takes.
const (
	listDefault = 100
	listMost    = 1000
	olderMost   = 365 * 24 * time.Hour
)

// Queue is the door to stored pushes and dead letters. GET lists them:
//
//	?[s=][&kind=msg/text][&o=openid][&state=waiting|running|async|dead][&older=10m][&after=seq][&limit=100]
//	{"code":200,"msg":"OK","counts":{<service>:{…}},"items":[…],"next":seq}
//
// where counts are of the whole queue, state may name several with commas, and
// next, the after of the next page, is 0 at the end; ?push=<id> shows one with
// body and answer. POST, form or JSON, retries or drops:
//
//	action=retry|drop  and  push=<id>,  or the filters above, or all=true
//
// and answers "count" and "next": one call changes up to 1,000 items, the next
// one goes on with after=<next>.
func (s *Set) Queue(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, func(c context.Context, ctx *fasthttp.RequestCtx) error {
		if ctx.IsPost() {
			return s.changeQueue(c, ctx)
		}
		return s.showQueue(c, ctx)
	}, fasthttp.MethodGet, fasthttp.MethodPost)
}

// queueRequest are the parameters of a call, whatever form they came in.
type queueRequest struct {
	Action  string `json:"action"`
	Push    string `json:"push"`
	All     bool   `json:"all"`
	Service string `json:"s"`
	Kind    string `json:"kind"`
	OpenID  string `json:"o"`
	State   string `json:"state"`
	Older   string `json:"older"`
	After   uint64 `json:"after"`
}

// readQueueRequest reads JSON, or a form and the query.
func readQueueRequest(ctx *fasthttp.RequestCtx) (r queueRequest, err error) {
	body := ctx.PostBody()
	if len(body) > maxJSON {
		return r, web.Fail(fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("body must not exceed %d bytes", maxJSON), nil)
	}
	if ctx.IsPost() && strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
		if err := codec.Unmarshal(body, &r); err != nil {
			return r, badRequest("body as a form or a JSON object expected: " + clip(err.Error(), maxMsg))
		}
		return r, nil
	}
	r = queueRequest{
		Action: param(ctx, "action"), Push: param(ctx, "push"), Service: param(ctx, "s"), Kind: param(ctx, "kind"),
		OpenID: param(ctx, "o"), State: param(ctx, "state"), Older: param(ctx, "older"),
	}
	switch all := param(ctx, "all"); all {
	case "", "false":
	case "true":
		r.All = true
	default:
		return r, badRequest("all parameter must be true or false")
	}
	if after := param(ctx, "after"); after != "" {
		if r.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return r, badRequest("after parameter must be a number: the next of the page before")
		}
	}
	return r, nil
}

// filter is what r chooses; any is false when it chooses everything.
func (r *queueRequest) filter() (f store.Filter, any bool, err error) {
	f = store.Filter{Service: r.Service, OpenID: r.OpenID, Kind: r.Kind, Now: time.Now()}
	if r.State != "" {
		for _, name := range strings.Split(r.State, ",") {
			i := slices.IndexFunc(states, func(s store.State) bool { return s.String() == name })
			if i < 0 {
				return f, false, badRequest("state parameter must be waiting, running, async or dead")
			}
			f.States = append(f.States, states[i])
		}
	}
	if r.Older != "" {
		if f.OlderThan, err = time.ParseDuration(r.Older); err != nil || f.OlderThan <= 0 || f.OlderThan > olderMost {
			return f, false, badRequest(`older parameter must be a time span like "90s", "10m" or "24h"`)
		}
	}
	return f, r.Service != "" || r.OpenID != "" || r.Kind != "" || r.State != "" || r.Older != "", nil
}

var states = []store.State{store.Waiting, store.Running, store.Async, store.Dead}

// queueCounts sums up one service.
type queueCounts struct {
	Waiting int        `json:"waiting"`
	Running int        `json:"running"`
	Async   int        `json:"async"`
	Dead    int        `json:"dead"`
	Bytes   int64      `json:"bytes"`
	Oldest  *time.Time `json:"oldest"` // null when all are dead
}

// queueItem is one stored push. Its age is in seconds.
type queueItem struct {
	Push     string    `json:"push"`
	Service  string    `json:"service"`
	OpenID   string    `json:"openid"`
	Kind     string    `json:"kind"`
	State    string    `json:"state"`
	Due      time.Time `json:"due"`
	Created  time.Time `json:"created"`
	Age      int64     `json:"age"`
	Attempts int       `json:"attempts"`
	Error    string    `json:"error"`
	Seq      uint64    `json:"seq"`

	Body   codec.RawMessage   `json:"body,omitempty"`
	Answer []codec.RawMessage `json:"answer,omitempty"`
}

func newQueueItem(s delivery.Stored) queueItem {
	return queueItem{
		Push: s.ID, Service: s.Service, OpenID: s.OpenID, Kind: s.Kind, State: s.State.String(),
		Due: instant(s.Due), Created: instant(s.Created), Age: int64(time.Since(s.Created) / time.Second),
		Attempts: s.Attempts, Error: s.Error, Seq: s.Seq, Body: s.Body, Answer: s.Answer,
	}
}

func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func (s *Set) showQueue(c context.Context, ctx *fasthttp.RequestCtx) error {
	r, err := readQueueRequest(ctx)
	if err != nil {
		return err
	}
	if r.Push != "" {
		stored, err := s.cfg.Pushes.Show(c, r.Push)
		if err != nil {
			return queueFault(r.Push, err)
		}
		return okJSON(ctx, "item", newQueueItem(stored))
	}
	limit := listDefault
	if text := param(ctx, "limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > listMost {
			return badRequest(fmt.Sprintf("limit parameter must be a number from 1 to %d", listMost))
		}
	}
	f, _, err := r.filter()
	if err != nil {
		return err
	}
	list, next, err := s.cfg.Pushes.List(c, f, r.After, limit)
	if err != nil {
		return queueFault("", err)
	}
	items := make([]queueItem, 0, len(list))
	for _, one := range list {
		items = append(items, newQueueItem(one))
	}
	sums, err := s.cfg.Pushes.Counts(c)
	if err != nil {
		return queueFault("", err)
	}
	counts := make(map[string]queueCounts, len(sums))
	for service, n := range sums {
		q := queueCounts{Waiting: n.Waiting, Running: n.Running, Async: n.Async, Dead: n.Dead, Bytes: n.Bytes}
		if !n.Oldest.IsZero() {
			oldest := instant(n.Oldest)
			q.Oldest = &oldest
		}
		counts[service] = q
	}
	return okJSON(ctx, "counts", counts, "items", items, "next", next)
}

func (s *Set) changeQueue(c context.Context, ctx *fasthttp.RequestCtx) error {
	r, err := readQueueRequest(ctx)
	if err != nil {
		return err
	}
	one, all := s.cfg.Pushes.Retry, s.cfg.Pushes.RetryAll
	switch r.Action {
	case "retry":
	case "drop":
		one, all = s.cfg.Pushes.Drop, s.cfg.Pushes.DropAll
	default:
		return badRequest(`action parameter must be "retry" or "drop"`)
	}
	if r.Push != "" {
		if err := one(c, r.Push); err != nil {
			return queueFault(r.Push, err)
		}
		return okJSON(ctx, "count", 1)
	}
	f, any, err := r.filter()
	if err != nil {
		return err
	}
	if !any && !r.All {
		return badRequest("push parameter expected, or one of s, kind, o, state, older; for the whole queue all=true")
	}
	n, next, err := all(c, f, r.After)
	if err != nil {
		return queueFault("", err)
	}
	return okJSON(ctx, "count", n, "next", next)
}

// queueFault is what a caller is told of a queue that did not do as asked.
func queueFault(push string, err error) error {
	switch {
	case errors.Is(err, delivery.ErrNotStored):
		return web.Fail(fasthttp.StatusNotFound, "no push "+clip(push, maxEcho)+" in the queue", nil)
	case errors.Is(err, delivery.ErrNotNow):
		return web.Fail(fasthttp.StatusConflict, clip(err.Error(), maxMsg), nil)
	}
	return web.Fail(fasthttp.StatusServiceUnavailable, "the queue cannot be used just now", err)
}

// okJSON answers with pairs of key and value beside code and msg.
func okJSON(ctx *fasthttp.RequestCtx, pairs ...any) error {
	var fields []field
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		value, err := codec.Marshal(pairs[i+1])
		if err != nil {
			return fmt.Errorf("cannot encode %s: %w", key, err)
		}
		fields = append(fields, field{key, value})
	}
	return ok(ctx, fields...)
}
