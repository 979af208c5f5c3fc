package httpc

import "errors"

// Kind is how far a failed call came: what the other side may have done with
// the request depends on it.
type Kind uint8

const (
	// Connect: the request never left. No address, refused, TLS or proxy
	// failure, dial timeout, all connections busy, a URL that cannot be called.
	Connect Kind = iota + 1
	// Reset: a fresh connection ended before the first response byte.
	Reset
	// Timeout: the deadline passed while the request was written or the
	// response awaited or read.
	Timeout
	// Cut: the response began and did not end well, or was no HTTP.
	Cut
	// TooLarge: the response exceeds MaxResponse, or its headers 16 KB.
	TooLarge
	// Canceled: the caller's context was canceled.
	Canceled
)

// String is the word for logs and metrics.
func (k Kind) String() string {
	switch k {
	case Connect:
		return "connect"
	case Reset:
		return "reset"
	case Timeout:
		return "timeout"
	case Cut:
		return "cut"
	case TooLarge:
		return "too large"
	case Canceled:
		return "canceled"
	}
	return "none"
}

// Error is a call without a response. Its text names the host and what
// happened, never the path, the query or anything of the body: secrets live
// there.
type Error struct {
	Kind Kind
	Err  error

	// Status is what the server answered before it became too large: only with
	// TooLarge, and 0 where the headers did not say.
	Status int
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the *Error inside err, 0 when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// StatusOf is the status of a response that was TooLarge, 0 when err is
// anything else.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}
