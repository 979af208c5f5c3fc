package delivery

import (
	"sync"
	"sync/atomic"
	"time"

	"wx-gateway/gateway/msg"
)

// The clock's marks, counted from the arrival of an attempt. WeChat cuts at
// 5 s; 4.5 s leave time for the way back.
const (
	answerBy    = 4500 * time.Millisecond
	quickBy     = 2500 * time.Millisecond // kinds that WeChat cuts at 3 s
	holdEnd     = 6 * time.Second         // an unanswered attempt ends, never before WeChat's cut
	betweenCuts = 5 * time.Second         // from one attempt to the next
	nextWait    = 3 * time.Second         // no further attempt after this: WeChat has given up
	lastAttempt = 3
)

// job is one push in work: one backend call, however many attempts wait for it.
type job struct {
	engine   *Engine
	push     *Push // never changed
	svc      *Service
	class    class
	first    time.Time // arrival of the first attempt seen here
	base     int       // attempts before that one, by the push's timestamp
	isPickUp bool      // answered from the shelf instead of by the backend

	calls atomic.Int32 // backend calls so far
	place uint32       // in its shard of the memory
	over  bool         // guarded by that shard

	mu       sync.Mutex
	arrivals int
	open     int           // attempts waiting
	done     chan struct{} // closed when out is set; nil while nobody waits
	out      *outcome
	told     told
	late     bool   // the answer takes the late way
	async    bool   // the backend answered 202: the answer comes from outside
	part     string // more replies follow the posted one: its name among them
	giveUp   *time.Timer
	pickup   string // key of the stored answer that this job gives out
	ended    bool   // the first answer is written, and what follows it is under way
	sent     bool   // the late answer was handed out; guarded by Engine.mu

	// keep guards the job's place in the queue, over disk writes.
	keep        sync.Mutex
	stored      bool
	storedAsync bool // stored as one whose answer comes from outside
	released    bool // over, or the queue's own business from now on
}

// wait returns a channel that is closed when j has its outcome.
func (j *job) wait() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.done == nil {
		j.done = make(chan struct{})
		if j.out != nil {
			close(j.done)
		}
	}
	return j.done
}

// end gives j its outcome and wakes whoever waits for it. j.mu is held.
func (j *job) end(out *outcome) {
	j.out = out
	if j.done != nil {
		close(j.done)
	}
}

// Close says that the bytes of the answer have been written. It implements
// io.Closer for Verdict.Written.
func (j *job) Close() error {
	j.engine.written(j)
	return nil
}

// known is what the memory notes of a new job.
func (j *job) known(id ID) known {
	return known{id: id, job: j, service: j.push.Service, isPickUp: j.isPickUp}
}

// repeats makes a new job one that was answered before, as k tells.
func (j *job) repeats(k *known) {
	j.out, j.told, j.base, j.arrivals, j.over, j.ended = &outcome{reply: k.answer()}, replied, 0, k.arrivals, true, true
}

// told is what WeChat was told about a push. Success and ack bind later
// attempts to the same.
type told uint8

const (
	nothing told = iota
	success
	acked
	replied
)

// outcome is how a call ended.
type outcome struct {
	reply  *msg.Reply  // the passive reply; nil is `success`
	rest   []msg.Reply // follows as customer-service messages
	kept   *record     // rest as it lies on disk, where success carries none of the answer
	failed bool        // no answer; the push is kept or lost, see the log
	refuse bool        // no answer, and the push could not be stored: WeChat must repeat it
	parked bool        // the push waits in the queue for a reply from outside
}

// all are the replies of o when none of them can be passive any more.
func (o *outcome) all() []msg.Reply {
	if o.reply == nil {
		return o.rest
	}
	return append([]msg.Reply{*o.reply}, o.rest...)
}

// holds reports whether attempt n may stay unanswered beyond answerBy.
func (j *job) holds(n int) bool {
	return j.svc.Policy.Hold && j.class.waits && j.svc.Kind != Shop && n < lastAttempt
}

// inlineTime is how long after attempt n's arrival an answer may still be
// passive.
func (j *job) inlineTime(n int) time.Duration {
	if j.class.quick {
		return quickBy
	}
	if !j.holds(n) {
		return answerBy
	}
	return time.Duration(lastAttempt-n)*betweenCuts + answerBy
}

// binding is what an attempt hears once the answer takes the late way.
func (j *job) binding() told {
	if j.class.texts && j.svc.Policy.Ack != "" && j.svc.Kind == Official && j.out == nil {
		return acked
	}
	return success
}

// window counts events of the last minute.
type window struct {
	times fifo[time.Time]
}

// take adds an event unless limit is reached.
func (w *window) take(now time.Time, limit int) bool {
	for w.times.len() > 0 && now.Sub(w.times.first()) >= time.Minute {
		w.times.pop()
	}
	if w.times.len() >= limit {
		return false
	}
	w.times.push(now)
	return true
}
