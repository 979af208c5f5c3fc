package codec

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Both decoders read the same from the same document: under the tag stdjson
// this compares encoding/json with itself.
func sameAsStandard(t *testing.T, data []byte) {
	t.Helper()
	for _, fresh := range []func() any{
		func() any { return new(any) },
		func() any { return new(plainFields) },
		func() any { return new(oneField) },
		func() any { return new(map[string]any) },
		func() any { return new(map[string]RawMessage) },
		func() any { return new([]RawMessage) },
		func() any { return new(RawMessage) },
		func() any { return new([]inner) },
		func() any { return new(map[string]*inner) },
		func() any { return new(string) },
		func() any { return new(Number) },
		func() any { return new(float64) },
		func() any { return new([]byte) },
	} {
		got, want := fresh(), fresh()
		gotErr, wantErr := Unmarshal(data, got), stdDecode(data, want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("Unmarshal(%q) into %T: %v, encoding/json: %v", data, got, gotErr, wantErr)
		}
		if gotErr != nil {
			continue
		}
		if !reflect.DeepEqual(want, got) { // cmp takes exponential time on deep values
			t.Fatalf("Unmarshal(%q) into %T = %#v, encoding/json: %#v", data, got, got, want)
		}
		gotText, gotErr := Marshal(got)
		wantText, wantErr := stdEncode(want)
		if gotErr != nil || wantErr != nil || string(gotText) != string(wantText) {
			t.Fatalf("Marshal(%#v) = %s, %v, encoding/json: %s, %v", got, gotText, gotErr, wantText, wantErr)
		}
	}
}

var documents = []string{
	``, `null`, `"x"`, `-0`, `1.5`, `1e5`, `1E400`, `123456789012345678901234567890`, strings.Repeat("9", 400),
	`{"text":"a\u0000\ud83d\ude00b","named":"n","int":-9223372036854775808,"small":127,"uint":18446744073709551615,"float":1.7976931348623157,"single":0.1,"bool":true}`,
	`{"text":null,"int":null,"bool":null,"raw": null ,"number":null,"list":null,"map":null,"ptr":null,"inner":null}`,
	`{"number":"12","raw": [ 1 , "a b" ],"bytes":"YT4\/","any":{"a":[1,2.50,{"b":null}]},"list":["a",null,"b"],"ptr":7}`,
	`{"number":"x"}`, `{"number":""}`, `{"number":true}`, `{"int":1.0}`, `{"int":-0}`, `{"int":9223372036854775808}`, `{"uint":18446744073709551616}`, `{"uint":-0}`, `{"single":3.5e38}`, `{"float":"1"}`, `{"int":1e2}`, `{"small":128}`, `{"uint":-1}`, `{"float":1e309}`,
	`{"inner":{"ID":3704612354559743232,"lower":"low","addr":"10.0.0.1","many":[{"a":"1"},{},{"x":1}],"next":{"a":"2"},"raws":[ 1, null ,"x"]}}`,
	`{"inner":{"addr":null}}`, `{"inner":{"addr":""}}`, `{"inner":{"addr":5}}`, `{"unknown":[1e999,{"a":"\ud800"}],"text":"t"}`,
	`{"TEXT":"upper","Int":5}`, `{"msgtype":"a","MsgType":"b"}`, `{"text":"a","text":"b"}`, `{"text":"a","text":null}`,
	`{"map":{"a":1},"map":{"b":2}}`, `{"list":["a","b"],"list":["c"]}`, `{"inner":{"many":[{"a":"1"},{"a":"2"}],"many":[{}]}}`,
	`"\ud800\ud800\udc00"`, `{"\ud800\ud800\udc00":1}`, `"\udc00"`, `{"a\"b":1,"":2}`, `[[],{},[{}]]`, ` [ 1 , 2 ] `,
	`{"list":{}}`, `{"map":[]}`, `{"bool":0}`, `[{"a":"x"},null]`, `{"a":null,"b":{"a":"1"}}`, `{"bytes":[1,2]}`, `{"bytes":"*"}`,
	`{} x`, `[1,]`, "\"\xff\"", `{"a":"`, "\ufeff{}", nested(MaxDepth), nested(MaxDepth + 1),
}

func FuzzUnmarshal(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !Valid(data) || foldsOddly(data) {
			return
		}
		sameAsStandard(t, data)
	})
}

// foldsOddly reports a Kelvin sign or a long s: encoding/json folds them to k
// and s when it matches field names, json-iterator folds ASCII only.
func foldsOddly(data []byte) bool {
	var v any
	if err := stdDecode(data, &v); err != nil {
		return false
	}
	text, _ := stdEncode(v)
	return strings.ContainsAny(string(text), "\u212a\u017f")
}

func FuzzValid(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	f.Add([]byte(strings.Repeat("[", 200_000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := utf8.Valid(data) && json.Valid(data) && depth(data) <= MaxDepth
		if got := Valid(data); got != want {
			t.Fatalf("Valid(%.200q) = %v, want %v", data, got, want)
		}
	})
}

// depth is how deep the brackets outside strings nest.
func depth(data []byte) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '[' || c == '{'):
			now++
			deepest = max(deepest, now)
		case !quoted && (c == ']' || c == '}'):
			now--
		}
	}
	return deepest
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "<&>", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "中文👋", "\xff\xc3(", "\u2028\u2029\ufffd", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := stdEncode(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendString(nil, s); string(got) != string(want) {
			t.Fatalf("AppendString(%q) = %s, encoding/json: %s", s, got, want)
		}
		if got, err := Marshal(s); err != nil || string(got) != string(want) {
			t.Fatalf("Marshal(%q) = %s, %v, encoding/json: %s", s, got, err, want)
		}
	})
}

func FuzzUnquote(f *testing.F) {
	for _, s := range []string{
		``, `plain`, `中文👋`, `\"\\\/\b\f\n\r\t\u0000\u001f\u007f`, `a\u4f60b\u597D`, `\ud83d\udc4b`, `\ud83d`, `\ud83d\ud83d\udc4b`, `\udc4b\ud83d`,
		`\ud83dx`, `\ud83d\n`, `\ud83d\u0041`, `\\u4f60`, `\\\\u`, `\ufffd`, `\ud83d\ufffd`, `x\`, `\u12`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := []byte(`"` + s + `"`)
		var want string
		if err := Unmarshal(quoted, &want); err != nil {
			return
		}
		if got := Unquote(quoted); got != want {
			t.Fatalf("Unquote(%s) = %q, Unmarshal: %q", quoted, got, want)
		}
	})
}
