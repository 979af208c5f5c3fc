//go:build !stdjson

package codec

import (
	"encoding/json"
	"fmt"
	"reflect"

	jsoniter "github.com/json-iterator/go"
)

// api is json-iterator with what it does differently from encoding/json put
// right by parity. Its own ValidateJsonRawMessage stays off: it writes null
// in place of a bad RawMessage, where parity reports an error.
var api = func() jsoniter.API {
	a := jsoniter.Config{UseNumber: true, SortMapKeys: true}.Froze()
	a.RegisterExtension(&parity{})
	return a
}()

func encode(v any) ([]byte, error) { return api.Marshal(v) }

func decode(data []byte, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)}
	}
	if api.Unmarshal(data, v) == nil {
		return nil
	}
	// json-iterator's errors quote up to a hundred bytes of the document.
	// encoding/json is asked for words that do not.
	if err := stdDecode(data, reflect.New(target.Type().Elem()).Interface()); err != nil {
		return err
	}
	return fmt.Errorf("the document does not fit %s", target.Type().Elem())
}
