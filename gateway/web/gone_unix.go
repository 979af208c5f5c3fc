//go:build unix

package web

import (
	"net"
	"syscall"

	"github.com/valyala/fasthttp"
)

// PeerGone reports that the client has closed its side of the connection, so
// that an answer would reach nobody: WeChat cuts at 5 s, and nginx passes that
// on. It looks into the socket without taking a byte.
func PeerGone(ctx *fasthttp.RequestCtx) bool {
	sc, ok := ctx.Conn().(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch err {
		case nil:
			gone = n == 0 // end of stream
		case syscall.EAGAIN, syscall.EINTR:
		default:
			gone = true // reset
		}
	})
	return gone || err != nil
}

var _ syscall.Conn = (*net.TCPConn)(nil)
