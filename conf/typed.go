package conf

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// flag returns the switch under key and whether the file has it.
func (o *object) flag(key string) (value, set bool) {
	raw := o.take(key)
	switch {
	case raw == nil:
		return false, false
	case raw[0] == 't' || raw[0] == 'f':
		return raw[0] == 't', true
	case raw[0] != '"':
		o.fault(key, "must be true or false, got %s", jsonType(raw))
		return false, false
	}
	t := o.r.text(raw, o.at(key))
	switch {
	case !t.set:
	case !t.replaced:
		o.fault(key, "must be true or false, got a string")
	case t.value == "true" || t.value == "false":
		return t.value == "true", true
	default:
		o.fault(key, "must be true or false, and the value of %s is neither", quote(t.written))
	}
	return false, false
}

// scalar returns a value that may be a number or a string; ok is false when it is absent or neither.
// A string counts when strings says so, and when its text comes from the environment or a file:
// those know strings only. Among strings an empty one counts as absent.
func (o *object) scalar(key, want string, strings bool) (value, written string, ok bool) {
	raw := o.take(key)
	if raw == nil {
		return "", "", false
	}
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		return string(raw), string(raw), true
	}
	if raw[0] == '"' {
		t := o.r.text(raw, o.at(key))
		if strings || t.replaced || !t.set {
			return t.value, t.written, t.set && (t.value != "" || !strings)
		}
	}
	o.fault(key, "must be %s, got %s", want, jsonType(raw))
	return "", "", false
}

// integer returns the whole number under key, def when it is absent.
func (o *object) integer(key string, def, lo, hi int) int {
	value, written, ok := o.scalar(key, "a number", false)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		o.fault(key, "must be a whole number between %d and %d, got %s", lo, hi, shorten(written))
		return def
	}
	if n < lo || n > hi {
		o.fault(key, "must be between %d and %d, got %s", lo, hi, shorten(written))
		return def
	}
	return n
}

// duration returns the time span under key, def when it is absent.
func (o *object) duration(key string, def, lo, hi time.Duration) time.Duration {
	const want = `a time span like "120s", "10m" or "24h", or a number of seconds`
	value, written, ok := o.scalar(key, want, true)
	if !ok {
		return def
	}
	d, err := parseDuration(value)
	if err != nil {
		o.fault(key, "must be %s, got %s", want, quote(written))
		return def
	}
	if d < lo || d > hi {
		o.fault(key, "must be between %s and %s, got %s", span(lo), span(hi), quote(written))
		return def
	}
	return d
}

// size returns the number of bytes under key, def when it is absent.
func (o *object) size(key string, def, lo, hi int) int {
	const want = `a size like "512KiB" or "1MiB", or a number of bytes`
	value, written, ok := o.scalar(key, want, true)
	if !ok {
		return def
	}
	n, err := parseSize(value)
	if err != nil {
		o.fault(key, "must be %s, got %s", want, quote(written))
		return def
	}
	if n < lo || n > hi {
		o.fault(key, "must be between %s and %s, got %s", sizeText(lo), sizeText(hi), quote(written))
		return def
	}
	return n
}

// checked returns the string under key if it passes check; "" passes always and means absent.
func (o *object) checked(key string, check func(string) error) string {
	t := o.text(key)
	if t.value == "" {
		return ""
	}
	if err := check(t.value); err != nil {
		o.fault(key, "%s, got %s", err, quote(t.written))
		return ""
	}
	return t.value
}

// hidden does what checked does for values that may hold a secret: a fault does not quote them.
func (o *object) hidden(key string, check func(string) error) string {
	value := o.str(key)
	if value == "" {
		return ""
	}
	if err := check(value); err != nil {
		o.fault(key, "%s", err)
		return ""
	}
	return value
}

// urlPath returns the path under key that the gateway serves.
func (o *object) urlPath(key string) string {
	path := o.checked(key, checkPath)
	if strings.ContainsFunc(path, func(r rune) bool { return r > unicode.MaxASCII }) {
		u := url.URL{Path: path}
		o.warn(key, "never matches, since such letters arrive percent-encoded; write %s", quote(u.EscapedPath()))
	}
	return path
}

// prefix returns the path under key beneath which everything belongs to one endpoint, without a slash at its end.
func (o *object) prefix(key string) string {
	path := o.urlPath(key)
	if strings.Trim(path, "/") == "" && path != "" {
		o.fault(key, `must not be "/" alone, which would take every path`)
		return ""
	}
	return strings.TrimRight(path, "/")
}

// base returns the URL under key that WeChat's paths are appended to, without a slash at its end.
func (o *object) base(key, def string) string {
	return strings.TrimRight(cmp.Or(o.hidden(key, checkBase), def), "/")
}

// prefixes returns the addresses and networks under key.
func (o *object) prefixes(key string) []netip.Prefix {
	var list []netip.Prefix
	for i, t := range o.list(key, maxList) {
		if !t.set {
			continue // a fault already
		}
		p, err := parsePrefix(t.value)
		if err != nil {
			o.r.fault(index(o.at(key), i), "%s, got %s", err, quote(t.written))
			continue
		}
		list = append(list, p)
	}
	return list
}

// secrets returns the strings under key as Secrets, each of which must pass check.
func (o *object) secrets(key string, limit int, check func(string) error) []Secret {
	var list []Secret
	for i, t := range o.list(key, limit) {
		if !t.set {
			continue
		}
		if err := check(t.value); err != nil {
			o.r.fault(index(o.at(key), i), "%s", err)
			continue
		}
		list = append(list, Secret(t.value))
	}
	return list
}

// overlap reports whether two host:port pairs to listen on would meet. Port 0 never does.
func overlap(hostA, portA, hostB, portB string) bool {
	if portA != portB || portA == "0" {
		return false
	}
	return everywhere(hostA) || everywhere(hostB) || net.JoinHostPort(hostA, portA) == net.JoinHostPort(hostB, portB)
}
