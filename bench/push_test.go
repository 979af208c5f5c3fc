package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/crypt"
)

// read takes a request of the load apart.
func read(t *testing.T, raw []byte) *fasthttp.Request {
	t.Helper()
	var req fasthttp.Request
	r := bufio.NewReader(bytes.NewReader(raw))
	if err := req.Read(r); err != nil {
		t.Fatalf("%v: %q", err, raw)
	}
	if r.Buffered() != 0 {
		t.Fatalf("more than one request: %q", raw)
	}
	return &req
}

var now = time.Unix(1767000000, 0)

func TestPlainPushes(t *testing.T) {
	var ids atomic.Int64
	p := &plain{account: newAccount(7, false), ids: &ids}
	p.prepare(now, 0)
	buf := make([]byte, bufferSize)
	for _, n := range []int64{1, 2, 999, 1000, 123456789} {
		ids.Store(n - 1)
		req := read(t, p.next(buf))
		want := fmt.Sprintf("<MsgId>%d</MsgId>", firstID+n)
		if body := string(req.Body()); !strings.Contains(body, want) || !strings.Contains(body, fmt.Sprintf("[oBench%022d]", n%users)) {
			t.Errorf("push %d: %s", n, body)
		}
		if got, want := string(req.URI().QueryArgs().Peek("signature")), crypt.Sign("benchToken0007", "1767000000", nonce); got != want {
			t.Errorf("signature %s, want %s", got, want)
		}
		if string(req.URI().Path()) != "/wx/0007" {
			t.Errorf("path %s", req.URI().Path())
		}
	}
	if n := testing.AllocsPerRun(100, func() { p.next(buf) }); n != 0 {
		t.Errorf("a push takes %v allocations", n)
	}
}

// More pushes than were made ahead are made when they are wanted.
func TestSealedPushes(t *testing.T) {
	var ids atomic.Int64
	a := newAccount(3, true)
	s, err := newSealed(a, &ids)
	if err != nil {
		t.Fatal(err)
	}
	s.prepare(now, 2)
	seen := map[string]bool{}
	for range 4 {
		req := read(t, s.next(nil))
		q := req.URI().QueryArgs()
		encrypt := regexp.MustCompile(`<Encrypt><!\[CDATA\[(.*)\]\]>`).FindSubmatch(req.Body())[1]
		if _, err := s.box.VerifyMsg(string(q.Peek("msg_signature")), string(q.Peek("timestamp")), string(q.Peek("nonce")), encrypt); err != nil {
			t.Fatal(err)
		}
		seen[string(encrypt)] = true
	}
	if len(seen) != 4 || ids.Load() != 4 {
		t.Errorf("%d different pushes, %d ids", len(seen), ids.Load())
	}
}

func TestReadAnswer(t *testing.T) {
	f := func(answer, wantErr string) {
		t.Helper()
		err := readAnswer(iotest.OneByteReader(strings.NewReader(answer)), make([]byte, 200))
		if got := fmt.Sprint(err); !strings.HasPrefix(got, wantErr) {
			t.Errorf("readAnswer(%q) = %v, want %q", answer, err, wantErr)
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: text/xml\r\n\r\n<xml>a</xml>", "<nil>")
	f("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsuccess", "a push was not answered as it should be")
	f("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\n<xml>a</xml>", "a push was not answered as it should be")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "an answer has no Content-Length")
	f("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n<xml>", "EOF")
	f("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"+strings.Repeat("x", 500), "an answer is longer than 200 bytes")
	if _, err := answered([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1")); err == nil || errors.Is(err, errAnswer) {
		t.Errorf("two answers at once: %v", err)
	}
}
