//go:build !race

package httpc

import (
	"context"
	"net"
	"testing"
	"time"
)

func TestPostAllocations(t *testing.T) {
	c := newClient(Config{IdleReuse: time.Hour}, noProxy)
	c.dial = func(context.Context, string, string) (net.Conn, error) { return &answering{answer: ok}, nil }
	defer c.CloseIdle()
	r := route(t, c, "http://h/")
	body := []byte("x")
	call := func() {
		p := r.Post()
		defer p.Release()
		p.Body(body)
		over, err := p.Begin(time.Now(), time.Second)
		if !over {
			err = p.Finish(t.Context())
		}
		if err != nil || p.Response.Status != 200 {
			t.Fatal(err, p.Response.Status)
		}
	}
	call()
	if n := testing.AllocsPerRun(100, call); n > 0 {
		t.Errorf("a plain Post allocates %v times, none wanted", n)
	}
}
