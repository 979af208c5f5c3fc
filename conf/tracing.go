package conf

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxHeaders bounds tracing.headers.
const maxHeaders = 32

func readTracing(o *object) Tracing {
	t := Tracing{
		Endpoint: strings.TrimRight(o.hidden("endpoint", checkEndpoint), "/"),
		Sample:   o.fraction("sample", 1),
		Headers:  o.headers("headers"),
	}
	if u, err := url.Parse(t.Endpoint); err == nil && u.Scheme == "http" && len(t.Headers) > 0 && !loopback(u.Hostname()) {
		o.warn("endpoint", "sends tracing.headers unencrypted; use https outside a test")
	}
	o.done()
	return t
}

// checkEndpoint judges the URL of a collector.
func checkEndpoint(s string) error {
	if err := checkBase(s); err != nil {
		return err
	}
	if u, err := url.Parse(s); err != nil || u.User != nil {
		return errors.New("must not hold a user or a password; put them into tracing.headers")
	}
	return nil
}

// fraction returns the number between 0 and 1 under key, def when it is absent.
func (o *object) fraction(key string, def float64) float64 {
	value, written, ok := o.scalar(key, "a number", false)
	if !ok {
		return def
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || !(f >= 0 && f <= 1) { // so that NaN is refused too
		o.fault(key, "must be a number between 0 and 1, got %s", shorten(written))
		return def
	}
	return f
}

// headers returns the HTTP headers under key, sorted by name. The names are free, so nothing is known to be misspelt.
func (o *object) headers(key string) []Header {
	h := o.object(key)
	if len(h.last) > maxHeaders {
		o.fault(key, "holds more than %d headers", maxHeaders)
		return nil
	}
	var list []Header
	for i, m := range h.members {
		name, raw := m.key, m.value
		if h.last[name] != i || string(raw) == "null" || isNote(name) {
			continue
		}
		at := h.at(shorten(name))
		if err := checkHeaderName(name); err != nil {
			o.r.fault(at, "%s", err)
			continue
		}
		value := o.r.text(raw, at)
		if strings.ContainsFunc(value.value, func(r rune) bool { return r < ' ' || r > '~' }) {
			o.r.fault(at, "must hold printable ASCII alone: it is the value of a header")
			continue
		}
		list = append(list, Header{name, Secret(value.value)})
	}
	slices.SortFunc(list, func(a, b Header) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// checkHeaderName judges the name of a header.
func checkHeaderName(name string) error {
	const marks = "!#$%&'*+-.^_`|~"
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(marks, r))
	}) {
		return errors.New(`is no name of a header; write it like "Authorization"`)
	}
	switch strings.ToLower(name) {
	case "host", "connection", "content-type", "content-length", "content-encoding", "transfer-encoding":
		return errors.New("is set by the exporter itself; remove it")
	}
	return nil
}
