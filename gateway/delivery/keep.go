package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// record is what the queue keeps of a push, as Item.Data.
type record struct {
	Push     Push        `json:"-"`
	Calls    int         `json:"calls"`              // backend calls so far
	Again    int         `json:"again,omitempty"`    // redeliveries that failed: the tries inside the inline time lengthen no pause
	Timeouts int         `json:"timeouts,omitempty"` // of the calls, how many timed out
	Error    string      `json:"error,omitempty"`    // why the last one failed, or why the letter is dead
	Answer   []msg.Reply `json:"answer,omitempty"`   // what is left to be sent; the backend is not called again
	Sends    int         `json:"sends,omitempty"`    // tries to send Answer
	Shelved  int         `json:"shelved,omitempty"`  // of Answer, how many pieces wait to be picked up
	Rest     bool        `json:"rest,omitempty"`     // Answer follows a passive reply
	Posted   int         `json:"posted,omitempty"`   // replies posted so far, when more follow
	Last     string      `json:"last,omitempty"`     // digest of the latest of them
	Since    time.Time   `json:"since,omitzero"`     // when a person had it retried; its age counts from there
	Part     string      `json:"-"`                  // "", or the name of a part: an item beside the push's own

	Stored storedPush `json:"push"`

	handedOver bool // the item belongs to the queue now
}

// storedPush is a Push on disk.
type storedPush struct {
	ID       string           `json:"id"`
	Path     string           `json:"path"`
	Body     codec.RawMessage `json:"body"`
	Info     InfoMode         `json:"info,omitempty"`
	Question string           `json:"question,omitempty"`
	Trace    string           `json:"trace,omitempty"`
}

// key is the id of r's item: the push id, of a part followed by its name.
func (r *record) key() string {
	if r.Part == "" {
		return r.Push.ID.String()
	}
	return r.Push.ID.String() + "/" + r.Part
}

// age is how long r has been tried.
func (r *record) age() time.Duration {
	from := r.Push.Created
	if r.Since.After(from) {
		from = r.Since
	}
	return time.Since(from)
}

// item makes the queue's item of r.
func (r *record) item(state store.State, due time.Time) (store.Item, error) {
	p := &r.Push
	r.Stored = storedPush{ID: p.ID.String(), Path: p.Path, Body: p.Body, Info: p.Info, Question: p.Question, Trace: p.Traceparent}
	if len(r.Stored.Body) == 0 {
		r.Stored.Body = codec.RawMessage("null")
	}
	data, err := codec.Marshal(r)
	if err != nil {
		return store.Item{}, fmt.Errorf("cannot encode push %s: %w", p.ID, err)
	}
	return store.Item{
		ID: r.key(), Service: p.Service, OpenID: p.OpenID, Kind: p.Kind,
		State: state, Due: due, Created: p.Created, Data: data,
	}, nil
}

// readRecord is the inverse of item.
func readRecord(it store.Item) (*record, error) {
	r := &record{}
	if err := codec.Unmarshal(it.Data, r); err != nil {
		return nil, fmt.Errorf("cannot read stored push %s: %w", it.ID, err)
	}
	text, part, _ := strings.Cut(it.ID, "/")
	id, ok := ParseID(text)
	if !ok {
		return nil, fmt.Errorf("cannot read stored push %q: bad id", it.ID)
	}
	r.Part = part
	s := r.Stored
	if string(s.Body) == "null" {
		s.Body = nil
	}
	r.Push = Push{
		ID: id, Service: it.Service, OpenID: it.OpenID, Kind: it.Kind, Path: s.Path,
		Body: s.Body, Info: s.Info, Question: s.Question, Created: it.Created, Traceparent: s.Trace,
	}
	return r, nil
}

// storeTimeout bounds one write to the queue.
const storeTimeout = 3 * time.Second

func (e *Engine) put(r *record, state store.State, due time.Time) error {
	it, err := r.item(state, due)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return e.cfg.Queue.Put(ctx, it)
}

func (e *Engine) drop(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return e.cfg.Queue.Delete(ctx, id)
}

func (e *Engine) dropOrAmend(id string) {
	if err := e.drop(id); err != nil {
		e.amend(id, func() error { return e.drop(id) })
	}
}

// keepRunning stores a push whose call goes on, before WeChat hears a success
// that does not carry its answer. Where nothing survives a restart anyway,
// there is nothing to do.
func (e *Engine) keepRunning(j *job) error {
	if !e.cfg.Durable || j.isPickUp {
		return nil
	}
	j.keep.Lock()
	defer j.keep.Unlock()
	if j.stored || j.released {
		return nil
	}
	rec := record{Push: *j.push, Calls: max(1, int(j.calls.Load()))}
	state, due := store.Running, time.Time{}
	if j.waitsOutside() {
		state, due = store.Async, j.push.Created.Add(asyncFor)
	}
	if err := e.put(&rec, state, due); err != nil {
		return err
	}
	j.stored, j.storedAsync = true, state == store.Async
	return nil
}

// keepFailed stores a push whose call failed, to be delivered again: at once
// after a drain, else after the first pause. One that timed out where that is
// not to be repeated is a dead letter.
func (e *Engine) keepFailed(j *job, rec record, atOnce bool) error {
	j.keep.Lock()
	defer j.keep.Unlock()
	state, due := store.Waiting, time.Now()
	switch {
	case rec.Timeouts > j.svc.Policy.Timeouts:
		state, due = store.Dead, due.Add(deadFor)
		e.noteDead(&rec, rec.Error)
	case !atOnce:
		due = due.Add(pause(1))
	}
	err := e.put(&rec, state, due)
	if err != nil && j.stored {
		// It lies on disk as running: nothing is lost, and this process
		// takes it up again as soon as the disk is writable.
		e.amend(rec.key(), func() error { return e.put(&rec, state, due) })
		err = nil
	}
	if err == nil {
		j.stored, j.released = false, true
		e.notify()
	}
	return err
}

// release takes a job that is over out of the queue.
func (e *Engine) release(j *job) {
	j.keep.Lock()
	defer j.keep.Unlock()
	j.released = true
	if j.stored {
		j.stored = false
		e.dropOrAmend(j.push.ID.String())
	}
}

func (j *job) onDisk() bool {
	j.keep.Lock()
	defer j.keep.Unlock()
	return j.stored
}

// amendment is a write that failed: of what lies under key in the store, so that
// the latest of a key is all that counts.
type amendment struct {
	key   string
	write func() error
}

// amend repeats a write that failed until the store takes it. There are never
// more of them than there are things stored.
func (e *Engine) amend(key string, write func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.amends = append(slices.DeleteFunc(e.amends, func(a amendment) bool { return a.key == key }), amendment{key, write})
}

// retryAmends tries what amend has collected; it stops at the first failure,
// since the disk is full for all of them.
func (e *Engine) retryAmends() {
	e.mu.Lock()
	todo := e.amends
	e.amends = nil
	e.mu.Unlock()
	for i, a := range todo {
		if err := a.write(); err != nil {
			e.mu.Lock()
			e.amends = append(todo[i:], e.amends...)
			e.mu.Unlock()
			return
		}
	}
}

// notify tells the redelivery that the queue has something new.
func (e *Engine) notify() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// pause is the wait before try n of a redelivery: 1 s doubling to 10 min, give
// or take a quarter, so that a revived backend is not met by all at once.
func pause(n int) time.Duration {
	const longest = 10 * time.Minute
	d := longest
	if n < 11 {
		d = min(longest, time.Second<<(n-1))
	}
	return d*3/4 + rand.N(d/2)
}
