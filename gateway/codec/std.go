package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// stdDecode decodes a document that passed scan with encoding/json.
func stdDecode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return withoutText(d.Decode(v))
}

// stdEncode encodes v with encoding/json.
func stdEncode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// withoutText takes the document's own text out of an error of
// encoding/json, which quotes numbers that do not fit.
func withoutText(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		found, _, _ := strings.Cut(mismatch.Value, " ") // "number 12.5" → "number"
		if mismatch.Field == "" {
			return fmt.Errorf("%s where %s is wanted", found, wanted(mismatch.Type))
		}
		return fmt.Errorf("field %q: %s where %s is wanted", mismatch.Field, found, wanted(mismatch.Type))
	case strings.HasPrefix(err.Error(), "json: invalid number literal"):
		return errors.New("string where a number is wanted")
	default:
		return err
	}
}

// wanted names a type by what stands for it in JSON: these errors reach callers
// who know nothing of Go.
func wanted(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return t.String()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	}
	return t.String()
}
