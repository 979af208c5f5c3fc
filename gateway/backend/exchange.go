package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/httpc"
	"wx-gateway/gateway/msg"
)

// exchange is one call that has not come to its end. It holds a place in the
// line once post is set.
type exchange struct {
	b    *Backend
	c    Call
	post *httpc.Post
}

// begin makes a call as far as it comes within twice patience; the exchange is
// nil when that was the end, and holds a copy of c otherwise.
func (b *Backend) begin(c *Call, now time.Time, patience time.Duration) (*exchange, msg.Answer, error) {
	if patience == 0 || !b.cfg.Line.TryAcquire() {
		return &exchange{b: b, c: *c}, msg.Answer{}, nil
	}
	post, err := b.send(c)
	if err != nil {
		b.cfg.Line.Release()
		return nil, msg.Answer{}, err
	}
	over, err := post.Begin(now, patience)
	if !over {
		return &exchange{b, *c, post}, msg.Answer{}, nil
	}
	ans, err := b.end(c, post, err)
	return nil, ans, err
}

// finish waits for a slot in the line and for the backend until ctx ends.
func (x *exchange) finish(ctx context.Context) (msg.Answer, error) {
	if x.post == nil {
		began := time.Now()
		if err := x.b.cfg.Line.Acquire(ctx, x.c.OpenID); err != nil {
			if !errors.Is(err, ErrFull) {
				err = fmt.Errorf("waited in line behind workerNum other calls: %w", err)
			}
			return msg.Answer{}, &Error{Fate: Unreached, Unsent: true, Err: err, untried: true}
		}
		x.c.ReplyWithin -= time.Since(began)
		post, err := x.b.send(&x.c)
		if err != nil {
			x.b.cfg.Line.Release()
			return msg.Answer{}, err
		}
		x.post = post
	}
	return x.b.end(&x.c, x.post, x.post.Finish(ctx))
}

// send makes the request of a call.
func (b *Backend) send(c *Call) (*httpc.Post, error) {
	r, err := b.route(c.Path)
	if err != nil {
		return nil, transportError(err)
	}
	post := r.Post()
	b.fill(post, c)
	return post, nil
}

// end reads the answer of a call that is over, and gives back what it held.
func (b *Backend) end(c *Call, post *httpc.Post, err error) (msg.Answer, error) {
	defer b.cfg.Line.Release()
	defer post.Release()
	if err != nil {
		status := httpc.StatusOf(err)
		done := status >= 200 && status < 300
		if status == 0 || done && !b.cfg.AnyDone && status != fasthttp.StatusAccepted {
			return msg.Answer{}, transportError(err)
		}
		// The status alone decides: a push that a 500 with a huge page failed
		// is kept like any other.
		return b.read(c, &httpc.Response{Status: status})
	}
	return b.read(c, &post.Response)
}
