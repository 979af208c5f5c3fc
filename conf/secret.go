package conf

import (
	"fmt"
	"io"
	"log/slog"
)

// masked is what every encoder and verb shows instead of a secret.
const masked = "[redacted]"

// Secret is a string that no encoder, fmt verb or logger shows: a token, key or password of the configuration.
// Comparing with == is for "is it set" and for configurations among themselves; what comes from outside
// is compared in constant time, by the package that uses the secret.
type Secret string

// Reveal returns the secret itself. Grep for it to audit every use.
func (s Secret) Reveal() string { return string(s) }

// String returns the mask.
func (Secret) String() string { return masked }

// GoString returns the mask, for %#v.
func (Secret) GoString() string { return masked }

// Format writes the mask for every verb: without it %d and %x would print the string itself.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, masked) }

// LogValue returns the mask for log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalText returns the mask for encoders of JSON, XML and other texts.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }
