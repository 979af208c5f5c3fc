package webauth

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// fasthttpAddr is the address of a peer.
func fasthttpAddr(ip string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 4711))
}

// Whatever a browser writes into its header: the backend reads one request,
// with nothing in it that only the gateway may say.
func FuzzRequestHeader(f *testing.F) {
	for _, lines := range []string{
		"X-Wx-Openid: o\r\nX_Wx_Openid: o\r\nx-wx: 1\r\n",
		"Connection: close, Cookie\r\nCookie: a=b\r\nUpgrade: x\r\n",
		"Connection: X-Forwarded-For, x-wx-openid\r\nX-Forwarded-For: 1.2.3.4\r\n",
		"Connection: ,, ;\r\nTransfer-Encoding: identity\r\n",
		"Content-Length: 3\r\nContent-Type: x\r\nTrailer: X-Y\r\nTE: x\r\n",
		"Expect: 100-continue\r\nwebhook-id: 1\r\nX-Request-ID: 1\r\n",
		"X A: 1\r\nX\tB: 1\r\nX(C): 1\r\n",
		" 0\r\nA: folded into the host\r\n",
		"X-Folded: a\r\n b\r\n\tc: d\r\n",
		"Cookie: a=\"\\\"; b\x80; =; c=\r\nCookie: d\r\n",
		"A:\r\nB: \r\nC: \xff\xfe\r\n",
	} {
		f.Add(lines)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		in, req := new(fasthttp.RequestHeader), new(fasthttp.Request)
		raw := "GET /redirect?code=c HTTP/1.1\r\nHost: www.example.com\r\n" + lines + "\r\n"
		if in.Read(bufio.NewReader(strings.NewReader(raw))) != nil {
			t.Skip() // refused before the handler sees it
		}
		req.Header.SetMethod("POST")
		req.SetRequestURI("http://backend/path")
		req.URI()
		copyRequestHeader(&req.Header, in, netip.MustParseAddr("192.0.2.1"))
		req.UseHostHeader = true
		req.Header.SetHostBytes(in.Host())
		req.Header.SetContentType("application/json")
		req.SetBodyString("{}")

		var out strings.Builder
		w := bufio.NewWriter(&out)
		if err := req.Write(w); err != nil {
			t.Fatalf("cannot write: %v", err)
		}
		w.Flush()
		r := bufio.NewReader(strings.NewReader(out.String()))
		got, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("the backend cannot read %q: %v", out.String(), err)
		}
		if got.Host != strings.Trim(string(in.Host()), " \t") || got.ContentLength != 2 || len(got.TransferEncoding) > 0 || len(got.Trailer) > 0 {
			t.Fatalf("the backend reads host %q, length %d, %q, trailers %v", got.Host, got.ContentLength, got.TransferEncoding, got.Trailer)
		}
		for k, v := range got.Header {
			name := canonical([]byte(k))
			switch {
			case k == "Content-Type" && len(v) == 1 && v[0] == "application/json", k == "Content-Length":
			case hopByHop[name], ours(name):
				t.Errorf("%s: %q reached the backend", k, v)
			}
		}
		if xff := got.Header["X-Forwarded-For"]; len(xff) != 1 || !strings.HasSuffix(xff[0], "192.0.2.1") {
			t.Errorf("X-Forwarded-For %q does not end in the peer", xff)
		}
	})
}
