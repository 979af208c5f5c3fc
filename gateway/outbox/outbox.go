// Package outbox sends what does not fit into a passive reply: customer-service
// messages, each user's strictly in order, within what WeChat allows.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/weixin"
)

// API is what an outbox calls at WeChat.
type API interface {
	SendCustom(ctx context.Context, body []byte) error
	Typing(ctx context.Context, openid string, on bool) error
}

// Config is what an Outbox needs.
type Config struct {
	AppID string // in log lines: services may share it
	API   API
	Log   *slog.Logger
}

// Outbox is the outgoing side of one account. It is safe for concurrent use
// and outlives reloads.
type Outbox struct {
	cfg     Config
	ledger  *ledger
	refused atomic.Int64 // unix nanoseconds until which 48001 is remembered

	mu    sync.Mutex
	tails map[string]chan struct{} // by openid: closed when the last Send of the user has ended

	typing sync.WaitGroup
	slots  chan struct{} // bounds the typing calls in flight
}

const (
	refusedFor    = time.Hour       // 48001: the account may not send
	sendTimeout   = 5 * time.Second // of one message
	typingTimeout = 2 * time.Second
	maxTyping     = 16
)

// New returns the outbox of one account.
func New(cfg Config) *Outbox {
	return &Outbox{
		cfg:    cfg,
		ledger: newLedger(),
		tails:  map[string]chan struct{}{},
		slots:  make(chan struct{}, maxTyping),
	}
}

// Close waits for calls that nobody waits for.
func (o *Outbox) Close() { o.typing.Wait() }

// Error is a message that no repetition would bring through.
type Error struct {
	Reason string // what it is, and what mends it
	Err    error  // may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Undeliverable is the reason, for whoever decides what happens instead.
func (e *Error) Undeliverable() string { return e.Error() }

// Interacted notes what a user did: it opens a window for messages.
func (o *Outbox) Interacted(openid, kind string, at time.Time) { o.ledger.open(openid, kind, at) }

// Refused reports that WeChat has lately said that the account may not send.
func (o *Outbox) Refused() bool { return time.Now().UnixNano() < o.refused.Load() }

// Send sends replies to a user, after whatever was handed over for the same
// user before. It returns how many went out (one without a customer-service
// form is logged and counts as sent). The error is an *Error where trying
// again would not help.
func (o *Outbox) Send(ctx context.Context, openid string, replies []msg.Reply) (sent int, err error) {
	if openid == "" {
		return 0, &Error{Reason: "the push names no user to send to"}
	}
	leave, err := o.enter(ctx, openid)
	if err != nil {
		return 0, err
	}
	defer leave()
	for i, r := range replies {
		body, err := r.AppendCustom(nil, openid)
		if err != nil {
			o.cfg.Log.Warn("a reply has no customer-service form and is left out", "appid", o.cfg.AppID, "type", r.Type, "err", err)
			continue
		}
		if err := o.send(ctx, openid, body); err != nil {
			return i, err
		}
	}
	return len(replies), nil
}

// enter waits for the user's turn; leave passes it on.
func (o *Outbox) enter(ctx context.Context, openid string) (func(), error) {
	mine := make(chan struct{})
	o.mu.Lock()
	before := o.tails[openid]
	o.tails[openid] = mine
	o.mu.Unlock()
	leave := func() {
		o.mu.Lock()
		if o.tails[openid] == mine {
			delete(o.tails, openid)
		}
		o.mu.Unlock()
		close(mine)
	}
	if before == nil {
		return leave, nil
	}
	select {
	case <-before:
		return leave, nil
	case <-ctx.Done():
		// The turn still has to be passed on in order.
		go func() {
			<-before
			leave()
		}()
		return nil, fmt.Errorf("cannot send: %w", context.Cause(ctx))
	}
}

func (o *Outbox) send(ctx context.Context, openid string, body []byte) error {
	if o.Refused() {
		return &Error{Reason: noRight}
	}
	now := time.Now()
	if why := o.ledger.full(openid, now); why != "" {
		return &Error{Reason: why}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := o.cfg.API.SendCustom(ctx, body)
	if err == nil {
		o.ledger.sent(openid, now)
		return nil
	}
	return o.judge(openid, err)
}

const noRight = `the account may not send customer-service messages (48001): set late-reply.via to "pickup"`

// judge tells apart what may pass from what will not.
func (o *Outbox) judge(openid string, err error) error {
	var we *weixin.Error
	if !errors.As(err, &we) {
		return fmt.Errorf("cannot send a customer-service message: %w", err)
	}
	switch we.Code {
	case 48001:
		if !o.Refused() {
			o.cfg.Log.Warn("the account cannot send customer-service messages; it is not tried for an hour", "appid", o.cfg.AppID, "err", err)
		}
		o.refused.Store(time.Now().Add(refusedFor).UnixNano())
		return &Error{Reason: noRight, Err: err}
	case 45015:
		o.ledger.close(openid)
		return &Error{Reason: "the user has not been in touch for too long (45015)", Err: err}
	case 45047:
		o.ledger.close(openid)
		return &Error{Reason: "the user has had as many messages as WeChat allows (45047)", Err: err}
	}
	if weixin.InvalidToken(we.Code) || weixin.Retry(err, time.Now()) > 0 {
		return fmt.Errorf("cannot send a customer-service message: %w", err)
	}
	return &Error{Reason: "WeChat refused the message", Err: err}
}

// Typing shows the user that an answer is being worked on. It does not wait,
// and a failure is of no consequence.
func (o *Outbox) Typing(openid string) {
	if openid == "" || o.Refused() {
		return
	}
	select {
	case o.slots <- struct{}{}:
	default:
		return
	}
	o.typing.Go(func() {
		defer func() { <-o.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), typingTimeout)
		defer cancel()
		if err := o.cfg.API.Typing(ctx, openid, true); err != nil {
			o.cfg.Log.Debug("typing status not shown", "appid", o.cfg.AppID, "err", err)
		}
	})
}
