//go:build !unix

package web

import "net"

// limit gives a connection its limits. Only where sockets can be read and written
// without waiting is there more to save.
func limit(c net.Conn, l *limits) net.Conn { return &limited{c, phase{limits: l}} }
