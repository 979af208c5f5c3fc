package backend

import (
	"errors"
	"fmt"
)

// Fate is what becomes of a push whose call did not bring an answer.
type Fate uint8

const (
	// Unreached: the backend did nothing (no connection, reset before the
	// first byte, 502, 503, 504, full line, open breaker). Worth another try
	// within the inline time.
	Unreached Fate = iota + 1
	// Failed: the backend had the push and failed (other 5xx, 408, 425, 429),
	// or is set up wrongly (3xx, 401, 403, 407). Kept for redelivery.
	Failed
	// TimedOut: the push was written and no answer came in time; the backend
	// may have acted on it.
	TimedOut
	// Unhandled: the backend does not want this kind of push (other 4xx).
	Unhandled
	// Unusable: the backend took the push, but its answer makes no sense.
	Unusable
)

// Kept reports whether a push of this fate is delivered again later.
func (f Fate) Kept() bool { return f == Unreached || f == Failed || f == TimedOut }

// String is the word for logs and metrics.
func (f Fate) String() string {
	switch f {
	case Unreached:
		return "unreached"
	case Failed:
		return "failed"
	case TimedOut:
		return "timeout"
	case Unhandled:
		return "unhandled"
	case Unusable:
		return "unusable"
	}
	return "none"
}

// Error is a call that brought no answer.
type Error struct {
	Fate   Fate
	Status int    // HTTP status, 0 when there was none
	Mend   string // what the operator should change, "" when it may pass by itself
	Err    error

	Unsent  bool // the push never left: the backend cannot know of it
	untried bool // says nothing about the backend: it was never called
}

func (e *Error) Error() string {
	text := e.Fate.String()
	if e.Status != 0 {
		text = fmt.Sprintf("backend answered %d", e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Mend != "" {
		text += " (" + e.Mend + ")"
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// FateOf is the fate inside err; an unknown error counts as Failed.
func FateOf(err error) Fate {
	var e *Error
	if errors.As(err, &e) {
		return e.Fate
	}
	return Failed
}
