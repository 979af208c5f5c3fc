package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wx-gateway/gateway/sim"
)

// raw sends bytes as they are and returns everything that comes back.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, request)
	c.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(c)
	return string(b)
}

// TestHostileBodies: what stands behind a valid signature may be as rotten as
// it likes. Each body is refused with a short reason, nothing is forwarded,
// memory stays bounded, and the next push is answered. It does not run in
// parallel with other tests, whose memory it would count.
func TestHostileBodies(t *testing.T) {
	w := newWorld(t)
	deep := strings.Repeat("<a>", 200_000)
	bodies := map[string]string{
		"deep XML":             "<xml>" + deep,
		"deep closed XML":      "<xml>" + strings.Repeat("<a>", 40_000) + strings.Repeat("</a>", 40_000) + "</xml>",
		"deep JSON":            strings.Repeat(`{"a":`, 150_000),
		"deep JSON array":      `{"a":` + strings.Repeat("[", 400_000),
		"entity bomb":          `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><MsgType>&b;</MsgType></xml>`,
		"external entity":      `<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml><MsgType>text</MsgType></xml>`,
		"another encoding":     `<?xml version="1.0" encoding="GBK"?><xml><MsgType>text</MsgType></xml>`,
		"many elements":        "<xml><MsgType>text</MsgType>" + strings.Repeat("<a/>", 200_000) + "</xml>",
		"a path as event":      "<xml><FromUserName>u</FromUserName><MsgType>event</MsgType><Event>../../internal</Event></xml>",
		"an encoded path":      "<xml><FromUserName>u</FromUserName><MsgType>event</MsgType><Event>%2e%2e%2fx</Event></xml>",
		"a header in the name": "<xml><FromUserName>u</FromUserName><MsgType>event</MsgType><Event>x\r\nHost: y</Event></xml>",
		"no end":               "<xml><MsgType><![CDATA[text",
		"nulls":                strings.Repeat("\x00", 100_000),
		"a number":             "42",
		"an array":             "[1,2,3]",
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for name, body := range bodies {
		for _, mode := range []sim.Mode{sim.Plain, sim.Safe} {
			p := w.push(mode, []byte(body))
			p.OpenID = "u"
			target, sealed, err := p.Build()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			resp, err := http.Post(target, "text/xml", bytes.NewReader(sealed))
			if err != nil {
				continue // beyond max-body: the connection is closed while we still write
			}
			status, reason := readAll(t, resp)
			if status < 400 || status > 499 || len(reason) > 100 {
				t.Errorf("%s, %s: %d %.200q, want 4xx with a short reason", name, mode, status, reason)
			}
		}
	}
	if n := len(w.backend.calls("")); n != 0 {
		t.Errorf("%d hostile bodies were forwarded", n)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	wantContains(t, "a good push after that", w.send(sim.Safe, text("x")), "echo: x")
}

// TestSmuggling: a request whose length can be read in two ways is never
// answered as two.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	addr := w.g.PublicAddr()
	const inner = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, request := range map[string]string{
		"length and chunked": "POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"two lengths":        fmt.Sprintf("POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"chunked twice":      "POST /wx HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + inner,
		"blank before colon": fmt.Sprintf("POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length : %d\r\n\r\n%s", len(inner), inner),
		"a signed length":    fmt.Sprintf("POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: +%d\r\n\r\n%s", len(inner), inner),
	} {
		got := raw(t, addr, request)
		if strings.Count(got, "HTTP/1.1 ") > 1 && strings.Contains(got, "OK\n") && !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("%s: the inner request was answered: %q", name, got)
		}
	}
	// Two honest requests on one connection are both answered.
	if got := raw(t, addr, inner+inner); strings.Count(got, "OK\n") != 2 {
		t.Errorf("pipelined: %q, want two answers", got)
	}
}

// TestSlowClients: bytes that drip hold a connection for readTimeout at most,
// and hurt nobody else.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	drip := func(start string) {
		c, err := net.Dial("tcp", w.g.PublicAddr())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, start)
		began := time.Now()
		closed := make(chan struct{})
		go func() {
			io.Copy(io.Discard, c)
			close(closed)
		}()
		for time.Since(began) < 25*time.Second {
			select {
			case <-closed:
				return
			case <-time.After(300 * time.Millisecond):
				io.WriteString(c, "a")
			}
		}
		t.Errorf("a connection that drips after %q was still open after %s", start, time.Since(began))
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { drip("POST /wx HTTP/1.1\r\nHost: x\r\nX-Slow: ") })
		wg.Go(func() { drip("POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n") })
	}
	wantContains(t, "a push meanwhile", w.send(sim.Safe, text("x")), "echo: x")
	wg.Wait()
}

// TestIdleConnections: thousands of idle connections cost little and keep
// nobody out.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	const many = 3000
	w := newWorld(t)
	for range many {
		c, err := net.Dial("tcp", w.g.PublicAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r, err := w.push(sim.Safe, text("x")).Send(context.Background(), sim.WeChat())
	if err != nil || r.Answer == nil || r.Answer.N != 1 {
		t.Errorf("a push beside %d idle connections: %v %+v", many, err, r)
	}
}
