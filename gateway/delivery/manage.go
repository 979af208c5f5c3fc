package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/store"
)

// Stored is a push in the queue, for people who look after it.
type Stored struct {
	// ID is the push id. A part of an answer that is sent in several has an
	// item of its own: the push id, "/" and the part's name.
	ID                    string
	Service, OpenID, Kind string
	State                 store.State
	Due, Created          time.Time
	Attempts              int    // backend calls so far
	Error                 string // why the last one failed, or why the letter is dead
	Seq                   uint64

	Body   codec.RawMessage   // as the backend gets it, without user info; of Show alone
	Answer []codec.RawMessage // what waits to be sent, as customer-service messages; of Show alone
}

var (
	// ErrNotStored says that the queue has no such push.
	ErrNotStored = errors.New("no such push in the queue")
	// ErrNotNow says that a push cannot be changed so in the state it is in: it
	// is in work, or waits for its backend's reply.
	ErrNotNow = errors.New("the push cannot be changed")
)

// Bounds of one call.
const (
	manageStep = 20   // items read at once: each may be as large as a push
	manageMost = 1000 // items one call looks at or changes
)

// retryable and droppable are the states a person may change.
var (
	retryable = []store.State{store.Waiting, store.Dead}
	droppable = []store.State{store.Waiting, store.Async, store.Dead}
)

// Counts sums up the queue by service.
func (e *Engine) Counts(ctx context.Context) (map[string]store.Counts, error) {
	return e.cfg.Queue.Counts(ctx)
}

// List returns up to limit (at most 1,000) stored pushes that f chooses and
// whose Seq is above after, by ascending Seq. next is where to go on, 0 at the
// end.
func (e *Engine) List(ctx context.Context, f store.Filter, after uint64, limit int) (list []Stored, next uint64, err error) {
	next, err = e.walk(ctx, f, after, limit, func(it store.Item) error {
		list = append(list, describe(it))
		return nil
	})
	return list, next, err
}

// walk shows up to limit items to see, a few at a time. next is where to go on,
// 0 at the end.
func (e *Engine) walk(ctx context.Context, f store.Filter, after uint64, limit int, see func(store.Item) error) (next uint64, err error) {
	limit = min(limit, manageMost)
	for seen := 0; seen < limit; {
		step := min(manageStep, limit-seen)
		items, err := e.cfg.Queue.List(ctx, f, after, step)
		if err != nil {
			return after, err
		}
		for _, it := range items {
			if err := see(it); err != nil {
				return after, err
			}
			after = it.Seq
		}
		seen += len(items)
		if len(items) < step {
			return 0, nil
		}
	}
	return after, nil
}

func describe(it store.Item) Stored {
	s := Stored{
		ID: it.ID, Service: it.Service, OpenID: it.OpenID, Kind: it.Kind, State: it.State,
		Due: it.Due, Created: it.Created, Seq: it.Seq,
	}
	rec, err := readRecord(it)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Attempts, s.Error = rec.Calls, rec.Error
	return s
}

// Show returns one stored push with its body and what is to be sent for it.
func (e *Engine) Show(ctx context.Context, id string) (Stored, error) {
	it, ok, err := e.cfg.Queue.Get(ctx, id)
	switch {
	case err != nil:
		return Stored{}, err
	case !ok:
		return Stored{}, ErrNotStored
	}
	s := describe(it)
	rec, err := readRecord(it)
	if err != nil {
		return s, nil // s says so
	}
	s.Body = rec.Push.Body
	for _, r := range rec.Answer {
		text, err := r.AppendCustom(nil, it.OpenID)
		if err != nil { // a hand-over or a raw body
			text = append(codec.AppendString([]byte(`{"msgtype":`), r.Type), '}')
		}
		s.Answer = append(s.Answer, text)
	}
	return s, nil
}

// Retry has a waiting push or a dead letter delivered again at once, with all
// the time and timeouts of a new one. The error is ErrNotStored, ErrNotNow or
// the store's.
func (e *Engine) Retry(ctx context.Context, id string) error {
	if err := e.change(ctx, id, retryable, e.retry); err != nil {
		return err
	}
	e.notify()
	return nil
}

// Drop removes a stored push for good; one in work is left alone. The error is
// ErrNotStored, ErrNotNow or the store's.
func (e *Engine) Drop(ctx context.Context, id string) error {
	return e.change(ctx, id, droppable, e.dropItem)
}

// RetryAll retries what f chooses, from after on. It returns how many it
// retried and, where one call does not reach the end, where to go on.
func (e *Engine) RetryAll(ctx context.Context, f store.Filter, after uint64) (n int, next uint64, err error) {
	defer e.notify()
	return e.changeAll(ctx, f, after, retryable, e.retry)
}

// DropAll is RetryAll for Drop.
func (e *Engine) DropAll(ctx context.Context, f store.Filter, after uint64) (n int, next uint64, err error) {
	return e.changeAll(ctx, f, after, droppable, e.dropItem)
}

func (e *Engine) changeAll(ctx context.Context, f store.Filter, after uint64, may []store.State, how func(context.Context, store.Item) error) (n int, next uint64, err error) {
	if len(f.States) == 0 {
		f.States = may
	}
	next, err = e.walk(ctx, f, after, manageMost, func(it store.Item) error {
		switch err := e.change(ctx, it.ID, may, how); {
		case err == nil:
			n++
		case !errors.Is(err, ErrNotNow) && !errors.Is(err, ErrNotStored):
			return err
		}
		return nil
	})
	if n > 0 && errors.Is(err, context.DeadlineExceeded) {
		err = nil // it has done what fits into one call
	}
	return n, next, err
}

// change does how to an item in one of the states may. Nothing claims the item
// meanwhile, and no reply is taken for it.
func (e *Engine) change(ctx context.Context, id string, may []store.State, how func(context.Context, store.Item) error) error {
	e.claims.Lock()
	defer e.claims.Unlock()
	if push, ok := ParseID(id[:min(len(id), 2*len(ID{}))]); ok {
		defer e.replies.lock(push)()
	}
	it, ok, err := e.cfg.Queue.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case !ok:
		return ErrNotStored
	case !slices.Contains(may, it.State):
		return fmt.Errorf("%w: it is %s", ErrNotNow, it.State)
	}
	return how(ctx, it)
}

func (e *Engine) retry(ctx context.Context, it store.Item) error {
	rec, err := readRecord(it)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotNow, err)
	}
	rec.Since, rec.Timeouts, rec.Again, rec.Sends = time.Now(), 0, 0, 0
	next, err := rec.item(store.Waiting, time.Now())
	if err != nil {
		return err
	}
	if err := e.cfg.Queue.Put(ctx, next); err != nil {
		return err
	}
	e.cfg.Count(it.Service, "retried")
	e.cfg.Log.Info("a stored push is retried on request", "service", it.Service, "kind", it.Kind, "push", it.ID)
	return nil
}

func (e *Engine) dropItem(ctx context.Context, it store.Item) error {
	if err := e.cfg.Queue.Delete(ctx, it.ID); err != nil {
		return err
	}
	e.cfg.Count(it.Service, "dropped-on-request")
	e.cfg.Log.Warn("a stored push is dropped on request", "service", it.Service, "kind", it.Kind, "push", it.ID)
	return nil
}
