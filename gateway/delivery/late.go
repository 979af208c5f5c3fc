package delivery

import (
	"context"
	"errors"
	"time"

	"wx-gateway/gateway/store"
)

// lateLane is one user's answers on their late way, in the order of the
// pushes: an answer waits for those before it.
type lateLane struct {
	jobs    []*job
	ready   map[*job]bool
	sending bool
}

// lane names p's line: its user's, or its own where it names no user.
func (p *Push) lane() string {
	if p.OpenID == "" {
		return p.Service + "\x00\x00" + string(p.ID[:])
	}
	return p.Service + "\x00" + p.OpenID
}

// typingEvery is how often the user is shown that an answer is being worked on.
const typingEvery = 12 * time.Second

// enterLate puts a job in its user's line of late answers.
func (e *Engine) enterLate(j *job) {
	if j.isPickUp {
		return // its answer stays on the shelf
	}
	e.cfg.Count(j.push.Service, "late")
	e.mu.Lock()
	if !j.sent { // else it is over already, and its line may be gone
		if ln := e.lane(j); !ln.has(j) {
			ln.jobs = append(ln.jobs, j)
		}
	}
	e.mu.Unlock()
	if j.svc.via() == CustomerService && j.class.waits {
		e.jobs.Go(func() { e.showTyping(j) })
	}
	// The call may have ended while the push was on its way to the disk.
	j.mu.Lock()
	over := j.out != nil && !j.out.parked
	j.mu.Unlock()
	if over {
		e.readyLate(j)
	}
}

// lane is the line of j's user, made when it is the first. e.mu is held.
func (e *Engine) lane(j *job) *lateLane {
	ln := e.lanes[j.push.lane()]
	if ln == nil {
		ln = &lateLane{ready: map[*job]bool{}}
		e.lanes[j.push.lane()] = ln
	}
	return ln
}

// showTyping shows "typing" until the answer is there.
func (e *Engine) showTyping(j *job) {
	done := j.wait()
	for {
		j.svc.Outbox.Typing(j.push.OpenID)
		t := time.NewTimer(typingEvery)
		select {
		case <-done:
			t.Stop()
			return
		case <-e.ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// readyLate says that the answer of j is there, and sends what is first in its
// user's line.
func (e *Engine) readyLate(j *job) {
	if j.isPickUp {
		e.endPickUp(j, false)
		e.settleLate(j)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if j.sent {
		return
	}
	ln := e.lanes[j.push.lane()]
	if ln == nil || !ln.has(j) { // an async push leaves the line while it waits
		ln = e.lane(j)
		ln.jobs = append(ln.jobs, j)
	}
	ln.ready[j] = true
	e.pump(j.push.lane(), ln)
}

// leaveLane takes a job without an answer out of its user's line.
func (e *Engine) leaveLane(j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := j.push.lane()
	ln := e.lanes[key]
	if ln == nil || !ln.has(j) {
		return
	}
	ln.remove(j)
	e.pump(key, ln)
}

// pump sends from the head of the line while its answers are there. e.mu is held.
func (e *Engine) pump(key string, ln *lateLane) {
	if len(ln.jobs) == 0 && !ln.sending {
		delete(e.lanes, key)
		return
	}
	if ln.sending || !ln.ready[ln.jobs[0]] {
		return
	}
	ln.sending = true
	j := ln.jobs[0]
	j.sent = true
	e.jobs.Go(func() {
		e.sendLate(j)
		e.mu.Lock()
		defer e.mu.Unlock()
		ln.sending = false
		ln.remove(j)
		e.pump(key, ln)
	})
}

func (ln *lateLane) has(j *job) bool {
	for _, other := range ln.jobs {
		if other == j {
			return true
		}
	}
	return false
}

func (ln *lateLane) remove(j *job) {
	delete(ln.ready, j)
	for i, other := range ln.jobs {
		if other == j {
			ln.jobs = append(ln.jobs[:i], ln.jobs[i+1:]...)
			return
		}
	}
}

// sendLate sends a job's whole answer by the late way. With a durable queue
// the answer is written there first, so that a restart sends it instead of
// asking the backend again. It goes there too behind an earlier one that has
// to be sent again, or it would overtake it.
func (e *Engine) sendLate(j *job) {
	rec := &record{Push: *j.push, Calls: int(j.calls.Load()), Answer: split(j.out.all()), Part: j.part}
	if len(rec.Answer) > 0 && !e.queuedBehind(j, rec) {
		j.keep.Lock()
		if j.stored {
			if err := e.put(rec, store.Running, time.Time{}); err != nil {
				e.cfg.Log.Warn("a late answer could not be stored before it is sent; a restart now would ask the backend again", "push", j.push.ID.String(), "err", err)
			}
		}
		j.keep.Unlock()
		e.send(e.ctx, j.svc, rec)
	}
	// send has put what could not be sent where it belongs; it owns the item then.
	j.keep.Lock()
	j.stored = j.stored && !rec.handedOver
	j.keep.Unlock()
	e.release(j)
	if j.out.kept != nil { // the whole answer went this way
		e.done(j.out.kept)
	}
	e.settleLate(j)
}

// settleLate ends a job of which no answer was passive. One that was acked as
// text stays for a minute, so that a repeat hears the same ack.
func (e *Engine) settleLate(j *job) {
	j.mu.Lock()
	told := j.told
	j.mu.Unlock()
	e.mem.settle(j, 0, nil, told == acked)
}

// queuedBehind hands a late answer over to the queue when an earlier one of its
// user waits there. Where that cannot be written the answer is sent at once; so
// is the first of several parts, since the next one may have its place already.
func (e *Engine) queuedBehind(j *job, rec *record) bool {
	if j.svc.via() != CustomerService || rec.Part != "" || !e.behind(rec) {
		return false
	}
	j.keep.Lock()
	defer j.keep.Unlock()
	if e.put(rec, store.Waiting, time.Now()) != nil {
		return false
	}
	rec.handedOver = true
	e.notify()
	return true
}

// behind reports whether the first that the queue holds of rec's user is
// another answer. A push whose backend fails may stay there for a day: nothing
// waits for that.
func (e *Engine) behind(rec *record) bool {
	if rec.Push.OpenID == "" { // nobody's order
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	f := store.Filter{
		Service: rec.Push.Service, OpenID: rec.Push.OpenID,
		States: []store.State{store.Waiting, store.Running},
	}
	items, err := e.cfg.Queue.List(ctx, f, 0, 1)
	if err != nil || len(items) == 0 || items[0].ID == rec.key() {
		return false
	}
	first, err := readRecord(items[0])
	return err == nil && len(first.Answer) > 0 && first.Push.ID != rec.Push.ID
}

// send delivers rec.Answer to the user. What cannot be sent now is put back
// into the queue; what cannot be sent at all becomes a pick-up or a dead
// letter. rec.handedOver then says that the item belongs to the queue.
func (e *Engine) send(ctx context.Context, s *Service, rec *record) {
	p := &rec.Push
	log := e.cfg.Log.With("service", p.Service, "kind", p.Kind, "push", p.ID.String())
	via := s.via()
	if rec.Rest && via == None && s.Kind != Shop && s.Outbox != nil {
		via = CustomerService // late-reply is off, but this belongs to an answer in time
	}
	switch via {
	case None:
		e.cfg.Count(p.Service, "late-off")
		if s.Kind == Shop || s.Policy.Via == Off {
			log.Info("a late answer is not sent: late-reply is off for this account")
			return
		}
		e.bury(rec, "the answer came late, and without services[].wx-params.app-secret nothing can be sent to the user")
		return
	case Pickup:
		e.shelve(s, rec)
		return
	}
	sent, err := s.Outbox.Send(ctx, p.OpenID, rec.Answer)
	rec.Answer = rec.Answer[min(sent, len(rec.Answer)):]
	if err == nil {
		e.cfg.Count(p.Service, "late-sent")
		return
	}
	var und Undeliverable
	switch {
	case !errors.As(err, &und):
		log.Warn("a late answer could not be sent now; it is tried again", "err", err)
		e.putBack(rec, err)
	case len(s.Policy.PickupWords) > 0:
		e.shelve(s, rec)
	default:
		e.bury(rec, und.Undeliverable())
	}
}

// putBack stores an unsent answer for another try.
func (e *Engine) putBack(rec *record, err error) {
	rec.Error = err.Error()
	rec.Sends++
	rec.handedOver = true
	due := time.Now().Add(pause(rec.Sends))
	if err := e.put(rec, store.Waiting, due); err != nil {
		e.amend(rec.key(), func() error { return e.put(rec, store.Waiting, time.Now()) })
	}
	e.notify()
}

// deadFor is how long a dead letter can still be looked at.
const deadFor = 7 * 24 * time.Hour

// bury makes rec a dead letter, which the queue endpoint lists and retries.
func (e *Engine) bury(rec *record, why string) {
	rec.Error = why
	rec.handedOver = true
	e.noteDead(rec, why)
	if err := e.put(rec, store.Dead, time.Now().Add(deadFor)); err != nil {
		e.amend(rec.key(), func() error { return e.put(rec, store.Dead, time.Now().Add(deadFor)) })
	}
}

func (e *Engine) noteDead(rec *record, why string) {
	e.cfg.Count(rec.Push.Service, "dead")
	e.cfg.Log.Error("dead letter", "service", rec.Push.Service, "kind", rec.Push.Kind, "push", rec.Push.ID.String(), "why", why)
}
