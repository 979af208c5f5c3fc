// Package guard decides who may call the internal endpoints. It is pure:
// peer, headers and configuration in, allowed or the reason out. It knows no
// HTTP library and opens no socket.
//
//	g := guard.New(guard.Config{Token: token, Allow: allow})
//	if refusal := g.Check(request); refusal != nil { … }
//
// The door has four locks, tried in this order; each refusal names the key
// of the configuration that mends it:
//
//   - no browser: a page that somebody inside has open must not call for him
//   - no hidden caller: a forwarded request counts only from a trusted proxy
//   - the caller's address
//   - the bearer token
package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// Statuses of a Refusal.
const (
	statusUnauthorized = 401
	statusForbidden    = 403
)

// Config is the part of the configuration's "internal" that guards.
type Config struct {
	// Token is what callers send as "Authorization: Bearer". Empty: none
	// is asked for.
	Token string
	// Allow lists who may call, in place of the default: loopback and
	// private addresses, or with OwnListener everybody who reaches it.
	Allow []netip.Prefix
	// TrustedProxies are peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// OwnListener says that the endpoints stand on internal.listen and not
	// on the public port.
	OwnListener bool
}

// Request is what Check wants to know of a request.
type Request struct {
	// Peer is the address at the other end of the connection.
	Peer netip.Addr
	// Header returns the first value of a header, by its name in any case.
	Header func(name string) (value string, present bool)
	// Values returns all lines of a header, in order; nil: Header's alone.
	Values func(name string) []string
	// Names lists the names of all headers, so that every X-Forwarded-*
	// is seen. nil: only the usual ones are looked for.
	Names iter.Seq[string]
	// Power marks an endpoint that hands out power: a token, or the
	// account's API.
	Power bool
}

// A Refusal is an answer for the caller. Msg holds no secrets.
type Refusal struct {
	Status int    // 403, or 401 when only the bearer token is missing
	Msg    string // the reason, and the key that mends it
}

// A Guard checks requests against one configuration. It never changes and
// may be used by many goroutines.
type Guard struct {
	token       [sha256.Size]byte
	needToken   bool
	allow       []netip.Prefix
	trusted     []netip.Prefix
	ownListener bool
}

// New returns the Guard of a configuration. It keeps no part of c.
func New(c Config) *Guard {
	return &Guard{
		token:       sha256.Sum256([]byte(c.Token)),
		needToken:   c.Token != "",
		allow:       unmapPrefixes(c.Allow),
		trusted:     unmapPrefixes(c.TrustedProxies),
		ownListener: c.OwnListener,
	}
}

// Check returns nil when the request may be served, else why not.
func (g *Guard) Check(r Request) *Refusal {
	if refusal := checkBrowser(r); refusal != nil {
		return refusal
	}
	peer := plain(r.Peer)
	caller, refusal := g.caller(r, peer)
	if refusal != nil {
		return refusal
	}
	if refusal := g.checkAddress(caller); refusal != nil {
		return refusal
	}
	// conf refuses such a configuration already. Should one get through, a
	// listener on loopback is known by its peers.
	if r.Power && !g.needToken && !(g.ownListener && peer.IsLoopback()) {
		return forbidden("this endpoint needs internal.token, or an internal.listen on a loopback address")
	}
	return g.checkBearer(r)
}

// checkBrowser refuses what a page can make its visitor's browser send.
func checkBrowser(r Request) *Refusal {
	// No line of configuration opens this: pages have no business here.
	if _, ok := r.Header("Origin"); ok {
		return forbidden("a browser's request (it carries Origin) is refused: call from a server, nothing under internal opens this")
	}
	for _, v := range r.values("Sec-Fetch-Site") {
		if strings.EqualFold(strings.TrimSpace(v), "cross-site") {
			return forbidden("a browser's request from another site (Sec-Fetch-Site) is refused: call from a server, nothing under internal opens this")
		}
	}
	return nil
}

// checkAddress judges the caller's own address.
func (g *Guard) checkAddress(caller netip.Addr) *Refusal {
	switch {
	case len(g.allow) > 0:
		if contains(g.allow, caller) {
			return nil
		}
	case g.ownListener:
		return nil // the address it listens on is the guard
	case caller.IsLoopback() || caller.IsPrivate():
		return nil
	}
	return forbidden("%s may not call internal endpoints: list it in internal.allow", show(caller))
}

func (g *Guard) checkBearer(r Request) *Refusal {
	if !g.needToken {
		return nil
	}
	lines := r.values("Authorization")
	if len(lines) == 1 {
		scheme, token, _ := strings.Cut(strings.TrimSpace(lines[0]), " ")
		// Hashed, so that the comparison tells nothing of the length either.
		got := sha256.Sum256([]byte(strings.TrimLeft(token, " ")))
		if subtle.ConstantTimeCompare(got[:], g.token[:]) == 1 && strings.EqualFold(scheme, "Bearer") {
			return nil
		}
	}
	return &Refusal{statusUnauthorized, "the bearer token is missing or wrong: send \"Authorization: Bearer\" with the value of internal.token"}
}

func (r Request) values(name string) []string {
	if r.Values != nil {
		return r.Values(name)
	}
	if v, ok := r.Header(name); ok {
		return []string{v}
	}
	return nil
}

func forbidden(format string, args ...any) *Refusal {
	return &Refusal{statusForbidden, fmt.Sprintf(format, args...)}
}

// plain unwraps an IPv4-mapped address and drops the zone: prefixes know
// neither.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// unmapPrefixes writes ::ffff:10.0.0.0/104 as 10.0.0.0/8, to match plain.
func unmapPrefixes(list []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		out[i] = p
	}
	return out
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func show(a netip.Addr) string {
	if !a.IsValid() {
		return "a caller without an address"
	}
	return a.String()
}
