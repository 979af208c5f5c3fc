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

// slack is how far a deadline that is in force may lie before the one asked
// for: fasthttp sets three of them for every request, a minute or half of one
// ahead, and nearly none is ever needed.
const slack = time.Second

// serves reports that the deadline in force serves for want as well.
func serves(inForce, want time.Time) bool {
	return !inForce.IsZero() && !want.Before(inForce) && want.Sub(inForce) <= slack
}
