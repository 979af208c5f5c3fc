package httpc

import (
	"context"
	"net"
	"testing"
	"time"
)

// answering is a connection whose other side answers each write at once.
type answering struct {
	net.Conn
	answer, left string
}

func (a *answering) Write(b []byte) (int, error) {
	a.left = a.answer
	return len(b), nil
}

func (a *answering) Read(b []byte) (int, error) {
	n := copy(b, a.left)
	a.left = a.left[n:]
	return n, nil
}

func (a *answering) SetDeadline(time.Time) error { return nil }
func (a *answering) Close() error                { return nil }

// BenchmarkPost is a call of a server that answers at once, but for what the
// network costs.
func BenchmarkPost(b *testing.B) {
	for name, answer := range map[string]string{
		"plain":   "HTTP/1.1 200 OK\r\nServer: fasthttp\r\nDate: Thu, 26 Nov 2026 01:18:31 GMT\r\nContent-Type: application/json\r\nContent-Length: 49\r\n\r\n" + `{"type":"text","msg":"the answer of the backend"}`,
		"chunked": "HTTP/1.1 200 OK\r\nServer: fasthttp\r\nDate: Thu, 26 Nov 2026 01:18:31 GMT\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n31\r\n" + `{"type":"text","msg":"the answer of the backend"}` + "\r\n0\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			c := newClient(Config{IdleReuse: time.Hour}, noProxy)
			c.dial = func(context.Context, string, string) (net.Conn, error) { return &answering{answer: answer}, nil }
			defer c.CloseIdle()
			r, err := c.Route("http://127.0.0.1:8080/wx/msg/text")
			if err != nil {
				b.Fatal(err)
			}
			call := func() {
				p := r.Post()
				defer p.Release()
				p.Body([]byte(`{"MsgType":"text","Content":"x"}`))
				over, err := p.Begin(time.Now(), time.Second)
				if !over {
					err = p.Finish(b.Context())
				}
				if err != nil || len(p.Response.Body) != 49 {
					b.Fatal(err, p.Response.Status)
				}
			}
			call()
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}
