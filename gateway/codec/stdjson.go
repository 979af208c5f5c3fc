//go:build stdjson

package codec

func encode(v any) ([]byte, error) { return stdEncode(v) }

func decode(data []byte, v any) error { return stdDecode(data, v) }
