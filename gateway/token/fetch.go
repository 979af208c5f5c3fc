package token

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errGivenAgain ends a fetch that brought a value seen failing.
var errGivenAgain = errors.New("the value that was refused was given again")

// launch starts a fetch. mu is held, no fetch is going on, Stop was not called.
func (k *Keeper) launch(cause string) *flight {
	f := &flight{cause: cause, done: make(chan struct{})}
	k.flight = f
	k.tasks.Go(func() { k.fly(f) })
	return f
}

// fly fetches, a second time with force if the first brought a value that was
// seen failing.
func (k *Keeper) fly(f *flight) {
	began := time.Now()
	o := k.land(f, k.fetch(f.cause, false))
	if o.again {
		o = k.land(f, k.fetch("forced", true))
	}
	if o.recovered > 0 {
		k.cfg.Log.Info("token available again", "kind", k.cfg.Name, "failures", o.recovered)
	}
	switch {
	case o.entry != nil:
		if !o.same {
			k.cfg.Log.Info("token renewed", "kind", k.cfg.Name, "cause", f.cause,
				"expires_in", k.left(o.entry).Round(time.Second), "took", time.Since(began).Round(time.Millisecond))
		}
		k.save(o.entry)
	case o.failed != nil:
		k.cfg.Log.Warn("token not renewed", "kind", k.cfg.Name, "cause", f.cause, "err", o.failed)
	}
}

// answer is what Fetch brought.
type answer struct {
	value  string
	life   time.Duration
	err    error
	wait   time.Duration // pause that Config.Wait asks for after err
	forced bool
}

// fetch calls Fetch and checks what it brought.
func (k *Keeper) fetch(cause string, force bool) answer {
	ctx, cancel := context.WithTimeout(k.ctx, fetchTimeout)
	defer cancel()
	value, life, err := k.cfg.Fetch(ctx, force)
	switch {
	case err != nil:
	case value == "":
		err = errors.New("the answer holds no value")
	case len(value) > maxValue:
		err = fmt.Errorf("the answer's value has %d bytes, more than %d", len(value), maxValue)
	case life <= 0:
		err = fmt.Errorf("the answer's value lives for %s", life)
	}
	a := answer{value: value, life: min(life, maxLife), err: err, forced: force}
	if k.ctx.Err() != nil {
		return a // stopped: says nothing about WeChat
	}
	if err != nil && k.cfg.Wait != nil {
		a.wait = min(k.cfg.Wait(err, k.wall()), maxWait)
	}
	if k.cfg.Observe != nil {
		k.cfg.Observe(cause, err)
	}
	return a
}

// outcome is what became of an answer.
type outcome struct {
	again     bool   // fetch again with force: the flight is not over
	entry     *entry // published; nil after a failure
	same      bool   // entry has the value that was held
	failed    error  // a failure to be logged
	recovered int    // failures in a row that entry ended
}

// land ends f with a and publishes it, unless it is to be fetched with force.
func (k *Keeper) land(f *flight, a answer) outcome {
	k.mu.Lock()
	defer k.mu.Unlock()
	// Judged under the lock that publishes: Renew may have refused the value
	// while it was being fetched.
	if a.err == nil && k.isDead(a.value) {
		if k.mayForce(&a) {
			return outcome{again: true}
		}
	}
	var o outcome
	switch {
	case a.err == nil:
		o = k.publish(a)
		f.value = a.value
	case k.ctx.Err() != nil:
		f.err = fmt.Errorf("cannot get %s: %w", k.cfg.Name, errStopped)
	default:
		o = k.fail(a)
		f.err = k.failure()
	}
	k.flight = nil
	close(f.done)
	select {
	case k.wake <- struct{}{}:
	default: // the loop is about to look anyway
	}
	return o
}

// mayForce decides about an answer with a value seen failing: it is fetched
// again with force, or a becomes a failure. mu is held.
func (k *Keeper) mayForce(a *answer) bool {
	a.err, a.wait = errGivenAgain, k.policy.again
	if !k.policy.force || a.forced {
		return false
	}
	wait := k.forces.take(k.now())
	if wait == 0 {
		return true
	}
	a.err = fmt.Errorf("%w, and force_refresh is used up (one a minute, %d a day)", errGivenAgain, forcePerDay)
	// A plain fetch costs little and WeChat may have renewed by itself, so a
	// spent day is not a day of silence.
	a.wait = min(wait, k.policy.again)
	return false
}

// publish makes a's value the one served. mu is held.
func (k *Keeper) publish(a answer) outcome {
	e := k.newEntry(a.value, a.life, k.policy.leadOf(a.life))
	e.fetched = k.wall()
	o := outcome{entry: e, recovered: k.failures}
	k.pause = 0
	if old := k.good(); old != nil && old.Value == a.value {
		// Asked too early, which is no fault: look again after a pause.
		o.same = true
		e.lead = old.lead
		k.pause = k.now() + k.policy.again
		if k.policy.keepEnd {
			e.Expires, e.end = old.Expires, min(e.end, old.end)
		}
	}
	k.err, k.failures, k.retry = nil, 0, 0
	k.warm = true
	k.cur.Store(e)
	return o
}

// fail notes a failed fetch. mu is held.
func (k *Keeper) fail(a answer) outcome {
	k.err = a.err
	k.failures++
	if a.wait <= 0 {
		a.wait = backOff(k.failures)
	}
	now := k.now()
	k.retry = now + a.wait
	if k.failures > 1 && now-k.logged < logEvery {
		return outcome{}
	}
	k.logged = now
	return outcome{failed: k.failure()}
}

// save writes e to the cache unless a newer value has come.
func (k *Keeper) save(e *entry) {
	if k.cfg.Cache == nil {
		return
	}
	k.saving.Lock()
	defer k.saving.Unlock()
	if k.cur.Load() != e {
		return // refused, or replaced by one whose own save waits for this lock
	}
	if err := k.cfg.Cache.Save(e.Token); err != nil {
		k.cfg.Log.Warn("token not cached", "kind", k.cfg.Name, "err", err)
	}
}
