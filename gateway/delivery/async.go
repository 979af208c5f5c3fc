package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// asyncFor is how long a backend that answered 202 may take.
const asyncFor = 24 * time.Hour

// asyncExpired marks the dead letter of an async push whose answer never came.
const asyncExpired = "the backend answered 202 and posted no reply within 24 h"

// Accepted is what became of a reply posted for a push.
type Accepted uint8

const (
	// Taken: the reply is on its way.
	Taken Accepted = iota
	// Duplicate: the push has had this reply, or its last one, already.
	Duplicate
	// Unknown: no such push.
	Unknown
	// Expired: the push waited too long for its reply.
	Expired
)

// keyLocks are mutexes for push ids. Whoever decides where the answer of a
// push comes from holds its lock, over disk writes too, but never over a call.
type keyLocks [64]sync.Mutex

// lock locks id until the returned function is called.
func (l *keyLocks) lock(id ID) (unlock func()) {
	m := &l[id[1]%byte(len(l))]
	m.Lock()
	return m.Unlock
}

// await notes that the answer of j comes from outside.
func (e *Engine) await(j *job) {
	j.mu.Lock()
	j.async = true
	late := j.late
	j.mu.Unlock()
	if late {
		e.park(j)
	}
}

func (j *job) waitsOutside() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.async
}

// park ends the job of an async push that is late: the push waits in the queue
// for its reply, where a restart finds it and its time runs out.
func (e *Engine) park(j *job) {
	defer e.replies.lock(j.push.ID)()
	e.parkLocked(j)
}

func (e *Engine) parkLocked(j *job) {
	j.mu.Lock()
	if j.out != nil {
		j.mu.Unlock()
		return // the reply was faster
	}
	j.end(&outcome{parked: true})
	j.mu.Unlock()
	e.leaveLane(j)
	j.keep.Lock()
	if !j.storedAsync {
		rec := &record{Push: *j.push, Calls: int(j.calls.Load())}
		if err := e.put(rec, store.Async, rec.Push.Created.Add(asyncFor)); err != nil {
			e.amend(rec.key(), func() error {
				if e.replied(rec.Push.ID) {
					return nil
				}
				return e.put(rec, store.Async, rec.Push.Created.Add(asyncFor))
			})
		}
	}
	j.stored, j.released = false, true
	j.keep.Unlock()
	// The job stays for a minute, so that a repeat hears the same ack.
	e.mem.settle(j, 0, nil, true)
}

// Reply takes an answer that a backend posts by itself for a push of service.
// With more, further replies will follow; no reply and no more ends the push
// with nothing to say. The first one is passive while WeChat may still be
// answered; everything else takes the late way, in order.
//
// What is Taken lies in the queue, if it is not passive. The error says that
// the store failed and nothing was taken.
func (e *Engine) Reply(service string, id ID, replies []msg.Reply, more bool) (Accepted, error) {
	defer e.replies.lock(id)()
	k, known := e.mem.find(id)
	if k.service != "" && (k.service != service || k.isPickUp) {
		return Unknown, nil
	}
	if j := k.job; j != nil {
		if took, over, err := e.replyLive(j, replies, more); over || err != nil {
			return took, err
		}
	}
	return e.replyStored(service, id, replies, more, known)
}

// replyLive gives replies to a job in memory; over is false when the job's
// push lies in the queue.
func (e *Engine) replyLive(j *job, replies []msg.Reply, more bool) (took Accepted, over bool, err error) {
	j.mu.Lock()
	out, late, part := j.out, j.late, j.part
	j.mu.Unlock()
	switch {
	case out != nil && (out.parked || out.failed || part != ""):
		return Taken, false, nil
	case out != nil:
		return Duplicate, true, nil
	case more && len(replies) == 0:
		return Taken, true, nil
	case more && late:
		e.parkLocked(j)
		return Taken, false, nil
	case more:
		if err := e.expectMore(j, replies); err != nil {
			return Unknown, true, err
		}
	}
	if !e.finish(j, e.plan(j.svc, msg.Answer{Replies: replies})) {
		if more { // the call's own answer was faster
			e.dropOrAmend(j.push.ID.String())
		}
		return Duplicate, true, nil
	}
	if !more {
		e.markDone(j.push.ID, doneReplied)
	}
	return Taken, true, nil
}

// expectMore puts the push of j into the queue, where further replies find it
// when the job is over.
func (e *Engine) expectMore(j *job, replies []msg.Reply) error {
	rec := &record{Push: *j.push, Calls: int(j.calls.Load()), Posted: 1, Last: digest(replies)}
	j.keep.Lock()
	defer j.keep.Unlock()
	if err := e.put(rec, store.Async, rec.Push.Created.Add(asyncFor)); err != nil {
		return err
	}
	j.stored, j.released = false, true
	j.mu.Lock()
	j.part = e.partName()
	j.mu.Unlock()
	return nil
}

var errNoRoom = errors.New("the gateway is stopping and has no data-dir to keep the reply in")

// replyStored takes replies for a push that lies in the queue.
func (e *Engine) replyStored(service string, id ID, replies []msg.Reply, more, known bool) (Accepted, error) {
	if e.isDraining() && !e.cfg.Durable {
		return Unknown, errNoRoom
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	mark, done, err := e.cfg.Values.Get(ctx, doneKey(id))
	switch {
	case err != nil:
		return Unknown, err
	case done && string(mark) == doneExpired:
		return Expired, nil
	case done:
		return Duplicate, nil
	}
	it, ok, err := e.cfg.Queue.Get(ctx, id.String())
	switch {
	case err != nil:
		return Unknown, err
	case !ok && known:
		return Duplicate, nil // answered, and in memory only
	case !ok || it.Service != service:
		return Unknown, nil
	}
	rec, err := readRecord(it)
	switch {
	case err != nil:
		return Unknown, err
	case it.State == store.Dead:
		return Expired, nil
	case len(rec.Answer) > 0, more && len(replies) > 0 && rec.Last == digest(replies):
		return Duplicate, nil
	case more && len(replies) == 0:
		return Taken, nil
	}
	return e.takeStored(rec, it, replies, more)
}

// takeStored makes replies the answer of a stored push, or with more one part
// of it. Each part is an item of its own, so that the parts go out in order and
// none waits for the next.
func (e *Engine) takeStored(rec *record, it store.Item, replies []msg.Reply, more bool) (Accepted, error) {
	id := rec.Push.ID
	if rec.Posted == 0 && !more && len(replies) > 0 {
		rec.Answer = split(replies)
		if err := e.put(rec, store.Waiting, time.Now()); err != nil {
			return Unknown, err
		}
		e.markDone(id, doneReplied)
		e.notify()
		return Taken, nil
	}
	if len(replies) > 0 {
		part := &record{Push: rec.Push, Calls: rec.Calls, Answer: split(replies), Part: e.partName()}
		part.Push.Body = nil
		if err := e.put(part, store.Waiting, time.Now()); err != nil {
			return Unknown, err
		}
		e.notify()
	}
	if !more {
		e.markDone(id, doneReplied)
		e.dropOrAmend(it.ID)
		return Taken, nil
	}
	rec.Posted, rec.Last = rec.Posted+1, digest(replies)
	due := it.Due
	if it.State != store.Async {
		due = time.Now().Add(asyncFor)
	}
	if err := e.put(rec, store.Async, due); err != nil {
		// The part is stored and will be sent; only its repeat would not be noticed.
		e.amend(rec.key(), func() error {
			if e.replied(id) {
				return nil
			}
			return e.put(rec, store.Async, due)
		})
	}
	return Taken, nil
}

// expireAsync ends a push whose reply never came, or whose last one never came.
func (e *Engine) expireAsync(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	parsed, ok := ParseID(id)
	if !ok {
		return fmt.Errorf("cannot expire push %q: bad id", id)
	}
	defer e.replies.lock(parsed)()
	it, ok, err := e.cfg.Queue.Get(ctx, id)
	if err != nil || !ok || it.State != store.Async || it.Due.After(time.Now()) {
		return err // a reply came in between
	}
	rec, err := readRecord(it)
	if err != nil {
		return err
	}
	if rec.Posted > 0 {
		e.cfg.Log.Warn("a backend announced more replies and posted none within 24 h", "service", it.Service, "push", it.ID)
		e.markDone(parsed, doneExpired)
		e.dropOrAmend(id)
		return nil
	}
	e.bury(rec, asyncExpired)
	return nil
}

// takenOver reports whether a posted reply has become the answer of a push
// while the backend was called for it. The push's lock is held.
func (e *Engine) takenOver(rec *record) bool {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	it, ok, err := e.cfg.Queue.Get(ctx, rec.key())
	switch {
	case err != nil:
		return false
	case !ok:
		return e.replied(rec.Push.ID)
	case it.State != store.Running:
		return true
	}
	now, err := readRecord(it)
	return err == nil && len(now.Answer) > 0
}

// doneKey marks an async push that hears of no further reply.
func doneKey(id ID) string { return "done/" + id.String() }

// What doneKey says.
const (
	doneReplied = "replied" // the last reply has come
	doneExpired = "expired" // it never came
)

// doneInMemory is how long doneKey is kept without a durable store: less than
// the answers waiting to be picked up, which share the room and must not go
// first when it is full.
const doneInMemory = time.Hour

func (e *Engine) markDone(id ID, what string) {
	keep := asyncFor
	if !e.cfg.Durable {
		keep = doneInMemory
	}
	mark := func() error { return e.putValue(doneKey(id), []byte(what), time.Now().Add(keep)) }
	if err := mark(); err != nil {
		e.amend(doneKey(id), mark)
	}
}

// replied reports whether the last reply of an async push has come.
func (e *Engine) replied(id ID) bool {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	_, done, err := e.cfg.Values.Get(ctx, doneKey(id))
	return err == nil && done
}

// digest tells one part of an answer from another.
func digest(replies []msg.Reply) string {
	if len(replies) == 0 {
		return ""
	}
	text, err := codec.Marshal(replies)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// partName names a part so that a later one of the same push sorts behind it.
func (e *Engine) partName() string {
	for {
		last := e.lastPart.Load()
		if next := max(last+1, time.Now().UnixNano()); e.lastPart.CompareAndSwap(last, next) {
			return fmt.Sprintf("%016x", next)
		}
	}
}
