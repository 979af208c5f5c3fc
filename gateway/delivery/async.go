package delivery

import (
	"context"
	"time"

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
	// Duplicate: the push has had its last reply already.
	Duplicate
	// Unknown: no such push.
	Unknown
	// Expired: the push waited too long for its reply.
	Expired
)

// await notes that the answer of j comes from outside.
func (e *Engine) await(j *job) {
	j.mu.Lock()
	j.async = true
	late := j.late
	answered := j.out != nil // the reply was posted before the 202 was read
	j.mu.Unlock()
	if answered || !late || !e.cfg.Durable {
		if late {
			e.leaveLane(j)
		}
		return
	}
	e.leaveLane(j)
	j.keep.Lock()
	defer j.keep.Unlock()
	if j.stored && !j.released {
		rec := record{Push: j.push, Calls: j.calls}
		if err := e.put(&rec, store.Async, j.push.Created.Add(asyncFor)); err != nil {
			e.amend(func() error { return e.put(&rec, store.Async, rec.Push.Created.Add(asyncFor)) })
		}
	}
}

func (j *job) waitsOutside() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.async
}

// Reply takes an answer that a backend posts by itself for a push of service.
// With more, further replies will follow. The first one is passive while an
// attempt is open; everything else takes the late way.
func (e *Engine) Reply(service string, id ID, replies []msg.Reply, more bool) (Accepted, error) {
	j, known := e.mem.find(id)
	if j != nil && j.push.Service != service {
		return Unknown, nil
	}
	if j != nil {
		if took, over := e.replyLive(j, replies, more); over {
			return took, nil
		}
	}
	return e.replyStored(service, id, replies, more, known)
}

// replyLive gives replies to a job in memory; over is false when the job's
// push lies in the queue.
func (e *Engine) replyLive(j *job, replies []msg.Reply, more bool) (took Accepted, over bool) {
	j.mu.Lock()
	out, parts := j.out, j.more
	j.more = more
	j.mu.Unlock()
	switch {
	case out == nil:
		if e.finish(j, e.plan(j.svc, msg.Answer{Replies: replies})) {
			return Taken, true
		}
		return Duplicate, true
	case parts:
		e.jobs.Go(func() {
			e.send(e.ctx, j.svc, &record{Push: j.push, Calls: j.calls, Answer: split(replies)})
		})
		return Taken, true
	case out.failed:
		return Unknown, false
	}
	return Duplicate, true
}

// replyStored sends replies for a push that lies in the queue.
func (e *Engine) replyStored(service string, id ID, replies []msg.Reply, more, known bool) (Accepted, error) {
	ctx, cancel := context.WithTimeout(e.ctx, storeTimeout)
	defer cancel()
	if _, done, err := e.cfg.Values.Get(ctx, doneKey(id)); err != nil || done {
		return Duplicate, err
	}
	it, ok, err := e.cfg.Queue.Get(ctx, id.String())
	switch {
	case err != nil:
		return Unknown, err
	case !ok && known:
		return Duplicate, nil
	case !ok || it.Service != service:
		return Unknown, nil
	}
	rec, err := readRecord(it)
	if err != nil {
		return Unknown, err
	}
	if it.State == store.Dead && rec.Error == asyncExpired {
		return Expired, nil
	}
	svc, ok := e.cfg.Service(service)
	if !ok {
		return Unknown, nil
	}
	rec.Answer = split(replies)
	if more {
		part := *rec
		e.jobs.Go(func() { e.send(e.ctx, svc, &part) })
		return Taken, nil
	}
	if err := e.cfg.Values.Put(ctx, doneKey(id), []byte{1}, time.Now().Add(asyncFor)); err != nil {
		return Unknown, err
	}
	if err := e.put(rec, store.Waiting, time.Now()); err != nil {
		return Unknown, err
	}
	e.notify()
	return Taken, nil
}

// doneKey marks an async push that has had its last reply.
func doneKey(id ID) string { return "done/" + id.String() }
