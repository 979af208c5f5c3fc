//go:build !unix

package web

import "net"

// thrifty returns nc as it is: only where sockets can be read without waiting
// is there something to save.
func thrifty(nc net.Conn) net.Conn { return nc }
