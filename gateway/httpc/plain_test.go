package httpc

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

var plainResponses = []string{
	ok,
	"HTTP/1.1 200 OK\r\nServer: fasthttp\r\nDate: Thu, 26 Nov 2026 01:18:31 GMT\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 404\r\nconnection: keep-alive\r\nKeep-Alive: timeout=5\r\ncontent-type:text/html;charset=utf-8  \r\ncontent-length:   0  \r\n\r\n",
	"HTTP/1.1 500 Internal Server Error \r\nConnection: close\r\nContent-Length: 003\r\nX: ~\r\n\r\n\r\n\x00",
	"HTTP/1.1 999 \r\nContent-Length: 1\r\nConnection: Close\r\nContent-Type: a\r\nContent-Type: b\r\nEmpty:\r\nUpgrade: h2c\r\n\r\nx",
	"HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive, close\r\nContent-Encoding: gzip\r\nSet-Cookie: a=b; c\r\nTracker: 1\r\nContent-Length: 1\r\n\r\nx",
}

var otherResponses = []string{
	"", "HTTP/1.1 ", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 \r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
	"\r\n" + ok, "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	ok[:len(ok)-1], ok + "x", ok + ok, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n11 are many", // FuzzPlain's limit is 10
	"HTTP/1.1 100 Continue\r\n\r\n" + ok, "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\n\r\nx",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTrailer: Content-Length\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nTrailer: X\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0000000002\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Type: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno colon\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nnocolon\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n: x\r\n\r\nok",
	"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\x00b\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\x7fb\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length:\t2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX(: a\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX_y: a\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: 你好\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a\r\r\n\r\nok",
}

func TestPlain(t *testing.T) {
	t.Parallel()
	f := func(in string, want bool) {
		t.Helper()
		if _, _, got := plain([]byte(in), 10); got != want {
			t.Errorf("plain(%q) takes it: %v, want %v", in, got, want)
		}
	}
	for _, in := range plainResponses {
		f(in, true)
	}
	for _, in := range otherResponses {
		f(in, false)
	}
}

// What plain takes, fasthttp takes, and reads the same from it.
func FuzzPlain(f *testing.F) {
	for _, in := range append(plainResponses, otherResponses...) {
		f.Add([]byte(in))
	}
	const maxBody = 10
	f.Fuzz(func(t *testing.T, in []byte) {
		given := bytes.Clone(in)
		got, closes, ok := plain(in, maxBody)
		if !bytes.Equal(in, given) {
			t.Fatalf("plain(%q) changed it to %q", given, in)
		}
		if !ok {
			return
		}
		var resp fasthttp.Response
		resp.Header.SetNoDefaultContentType(true)
		br := bufio.NewReaderSize(strings.NewReader(string(in)), readBuffer)
		if err := resp.ReadLimitBody(br, maxBody); err != nil {
			t.Fatalf("plain(%q) takes what fasthttp refuses: %v", in, err)
		}
		if got.Status != resp.StatusCode() || !bytes.Equal(got.ContentType, resp.Header.ContentType()) || !bytes.Equal(got.Body, resp.Body()) {
			t.Errorf("plain(%q) = %d %q %q, fasthttp: %d %q %q", in, got.Status, got.ContentType, got.Body,
				resp.StatusCode(), resp.Header.ContentType(), resp.Body())
		}
		want := br.Buffered() == 0 && !resp.ConnectionClose() && resp.StatusCode() != fasthttp.StatusSwitchingProtocols
		if !closes != want {
			t.Errorf("plain(%q): the connection closes: %v, fasthttp: %v", in, closes, !want)
		}
	})
}
