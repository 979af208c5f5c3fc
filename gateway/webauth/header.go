package webauth

import (
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// hopByHop are the headers that concern one connection: RFC 9110, section
// 7.6.1, and the older ones of RFC 2616 that are still sent.
var hopByHop = map[string]bool{
	"connection":          true,
	"keep-alive":          true,
	"proxy-authenticate":  true,
	"proxy-authorization": true,
	"proxy-connection":    true,
	"te":                  true,
	"trailer":             true,
	"transfer-encoding":   true,
	"upgrade":             true,
}

// copyRequestHeader adds the browser's headers to the call: all but those that
// concern its connection or its body, and those a backend takes for the
// gateway's word. peer is appended to X-Forwarded-For.
func copyRequestHeader(out, in *fasthttp.RequestHeader, peer netip.Addr) {
	named := map[string]bool{}
	for k, v := range in.AllInOrder() {
		addNamed(named, k, v)
	}
	// Raw, or fasthttp would take the cookies apart and leave some out.
	out.DisableSpecialHeader()
	var forwarded []string
	for k, v := range in.AllInOrder() {
		name := canonical(k)
		switch {
		case !isToken(k) || hopByHop[name] || named[name] || ours(name):
		case name == "x-forwarded-for":
			forwarded = append(forwarded, string(v))
		default:
			out.AddBytesKV(k, v)
		}
	}
	out.EnableSpecialHeader()
	if peer.IsValid() {
		forwarded = append(forwarded, peer.String())
	}
	if len(forwarded) > 0 {
		out.Set(fasthttp.HeaderXForwardedFor, strings.Join(forwarded, ", "))
	}
}

// ours reports a header that the gateway itself sets, or that belongs to a
// body which the browser did not send.
func ours(name string) bool {
	return name == "host" || name == "expect" || name == "x-request-id" ||
		strings.HasPrefix(name, "content-") ||
		strings.HasPrefix(name, "x-wx-") ||
		strings.HasPrefix(name, "webhook-")
}

// copyResponse moves what the backend answered to the browser's response,
// without the headers that concern the backend's connection.
func copyResponse(out, in *fasthttp.Response) {
	// Without a Content-Type of the backend's there is none: fasthttp's own
	// default would be a guess.
	in.Header.SetNoDefaultContentType(true)
	out.Header.SetNoDefaultContentType(true)
	named := map[string]bool{}
	for k, v := range in.Header.All() {
		addNamed(named, k, v)
	}
	for k, v := range in.Header.All() {
		name := canonical(k)
		if hopByHop[name] || named[name] || name == "content-length" {
			continue
		}
		out.Header.AddBytesKV(k, v)
	}
	out.SetStatusCode(in.StatusCode())
	// The body changes hands instead of being copied: it may have 10 MiB.
	out.SetBodyRaw(in.SwapBody(nil))
}

// addNamed adds to named the headers that a Connection header says concern its
// connection only.
func addNamed(named map[string]bool, k, v []byte) {
	if canonical(k) != "connection" {
		return
	}
	for name := range strings.SplitSeq(string(v), ",") {
		named[canonical([]byte(strings.TrimSpace(name)))] = true
	}
}

// canonical is the name of a header as backends see it: many of them (CGI, PHP,
// WSGI) take X_Wx_Openid for X-Wx-Openid.
func canonical(name []byte) string {
	return strings.ReplaceAll(strings.ToLower(string(name)), "_", "-")
}

// isToken reports a name that is one by RFC 9110, section 5.6.2.
func isToken(name []byte) bool {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return len(name) > 0
}
