package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/delivery"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/web"
)

// maxReply bounds the body of a posted reply: the largest answer and what
// stands around it.
const maxReply = 1<<20 + 4<<10

// Reply takes the reply that a backend which answered 202 delivers later: POST
//
//	{"s":<service>,"push":<X-Wx-Push-Id>, …a reply, "more":false}
//
// where a reply is anything a backend may answer ({"type":"text","msg":…},
// WeChat's own JSON form), or "replies":[…] for several at once. With "more"
// further ones will follow; {"type":"success"} and "replies":[] end the push
// with nothing more to say. The answer is 200, with "duplicate":true for a
// reply that the push has had, 404 for an unknown push and 410 for one that
// has waited too long.
func (s *Set) Reply(ctx *fasthttp.RequestCtx) error {
	return serve(ctx, s.reply, fasthttp.MethodPost)
}

// replyRequest is what stands around the reply.
type replyRequest struct {
	Service string           `json:"s"`
	Push    string           `json:"push"`
	More    bool             `json:"more"`
	Replies codec.RawMessage `json:"replies"`

	// One of these shows that the body itself is a reply: a mistyped one must
	// not end the push in silence.
	Type    codec.RawMessage `json:"type"`
	MsgType codec.RawMessage `json:"msgtype"`
	Msg     codec.RawMessage `json:"msg"`
	// As customer-service messages spell it.
	UnderType codec.RawMessage `json:"msg_type"`
}

func (s *Set) reply(_ context.Context, ctx *fasthttp.RequestCtx) error {
	body := ctx.PostBody()
	if len(body) > maxReply {
		return web.Fail(fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("body must not exceed %d bytes", maxReply), nil)
	}
	var r replyRequest
	if err := codec.Unmarshal(body, &r); err != nil {
		return badRequest("body as a JSON object expected: " + clip(err.Error(), maxMsg))
	}
	a, err := s.account(ctx, r.Service)
	if err != nil {
		return err
	}
	id, valid := delivery.ParseID(r.Push)
	if !valid {
		return badRequest("push parameter expected: the 32 hex digits of X-Wx-Push-Id")
	}
	web.Note(ctx, slog.String("push", id.String()))
	answer, err := r.answer(body)
	if err != nil {
		return badRequest("reply expected: " + clip(err.Error(), maxMsg))
	}
	took, err := s.cfg.Pushes.Reply(a.Name, id, answer.Replies, r.More)
	if err != nil {
		return web.Fail(fasthttp.StatusServiceUnavailable, "the reply cannot be stored just now, please repeat", err)
	}
	switch took {
	case delivery.Unknown:
		return web.Fail(fasthttp.StatusNotFound, "service "+a.Name+" has no push "+id.String()+" that waits for a reply", nil)
	case delivery.Expired:
		return web.Fail(fasthttp.StatusGone, "push "+id.String()+" has waited too long for its reply", nil)
	case delivery.Duplicate:
		return ok(ctx, field{"duplicate", []byte("true")})
	}
	return ok(ctx)
}

// answer reads the reply out of the body.
func (r *replyRequest) answer(body []byte) (msg.Answer, error) {
	switch {
	case len(r.Replies) > 0:
		body = r.Replies
		if body[0] != '[' {
			return msg.Answer{}, errors.New("replies must be an array")
		}
	case r.Type == nil && r.MsgType == nil && r.UnderType == nil && r.Msg == nil:
		return msg.Answer{}, errors.New("the body has neither type nor msg nor replies")
	}
	a, err := msg.ParseReply(body)
	if err == nil && a.Async {
		err = errors.New("a reply cannot be async again")
	}
	return a, err
}
