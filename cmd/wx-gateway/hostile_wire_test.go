package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wx-gateway/gateway/sim"
)

// TestHostileSmuggling: a request that can be read in two ways, behind a proxy that
// might have read it in the other, is refused as a whole. What hides in it is a
// push that would be forwarded.
func TestHostileSmuggling(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	target, body := w.build(w.push("/open", sim.Fields{Content: "smuggled"}.XML()))
	inner := lastPost(target, body)
	const (
		malformed = "400 malformed request"
		unsigned  = "403 the query lacks signature, timestamp or nonce"
	)
	var attacks []attack
	add := func(name, request string, want ...string) {
		attacks = append(attacks, attack{name, request, want})
	}
	head := func(lines ...string) string {
		return "POST /wx HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	}
	length := fmt.Sprintf("Content-Length: %d", len(inner))
	const chunked, none = "Transfer-Encoding: chunked", "0\r\n\r\n"

	// Two lengths.
	add("length and chunked", head("Content-Length: 5", chunked)+none+inner, malformed)
	add("chunked and length", head(chunked, "Content-Length: 5")+none+inner, malformed)
	add("length of all and chunked", head(fmt.Sprintf("Content-Length: %d", 5+len(inner)), chunked)+none+inner, malformed)
	add("length 0 and chunked", head("Content-Length: 0", chunked)+none+inner, malformed)
	add("length and chunked in HTTP/1.0", "POST /wx HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"+none+inner, malformed)
	add("two lengths", head("Content-Length: 0", length)+inner, malformed)
	add("one length twice", head(length, length)+inner, malformed)
	for _, l := range []string{"0, 5", "+5", "-1", "0x5", "5.0", "1e1", "", "five", "\x0b5", "5 5", "99999999999999999999", "-0", "5\x00", "５"} {
		add(fmt.Sprintf("length %q", l), head("Content-Length: "+l)+inner, malformed)
	}
	// Encodings.
	for _, te := range []string{"xchunked", "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked", "chunked;q=1", "\x0bchunked", "chunked\x00", "\"chunked\"", "x", ""} {
		add(fmt.Sprintf("encoding %q", te), head("Transfer-Encoding: "+te)+none+inner, malformed)
		add(fmt.Sprintf("encoding %q and length", te), head("Transfer-Encoding: "+te, "Content-Length: 5")+none+inner, malformed)
	}
	add("encodings twice", head(chunked, chunked)+none+inner, malformed)
	add("chunked, then identity", head(chunked, "Transfer-Encoding: identity")+none+inner, malformed)
	add("identity and length", head("Transfer-Encoding: identity", length)+inner, malformed)
	// Header lines.
	for _, line := range []string{
		"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked",
		"X: y\r\n Transfer-Encoding: chunked", "X: y\r\n\tTransfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked",
		"X: y\rTransfer-Encoding: chunked", "X: \x00", "X\x00: y", "X", ": y", "X: y\r\n\r: z", "Content-Length : 5", "(X): y", "X: y\x7f",
	} {
		add(fmt.Sprintf("line %q", line), head(line, "Content-Length: 5")+none+inner, malformed)
	}
	add("two hosts", "POST /wx HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"+inner, malformed)
	// Bare line feeds.
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	add("bare line feeds", lf(head("Content-Length: 5"))+none+inner, malformed)
	add("a bare line feed before an encoding", head("X: y\nTransfer-Encoding: chunked", "Content-Length: 5")+none+inner, malformed)
	add("a bare line feed at the end", "POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\n"+none+inner, malformed)
	// Chunks.
	for _, chunks := range []string{
		"0x0\r\n\r\n", "-0\r\n\r\n", "+0\r\n\r\n", " 0\r\n\r\n", "\r\n0\r\n\r\n", "0\n\n", "0;\n\r\n\r\n", "0;x=\"\n\"\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\n0\n\n",
		"3\r\nabc\n0\r\n\r\n", "ffffffffffffffff\r\nabc", "7fffffffffffffff\r\nabc", "8000000000000000\r\nabc", "10000000000000003\r\nabc\r\n0\r\n\r\n", "g\r\n\r\n", ";\r\n\r\n", "0\r\r\n", "1_0\r\n",
		"0\r\n X: z\r\n\r\n",
	} {
		add(fmt.Sprintf("chunks %q", chunks), head(chunked)+chunks+inner, malformed)
	}
	add("a length in the trailer", head(chunked)+"0\r\n"+length+"\r\n\r\n"+inner, malformed)
	// First lines.
	for _, line := range []string{
		"POST /wx", "POST /wx HTTP/1.1 x", "POST  /wx HTTP/1.1", "POST\t/wx\tHTTP/1.1", "post /wx http/1.1", " POST /wx HTTP/1.1", "/wx HTTP/1.1",
		"POST /w\x00x HTTP/1.1", "POST /w\rx HTTP/1.1", "POST wx HTTP/1.1", "POST /w x HTTP/1.1", "PO ST /wx HTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00",
	} {
		add(fmt.Sprintf("first line %q", line), line+"\r\nHost: x\r\nContent-Length: 5\r\n\r\n"+none+inner, malformed)
	}
	// Another version is none of ours, and ends with its answer.
	for _, version := range []string{"0.9", "1.2", "2.0"} {
		add("HTTP/"+version, "POST /wx HTTP/"+version+"\r\nHost: x\r\nContent-Length: 5\r\n\r\n"+none+inner, unsigned)
	}
	// What has one meaning has its answer.
	add("in the body of a GET", "GET /wx HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+length+"\r\n\r\n"+inner, unsigned)
	add("in the body of a POST", head("Connection: close", length)+inner, unsigned)
	add("in a chunk", head("Connection: close", chunked)+fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner), unsigned)
	add("an upgrade", "POST /wx HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"+length+"\r\n\r\n"+inner, unsigned)
	w.attack(attacks)
	w.forwardsNothing()
	w.unhurt(hostileMost)
}

// TestHostilePaths: /wx does not guard /wx2, and no spelling of a path reaches
// another one, least of all an internal endpoint from outside.
func TestHostilePaths(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	target, body := w.build(w.push("/open", sim.Fields{Content: "elsewhere"}.XML()))
	query := strings.TrimPrefix(target, "/open")
	var attacks []attack
	for _, path := range []string{
		"/", "/open2", "/open/", "/open//", "//open", "/./open", "/x/../open", "/open/../open", "/OPEN", "/%6fpen", "/open%00", "/open%20", "/open%3f", "/open%2f", "/open;x", "/open#x", "/open&",
		"/wx/../health", "/wx/%2e%2e/health", "/health/", "//health", "/user", "/wx/../user", "/wx/%2e%2e/user", "//user", "/metrics", "/wx/..%2fmetrics", "/sign-jsapi",
		"http://gateway/open", "http://gateway/metrics", "http://127.0.0.1/user",
	} {
		attacks = append(attacks, attack{path, lastPost(path+query, body), []string{"404 not found"}},
			attack{"GET " + path, "GET " + path + " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n", []string{"404 not found"}})
	}
	w.attack(attacks)
	w.forwardsNothing()
	w.unhurt(hostileMost)
}

// TestHostilePipelines: requests that do not wait for their answers are
// answered in order, each for itself.
func TestHostilePipelines(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	const forged, reply = "403 bad signature", "200 a reply"
	good := func(i int) string {
		return post(w.build(w.push("/wx", sim.Fields{From: fmt.Sprint("oPipe", i), Content: fmt.Sprint("pipelined", i)}.XML())))
	}
	target, body := w.build(w.push("/wx", sim.Fields{Content: "forged"}.XML()))
	bad := post(strings.Replace(target, "signature=", "signature=0", 1), body)
	last := "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	const none = "404 not found"

	const many = 2000
	w.attack([]attack{
		{"many", strings.Repeat(bad, many) + last, append(slices.Repeat([]string{forged}, many), none)},
		{"behind the last one", bad + last + good(0), []string{forged, none}},
		{"behind one that is too large", bad + "POST /wx HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + good(0), []string{forged, "413 body too large"}},
		{"behind one that is malformed", bad + "POST /wx\r\n\r\n" + good(0), []string{forged, "400 malformed request"}},
	})
	w.forwardsNothing()
	w.attack([]attack{
		{"good and bad", good(1) + bad + good(2) + bad + good(3) + last, []string{reply, forged, reply, forged, reply, none}},
	})
	if n := len(w.prey.calls()); n != 3 {
		t.Errorf("the backend got %q, want three pushes", w.prey.calls())
	}
	w.unhurt(hostileMost)
}
