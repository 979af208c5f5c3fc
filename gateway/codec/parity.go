//go:build !stdjson

package codec

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unsafe"

	jsoniter "github.com/json-iterator/go"
	"github.com/modern-go/reflect2"
)

// parity makes json-iterator read and write what encoding/json does, where
// the two differ:
//
//   - null resets strings and numbers instead of leaving them
//   - a RawMessage keeps the blanks before its value, turns null into nil and
//     is written with its blanks
//   - some integers beyond 64 bits wrap around: 21000000000000000000
//   - any string passes as a Number, and any text in a Number is written
//   - base64 with an escaped slash is refused
//   - what a json.Marshaler returns is written unchecked
//   - strings are written with invalid UTF-8, floats with a two-digit exponent
type parity struct{ jsoniter.DummyExtension }

var (
	numberType      = reflect.TypeFor[json.Number]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	bytesType       = reflect.TypeFor[[]byte]()
	marshalerType   = reflect.TypeFor[json.Marshaler]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textType        = reflect.TypeFor[encoding.TextUnmarshaler]()
)

var errNotNumber = errors.New("a Number that is no JSON number")

func (*parity) CreateDecoder(typ reflect2.Type) jsoniter.ValDecoder {
	switch typ.Type1() {
	case numberType:
		return decoderFunc(decodeNumber)
	case rawType:
		return decoderFunc(decodeRaw)
	case reflect.TypeFor[int]():
		return decodeInt[int](strconv.IntSize)
	case reflect.TypeFor[int8]():
		return decodeInt[int8](8)
	case reflect.TypeFor[int16]():
		return decodeInt[int16](16)
	case reflect.TypeFor[int32]():
		return decodeInt[int32](32)
	case reflect.TypeFor[int64]():
		return decodeInt[int64](64)
	case reflect.TypeFor[uint]():
		return decodeUint[uint](strconv.IntSize)
	case reflect.TypeFor[uint8]():
		return decodeUint[uint8](8)
	case reflect.TypeFor[uint16]():
		return decodeUint[uint16](16)
	case reflect.TypeFor[uint32]():
		return decodeUint[uint32](32)
	case reflect.TypeFor[uint64]():
		return decodeUint[uint64](64)
	case reflect.TypeFor[float32]():
		return decodeFloat[float32](32)
	case reflect.TypeFor[float64]():
		return decodeFloat[float64](64)
	}
	return nil
}

// DecorateDecoder guards every decoder against null as encoding/json does.
func (*parity) DecorateDecoder(typ reflect2.Type, d jsoniter.ValDecoder) jsoniter.ValDecoder {
	t := typ.Type1()
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		return d // null is the type's own business
	}
	if reflect.PointerTo(t).Implements(textType) && t.Kind() != reflect.Pointer {
		return decoderFunc(func(p unsafe.Pointer, it *jsoniter.Iterator) {
			switch {
			case it.ReadNil():
			case it.WhatIsNext() != jsoniter.StringValue:
				it.ReportError("decode text", "not a string")
			default:
				d.Decode(p, it)
			}
		})
	}
	if t == bytesType {
		return decoderFunc(func(p unsafe.Pointer, it *jsoniter.Iterator) {
			if it.WhatIsNext() == jsoniter.StringValue {
				decodeBase64(p, it)
			} else {
				d.Decode(p, it)
			}
		})
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		return d // null sets them to nil
	}
	return decoderFunc(func(p unsafe.Pointer, it *jsoniter.Iterator) {
		if !it.ReadNil() {
			d.Decode(p, it)
		}
	})
}

func (*parity) CreateEncoder(typ reflect2.Type) jsoniter.ValEncoder {
	switch t := typ.Type1(); t {
	case numberType:
		return encoder[json.Number]{writeNumber, func(n json.Number) bool { return n == "" }}
	case rawType:
		return encoder[json.RawMessage]{writeRaw, func(r json.RawMessage) bool { return len(r) == 0 }}
	case reflect.TypeFor[string]():
		return encoder[string]{
			func(s string, st *jsoniter.Stream) { st.SetBuffer(AppendString(st.Buffer(), s)) },
			func(s string) bool { return s == "" },
		}
	case reflect.TypeFor[float64]():
		return encoder[float64]{
			func(f float64, st *jsoniter.Stream) { writeFloat(f, 64, st) },
			func(f float64) bool { return f == 0 },
		}
	case reflect.TypeFor[float32]():
		return encoder[float32]{
			func(f float32, st *jsoniter.Stream) { writeFloat(float64(f), 32, st) },
			func(f float32) bool { return f == 0 },
		}
	}
	return nil
}

// DecorateEncoder checks and compacts what marshalers write.
func (*parity) DecorateEncoder(typ reflect2.Type, e jsoniter.ValEncoder) jsoniter.ValEncoder {
	t := typ.Type1()
	if t == rawType || !reflect.PointerTo(t).Implements(marshalerType) && !t.Implements(marshalerType) {
		return e
	}
	return compactEncoder{e}
}

type compactEncoder struct{ jsoniter.ValEncoder }

func (e compactEncoder) Encode(p unsafe.Pointer, st *jsoniter.Stream) {
	start := st.Buffered()
	e.ValEncoder.Encode(p, st)
	if st.Error != nil {
		return
	}
	raw := bytes.Clone(st.Buffer()[start:])
	st.SetBuffer(st.Buffer()[:start])
	writeCompact(raw, st)
}

type decoderFunc func(unsafe.Pointer, *jsoniter.Iterator)

func (f decoderFunc) Decode(p unsafe.Pointer, it *jsoniter.Iterator) { f(p, it) }

type encoder[T any] struct {
	write func(T, *jsoniter.Stream)
	empty func(T) bool
}

func (e encoder[T]) Encode(p unsafe.Pointer, st *jsoniter.Stream) { e.write(*(*T)(p), st) }
func (e encoder[T]) IsEmpty(p unsafe.Pointer) bool                { return e.empty(*(*T)(p)) }

// fail keeps the first error of a stream.
func fail(st *jsoniter.Stream, err error) {
	if st.Error == nil {
		st.Error = err
	}
}

func isNumber(s string) bool {
	end, _ := scanNumber([]byte(s), 0)
	return end > 0 && end == len(s)
}

func decodeNumber(p unsafe.Pointer, it *jsoniter.Iterator) {
	switch it.WhatIsNext() {
	case jsoniter.NumberValue:
		*(*json.Number)(p) = it.ReadNumber()
	case jsoniter.StringValue:
		s := it.ReadString()
		if !isNumber(s) {
			it.ReportError("decode number", "a string that is no number")
			return
		}
		*(*json.Number)(p) = json.Number(s)
	default:
		it.ReportError("decode number", "neither number nor string")
	}
}

func decodeInt[T int | int8 | int16 | int32 | int64](size int) decoderFunc {
	return func(p unsafe.Pointer, it *jsoniter.Iterator) {
		n, err := strconv.ParseInt(string(it.ReadNumber()), 10, size)
		if err != nil {
			it.ReportError("decode integer", "not an integer of this size")
			return
		}
		*(*T)(p) = T(n)
	}
}

func decodeUint[T uint | uint8 | uint16 | uint32 | uint64](size int) decoderFunc {
	return func(p unsafe.Pointer, it *jsoniter.Iterator) {
		n, err := strconv.ParseUint(string(it.ReadNumber()), 10, size)
		if err != nil {
			it.ReportError("decode integer", "not an integer of this size")
			return
		}
		*(*T)(p) = T(n)
	}
}

func decodeFloat[T float32 | float64](size int) decoderFunc {
	return func(p unsafe.Pointer, it *jsoniter.Iterator) {
		f, err := strconv.ParseFloat(string(it.ReadNumber()), size)
		if err != nil {
			it.ReportError("decode float", "not a float of this size")
			return
		}
		*(*T)(p) = T(f)
	}
}

func decodeRaw(p unsafe.Pointer, it *jsoniter.Iterator) {
	it.WhatIsNext() // steps over the blanks
	*(*json.RawMessage)(p) = it.SkipAndReturnBytes()
}

func decodeBase64(p unsafe.Pointer, it *jsoniter.Iterator) {
	b, err := base64.StdEncoding.DecodeString(it.ReadString())
	if err != nil {
		it.ReportError("decode bytes", "not base64")
		return
	}
	*(*[]byte)(p) = b
}

func writeNumber(n json.Number, st *jsoniter.Stream) {
	if n == "" {
		n = "0" // as encoding/json has always written the zero Number
	}
	if !isNumber(string(n)) {
		fail(st, errNotNumber)
		return
	}
	st.WriteRaw(string(n))
}

func writeRaw(raw json.RawMessage, st *jsoniter.Stream) {
	if raw == nil {
		st.WriteNil()
		return
	}
	writeCompact(raw, st)
}

// writeCompact writes a JSON value that somebody else made, without blanks.
func writeCompact(raw []byte, st *jsoniter.Stream) {
	// Checked on its own: "1,2" would become valid inside an array.
	if _, err := scan(raw); err != nil {
		fail(st, fmt.Errorf("raw value: %w", err))
		return
	}
	b := st.Buffer()
	quoted := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			b = append(b, c)
			i++ // the escaped byte cannot end the string
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		b = append(b, raw[i])
	}
	st.SetBuffer(b)
}

func writeFloat(f float64, size int, st *jsoniter.Stream) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		fail(st, errors.New("a float that is not finite"))
		return
	}
	// ES6 number formatting, as in encoding/json.
	format := byte('f')
	if a := math.Abs(f); a != 0 {
		if size == 64 && (a < 1e-6 || a >= 1e21) || size == 32 && (float32(a) < 1e-6 || float32(a) >= 1e21) {
			format = 'e'
		}
	}
	b := strconv.AppendFloat(st.Buffer(), f, format, -1, size)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 → e-9
		b = b[:n-1]
	}
	st.SetBuffer(b)
}
