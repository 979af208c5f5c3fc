//go:build !unix

package web

import "github.com/valyala/fasthttp"

// PeerGone reports that the client has hung up. Not known on this system.
func PeerGone(*fasthttp.RequestCtx) bool { return false }
