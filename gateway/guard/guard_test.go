package guard

import (
	"fmt"
	"maps"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

type header map[string][]string

func request(peer string, power bool, h header) Request {
	canonical := header{}
	for name, lines := range h {
		canonical[textproto.CanonicalMIMEHeaderKey(name)] = lines
	}
	values := func(name string) []string { return canonical[textproto.CanonicalMIMEHeaderKey(name)] }
	r := Request{Power: power, Values: values, Names: maps.Keys(canonical)}
	r.Header = func(name string) (string, bool) {
		if v := values(name); len(v) > 0 {
			return v[0], true
		}
		return "", false
	}
	if peer != "" {
		r.Peer = netip.MustParseAddr(peer)
	}
	return r
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func verdict(refusal *Refusal) string {
	if refusal == nil {
		return "ok"
	}
	return fmt.Sprintf("%d %s", refusal.Status, refusal.Msg)
}

const (
	noBrowser = "403 a browser's request (it carries Origin) is refused: call from a server, nothing under internal opens this"
	noSite    = "403 a browser's request from another site (Sec-Fetch-Site) is refused: call from a server, nothing under internal opens this"
	noBearer  = `401 the bearer token is missing or wrong: send "Authorization: Bearer" with the value of internal.token`
	noPower   = "403 this endpoint needs internal.token, or an internal.listen on a loopback address"
)

func noAddress(a string) string {
	return "403 " + a + " may not call internal endpoints: list it in internal.allow"
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	public := New(Config{})
	own := New(Config{OwnListener: true})
	allow := prefixes("203.0.113.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120")
	publicAllow := New(Config{Allow: allow})
	ownAllow := New(Config{Allow: allow, OwnListener: true})

	// What stands for the address in the verdicts of the four guards: public
	// port, internal.listen, and both with internal.allow.
	f := func(peer, shown string, onPublic, onOwn, allowed bool) {
		t.Helper()
		for _, c := range []struct {
			what string
			g    *Guard
			ok   bool
		}{{"public port", public, onPublic}, {"own listener", own, onOwn}, {"public port with allow", publicAllow, allowed}, {"own listener with allow", ownAllow, allowed}} {
			want := "ok"
			if !c.ok {
				want = noAddress(shown)
			}
			if got := verdict(c.g.Check(request(peer, false, nil))); got != want {
				t.Errorf("%q, %s: %s, want %s", peer, c.what, got, want)
			}
		}
	}
	// loopback and private
	f("127.0.0.1", "127.0.0.1", true, true, false)
	f("127.255.255.254", "127.255.255.254", true, true, false)
	f("::1", "::1", true, true, false)
	f("10.0.0.1", "10.0.0.1", true, true, false)
	f("172.16.0.1", "172.16.0.1", true, true, false)
	f("172.31.255.255", "172.31.255.255", true, true, false)
	f("192.168.1.1", "192.168.1.1", true, true, false)
	f("fc00::1", "fc00::1", true, true, false)
	f("fdff::1", "fdff::1", true, true, false)
	f("fd00::1%eth0", "fd00::1", true, true, false)
	f("::ffff:10.0.0.1", "10.0.0.1", true, true, false)
	f("::ffff:127.0.0.1", "127.0.0.1", true, true, false)
	// neither
	f("172.32.0.1", "172.32.0.1", false, true, false)
	f("100.64.0.1", "100.64.0.1", false, true, false)
	f("169.254.1.1", "169.254.1.1", false, true, false)
	f("fe80::1%eth0", "fe80::1", false, true, false)
	f("::ffff:8.8.8.8", "8.8.8.8", false, true, false)
	f("8.8.8.8", "8.8.8.8", false, true, false)
	f("0.0.0.0", "0.0.0.0", false, true, false)
	f("::", "::", false, true, false)
	f("64:ff9b::a00:1", "64:ff9b::a00:1", false, true, false)
	f("", "a caller without an address", false, true, false)
	// listed
	f("203.0.113.9", "203.0.113.9", false, true, true)
	f("::ffff:203.0.113.9", "203.0.113.9", false, true, true)
	f("203.0.114.1", "203.0.114.1", false, true, false)
	f("2001:db8::5", "2001:db8::5", false, true, true)
	f("2001:db8::5%1", "2001:db8::5", false, true, true)
	f("198.51.100.7", "198.51.100.7", false, true, true)
	f("198.51.101.7", "198.51.101.7", false, true, false)
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	g := New(Config{TrustedProxies: prefixes("10.1.0.0/24", "fd01::/64", "127.0.0.1/32")})
	f := func(peer string, lines []string, want string) {
		t.Helper()
		h := header{}
		if lines != nil {
			h["X-Forwarded-For"] = lines
		}
		if got := verdict(g.Check(request(peer, false, h))); got != want {
			t.Errorf("%s with %q: %s, want %s", peer, lines, got, want)
		}
	}
	malformed := func(peer string) string {
		return "403 X-Forwarded-For from " + peer + " is malformed: mend that proxy, or take it out of internal.trusted-proxies"
	}
	stranger := func(peer string) string {
		return "403 X-Forwarded-For came from " + peer + ": if that is your proxy, list it in internal.trusted-proxies"
	}
	// the proxy itself
	f("10.1.0.5", nil, "ok")
	f("127.0.0.1", nil, "ok")
	// one caller behind it
	f("10.1.0.5", []string{"192.168.7.7"}, "ok")
	f("::ffff:10.1.0.5", []string{"192.168.7.7"}, "ok")
	f("fd01::5%eth0", []string{"192.168.7.7"}, "ok")
	f("10.1.0.5", []string{"8.8.8.8"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"::ffff:8.8.8.8"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"100.64.0.1"}, noAddress("100.64.0.1"))
	// what the caller claims to the left of its own address
	f("10.1.0.5", []string{"127.0.0.1, 8.8.8.8"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"127.0.0.1", "8.8.8.8"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"10.1.0.7, 8.8.8.8"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"unknown, ' or 1=1, 192.168.7.7"}, "ok")
	// a chain of proxies, in one line and in several
	f("10.1.0.5", []string{"8.8.8.8, 10.1.0.7,10.1.0.6"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"8.8.8.8", "10.1.0.7", "10.1.0.6"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"8.8.8.8, 192.168.7.7", "10.1.0.6"}, "ok")
	f("10.1.0.5", []string{"10.1.0.7, fd01::9"}, "ok")
	// ports and brackets
	f("10.1.0.5", []string{"8.8.8.8:4711"}, noAddress("8.8.8.8"))
	f("10.1.0.5", []string{"192.168.7.7:4711"}, "ok")
	f("10.1.0.5", []string{"[2001:db8::1]:4711"}, noAddress("2001:db8::1"))
	f("10.1.0.5", []string{"[fd02::1]"}, "ok")
	f("10.1.0.5", []string{"fe80::1%eth0"}, noAddress("fe80::1"))
	// malformed where it counts
	for _, bad := range []string{"", " ", ",", "8.8.8.8,", "unknown", "_hidden", "192.168.7.7;", "192.168.7", "192.168.007.7", "[192.168.7.7]", "[fd02::1", `"192.168.7.7"`, "192.168.7.7 10.0.0.1", "8.8.8.8, , 10.1.0.6", "for=192.168.7.7", "192.168.7.7:port", "192.168.7.7:99999"} {
		f("10.1.0.5", []string{bad}, malformed("10.1.0.5"))
	}
	f("10.1.0.5", []string{"192.168.7.7", ""}, malformed("10.1.0.5"))
	f("10.1.0.5", []string{"192.168.7.7" + strings.Repeat(", 10.1.0.6", maxHops-1)}, "ok")
	f("10.1.0.5", []string{"192.168.7.7" + strings.Repeat(", 10.1.0.6", maxHops)}, malformed("10.1.0.5"))
	// nobody else is believed
	f("10.1.1.5", []string{"192.168.7.7"}, stranger("10.1.1.5"))
	f("::1", []string{"127.0.0.1"}, stranger("::1"))
	f("8.8.8.8", []string{"127.0.0.1"}, stranger("8.8.8.8"))
	f("10.1.1.5", []string{""}, stranger("10.1.1.5"))

	// The proxy's own address is judged like any other.
	g = New(Config{TrustedProxies: prefixes("8.8.4.4/32"), Allow: prefixes("192.168.0.0/16")})
	f("8.8.4.4", nil, noAddress("8.8.4.4"))
	f("8.8.4.4", []string{"8.8.4.4"}, noAddress("8.8.4.4"))
	f("8.8.4.4", []string{"192.168.7.7"}, "ok")
	f("8.8.4.4", []string{"10.0.0.1"}, noAddress("10.0.0.1"))
	// An own listener without allow restricts no address, but believes nobody either.
	g = New(Config{OwnListener: true, TrustedProxies: prefixes("10.1.0.5/32")})
	f("10.1.0.5", []string{"8.8.8.8"}, "ok")
	f("10.1.0.5", []string{"unknown"}, malformed("10.1.0.5"))
	f("10.1.0.6", []string{"8.8.8.8"}, stranger("10.1.0.6"))
}

func TestProxyHeaders(t *testing.T) {
	t.Parallel()
	names := []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "x-forwarded-server", "X-Forwarded-Whatever",
		"Forwarded", "X-Real-IP", "x-real-ip", "Via", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Original-Forwarded-For",
	}
	for _, name := range names {
		for _, value := range []string{"127.0.0.1", ""} {
			for _, g := range []*Guard{New(Config{}), New(Config{OwnListener: true}), New(Config{Allow: prefixes("0.0.0.0/0")})} {
				got := g.Check(request("127.0.0.1", false, header{name: {value}}))
				if got == nil || got.Status != 403 || !strings.Contains(got.Msg, "internal.trusted-proxies") || !strings.HasPrefix(strings.ToLower(got.Msg), strings.ToLower(name)[:3]) {
					t.Errorf("%s: %q from an untrusted peer: %s", name, value, verdict(got))
				}
			}
			trusting := New(Config{TrustedProxies: prefixes("127.0.0.1/32")})
			h := header{name: {value}, "X-Forwarded-For": {"192.168.7.7"}}
			if got := trusting.Check(request("127.0.0.1", false, h)); got != nil {
				t.Errorf("%s: %q from a trusted proxy: %s", name, value, verdict(got))
			}
			if name == "X-Forwarded-For" {
				continue
			}
			// Forwarded for somebody unnamed: the proxy's address is not the caller's.
			got := trusting.Check(request("127.0.0.1", false, header{name: {value}}))
			if got == nil || got.Status != 403 || !strings.Contains(got.Msg, "without X-Forwarded-For") {
				t.Errorf("%s: %q from a trusted proxy that names no caller: %s", name, value, verdict(got))
			}
		}
	}
	// Headers that only look alike.
	for _, name := range []string{"X-Forwarded", "X-Wx-Forwarded-For", "Viaduct", "User-Agent", "Host"} {
		if got := New(Config{}).Check(request("127.0.0.1", false, header{name: {"x"}})); got != nil {
			t.Errorf("%s: %s", name, verdict(got))
		}
	}
	// Without Values and Names the usual names are still seen.
	for _, name := range names {
		r := request("127.0.0.1", false, header{name: {"x"}})
		r.Values, r.Names = nil, nil
		if got := New(Config{}).Check(r); got == nil && name != "X-Forwarded-Whatever" {
			t.Errorf("%s was not seen", name)
		}
	}
}

func TestBrowsers(t *testing.T) {
	t.Parallel()
	guards := []*Guard{
		New(Config{}), New(Config{OwnListener: true}), New(Config{Allow: prefixes("127.0.0.0/8")}),
		New(Config{TrustedProxies: prefixes("127.0.0.1/32")}), New(Config{Token: "secret"}),
	}
	f := func(h header, want string) {
		t.Helper()
		for i, g := range guards {
			with := header{"Authorization": {"Bearer secret"}}
			maps.Copy(with, h)
			if got := verdict(g.Check(request("127.0.0.1", false, with))); got != want {
				t.Errorf("guard %d with %v: %s, want %s", i, h, got, want)
			}
		}
	}
	f(header{"Origin": {"https://evil.example"}}, noBrowser)
	f(header{"origin": {"null"}}, noBrowser)
	f(header{"Origin": {""}}, noBrowser)
	f(header{"Sec-Fetch-Site": {"cross-site"}}, noSite)
	f(header{"sec-fetch-site": {" Cross-Site "}}, noSite)
	f(header{"Sec-Fetch-Site": {"none", "cross-site"}}, noSite)
	f(header{"Sec-Fetch-Site": {"none"}}, "ok")
	f(header{"Sec-Fetch-Site": {"same-origin"}}, "ok")
	f(header{"Referer": {"https://evil.example"}}, "ok")
}

func TestBearer(t *testing.T) {
	t.Parallel()
	g := New(Config{Token: "se cret="})
	f := func(lines []string, want string) {
		t.Helper()
		if got := verdict(g.Check(request("127.0.0.1", false, header{"Authorization": lines}))); got != want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
	}
	f([]string{"Bearer se cret="}, "ok")
	f([]string{"bearer se cret="}, "ok")
	f([]string{"BEARER   se cret= "}, "ok")
	f(nil, noBearer)
	f([]string{""}, noBearer)
	f([]string{"Bearer"}, noBearer)
	f([]string{"Bearer "}, noBearer)
	f([]string{"Bearer se cret"}, noBearer)
	f([]string{"Bearer se cret=x"}, noBearer)
	f([]string{"Bearer SE CRET="}, noBearer)
	f([]string{"Basic se cret="}, noBearer)
	f([]string{"se cret="}, noBearer)
	f([]string{"Bearerse cret="}, noBearer)
	f([]string{"Bearer se cret=", "Bearer se cret="}, noBearer)
	f([]string{"Bearer wrong", "Bearer se cret="}, noBearer)

	// The address is judged first: strangers learn nothing of the token.
	if got := verdict(g.Check(request("8.8.8.8", false, nil))); got != noAddress("8.8.8.8") {
		t.Errorf("a stranger without the token: %s", got)
	}
	if got := verdict(g.Check(request("8.8.8.8", false, header{"Authorization": {"Bearer se cret="}}))); got != noAddress("8.8.8.8") {
		t.Errorf("a stranger with the token: %s", got)
	}
	// Without a token in the configuration none is asked for, and any is ignored.
	g = New(Config{})
	f(nil, "ok")
	f([]string{"Bearer whatever"}, "ok")
	f([]string{"Bearer "}, "ok")
}

func TestPower(t *testing.T) {
	t.Parallel()
	f := func(c Config, peer string, h header, want string) {
		t.Helper()
		if got := verdict(New(c).Check(request(peer, true, h))); got != want {
			t.Errorf("%+v from %s: %s, want %s", c, peer, got, want)
		}
	}
	token := header{"Authorization": {"Bearer t"}}
	f(Config{}, "127.0.0.1", nil, noPower)
	f(Config{Allow: prefixes("10.0.0.0/8")}, "10.0.0.1", nil, noPower)
	f(Config{Token: "t"}, "127.0.0.1", nil, noBearer)
	f(Config{Token: "t"}, "127.0.0.1", token, "ok")
	f(Config{Token: "t"}, "8.8.8.8", token, noAddress("8.8.8.8"))
	f(Config{OwnListener: true}, "127.0.0.1", nil, "ok")
	f(Config{OwnListener: true}, "::1", nil, "ok")
	f(Config{OwnListener: true}, "10.0.0.1", nil, noPower)
	f(Config{OwnListener: true}, "", nil, noPower)
	f(Config{OwnListener: true, Token: "t"}, "10.0.0.1", token, "ok")
	f(Config{OwnListener: true, Token: "t"}, "127.0.0.1", nil, noBearer)
	// a proxy on this machine in front of a loopback listener
	f(Config{OwnListener: true, TrustedProxies: prefixes("127.0.0.1/32")}, "127.0.0.1", header{"X-Forwarded-For": {"10.0.0.9"}}, "ok")
}

// New keeps copies: a configuration that changes later opens nothing.
func TestNewCopies(t *testing.T) {
	t.Parallel()
	allow := prefixes("10.0.0.0/8")
	g := New(Config{Allow: allow})
	allow[0] = netip.MustParsePrefix("0.0.0.0/0")
	if g.Check(request("8.8.8.8", false, nil)) == nil {
		t.Error("the guard follows its caller's slice")
	}
}

// FuzzForwardedFor holds the walk from the right against a plain one.
func FuzzForwardedFor(f *testing.F) {
	for _, s := range []string{
		"", ",", "8.8.8.8", "8.8.8.8, 10.1.0.6", "10.1.0.6\n10.1.0.7", "unknown, 1.2.3.4", "[fd01::1]:80,[::1]", "::ffff:10.1.0.6, 1.1.1.1:1", "fe80::1%25, 10.1.0.6",
		strings.Repeat("10.1.0.6,", 40),
	} {
		f.Add(s)
	}
	g := New(Config{TrustedProxies: prefixes("10.1.0.0/24", "fd01::/64")})
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		got, ok := g.rightmostStranger(lines)

		entries := strings.Split(strings.Join(lines, ","), ",")
		slices.Reverse(entries)
		var want netip.Addr
		wantOK := true
		for i, e := range entries {
			hop, good := parseHop(e)
			if !good || i == maxHops {
				wantOK = false // want is the last that could be read
				break
			}
			want = hop
			if !contains(g.trusted, want) {
				break
			}
		}
		if got != want || ok != wantOK {
			t.Fatalf("%q: %v, %v, want %v, %v", text, got, ok, want, wantOK)
		}
		if ok && (!got.IsValid() || got.Zone() != "" || got.Is4In6()) {
			t.Fatalf("%q: %v is not plain", text, got)
		}
		r := request("10.1.0.5", false, header{"X-Forwarded-For": lines})
		if refusal := g.Check(r); (refusal == nil) != (ok && (got.IsLoopback() || got.IsPrivate())) {
			t.Fatalf("%q: %s", text, verdict(refusal))
		}
	})
}
