package httpc

import "bytes"

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
	for {
		var line []byte
		if line, b, ok = cutLine(b); !ok {
			return Response{}, false, false
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := cutHeader(line)
		if !ok {
			return Response{}, false, false
		}
		switch len(name) {
		case len("Connection"):
			if bytes.EqualFold(name, []byte("Connection")) {
				closes = string(value) == "close"
			}
		case len("Content-Type"):
			if bytes.EqualFold(name, []byte("Content-Type")) {
				r.ContentType = value
			}
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if length >= 0 {
					return Response{}, false, false
				}
				if length, ok = digits(value); !ok {
					return Response{}, false, false
				}
			}
		case len("Transfer-Encoding"), len("Trailer"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) || bytes.EqualFold(name, []byte("Trailer")) {
				return Response{}, false, false
			}
		}
	}
	if length != len(b) || length > maxBody {
		return Response{}, false, false
	}
	r.Body = b
	return r, closes, true
}

// cutLine cuts off the first line of b. ok is false where it does not end in
// CR LF, or holds another control character.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			if c == '\r' && i+1 < len(b) && b[i+1] == '\n' {
				return b[:i], b[i+2:], true
			}
			break
		}
	}
	return nil, nil, false
}

// cutHeader takes a header line apart. ok is false where its name holds more
// than letters, digits and hyphens: a line that continues the one before, too.
func cutHeader(line []byte) (name, value []byte, ok bool) {
	for i, c := range line {
		if c == ':' {
			name, value = line[:i], line[i+1:]
			break
		}
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return nil, nil, false
		}
	}
	for len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	for n := len(value); n > 0 && value[n-1] == ' '; n-- {
		value = value[:n-1]
	}
	return name, value, len(name) > 0
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
