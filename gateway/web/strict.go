package web

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"
)

var errAmbiguous = errors.New("its headers can be read in two ways")

// ambiguous reports whether a proxy in front may have read the headers of a
// request in another way than fasthttp did, so that what the proxy took for a
// part of it, a second request, would be answered: a length beside an encoding,
// a folded line, a bare line feed. RFC 9112 allows to refuse each of them.
func ambiguous(h *fasthttp.RequestHeader) bool {
	encoded, measured := false, false
	for rest := h.RawHeaders(); len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 1 || rest[i-1] != '\r' {
			return true
		}
		switch line := rest[:i-1]; rest[0] {
		case ' ', '\t':
			return true
		case 'c', 'C':
			if _, ok := valueOf(line, fasthttp.HeaderContentLength); ok {
				measured = true
			}
		case 't', 'T':
			if v, ok := valueOf(line, fasthttp.HeaderTransferEncoding); ok {
				encoded = true
				if !bytes.EqualFold(v, []byte("chunked")) {
					return true // "identity", which fasthttp passes over
				}
			}
		}
		rest = rest[i+1:]
	}
	return encoded && measured
}

// valueOf is the value of a header line of that name.
func valueOf(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.Trim(line[len(name)+1:], " \t"), true
}
