package httpc

import "strings"

// plain reads a response that lies whole in b and has nothing unusual in its
// headers, as nearly all have not: fasthttp takes several times as long, since
// it keeps every header. ok is false for whatever else b holds, which fasthttp
// is left to judge; FuzzPlain holds both to one result. closes says that the
// connection ends with this response. The slices of r are b's.
func plain(b []byte, maxBody int) (r Response, closes, ok bool) {
	const version = "HTTP/1.1 "
	if len(b) < len(version)+len("200") || string(b[:len(version)]) != version {
		return Response{}, false, false
	}
	first, b, ok := cutLine(b[len(version):])
	if !ok {
		return Response{}, false, false
	}
	r.Status, ok = digits(first[:min(3, len(first))])
	// Interim responses, 204 and 304 have no body, whatever their headers say.
	if !ok || r.Status < 200 || r.Status == 204 || r.Status == 304 || len(first) > 3 && first[3] != ' ' {
		return Response{}, false, false
	}
	length := -1
	for len(b) < len(crlf) || string(b[:len(crlf)]) != crlf {
		var name, value []byte
		if name, value, b, ok = cutHeader(b); !ok {
			return Response{}, false, false
		}
		switch len(name) {
		case len("Connection"):
			if isNamed(name, "Connection") {
				closes = string(value) == "close"
			}
		case len("Content-Type"):
			if isNamed(name, "Content-Type") {
				r.ContentType = value
			}
		case len("Content-Length"):
			if isNamed(name, "Content-Length") {
				if length >= 0 {
					return Response{}, false, false
				}
				if length, ok = digits(value); !ok {
					return Response{}, false, false
				}
			}
		case len("Transfer-Encoding"), len("Trailer"):
			if isNamed(name, "Transfer-Encoding") || isNamed(name, "Trailer") {
				return Response{}, false, false
			}
		}
	}
	b = b[len(crlf):]
	if length != len(b) || length > maxBody {
		return Response{}, false, false
	}
	r.Body = b
	return r, closes, true
}

const crlf = "\r\n"

// cutLine cuts off the first line of b. ok is false where it does not end in
// CR LF, or holds more than printable ASCII.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	for i, c := range b {
		if c-' ' > '~'-' ' {
			if c == '\r' && i+1 < len(b) && b[i+1] == '\n' {
				return b[:i], b[i+2:], true
			}
			break
		}
	}
	return nil, nil, false
}

// cutHeader cuts off the first header of b. ok is false where its name holds
// more than letters, digits and hyphens, so where the line continues the one
// before, too.
func cutHeader(b []byte) (name, value, rest []byte, ok bool) {
	n := 0
	for n < len(b) && inNames[b[n]] {
		n++
	}
	if n == 0 || n == len(b) || b[n] != ':' {
		return nil, nil, nil, false
	}
	value, rest, ok = cutLine(b[n+1:])
	for len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	for len(value) > 0 && value[len(value)-1] == ' ' {
		value = value[:len(value)-1]
	}
	return b[:n], value, rest, ok
}

// inNames are the bytes of usual header names.
var inNames = func() (table [256]bool) {
	for _, c := range "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		table[c] = true
	}
	return table
}()

// isNamed compares without regard to case; most servers write the usual one.
func isNamed(name []byte, usual string) bool {
	return string(name) == usual || strings.EqualFold(string(name), usual)
}

// digits is the number that b says, of one to nine digits.
func digits(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
