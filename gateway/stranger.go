package gateway

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"wx-gateway/gateway/crypt"
)

// strangerBody bounds a body on the public listener while its sender has not
// shown a signature: thousands of connections that each leave most of max-body
// here and then hold still would take gigabytes. It is no more than what a
// connection's read buffer takes anyway, and enough for what is refused with a
// reason of its own.
const strangerBody = 16 << 10

// bodyLimit is how many bytes of a request's body are read on the public
// listener, judged by its headers. A small body, which every usual push has, is
// not judged.
func (s *site) bodyLimit(h *fasthttp.RequestHeader) int {
	if n := h.ContentLength(); n <= strangerBody && n != chunked {
		return s.maxBody
	}
	path, query, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	box, outside := s.boxes[string(path)]
	if outside && signed(box, query) || !outside && s.public.find(path) != nil { // an endpoint
		return s.maxBody
	}
	return min(s.maxBody, strangerBody)
}

// chunked is what fasthttp gives as the length of a body in chunks.
const chunked = -1

// signed reports whether a query has a right signature; without a box none is.
func signed(box *crypt.Box, query []byte) bool {
	if box == nil {
		return false
	}
	a := fasthttp.AcquireArgs()
	defer fasthttp.ReleaseArgs(a)
	a.ParseBytes(query)
	_, err := box.Verify(a.Peek("signature"), a.Peek("timestamp"), a.Peek("nonce"))
	return err == nil
}
