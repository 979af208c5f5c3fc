package guard

import (
	"net/netip"
	"strings"
)

// maxHops bounds the X-Forwarded-For entries that are looked at.
const maxHops = 32

const forwardedFor = "X-Forwarded-For"

// forwardedHeaders betray a proxy in front of the caller. The X-Forwarded-*
// among them are the usual ones, for a Request without Names.
var forwardedHeaders = [...]string{
	forwardedFor, "Forwarded", "X-Real-IP", "Via", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP",
	"X-Original-Forwarded-For",
	"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Scheme",
	"X-Forwarded-Ssl", "X-Forwarded-Prefix", "X-Forwarded-By", "X-Forwarded-Uri", "X-Forwarded-Method",
	"X-Forwarded-Path", "X-Forwarded-Protocol", "X-Forwarded-Client-Cert",
}

// caller finds who is behind the request: the peer, or, when the peer is a
// trusted proxy, the rightmost X-Forwarded-For entry that is not one.
func (g *Guard) caller(r Request, peer netip.Addr) (netip.Addr, *Refusal) {
	if !contains(g.trusted, peer) {
		if name, ok := forwarded(r); ok {
			return peer, forbidden("%s came from %s: if that is your proxy, list it in internal.trusted-proxies", name, show(peer))
		}
		return peer, nil
	}
	lines := r.values(forwardedFor)
	if len(lines) == 0 {
		// The proxy's own call, unless it forwards without saying for whom.
		if name, ok := forwarded(r); ok {
			return peer, forbidden("%s came from %s without X-Forwarded-For: make that proxy send it, or take it out of internal.trusted-proxies", name, show(peer))
		}
		return peer, nil
	}
	caller, ok := g.rightmostStranger(lines)
	if !ok {
		return peer, forbidden("X-Forwarded-For from %s is malformed: mend that proxy, or take it out of internal.trusted-proxies", show(peer))
	}
	return caller, nil
}

// Client is who is behind peer, for those who serve everybody and only want to
// tell callers apart. Unlike in Check, an entry that cannot be read ends the
// walk at the proxy before it.
func (g *Guard) Client(peer netip.Addr, forwardedFor []string) netip.Addr {
	peer = plain(peer)
	if !contains(g.trusted, peer) {
		return peer
	}
	if caller, _ := g.rightmostStranger(forwardedFor); caller.IsValid() {
		return caller
	}
	return peer
}

// rightmostStranger walks the entries of all lines from the right, the end
// that the trusted proxies wrote. What stands left of the answer is the
// caller's own claim and is not looked at. When all are trusted proxies, the
// leftmost of them is the caller. Without ok it is the last that could be read.
func (g *Guard) rightmostStranger(lines []string) (caller netip.Addr, ok bool) {
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			if hops++; hops > maxHops {
				return caller, false
			}
			entry := rest
			var comma int
			if comma = strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, entry = rest[:comma], rest[comma+1:]
			} else {
				more = false
			}
			hop, good := parseHop(entry)
			if !good {
				return caller, false
			}
			caller, ok = hop, true
			if !contains(g.trusted, caller) {
				return caller, true
			}
		}
	}
	return caller, ok
}

// parseHop reads one entry: an address, some proxies add the port.
func parseHop(entry string) (netip.Addr, bool) {
	entry = strings.Trim(entry, " \t")
	if a, err := netip.ParseAddr(entry); err == nil {
		return plain(a), true
	}
	if ap, err := netip.ParseAddrPort(entry); err == nil {
		return plain(ap.Addr()), true
	}
	if inner, ok := strings.CutPrefix(entry, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			if a, err := netip.ParseAddr(inner); err == nil && a.Is6() {
				return plain(a), true
			}
		}
	}
	return netip.Addr{}, false
}

// forwarded returns the first header that only a proxy sends.
func forwarded(r Request) (name string, ok bool) {
	for _, name := range forwardedHeaders {
		if _, ok := r.Header(name); ok {
			return name, true
		}
	}
	if r.Names != nil {
		const prefix = "X-Forwarded-"
		for name := range r.Names {
			if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
				return prefix + "*", true // the name is the caller's text: not repeated
			}
		}
	}
	return "", false
}
