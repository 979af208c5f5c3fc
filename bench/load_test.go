package main

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// server answers pushes with h and returns its address.
func server(t *testing.T, h fasthttp.RequestHandler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fasthttp.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Shutdown()
		<-done
	})
	return l.Addr().String()
}

func plainLoad(t *testing.T, addr string, workers, conns int) *load {
	t.Helper()
	l, err := newLoad(addr, []line{&plain{account: newAccount(0, false), ids: new(atomic.Int64)}}, workers, conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	l.prepare(0)
	return l
}

const reply = "<xml>an answer</xml>"

func TestClosedGoesRoundAllConnections(t *testing.T) {
	var mu sync.Mutex
	pushes, peers := map[string]int{}, map[string]int{}
	l := plainLoad(t, server(t, func(ctx *fasthttp.RequestCtx) {
		mu.Lock()
		defer mu.Unlock()
		peers[ctx.RemoteAddr().String()]++
		_, id, _ := strings.Cut(string(ctx.PostBody()), "<MsgId>")
		pushes[id]++
		ctx.SetBodyString(reply)
	}), 1, 10)
	var all tally
	for all.sent < 35 { // a turn goes on where the one before ended
		all.add(l.closed(100 * time.Microsecond))
	}
	if all.failed > 0 {
		t.Fatal(all.why)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(peers) != 10 || int64(len(pushes)) != all.sent {
		t.Errorf("%d connections were used and %d pushes differ, want 10 and %d", len(peers), len(pushes), all.sent)
	}
	for peer, n := range peers {
		if share := int(all.sent) / 10; n != share && n != share+1 {
			t.Errorf("%s carried %d of %d pushes", peer, n, all.sent)
		}
	}
}

func TestClosedTellsFailures(t *testing.T) {
	l := plainLoad(t, server(t, func(ctx *fasthttp.RequestCtx) { ctx.Error("no", fasthttp.StatusBadGateway) }), 1, 1)
	var all tally
	for all.failed == 0 {
		all.add(l.closed(time.Millisecond))
	}
	if all.sent != 0 || !strings.Contains(all.why.Error(), "502 Bad Gateway") || all.rate() != 0 {
		t.Errorf("%d answered; %v", all.sent, all.why)
	}
}

func TestArrivals(t *testing.T) {
	a := newArrivals(4000, 1500*time.Millisecond)
	if a.n != 6000 || a.due(0) != 0 || a.due(4000) != time.Second {
		t.Errorf("%+v, the 4000th is due after %s", a, a.due(4000))
	}
}

// A stall counts for every push that was due in it, although only one was
// under way.
func TestOpenCountsFromWhenAPushWasDue(t *testing.T) {
	const stall = 20 * time.Millisecond
	var first sync.Once
	l := plainLoad(t, server(t, func(ctx *fasthttp.RequestCtx) {
		first.Do(func() { time.Sleep(stall) })
		ctx.SetBodyString(reply)
	}), 1, 1)
	a := newArrivals(1000, 30*time.Millisecond)
	took, all, err := l.open(a)
	if err != nil || all.sent != 30 || all.failed != 0 || len(took) != 30 {
		t.Fatalf("%d answered, %d failed: %v", all.sent, all.failed, err)
	}
	for i, ns := range took {
		if least := stall - a.due(i); time.Duration(ns) < least {
			t.Errorf("push %d took %s, it was due %s before the end of the stall", i, time.Duration(ns), least)
		}
	}
	if _, all, err = l.open(a); err != nil || all.sent != 30 {
		t.Errorf("once more: %d answered: %v", all.sent, err)
	}
}

func TestOpenTellsThatAConnectionEnded(t *testing.T) {
	l := plainLoad(t, server(t, func(ctx *fasthttp.RequestCtx) { ctx.HijackSetNoResponse(true); ctx.Hijack(func(net.Conn) {}) }), 1, 1)
	if _, _, err := l.open(newArrivals(1000, 10*time.Millisecond)); err == nil {
		t.Error("no error")
	}
}
