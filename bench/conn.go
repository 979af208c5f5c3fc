package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
)

// bufferSize holds any request or answer of the load.
const bufferSize = 8 << 10

// conn is one keep-alive connection of the load. It writes and reads plain
// bytes: a whole HTTP client would take more of the processors than the
// proxy that is measured.
type conn struct {
	addr string
	line line
	net.Conn
}

func (c *conn) dial() (err error) {
	c.Conn, err = net.Dial("tcp", c.addr)
	return err
}

// push sends one push and reads its answer. After an error of the connection
// the next push dials anew.
func (c *conn) push(out, in []byte) error {
	if c.Conn == nil {
		if err := c.dial(); err != nil {
			return err
		}
	}
	_, err := c.Write(c.line.next(out))
	if err == nil {
		err = readAnswer(c, in)
	}
	if err != nil && !errors.Is(err, errAnswer) {
		c.Close()
		c.Conn = nil
	}
	return err
}

// errAnswer: the connection is sound, the answer is not what the backend said.
var errAnswer = errors.New("a push was not answered as it should be")

// readAnswer reads one answer into buf.
func readAnswer(r io.Reader, buf []byte) error {
	for n := 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
		if whole, err := answered(buf[:n]); whole || err != nil {
			return err
		}
	}
	return fmt.Errorf("an answer is longer than %d bytes", len(buf))
}

// answered reports whether b is a whole answer, and what is wrong with it.
func answered(b []byte) (bool, error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return false, nil
	}
	const name = "\r\nContent-Length: "
	at := bytes.Index(b[:head], []byte(name))
	if at < 0 {
		return false, fmt.Errorf("an answer has no Content-Length: %q", b)
	}
	length := 0
	for _, d := range b[at+len(name) : head] {
		if d < '0' || d > '9' {
			break
		}
		length = length*10 + int(d-'0')
	}
	switch body := b[head+4:]; {
	case len(body) < length:
		return false, nil
	case len(body) > length:
		return true, fmt.Errorf("more bytes than the answer has: %q", b)
	case !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")), length < len("success?"):
		return true, fmt.Errorf("%w: %q", errAnswer, b)
	}
	return true, nil
}
