package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// retryPauses are the waits before a backend that did nothing is tried again
// within the inline time.
var retryPauses = [...]time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

// eager is how long an attempt makes the call of its push by itself: what most
// backends need. A call beyond twice that goes on in a goroutine of its own.
const eager = 50 * time.Millisecond

// rest brings a call that has begun to its end.
type rest = func(context.Context) (msg.Answer, error)

// bodies has room for bodies with user info, of calls that are over at once.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// maxRoom bounds room that is kept.
const maxRoom = 16 << 10

// start makes the one backend call of a new job; over says that the job has its
// outcome already.
func (e *Engine) start(j *job) (over bool) {
	e.jobs.Add(1)
	defer e.jobs.Done()
	within := j.inlineTime(j.base + 1)
	if j.svc.Users == nil || j.push.Info == NoInfo {
		return e.begin(j, j.push.Body, within)
	}
	room := bodies.Get().(*[]byte)
	body, atHand := e.bodyAtHand(j.svc, j.push, (*room)[:0])
	switch {
	case !atHand:
		bodies.Put(room)
		e.runApart(j, nil, nil, within)
	case e.begin(j, body, within):
		if over = true; cap(body) <= maxRoom {
			*room = body
			bodies.Put(room)
		}
	}
	return over
}

// begin makes that call as far as it comes at once. Unless it is over the body
// is still in use.
func (e *Engine) begin(j *job, body []byte, within time.Duration) (over bool) {
	ans, rest, err := j.svc.Backend.Begin(e.nextCall(j, body, within), eager)
	switch {
	case rest != nil:
		e.runApart(j, body, rest, within)
		return false
	case err != nil && (mayRetry(err) || failure(err).Keep): // what is kept may wait for the disk
		e.runApart(j, body, func(context.Context) (msg.Answer, error) { return ans, err }, within)
		return false
	}
	e.answered(j, ans, err)
	return !ans.Async
}

// runApart is run in a goroutine of its own.
func (e *Engine) runApart(j *job, body []byte, rest rest, within time.Duration) {
	e.jobs.Go(func() { e.run(j, body, rest, within) })
}

// run makes the call of a job, or goes on with the one that rest stands for.
func (e *Engine) run(j *job, body []byte, rest rest, within time.Duration) {
	ctx, cancel := context.WithTimeout(e.ctx, j.svc.Policy.MaxWait)
	defer cancel()
	if body == nil {
		body = e.body(ctx, j.svc, j.push)
	}
	ans, err := e.call(ctx, j, body, rest, within)
	e.answered(j, ans, err)
}

// answered ends a job by how its call ended.
func (e *Engine) answered(j *job, ans msg.Answer, err error) {
	switch {
	case err != nil:
		e.finishFailed(j, err)
	case ans.Async:
		e.await(j)
	default:
		out := e.plan(j.svc, ans)
		e.keepRest(j, out)
		if !e.finish(j, out) && out.kept != nil {
			e.done(out.kept) // a posted reply was faster
		}
	}
}

// finishFailed ends a job whose call failed, unless a posted reply has
// answered it meanwhile: such a push is not delivered again.
func (e *Engine) finishFailed(j *job, err error) {
	defer e.replies.lock(j.push.ID)()
	j.mu.Lock()
	over := j.out != nil
	j.mu.Unlock()
	if !over {
		e.finish(j, e.fail(j, err))
	}
}

// call posts the push, or brings a call that has begun to its end, and does so
// again after a pause while the backend cannot be reached and the answer could
// still be passive.
func (e *Engine) call(ctx context.Context, j *job, body []byte, rest rest, within time.Duration) (msg.Answer, error) {
	for try := 0; ; try++ {
		var ans msg.Answer
		var err error
		if rest != nil {
			ans, err = rest(ctx)
			rest = nil
		} else {
			ans, err = j.svc.Backend.Post(ctx, e.nextCall(j, body, within))
		}
		if err != nil && failure(err).Unsent {
			j.calls.Add(-1)
		}
		if err == nil || !mayRetry(err) || try == len(retryPauses) {
			return ans, err
		}
		pause := retryPauses[try]
		if time.Since(j.first)+pause >= within || !sleep(ctx, pause) {
			return ans, err
		}
	}
}

// nextCall is one more call of j's backend.
func (e *Engine) nextCall(j *job, body []byte, within time.Duration) Call {
	p, now := j.push, time.Now()
	return Call{
		Path: p.Path, OpenID: p.OpenID, PushID: p.ID, Body: body,
		Attempt: int(j.calls.Add(1)), At: now, ReplyWithin: within - now.Sub(j.first), Late: j.svc.via(), Traceparent: p.Traceparent,
	}
}

// mayRetry reports that the backend did nothing.
func mayRetry(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Retry
}

// bodyAtHand is the body of p where that takes no call of WeChat's API. One with
// user info is appended to room.
func (e *Engine) bodyAtHand(s *Service, p *Push, room []byte) (body []byte, ok bool) {
	if s.Users == nil || p.Info == NoInfo {
		return p.Body, true
	}
	if p.Info == Unsubscribed {
		return msg.AppendUserInfo(room, p.Body, s.Users.Unsubscribed(p.OpenID), ""), true
	}
	info, ok, err := s.Users.AtHand(p.OpenID)
	if !ok {
		return nil, false
	}
	return withInfo(room, p, info, err), true
}

// body is the push's JSON with user info, where that is wanted.
func (e *Engine) body(ctx context.Context, s *Service, p *Push) []byte {
	if body, ok := e.bodyAtHand(s, p, nil); ok {
		return body
	}
	info, err := s.Users.Info(ctx, p.OpenID)
	return withInfo(nil, p, info, err)
}

func withInfo(room []byte, p *Push, info codec.RawMessage, err error) []byte {
	if err != nil {
		return msg.AppendUserInfo(room, p.Body, nil, err.Error())
	}
	return msg.AppendUserInfo(room, p.Body, info, "")
}

// plan decides which reply of an answer is passive and what follows it.
func (e *Engine) plan(s *Service, ans msg.Answer) *outcome {
	out := &outcome{}
	replies := ans.Replies
	if len(replies) == 0 {
		return out
	}
	first := &replies[0]
	switch {
	case s.Kind == Shop:
		if first.Type == "raw" {
			out.reply = first
		}
		return out
	case s.Kind == MiniProgram && first.Type != "transfer_customer_service" && first.Type != "raw", !first.Passive():
		out.rest = split(replies)
		return out
	case first.Type == "text" && len(first.Text) > msg.TextLimit:
		pieces := msg.SplitText(first.Text, msg.TextLimit)
		if s.cannotFollow() {
			pieces = []string{cutText(first.Text)}
			e.cfg.Log.Warn("a long text was cut: the account cannot send customer-service messages; set late-reply.via to pickup to keep the rest", "service", s.Name)
		}
		begin := *first
		begin.Text = pieces[0]
		first = &begin
		for _, p := range pieces[1:] {
			out.rest = append(out.rest, msg.Reply{Type: "text", Text: p})
		}
	}
	out.reply = first
	out.rest = append(out.rest, split(replies[1:])...)
	return out
}

// cannotFollow reports that what exceeds a passive reply could neither be sent
// nor picked up.
func (s *Service) cannotFollow() bool {
	if s.Outbox == nil {
		return s.Policy.Via != Pickup
	}
	return s.Outbox.Refused() && len(s.Policy.PickupWords) == 0
}

// split breaks long texts into pieces that a customer-service message takes.
func split(replies []msg.Reply) []msg.Reply {
	var out []msg.Reply
	for _, r := range replies {
		if r.Type != "text" || len(r.Text) <= msg.TextLimit {
			out = append(out, r)
			continue
		}
		for _, p := range msg.SplitText(r.Text, msg.TextLimit) {
			out = append(out, msg.Reply{Type: "text", Text: p})
		}
	}
	return out
}

// cutText shortens text to one passive reply, ending in "…".
func cutText(text string) string {
	const more = "…"
	return msg.SplitText(text, msg.TextLimit-len(more))[0] + more
}

// finish gives the job its outcome and wakes every open attempt. false when it
// had one already.
func (e *Engine) finish(j *job, out *outcome) bool {
	j.mu.Lock()
	if j.out != nil {
		j.mu.Unlock()
		return false
	}
	late, open := j.late, j.open
	if !late && out.reply == nil && open == 0 {
		if !out.refuse {
			j.told = success // nobody is waiting, and there is nothing to tell
		}
		if j.giveUp != nil {
			j.giveUp.Stop()
		}
	}
	if out.refuse {
		e.mem.forget(j.push.ID) // before anybody hears of it: the repeat is a new push
	}
	j.end(out)
	j.mu.Unlock()
	switch {
	case out.refuse:
		e.leaveLane(j)
	case out.failed:
		e.settleLate(j)
		e.leaveLane(j)
	case late:
		e.readyLate(j)
	case out.reply == nil && open == 0:
		e.written(j)
	}
	return true
}

// fail decides what becomes of a push whose call brought no answer.
func (e *Engine) fail(j *job, err error) *outcome {
	f := failure(err)
	drained := errors.Is(context.Cause(e.ctx), errDrained)
	rec := record{Push: *j.push, Calls: int(j.calls.Load()), Error: f.Error()}
	if f.Timeout && !drained {
		rec.Timeouts = 1
	}
	log := e.cfg.Log.With("service", j.push.Service, "kind", j.push.Kind, "push", j.push.ID.String(), "err", f.Err)
	switch {
	case f.Unhandled:
		e.cfg.Count(j.push.Service, "unhandled")
		e.release(j)
	case !f.Keep:
		e.cfg.Count(j.push.Service, "unusable")
		log.Error("the backend's answer to a push could not be used")
		e.release(j)
	case drained && !e.cfg.Durable:
		e.cfg.Count(j.push.Service, "dropped")
		log.Error("push dropped: the gateway stops and there is no data-dir to keep it in")
	case j.svc.Policy.RedeliverFor == 0 && !drained:
		e.cfg.Count(j.push.Service, "lost")
		log.Error("push lost: redelivery is switched off")
		e.release(j)
	default:
		if kerr := e.keepFailed(j, rec, drained); kerr != nil {
			e.cfg.Count(j.push.Service, "refused")
			log.Error("push not accepted: it failed and cannot be stored", "store", kerr)
			return &outcome{failed: true, refuse: true}
		}
		e.cfg.Count(j.push.Service, "kept")
		log.Error("push kept for redelivery")
	}
	return &outcome{failed: true}
}

// failure finds the Failure inside err; an unknown error is kept, so that
// nothing is lost by a fault of our own.
func failure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Keep: true, Err: err}
}

// settle ends a job whose answer has been told: a repeat within the next
// minute gets it again.
func (e *Engine) settle(j *job) {
	e.release(j)
	j.mu.Lock()
	attempts := j.base + j.arrivals
	j.mu.Unlock()
	e.mem.settle(j, attempts, j.out.reply, false)
}

func replySize(r *msg.Reply) int {
	n := len(r.Text) + len(r.Title) + len(r.Description) + len(r.MediaID) + len(r.Raw)
	for _, a := range r.Articles {
		n += 64 + len(a.Title) + len(a.Description) + len(a.PicURL) + len(a.URL)
	}
	return n
}

// followAfter is the pause between a passive reply and what follows it, so
// that the user sees them in order.
const followAfter = 300 * time.Millisecond

// follow sends what did not fit into the passive reply.
func (e *Engine) follow(j *job, rest []msg.Reply) {
	e.jobs.Go(func() {
		rec := j.out.kept
		if rec == nil {
			rec = &record{Push: *j.push, Calls: int(j.calls.Load()), Answer: rest, Rest: true, Part: e.partName()}
		}
		if !sleep(e.ctx, followAfter) {
			e.putBack(rec, errDrained)
			return
		}
		e.send(e.ctx, j.svc, rec)
		if j.out.kept != nil {
			e.done(rec)
		}
	})
}

// keepRest stores an answer of which nothing is passive (a mini program's, a
// menu) before WeChat hears the success that does not carry it, so that a crash
// in between sends it after the restart. Where the store cannot be written the
// answer goes out all the same: refusing the push would only call the backend
// again.
func (e *Engine) keepRest(j *job, out *outcome) {
	if !e.cfg.Durable || out.reply != nil || len(out.rest) == 0 {
		return
	}
	rec := &record{Push: *j.push, Calls: int(j.calls.Load()), Answer: out.rest, Rest: true, Part: e.partName()}
	if err := e.put(rec, store.Running, time.Time{}); err != nil {
		e.cfg.Log.Warn("an answer could not be stored before it is sent", "service", j.push.Service, "push", j.push.ID.String(), "err", err)
		return
	}
	out.kept = rec
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
