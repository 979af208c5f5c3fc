package web

import (
	"net"
	"time"
)

// Listen is net.Listen with connections that cost a server of small requests
// less: see conn.
func Listen(network, addr string) (net.Listener, error) {
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return listener{l}, nil
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return thrifty(c), nil
}

// How far a deadline that is in force may lie before the one asked for: fasthttp
// sets three of them for every request, and nearly none is ever needed.
const (
	slack     = time.Second     // of the 10 s for a request that has begun
	longSlack = 5 * time.Second // of the 60 s between two, and of the 30 s for an answer
)

// serves reports that the deadline in force serves for want as well.
func serves(inForce, want time.Time, slack time.Duration) bool {
	return !inForce.IsZero() && !want.Before(inForce) && want.Sub(inForce) <= slack
}
