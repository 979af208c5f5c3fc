package delivery

import (
	"io"
	"time"

	"wx-gateway/gateway/msg"
)

// Arrival is one attempt of WeChat's to deliver a push.
type Arrival struct {
	At    time.Time // when the request was read (monotonic)
	Stamp time.Time // the query's timestamp; zero when it is not to be judged
	// Gone reports that the peer has hung up, so that an answer would be lost.
	// May be nil.
	Gone func() bool
}

// Do is what a Verdict asks for.
type Do uint8

const (
	// Success: answer `success`.
	Success Do = iota
	// Reply: answer with Verdict.Reply.
	Reply
	// Hang: end the connection without a byte, so that WeChat comes again.
	Hang
	// Refuse: answer 503, so that WeChat comes again; nothing was accepted.
	Refuse
)

// Verdict is what one attempt is told.
type Verdict struct {
	Do      Do
	Reply   *msg.Reply // with Do == Reply
	Attempt int        // which attempt of WeChat's this was
	Outcome string     // for the log: answer, success, ack, held, late, failed, repeat, refused
	// Written must be closed once when the answer's bytes have been written;
	// nil when nobody waits for that.
	Written io.Closer
}

// Deliver takes part in the job of p for as long as the attempt may stay open.
// p is the engine's from then on.
func (e *Engine) Deliver(p *Push, in Arrival) Verdict {
	return e.take(p, in, false)
}

// take joins the job of p, or makes it and starts it.
func (e *Engine) take(p *Push, in Arrival, pickUp bool) Verdict {
	e.attempts.Add(1)
	defer e.attempts.Add(-1)
	svc, ok := e.cfg.Service(p.Service)
	if !ok || svc.Backend == nil {
		// A reload has taken them away meanwhile; the repeat comes to what there is now.
		return Verdict{Do: Refuse, Attempt: 1, Outcome: "refused"}
	}
	j, fresh, _ := e.mem.join(p.ID, in.At, svc.KeyTTL, func() *job {
		return &job{engine: e, push: p, svc: svc, class: classOf(p.Kind), first: in.At, base: earlier(in), isPickUp: pickUp}
	})
	if j == nil {
		e.cfg.Count(p.Service, "repeat")
		return Verdict{Do: Success, Attempt: lastAttempt, Outcome: "repeat"}
	}
	n, late, v, over := e.arrive(j)
	switch {
	case !fresh:
		e.cfg.Count(p.Service, "joined")
	case pickUp:
		e.jobs.Go(func() { e.pickUp(j) })
	case e.start(j) && !over && !late:
		return e.conclude(j, in, n)
	}
	switch {
	case over:
		return v
	case late:
		return e.bind(j, in, n)
	}
	return e.attend(j, in, n)
}

// earlier is how many attempts WeChat made before the first one seen here,
// judged by the age of the push's timestamp.
func earlier(in Arrival) int {
	if in.Stamp.IsZero() {
		return 0
	}
	switch age := in.At.Round(0).Sub(in.Stamp); {
	case age > time.Minute:
		return 0
	case age >= 9*time.Second:
		return 2
	case age >= 4*time.Second:
		return 1
	}
	return 0
}

// attend waits with attempt n until the job has an answer for it or its time
// is up.
func (e *Engine) attend(j *job, in Arrival, n int) Verdict {
	done := j.wait()
	limit := answerBy
	if j.class.quick {
		limit = quickBy
	}
	timer := time.NewTimer(time.Until(in.At.Add(limit)))
	defer timer.Stop()
	select {
	case <-done:
		return e.conclude(j, in, n)
	case <-timer.C:
	}
	if j.holds(n) && !e.isDraining() && e.mayHold(j.svc) {
		timer.Reset(time.Until(in.At.Add(holdEnd)))
		select {
		case <-done:
			return e.conclude(j, in, n)
		case <-e.draining:
		case <-timer.C:
			return e.leave(j, n)
		}
	}
	return e.bind(j, in, n)
}

// arrive counts an attempt in. over is true when earlier ones have already
// settled what this one hears; late, that the answer has taken the late way
// before WeChat was told anything.
func (e *Engine) arrive(j *job) (n int, late bool, v Verdict, over bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.arrivals++
	n = j.base + j.arrivals
	if j.giveUp != nil {
		j.giveUp.Stop()
		j.giveUp = nil
	}
	if j.told == success || j.told == acked {
		v = j.bound(n)
		if j.out != nil && j.out.failed && !j.late { // before the first attempt came to wait
			v.Outcome = "failed"
		}
		return n, false, v, true
	}
	j.open++
	return n, j.late && j.told == nothing, Verdict{}, false
}

// bound is the verdict that an earlier one binds to. j.mu is held.
func (j *job) bound(n int) Verdict {
	if j.told == acked {
		return Verdict{Do: Reply, Reply: &msg.Reply{Type: "text", Text: j.svc.Policy.Ack}, Attempt: n, Outcome: "ack"}
	}
	return Verdict{Do: Success, Attempt: n, Outcome: "success"}
}

// patience is how long a peer is taken to wait without a look: WeChat waits 3 s
// and more, and a reply that is lost nonetheless is given to the repeat. A
// stored answer is only given to one who is there.
const patience = time.Second

// conclude tells an attempt how the call has ended.
func (e *Engine) conclude(j *job, in Arrival, n int) Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.out
	switch {
	case j.told == success || j.told == acked:
		j.open--
		v := j.bound(n)
		if !j.late && out.reply == nil {
			v.Written = j
		}
		return v
	case out.refuse:
		j.open--
		return Verdict{Do: Refuse, Attempt: n, Outcome: "refused"}
	case j.late:
		j.open--
		j.told = success
		return j.bound(n)
	case out.reply == nil:
		j.open--
		j.told = success
		v := Verdict{Do: Success, Attempt: n, Outcome: "success", Written: j}
		if out.failed {
			v.Outcome, v.Written = "failed", nil
		}
		return v
	case in.Gone != nil && (j.isPickUp || time.Since(in.At) > patience) && in.Gone():
		return e.leaveLocked(j, n)
	}
	j.open--
	j.told = replied
	return Verdict{Do: Reply, Reply: out.reply, Attempt: n, Outcome: "answer", Written: j}
}

// leave ends an attempt without a byte.
func (e *Engine) leave(j *job, n int) Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.told == success || j.told == acked {
		j.open--
		return j.bound(n)
	}
	return e.leaveLocked(j, n)
}

// leaveLocked does so with j.mu held: when no attempt is open any more, WeChat
// has nextWait to come again.
func (e *Engine) leaveLocked(j *job, n int) Verdict {
	j.open--
	if j.open == 0 && j.told == nothing && !j.late {
		j.giveUp = time.AfterFunc(nextWait, func() { e.givenUp(j) })
	}
	return Verdict{Do: Hang, Attempt: n, Outcome: "held"}
}

// bind ends an attempt with success or an ack: from now on the answer takes
// the late way, and the push is stored first where that outlives a restart.
func (e *Engine) bind(j *job, in Arrival, n int) Verdict {
	err := e.keepRunning(j)
	j.mu.Lock()
	if j.out != nil && !j.late && j.told != success && j.told != acked {
		j.mu.Unlock() // the answer came while the disk was busy
		return e.conclude(j, in, n)
	}
	if err != nil {
		j.open--
		if j.open == 0 && j.told == nothing && !j.late {
			j.giveUp = time.AfterFunc(nextWait, func() { e.givenUp(j) })
		}
		j.mu.Unlock()
		return Verdict{Do: Refuse, Attempt: n, Outcome: "refused"}
	}
	if j.told == nothing {
		j.told = j.binding()
	}
	turned, async := !j.late, j.async
	j.late = true
	j.open--
	v := j.bound(n)
	j.mu.Unlock()
	switch {
	case turned && async:
		e.cfg.Count(j.push.Service, "late")
		e.park(j)
	case turned:
		e.enterLate(j)
	}
	if v.Outcome == "success" {
		v.Outcome = "late"
	}
	return v
}

// givenUp runs when WeChat has not come again: the answer takes the late way.
func (e *Engine) givenUp(j *job) {
	j.mu.Lock()
	if j.open > 0 || j.told != nothing || j.late || e.isDraining() || j.out != nil && j.out.refuse {
		j.mu.Unlock()
		return
	}
	j.late = true
	out, async := j.out, j.async
	j.mu.Unlock()
	e.cfg.Count(j.push.Service, "given-up")
	if err := e.keepRunning(j); err != nil {
		e.cfg.Log.Error("cannot store a push that WeChat gave up on; it goes on without", "service", j.push.Service, "push", j.push.ID.String(), "err", err)
	}
	if out == nil {
		if async {
			e.cfg.Count(j.push.Service, "late")
			e.park(j)
			return
		}
		e.enterLate(j)
		return
	}
	e.enterLate(j)
	e.readyLate(j)
}

// written follows the first answer whose bytes are out: the job is over, and
// what did not fit into a passive reply follows. It runs on the connection of
// the attempt, so what touches a disk goes elsewhere.
func (e *Engine) written(j *job) {
	j.mu.Lock()
	again := j.ended
	j.ended = true
	j.mu.Unlock()
	switch {
	case again:
	case j.isPickUp || e.cfg.Durable && j.onDisk():
		e.jobs.Go(func() { e.end(j) })
	default:
		e.end(j)
	}
}

func (e *Engine) end(j *job) {
	e.endPickUp(j, j.out.reply != nil)
	e.settle(j)
	if len(j.out.rest) > 0 {
		e.follow(j, j.out.rest)
	}
}

func (e *Engine) isDraining() bool {
	select {
	case <-e.draining:
		return true
	default:
		return false
	}
}

// mayHold spends one of the account's unanswered attempts: WeChat suspends a
// URL that fails too often.
func (e *Engine) mayHold(s *Service) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.holds[s.Name]
	if w == nil {
		w = &window{}
		e.holds[s.Name] = w
	}
	return w.take(time.Now(), s.Policy.HoldLimit)
}
