package sim

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"wx-gateway/gateway/codec"
)

// Outcomes of an attempt.
const (
	OutcomeReply   = "reply"   // a well-formed reply: the user gets it
	OutcomeSuccess = "success" // "success" or nothing: taken, no reply
	OutcomeCut     = "cut"     // no complete answer in time
	OutcomeClosed  = "closed"  // no connection, or closed without an answer
	OutcomeBad     = "bad"     // an answer WeChat does not take
)

// Attempt is one delivery of a push and what became of it.
type Attempt struct {
	N       int           // from 1
	Started time.Duration // since the first attempt was due
	Took    time.Duration
	Status  int    // HTTP status, 0 without an answer
	Body    []byte // as it came
	Opened  []byte // the reply after unsealing; equal to Body when it came plain
	Sealed  bool   // Body was a sealed envelope
	Err     string // why it was not taken
	Outcome string
}

// Result is what became of a push.
type Result struct {
	Attempts []Attempt // in the order they started; skipped ones are left out
	Answer   *Attempt  // the one WeChat took; nil if there is none
}

// Send delivers p as s says until an answer is taken or the attempts are used
// up. A push that nobody answered is no error; Answer is nil then. Errors are a
// push that cannot be built and a ctx that ended.
func (p Push) Send(ctx context.Context, s Schedule) (Result, error) {
	s, err := s.settled()
	if err != nil {
		return Result{}, err
	}
	if p.At.IsZero() {
		p.At = time.Now()
	}
	if p.Nonce == "" {
		p.Nonce = newNonce()
	}
	first, err := p.seal()
	if err != nil {
		return Result{}, err
	}
	d := &delivery{push: p, schedule: s, first: first, began: time.Now()}
	if len(s.Start) > 0 {
		err = d.byClock(ctx)
	} else {
		err = d.inTurn(ctx)
	}
	slices.SortFunc(d.done, func(a, b Attempt) int { return a.N - b.N })
	result := Result{Attempts: d.done}
	for i := range d.done {
		if d.done[i].N == d.answer {
			result.Answer = &d.done[i]
		}
	}
	return result, err
}

// delivery is one Send under way.
type delivery struct {
	push     Push
	schedule Schedule
	first    wire
	began    time.Time

	mu     sync.Mutex // guards what follows
	done   []Attempt
	answer int // number of the attempt that was taken first
}

// inTurn makes one attempt after the other.
func (d *delivery) inTurn(ctx context.Context) error {
	s := d.schedule
	for n := 1; n <= s.Attempts; n++ {
		pause := s.Spacing
		if slices.Contains(s.Skip, n) {
			if n == s.Attempts {
				return nil
			}
			pause += s.Cut // WeChat waits for it in vain
		} else {
			a, err := d.attempt(ctx, n)
			if err != nil {
				return err
			}
			if d.taken() {
				return nil
			}
			if a.Outcome != OutcomeCut {
				pause = s.OnClosed
			}
		}
		if n < s.Attempts {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
	}
	return nil
}

// byClock starts attempts at their times, whatever the ones before are doing,
// until one is taken; it returns when all that were started have ended.
func (d *delivery) byClock(ctx context.Context) error {
	s := d.schedule
	var running sync.WaitGroup
	defer running.Wait()
	for n := 1; n <= s.Attempts; n++ {
		if err := sleep(ctx, s.Start[n-1]-time.Since(d.began)); err != nil {
			return err
		}
		if d.taken() {
			return nil
		}
		if slices.Contains(s.Skip, n) {
			continue
		}
		running.Go(func() { d.attempt(ctx, n) })
	}
	running.Wait()
	return ended(ctx)
}

func (d *delivery) taken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answer != 0
}

// attempt delivers the push once and notes what came of it. The error is only
// for a push that cannot be built anew or a ctx that ended.
func (d *delivery) attempt(ctx context.Context, n int) (Attempt, error) {
	s, w := d.schedule, d.first
	a := Attempt{N: n, Started: time.Since(d.began)}
	if s.Reseal && n > 1 {
		again := d.push
		again.At, again.Nonce = again.At.Add(a.Started), newNonce()
		var err error
		if w, err = again.seal(); err != nil {
			return a, err
		}
	}
	start := time.Now()
	cut, cancel := context.WithTimeout(ctx, s.Cut)
	defer cancel()
	status, body, err := d.push.roundTrip(cut, http.MethodPost, w, s.localIP(n))
	a.Took, a.Status, a.Body = time.Since(start), status, body
	switch {
	case ctx.Err() != nil:
		return a, ended(ctx)
	case err != nil && cut.Err() != nil:
		a.Outcome, a.Err = OutcomeCut, "no complete answer within "+s.Cut.String()
	case err != nil:
		a.Outcome, a.Err = OutcomeClosed, err.Error()
	default:
		v := w.judge(status, body)
		a.Outcome, a.Opened, a.Sealed, a.Err = v.outcome, v.opened, v.sealed, v.why
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, a)
	if d.answer == 0 && (a.Outcome == OutcomeReply || a.Outcome == OutcomeSuccess) {
		d.answer = n
	}
	return a, nil
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ended(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("cannot finish the push: %w", context.Cause(ctx))
}

func quote(s string) []byte { return codec.AppendString(nil, s) }

// number reads the digits of a JSON number or string.
func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
