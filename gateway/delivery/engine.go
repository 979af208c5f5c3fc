// Package delivery is the clock between WeChat and a backend. WeChat cuts a
// push after 5 s and repeats it twice; a backend may take as long as it needs.
// Each push becomes one job with one backend call: repeats join it, a slow
// answer is given to whichever attempt is open, a later one goes to the user by
// another way, and a push whose backend failed is kept and delivered again.
//
// The package knows nothing of HTTP, XML or encryption: a caller brings an
// opened push and gets a Verdict on what to tell WeChat.
package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// Backend is what a job calls. An error should be a *Failure.
type Backend interface {
	// Post delivers a push and waits for the answer until ctx ends.
	Post(ctx context.Context, c Call) (msg.Answer, error)
	// Begin is Post as far as it comes within about patience. Where that is not
	// the end, rest is not nil and must be called once to bring it there; where
	// it was, nothing reads c.Body any more.
	Begin(c Call, patience time.Duration) (ans msg.Answer, rest func(context.Context) (msg.Answer, error), err error)
	// Open reports that the backend is known to be dead just now.
	Open() bool
}

// Call is one delivery of a push to its backend.
type Call struct {
	Path, OpenID string
	PushID       ID
	Body         []byte
	Attempt      int           // how often this push has been sent, from 1
	At           time.Time     // when it is made
	ReplyWithin  time.Duration // left for an inline answer
	Late         Via           // the way of a later one
	Traceparent  string        // of the attempt that this call is part of; "" for none
	Origin       string        // a redelivery's: the Traceparent of the push when it came
}

// Failure is a call that brought no answer, and what that means for the push.
type Failure struct {
	Retry   bool // the backend did nothing: worth another try within the inline time
	Keep    bool // deliver again later
	Unsent  bool // the push never left, so that it counts as no attempt
	Timeout bool // the push was written, and the backend may have acted on it
	// Unhandled: the backend does not want this kind of push. It is over, and
	// the backend's client has said so at first sight.
	Unhandled bool
	Err       error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Users looks up who sent a push.
type Users interface {
	Info(ctx context.Context, openid string) (codec.RawMessage, error)
	// AtHand is Info where that takes no call; else ok is false.
	AtHand(openid string) (info codec.RawMessage, ok bool, err error)
	// Unsubscribed is the info of a user who has just left: not worth asking.
	Unsubscribed(openid string) codec.RawMessage
}

// Outbox sends messages to a user outside a passive reply, each user's in order.
type Outbox interface {
	// Send returns how many of the replies were sent. An error that implements
	// Undeliverable will not pass by itself.
	Send(ctx context.Context, openid string, replies []msg.Reply) (sent int, err error)
	// Refused reports that the account is known to lack the right to send.
	Refused() bool
	// Typing shows the user that an answer is being worked on; best effort.
	Typing(openid string)
}

// Undeliverable is an error of Outbox.Send that trying again would not mend.
type Undeliverable interface {
	error
	// Undeliverable is the reason in a few words.
	Undeliverable() string
}

// Via is the way of an answer that comes too late for a passive reply.
type Via string

// The ways of late-reply.via. None stands in X-Wx-Late where there is no way.
const (
	CustomerService Via = "customer-service"
	Pickup          Via = "pickup"
	Off             Via = "off"
	None            Via = "none"
)

// Kind is the kind of an account.
type Kind string

// The kinds of an account: services[].kind.
const (
	Official    Kind = "official"
	MiniProgram Kind = "mini-program"
	Shop        Kind = "shop"
)

// Service is one account as configured now. A job keeps the one it began with.
type Service struct {
	Name    string
	Kind    Kind
	Backend Backend
	Users   Users         // nil: user info is off
	Outbox  Outbox        // nil: nothing can be sent outside a passive reply
	KeyTTL  time.Duration // how long a push is known: a repeat within it is not forwarded again
	Policy  Policy
}

// Policy is what the configuration says of late answers and redelivery.
type Policy struct {
	Via         Via
	Ack         string        // told as text when the answer will come late; "" is `success`
	MaxWait     time.Duration // the longest backend call
	Hold        bool          // leave attempts 1 and 2 unanswered while the backend works
	HoldLimit   int           // unanswered attempts per minute
	PickupWords []string
	Keep        time.Duration // how long an answer waits to be picked up

	RedeliverFor time.Duration // how long a failed push is delivered again
	Timeouts     int           // how often one that timed out is
	MaxAgeReply  time.Duration // an older push's reply is not sent to the user
}

// via is the way of a late answer of s, None where there is none.
func (s *Service) via() Via {
	switch {
	case s.Kind == Shop || s.Policy.Via == Off:
		return None
	case s.Policy.Via == Pickup:
		return Pickup
	case s.Outbox == nil:
		return None
	}
	return CustomerService
}

// Config is what an Engine needs.
type Config struct {
	Log *slog.Logger
	// Service finds an account by name, as configured now; false when it is
	// gone. Called for every push.
	Service func(name string) (*Service, bool)
	Queue   store.Queue  // pushes that are kept
	Values  store.Values // answers that wait to be picked up
	Durable bool         // Queue survives a restart: nothing is acked before it lies there
	// Count is told of events worth counting, by service; may be nil.
	Count func(service, event string)
}

// Engine runs the jobs of all accounts. It outlives reloads.
type Engine struct {
	cfg Config
	mem *memory

	ctx    context.Context // of every call; cancelled when a drain has waited long enough
	cancel context.CancelCauseFunc
	jobs   sync.WaitGroup // running calls and late replies
	loops  sync.WaitGroup // sweeper and redelivery
	stop   chan struct{}  // ends the loops

	draining  chan struct{} // closed: every open attempt is its last
	drainOnce sync.Once
	attempts  atomic.Int64 // open ones

	wake chan struct{} // the queue has something new

	replies keyLocks   // by push: who answers it
	claims  sync.Mutex // held over a claim, and over a person's change of an item
	orphans time.Time  // of the redelivery alone: when those of services that are gone were looked for

	lastPart atomic.Int64 // what the latest part was named after

	mu      sync.Mutex
	holds   map[string]*window   // by service: attempts left unanswered
	lanes   map[string]*lateLane // by service and user: answers on their late way
	amends  []amendment          // writes to the store that failed and are tried again
	working map[string]int       // by service: redeliveries in work
	shelf   *shelf               // answers on their way to users who pick them up
}

var errDrained = errors.New("the gateway is stopping")

// New returns an engine; Start sets it going.
func New(cfg Config) *Engine {
	if cfg.Count == nil {
		cfg.Count = func(string, string) {}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Engine{
		cfg:      cfg,
		mem:      newMemory(),
		ctx:      ctx,
		cancel:   cancel,
		stop:     make(chan struct{}),
		draining: make(chan struct{}),
		wake:     make(chan struct{}, 1),
		holds:    map[string]*window{},
		lanes:    map[string]*lateLane{},
		working:  map[string]int{},
		shelf:    newShelf(),
	}
}

// sweepEvery is how often expired replies are dropped.
const sweepEvery = 5 * time.Second

// Start takes up what an earlier run has left in the queue.
func (e *Engine) Start() error {
	if err := e.recover(); err != nil {
		return err
	}
	e.loops.Go(func() {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for {
			select {
			case <-e.stop:
				return
			case <-t.C:
				e.mem.sweep()
			}
		}
	})
	e.loops.Go(e.redeliver)
	return nil
}

// Drain makes every open attempt its last and waits until none is open or ctx
// ends.
func (e *Engine) Drain(ctx context.Context) {
	e.drainOnce.Do(func() { close(e.draining) })
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for e.attempts.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Stop ends what still runs: unfinished jobs are stored, or counted as dropped
// where the queue would not survive. No push may be delivered after it.
func (e *Engine) Stop() {
	e.drainOnce.Do(func() { close(e.draining) })
	e.cancel(errDrained)
	close(e.stop)
	e.loops.Wait() // they start jobs
	e.jobs.Wait()
	e.retryAmends()
	e.mu.Lock()
	lost := len(e.amends)
	e.mu.Unlock()
	if lost > 0 {
		e.cfg.Log.Error("the store still cannot be written: what was to be changed in it is lost with the process; it may deliver pushes again", "count", lost)
	}
	e.abandon()
}

// Draining reports that the engine is on its way to Stop.
func (e *Engine) Draining() bool { return e.isDraining() }
