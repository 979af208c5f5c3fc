package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// Bounds of the redelivery. A revived backend gets a trickle, and one account
// cannot keep the others from theirs.
const (
	perService   = 8               // redeliveries in work for one account
	claimAtOnce  = 64              // items taken from the queue in one go
	partPause    = time.Second     // before a part is tried again whose first part is not out
	lookEvery    = 5 * time.Second // at the latest, whatever NextDue says
	expireAtOnce = 256
)

// recover takes up what an earlier run left: pushes in work are due at once,
// and every stored one is known, so that WeChat's repeats are not forwarded.
func (e *Engine) recover() error {
	ctx := context.Background()
	n, err := e.cfg.Queue.Recover(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("cannot take up stored pushes: %w", err)
	}
	if n > 0 {
		e.cfg.Log.Info("pushes of the last run are taken up", "count", n)
	}
	ids, err := e.cfg.Queue.IDs(ctx)
	if err != nil {
		return fmt.Errorf("cannot list stored pushes: %w", err)
	}
	for _, text := range ids {
		if id, ok := ParseID(text); ok {
			e.mem.note(id, knownAtStart)
		}
	}
	return nil
}

// knownAtStart is how long a push found in the store at start is known: longer
// than WeChat repeats any.
const knownAtStart = 4 * time.Hour

// redeliver works the queue until Stop.
func (e *Engine) redeliver() {
	for {
		e.retryAmends()
		e.expire()
		items := e.claim()
		for _, it := range items {
			e.jobs.Go(func() { e.again(it) })
		}
		t := time.NewTimer(e.untilDue(len(items) > 0))
		select {
		case <-e.stop:
			t.Stop()
			return
		case <-e.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// claim takes due items of accounts that can work on them.
func (e *Engine) claim() []store.Item {
	e.claims.Lock()
	defer e.claims.Unlock()
	now := time.Now()
	var due []string
	_, err := e.cfg.Queue.Claim(e.ctx, now, 0, func(service string) bool { // claims none, names those that are due
		due = append(due, service)
		return true
	})
	var all []store.Item
	for _, service := range due {
		room := min(e.room(service), claimAtOnce-len(all))
		if err != nil || room <= 0 || e.isDraining() {
			continue
		}
		var items []store.Item
		items, err = e.cfg.Queue.Claim(e.ctx, now, room, func(name string) bool { return name != service })
		all = append(all, items...)
		e.mu.Lock()
		e.working[service] += len(items)
		e.mu.Unlock()
	}
	if err != nil && !e.isDraining() {
		e.cfg.Log.Error("cannot read the queue; it is tried again", "err", err)
	}
	return all
}

// room is how many redeliveries of a service may begin now.
func (e *Engine) room(service string) int {
	svc, ok := e.cfg.Service(service)
	if !ok || svc.Backend == nil || svc.Backend.Open() {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return perService - e.working[service]
}

// untilDue is how long the queue has nothing to do; claimed says that there was
// something just now.
func (e *Engine) untilDue(claimed bool) time.Duration {
	due, ok, err := e.cfg.Queue.NextDue(e.ctx)
	if err != nil || !ok {
		return lookEvery
	}
	// At least a little: what is due but was not claimed belongs to an account
	// that is left alone.
	least := time.Second
	if claimed {
		least = 200 * time.Millisecond
	}
	return min(lookEvery, max(least, time.Until(due)))
}

// again delivers a stored push once more, or sends its stored answer.
func (e *Engine) again(it store.Item) {
	defer func() {
		e.mu.Lock()
		if e.working[it.Service]--; e.working[it.Service] <= 0 {
			delete(e.working, it.Service)
		}
		e.mu.Unlock()
		e.notify()
	}()
	rec, err := readRecord(it)
	if err != nil {
		e.cfg.Log.Error("a stored push cannot be read; it is left in the queue as a dead letter", "push", it.ID, "err", err)
		it.State, it.Due = store.Dead, time.Now().Add(deadFor)
		if err := e.cfg.Queue.Put(context.Background(), it); err != nil {
			e.cfg.Log.Error("cannot write the queue", "err", err)
		}
		return
	}
	svc, ok := e.cfg.Service(it.Service)
	switch {
	case !ok || svc.Backend == nil: // a reload came in between
		e.requeue(rec, time.Now())
	case rec.Part != "" && e.mem.working(rec.Push.ID):
		e.requeue(rec, time.Now().Add(partPause)) // what it follows is not out yet
	case len(rec.Answer) > 0:
		e.sendStored(svc, rec)
	case rec.Part != "":
		e.done(rec)
	default:
		e.callStored(svc, rec)
	}
}

// sendStored sends an answer that the queue kept.
func (e *Engine) sendStored(svc *Service, rec *record) {
	if rec.age() > svc.Policy.RedeliverFor+max(svc.Policy.Keep, asyncFor) {
		e.bury(rec, "the answer could not be sent in time: "+rec.Error)
		return
	}
	e.send(e.ctx, svc, rec)
	e.done(rec)
}

// done takes a redelivered push out of the queue, unless it went back there.
func (e *Engine) done(rec *record) {
	if rec.handedOver {
		return
	}
	e.dropOrAmend(rec.key())
}

// callStored posts a stored push to its backend.
func (e *Engine) callStored(svc *Service, rec *record) {
	p := &rec.Push
	ctx, cancel := context.WithTimeout(e.ctx, svc.Policy.MaxWait)
	defer cancel()
	ans, err := svc.Backend.Post(ctx, Call{
		Path: p.Path, OpenID: p.OpenID, PushID: p.ID, Body: e.body(ctx, svc, p),
		Attempt: rec.Calls + 1, At: time.Now(), Late: svc.via(), Origin: p.Traceparent,
	})
	if e.settleCall(svc, rec, ans, err) {
		return
	}
	rec.Answer = split(ans.Replies)
	if len(rec.Answer) > 0 && time.Since(p.Created) > svc.Policy.MaxAgeReply {
		e.cfg.Log.Info("the reply of an old push is not sent to the user", "service", p.Service, "push", p.ID.String(), "age", time.Since(p.Created).Round(time.Second))
		rec.Answer = nil
	}
	if len(rec.Answer) > 0 {
		e.send(e.ctx, svc, rec)
	}
	e.done(rec)
}

// settleCall follows a redelivery's call; false when its answer is to be sent.
func (e *Engine) settleCall(svc *Service, rec *record, ans msg.Answer, err error) (over bool) {
	defer e.replies.lock(rec.Push.ID)()
	switch {
	case e.takenOver(rec):
		return true // a posted reply was faster
	case err != nil:
		e.failedAgain(svc, rec, err)
		return true
	}
	rec.Calls++
	e.cfg.Count(rec.Push.Service, "redelivered")
	if !ans.Async {
		return false
	}
	due := time.Now().Add(asyncFor)
	if err := e.put(rec, store.Async, due); err != nil {
		e.amend(rec.key(), func() error {
			if e.replied(rec.Push.ID) {
				return nil
			}
			return e.put(rec, store.Async, due)
		})
	}
	return true
}

// failedAgain decides when a push is tried next, or that it is dead.
func (e *Engine) failedAgain(svc *Service, rec *record, err error) {
	f := failure(err)
	if errors.Is(context.Cause(e.ctx), errDrained) {
		e.requeue(rec, time.Now())
		return
	}
	if !f.Unsent {
		rec.Calls++
	}
	rec.Again++
	rec.Error = f.Error()
	if f.Timeout {
		rec.Timeouts++
	}
	switch {
	case f.Unhandled:
		e.cfg.Count(rec.Push.Service, "unhandled")
		e.done(rec)
	case !f.Keep:
		e.cfg.Count(rec.Push.Service, "unusable")
		e.cfg.Log.Error("the backend's answer to a redelivered push could not be used", "service", rec.Push.Service, "push", rec.Push.ID.String(), "err", f.Err)
		e.done(rec)
	case rec.Timeouts > svc.Policy.Timeouts:
		e.bury(rec, "the backend took the push and did not answer in time: "+rec.Error)
	case rec.age() > svc.Policy.RedeliverFor:
		e.bury(rec, "the backend could not be reached in time: "+rec.Error)
	default:
		e.requeue(rec, time.Now().Add(pause(rec.Again+1)))
	}
}

func (e *Engine) requeue(rec *record, due time.Time) {
	rec.handedOver = true
	if err := e.put(rec, store.Waiting, due); err != nil {
		e.amend(rec.key(), func() error { return e.put(rec, store.Waiting, time.Now()) })
	}
}

// expire ends what has waited too long: an async answer that never came
// becomes a dead letter, a dead letter is forgotten.
func (e *Engine) expire() {
	items, err := e.cfg.Queue.Expire(e.ctx, time.Now(), expireAtOnce)
	if err != nil {
		if !e.isDraining() {
			e.cfg.Log.Error("cannot clear the queue; it is tried again", "err", err)
		}
		return
	}
	for _, it := range items {
		if it.State != store.Async {
			continue
		}
		if err := e.expireAsync(it.ID); err != nil {
			e.cfg.Log.Error("an expired push cannot be buried; it is tried again", "push", it.ID, "err", err)
		}
	}
	e.buryOrphans()
	if _, err := e.cfg.Values.Expire(e.ctx, time.Now(), expireAtOnce); err != nil {
		e.cfg.Log.Error("cannot clear stored answers; it is tried again", "err", err)
	}
}

// Stored pushes of a service that is configured no more, or has no backend any
// more, wait a day for it to come back.
const (
	orphanFor  = 24 * time.Hour
	orphanLook = 10 * time.Minute
)

// buryOrphans makes dead letters of what waits for services that are gone.
func (e *Engine) buryOrphans() {
	if time.Since(e.orphans) < orphanLook {
		return
	}
	e.orphans = time.Now()
	counts, err := e.cfg.Queue.Counts(e.ctx)
	if err != nil {
		return // the next look finds them
	}
	for service, c := range counts {
		if svc, ok := e.cfg.Service(service); c.Waiting == 0 || ok && svc.Backend != nil {
			continue
		}
		f := store.Filter{Service: service, States: []store.State{store.Waiting}, OlderThan: orphanFor}
		items, err := e.cfg.Queue.List(e.ctx, f, 0, expireAtOnce)
		if err != nil {
			return
		}
		for _, it := range items {
			// One that a person had retried has its day from then on.
			if rec, err := readRecord(it); err == nil && rec.age() > orphanFor {
				e.bury(rec, "its service is not configured, or has no msg-proxy-pass any more")
			}
		}
	}
}

// abandon runs after the last call has ended: what is still unfinished (an
// answer no attempt took, an async push) is stored for the next run.
func (e *Engine) abandon() {
	for _, j := range e.mem.busy() {
		j.mu.Lock()
		out, told := j.out, j.told
		if j.giveUp != nil {
			j.giveUp.Stop()
		}
		j.mu.Unlock()
		if j.isPickUp || out != nil && (told == replied || out.failed || out.parked || out.kept != nil) {
			continue // on its shelf, or on disk already
		}
		// The drain may have run into its limit: an attempt that is still open
		// parks its push at this moment.
		j.keep.Lock()
		rec := record{Push: *j.push, Calls: int(j.calls.Load()), Error: errDrained.Error(), Part: j.part}
		parked := out == nil && j.released
		j.keep.Unlock()
		if parked {
			continue
		}
		state, due := store.Waiting, time.Now()
		if out != nil {
			rec.Answer = split(out.all())
		} else {
			state, due = store.Async, j.push.Created.Add(asyncFor)
		}
		if out != nil && len(rec.Answer) == 0 {
			continue
		}
		if !e.cfg.Durable {
			e.cfg.Count(j.push.Service, "dropped")
			e.cfg.Log.Error("push dropped: the gateway stops and there is no data-dir to keep it in", "service", j.push.Service, "kind", j.push.Kind, "push", j.push.ID.String())
			continue
		}
		if err := e.put(&rec, state, due); err != nil {
			e.cfg.Log.Error("cannot store an unfinished push", "service", j.push.Service, "push", j.push.ID.String(), "err", err)
		}
	}
	if !e.cfg.Durable {
		e.countLost()
	}
}

// countLost reports what goes with a queue in memory.
func (e *Engine) countLost() {
	counts, err := e.cfg.Queue.Counts(context.Background())
	if err != nil {
		e.cfg.Log.Error("cannot count what the queue loses", "err", err)
		return
	}
	for service, c := range counts {
		n := c.Waiting + c.Running + c.Async
		for range n {
			e.cfg.Count(service, "dropped")
		}
		if n > 0 {
			e.cfg.Log.Error("stored pushes dropped: the gateway stops and there is no data-dir to keep them in", "service", service, "count", n)
		}
	}
}
