// Package codec is the one place that turns Go values into JSON and back.
//
// It refuses what a lenient reader would guess at: invalid UTF-8, text after
// the value, nesting deeper than MaxDepth, anything outside the grammar of
// RFC 8259. The whole document is checked by one flat pass before a decoder
// sees it, so hostile input costs no more than its own length. Numbers that
// have no Go type to go to stay Number, digit for digit: WeChat's ids do not
// fit into a float64.
//
// The work is done by json-iterator, or with the build tag stdjson by
// encoding/json; both give the same values and the same bytes. Errors name
// the place and the Go field, never the text of the document: answers of
// WeChat's API hold tokens.
//
// Types that come here are plain structs, maps with string keys, slices,
// strings, numbers and RawMessage. Where the two libraries differ beyond
// repair, these types stay away from it: no tag option omitzero or string;
// and of two fields whose names differ only in case (MsgId, MsgID), a key in a
// third spelling may go to either.
package codec

import (
	"encoding/json"
	"fmt"
)

// RawMessage is JSON that is passed on without being decoded.
type RawMessage = json.RawMessage

// Number is a JSON number kept digit for digit: WeChat's ids exceed 2^53.
type Number = json.Number

// MaxDepth is how many arrays and objects may stand inside one another.
const MaxDepth = 512

// A SyntaxError tells where a document stops being acceptable JSON.
type SyntaxError struct {
	Offset int    // bytes before the fault
	Reason string // what is wrong there, without the text itself
}

// Error words the fault as "invalid JSON at byte 12: a string is not closed".
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Reason)
}

// Marshal returns v as compact JSON: no HTML escaping, the keys of maps
// sorted. A RawMessage in v must hold valid JSON; its blanks are dropped.
// Whatever Marshal returns, Valid accepts.
func Marshal(v any) ([]byte, error) {
	data, err := encode(v)
	if err != nil {
		return nil, fmt.Errorf("cannot encode %T as JSON: %w", v, err)
	}
	// Marshalers and raw values bring text of their own: it is held to what
	// Unmarshal would take.
	if _, err := scan(data); err != nil {
		return nil, fmt.Errorf("cannot encode %T as JSON: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes the one JSON value in data into the pointer v, as
// encoding/json does: unknown keys are skipped, null leaves strings and
// numbers as they were, a number without a Go type becomes a Number. Text
// that is not acceptable JSON gives a *SyntaxError. After an error the
// content of v is not to be used.
func Unmarshal(data []byte, v any) error {
	odd, err := scan(data)
	if err != nil {
		return err
	}
	if odd {
		err = stdDecode(data, v)
	} else {
		err = decode(data, v)
	}
	if err != nil {
		return fmt.Errorf("cannot decode JSON: %w", err)
	}
	return nil
}

// Valid reports whether data is one JSON value that Unmarshal would accept.
func Valid(data []byte) bool {
	_, err := scan(data)
	return err == nil
}
