package web

import (
	"net"
	"time"
)

// limits are those of a connection's waits. fasthttp would set three deadlines
// for each request, of which nearly none is ever needed.
type limits struct {
	// read is the time a client has to send a whole request once it has begun,
	// so that dripping bytes holds a connection no longer than that. It is also
	// the time for the first byte of a connection.
	read time.Duration
	// idle is how long an idle keep-alive connection stays open.
	idle time.Duration
	// write is the time a client has to take the answer, or answers where it did
	// not wait for one before it asked again.
	write time.Duration
}

// usual are the limits of every server. Proxies keep an idle connection for 60 s
// themselves, and a push that meets its end would come 5 s later.
var usual = limits{read: 10 * time.Second, idle: 75 * time.Second, write: 30 * time.Second}

// listener gives the connections of a server their limits.
type listener struct {
	net.Listener
	limits *limits
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return limit(c, l.limits), nil
}

// phase is where a connection is between two answers.
type phase struct {
	limits  *limits
	used    bool      // a request has come
	reading bool      // a request has begun
	by      time.Time // when it is to be there; zero until it has to be waited for
	taken   time.Time // when the answer is to be; zero until that has to be waited for
}

// idle reports whether a read of n bytes waits for a request to begin: a server
// with fasthttp's ReduceMemoryUsage reads the first byte of a request alone.
func (p *phase) idle(n int) bool { return n == 1 && !p.reading }

// deadline is that of such a read, if it has to wait now.
func (p *phase) deadline(n int) time.Time {
	now := time.Now()
	switch {
	case !p.idle(n):
		if p.by.IsZero() {
			p.by = now.Add(p.limits.read)
		}
		return p.by
	case p.used:
		return now.Add(p.limits.idle)
	}
	return now.Add(p.limits.read)
}

// read notes that bytes of a request have come.
func (p *phase) read() { p.used, p.reading, p.taken = true, true, time.Time{} }

// takenBy is the deadline of a write, if it has to wait now.
func (p *phase) takenBy() time.Time {
	if p.taken.IsZero() {
		p.taken = time.Now().Add(p.limits.write)
	}
	return p.taken
}

// answered notes that b, of an answer, is about to be written.
func (p *phase) answered(b []byte) {
	if string(b) != goOn {
		p.reading, p.by = false, time.Time{}
	}
}

// goOn is what fasthttp writes to a client that wants to be asked for the body:
// the request's time goes on.
const goOn = "HTTP/1.1 100 Continue\r\n\r\n"

// limited is a connection that sets its deadlines before every read and write.
type limited struct {
	net.Conn
	phase
}

func (c *limited) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.deadline(len(b))); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.phase.read()
	}
	return n, err
}

func (c *limited) Write(b []byte) (int, error) {
	c.answered(b)
	if err := c.SetWriteDeadline(c.takenBy()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
