package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wx-gateway/gateway/codec"
	"wx-gateway/gateway/msg"
	"wx-gateway/gateway/store"
)

// infos knows every user, some of them at once.
type infos struct{}

func (u infos) Info(_ context.Context, openid string) (codec.RawMessage, error) {
	time.Sleep(time.Millisecond)
	return u.Unsubscribed(openid), nil
}

func (u infos) AtHand(openid string) (codec.RawMessage, bool, error) {
	if openid[len(openid)-1] == '0' {
		return nil, false, nil
	}
	return u.Unsubscribed(openid), true, nil
}

func (infos) Unsubscribed(openid string) codec.RawMessage {
	return codec.RawMessage(`{"openid":"` + openid + `"}`)
}

// ends of a call, by the remainder of the push's number.
const (
	_ = iota // at once
	slow
	again  // the first try does nothing
	failed // answers once it is delivered again
	waysToEnd
)

// reader looks at the bodies of its calls whenever it might.
type reader struct {
	t  *testing.T
	mu sync.Mutex
	to map[string]int // complete calls of each user
}

func (b *reader) read(c Call, whole bool) (way int) {
	want := fmt.Sprintf(`{"of":"%s","userInfo":{"openid":"%s"},"userInfoError":""}`, c.OpenID, c.OpenID)
	if string(c.Body) != want {
		b.t.Errorf("call %d for %s has body %s, want %s", c.Attempt, c.OpenID, c.Body, want)
	}
	if whole {
		b.mu.Lock()
		b.to[c.OpenID]++
		b.mu.Unlock()
	}
	fmt.Sscanf(c.OpenID, "user%d", &way)
	return way % waysToEnd
}

func (b *reader) Post(_ context.Context, c Call) (msg.Answer, error) {
	time.Sleep(50 * time.Millisecond)
	b.read(c, true)
	return textAnswer("answer"), nil
}

func (b *reader) Begin(c Call, _ time.Duration) (msg.Answer, func(context.Context) (msg.Answer, error), error) {
	switch b.read(c, false) {
	case slow:
		return msg.Answer{}, func(ctx context.Context) (msg.Answer, error) { return b.Post(ctx, c) }, nil
	case again:
		return msg.Answer{}, nil, &Failure{Retry: true, Keep: true, Err: errors.New("backend answered 503")}
	case failed:
		return msg.Answer{}, nil, &Failure{Keep: true, Err: errors.New("backend answered 500")}
	}
	b.read(c, true)
	return textAnswer("answer"), nil, nil
}

func (b *reader) Open() bool { return false }

// TestBodiesStayWithTheirCalls: the memory of a body with user info goes to the
// next push only when nothing reads it any more.
func TestBodiesStayWithTheirCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &reader{t: t, to: map[string]int{}}
		h := newHouse(t, store.NewMemory(store.MemoryConfig{}), false, func(h *house) {
			h.svc.Backend, h.svc.Users = b, infos{}
		})
		defer h.Stop()
		const pushes = 400
		var open sync.WaitGroup
		for n := range pushes {
			p := testPush(n, "msg/text")
			p.OpenID = fmt.Sprintf("user%d", n)
			p.Body, p.Info = []byte(`{"of":"`+p.OpenID+`"}`), LookUp
			if n%7 == 0 {
				p.Info = Unsubscribed
			}
			open.Go(func() { h.Deliver(p, now()) })
			time.Sleep(5 * time.Millisecond)
		}
		open.Wait()
		time.Sleep(time.Hour)
		b.mu.Lock()
		defer b.mu.Unlock()
		for n := range pushes {
			if user := fmt.Sprintf("user%d", n); b.to[user] != 1 {
				t.Errorf("%s: %d calls that came to their end, want 1", user, b.to[user])
			}
		}
	})
}
