package codec

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestScan(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		got := ""
		_, err := scan([]byte(text))
		if err != nil {
			got = err.Error()
			if e := new(SyntaxError); !errors.As(err, &e) {
				t.Errorf("scan(%q): %T, want a *SyntaxError", text, err)
			}
		}
		if got != want {
			t.Errorf("scan(%.40q) = %q, want %q", text, got, want)
		}
		if Valid([]byte(text)) != (want == "") {
			t.Errorf("Valid(%.40q) disagrees with scan", text)
		}
	}
	for _, good := range []string{
		`0`, `-0`, `10.25e+7`, `"x"`, ` null `, `true`, `false`, `{}`, `[]`, "\t[ 1 , {\"a\" : [ ] } ]\r\n",
		`{"a":1,"a":2}`, `"\u00e9\ud83d\ude00\/\b\f"`, `"` + "\u007f\u2028" + `"`, nested(MaxDepth),
	} {
		f(good, "")
	}
	// the text ends too early
	f(``, "invalid JSON at byte 0: the text ends too early")
	f(` `, "invalid JSON at byte 1: the text ends too early")
	f(`[1`, "invalid JSON at byte 2: the text ends too early")
	f(`{"a":`, "invalid JSON at byte 5: the text ends too early")
	f(`"a`, "invalid JSON at byte 0: a string is not closed")
	f(`"a\`, "invalid JSON at byte 0: a string is not closed")
	f(`"\u12`, `invalid JSON at byte 1: a bad \u escape`)
	// something follows
	f(`{} {}`, "invalid JSON at byte 3: text after the value")
	f(`1]`, "invalid JSON at byte 1: text after the value")
	f(`nullx`, "invalid JSON at byte 4: text after the value")
	f("{}\x00", "invalid JSON at byte 2: text after the value")
	// brackets and separators
	f(`[1,]`, "invalid JSON at byte 3: expected a value")
	f(`{,}`, "invalid JSON at byte 1: expected a key or }")
	f(`{"a":1,}`, "invalid JSON at byte 7: expected a key")
	f(`{"a" 1}`, "invalid JSON at byte 5: expected a colon")
	f(`[1}`, "invalid JSON at byte 2: expected a comma or the closing bracket")
	f(`{"a":[1}]`, "invalid JSON at byte 7: expected a comma or the closing bracket")
	f(`[:1]`, "invalid JSON at byte 1: expected a value or ]")
	// values
	f(`nul`, "invalid JSON at byte 0: not a value")
	f(`01`, "invalid JSON at byte 0: not a value")
	f(`-`, "invalid JSON at byte 0: not a value")
	f(`1.`, "invalid JSON at byte 0: not a value")
	f(`.5`, "invalid JSON at byte 0: not a value")
	f(`+1`, "invalid JSON at byte 0: not a value")
	f(`1e`, "invalid JSON at byte 0: not a value")
	f(`NaN`, "invalid JSON at byte 0: not a value")
	f("\ufeff{}", "invalid JSON at byte 0: not a value")
	// strings
	f("\"a\nb\"", "invalid JSON at byte 2: a control character in a string")
	f(`"\x41"`, "invalid JSON at byte 1: a bad escape")
	f(`"\u12g4"`, `invalid JSON at byte 1: a bad \u escape`)
	f("\"ab\xff\"", "invalid JSON at byte 3: invalid UTF-8")
	f("\"\xed\xa0\x80\"", "invalid JSON at byte 1: invalid UTF-8")
	// depth
	f(nested(MaxDepth+1), "invalid JSON at byte 512: nested too deeply")
	f(strings.Repeat("[", 200_000), "invalid JSON at byte 512: nested too deeply")
	f(strings.Repeat(`{"a":`, 200_000), "invalid JSON at byte 2560: nested too deeply")
}

func TestScanOdd(t *testing.T) {
	t.Parallel()
	f := func(text string, want bool) {
		t.Helper()
		odd, err := scan([]byte(text))
		if err != nil || odd != want {
			t.Errorf("scan(%q) = %v, %v, want %v", text, odd, err, want)
		}
	}
	f(`"\ud83d\ude00"`, false)
	f(`"\ud83d"`, true)
	f(`"\ude00"`, true)
	f(`"\ud83d\ud83d\ude00"`, true)
	f(`"\ud83dx"`, true)
	f(`{"\ud83d":1}`, true)
	f(`[1e5]`, true)
	f(`[-0.25]`, false)
	f(strings.Repeat("1", maxPlainNumber), false)
	f(strings.Repeat("1", maxPlainNumber+1), true)
}

type plainFields struct {
	Text   string         `json:"text"`
	Named  named          `json:"named"`
	Int    int64          `json:"int"`
	Small  int8           `json:"small"`
	Uint   uint64         `json:"uint"`
	Float  float64        `json:"float"`
	Single float32        `json:"single"`
	Bool   bool           `json:"bool"`
	Number Number         `json:"number"`
	Raw    RawMessage     `json:"raw"`
	Bytes  []byte         `json:"bytes"`
	Any    any            `json:"any"`
	List   []string       `json:"list"`
	Map    map[string]any `json:"map"`
	Ptr    *int           `json:"ptr"`
	Inner  struct {
		ID    Number       `json:"ID"`
		Lower string       `json:"id"`
		Addr  netip.Addr   `json:"addr"`
		Many  []inner      `json:"many"`
		Next  *inner       `json:"next"`
		Raws  []RawMessage `json:"raws"`
	} `json:"inner"`
}

type named string

type inner struct {
	A string `json:"a,omitempty"`
}

// One to three fields take json-iterator's hashed decoders.
type oneField struct {
	MsgType string
}

func TestUnmarshalKeepsDigits(t *testing.T) {
	t.Parallel()
	var v struct {
		OrderID RawMessage `json:"order_id"`
		Number  Number     `json:"n"`
		Any     any        `json:"any"`
	}
	err := Unmarshal([]byte(`{"order_id":3704612354559743232, "n":25032267896477343, "any":[23637352235060880,1.10,1e400]}`), &v)
	if err != nil {
		t.Fatal(err)
	}
	if string(v.OrderID) != "3704612354559743232" || v.Number != "25032267896477343" {
		t.Errorf("ids lost digits: %s %s", v.OrderID, v.Number)
	}
	want := []any{Number("23637352235060880"), Number("1.10"), Number("1e400")}
	if diff := cmp.Diff(want, v.Any); diff != "" {
		t.Errorf("any (-want +got):\n%s", diff)
	}
}

func TestUnmarshalLeavesDefaultsOnNull(t *testing.T) {
	t.Parallel()
	v := plainFields{Text: "x", Named: "y", Int: 1, Float: 2, Bool: true, Number: "3", Raw: RawMessage("4")}
	err := Unmarshal([]byte(`{"text":null,"named":null,"int":null,"float":null,"bool":null,"number":null,"raw": null}`), &v)
	if err != nil {
		t.Fatal(err)
	}
	want := plainFields{Text: "x", Named: "y", Int: 1, Float: 2, Bool: true, Number: "3", Raw: RawMessage("null")}
	if diff := cmp.Diff(want, v, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnmarshalErrors(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		err := Unmarshal([]byte(text), new(plainFields))
		if err == nil || err.Error() != want {
			t.Errorf("Unmarshal(%s) = %v, want %q", text, err, want)
		}
	}
	f(`{"text":`, "invalid JSON at byte 8: the text ends too early")
	f(`[]`, "cannot decode JSON: array where codec.plainFields is wanted")
	f(`{"text":12345}`, `cannot decode JSON: field "text": number where string is wanted`)
	f(`{"int":"s3cret"}`, `cannot decode JSON: field "int": string where int64 is wanted`)
	f(`{"small":12345}`, `cannot decode JSON: field "small": number where int8 is wanted`)
	f(`{"int":1.5}`, `cannot decode JSON: field "int": number where int64 is wanted`)
	f(`{"number":"s3cret"}`, `cannot decode JSON: string where a number is wanted`)
	f(`{"inner":{"id":{"s3cret":1}}}`, `cannot decode JSON: field "inner.id": object where string is wanted`)
	f(`{"inner":{"addr":5}}`, `cannot decode JSON: field "inner.addr": number where netip.Addr is wanted`)

	var none *plainFields
	if err := Unmarshal([]byte(`{}`), none); err == nil {
		t.Error("Unmarshal into a nil pointer succeeded")
	}
	if err := Unmarshal([]byte(`{}`), plainFields{}); err == nil {
		t.Error("Unmarshal into a struct succeeded")
	}
	if err := Unmarshal([]byte(`{}`), nil); err == nil {
		t.Error("Unmarshal into nil succeeded")
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	f := func(v any, want string) {
		t.Helper()
		got, err := Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("Marshal(%#v) = %s, %v, want %s", v, got, err, want)
		}
	}
	f(nil, `null`)
	f("<a href=\"x\">&\u2028</a>", `"<a href=\"x\">&\u2028</a>"`)
	f("bad\xff", `"bad\ufffd"`)
	f(map[string]any{"b": 1, "a": []any{nil, true, Number("25032267896477343")}, "é\n": "x"}, `{"a":[null,true,25032267896477343],"b":1,"é\n":"x"}`)
	f(map[named]int{"b<": 1, "a": 2}, `{"a":2,"b<":1}`)
	f([]string(nil), `null`)
	f([]string{}, `[]`)
	f([]any{1e21, 1e-7, 0.1, float32(0.1), float32(1e-7), 100.0}, `[1e+21,1e-7,0.1,0.1,1e-7,100]`)
	f(RawMessage(" { \"a\" : \"b c\\\" d\" , \"n\":[ 1 ] } "), `{"a":"b c\" d","n":[1]}`)
	f(&[]*RawMessage{new(RawMessage(" [ 1 ] "))}, `[[1]]`)
	f(struct{ R RawMessage }{}, `{"R":null}`)
	f(struct{ N Number }{}, `{"N":0}`)
	f(netip.MustParseAddr("10.0.0.1"), `"10.0.0.1"`)
	f(&inner{}, `{}`)
	f([]byte("a>?"), `"YT4/"`)

	refuse := func(v any) {
		t.Helper()
		if got, err := Marshal(v); err == nil {
			t.Errorf("Marshal(%#v) = %s, want an error", v, got)
		}
	}
	refuse(math.NaN())
	refuse([]any{math.Inf(1)})
	refuse(map[string]any{"f": func() {}})
	refuse(Number("1,\"x\":2"))
	refuse([]RawMessage{RawMessage("1,2")})
	refuse([]RawMessage{{}})
	refuse(RawMessage(`{"a"}`))
	refuse(RawMessage("\"\xff\""))
	refuse(RawMessage(nested(MaxDepth + 1)))
	refuse([]RawMessage{RawMessage(nested(MaxDepth))})
}

type marshaler string

func (m marshaler) MarshalJSON() ([]byte, error) { return []byte(m), nil }

func TestMarshalChecksMarshalers(t *testing.T) {
	t.Parallel()
	got, err := Marshal(map[string]any{"m": marshaler(` { "a" : 1 } `), "l": []marshaler{`"x y"`}})
	if want := `{"l":["x y"],"m":{"a":1}}`; err != nil || string(got) != want {
		t.Errorf("Marshal = %s, %v, want %s", got, err, want)
	}
	for _, bad := range []marshaler{"", "1,2", "{", "\"\xff\""} {
		if got, err := Marshal([]marshaler{bad}); err == nil {
			t.Errorf("Marshal(%q) = %s, want an error", bad, got)
		}
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	f := func(s, want string) {
		t.Helper()
		if got := string(AppendString([]byte("x:"), s)); got != "x:"+want {
			t.Errorf("AppendString(%q) = %s, want x:%s", s, got, want)
		}
	}
	f("", `""`)
	f("plain 中文 👋", `"plain 中文 👋"`)
	f("a\"b\\c/d", `"a\"b\\c/d"`)
	f("\n\r\t\b\f\x00\x1f\x7f", `"\n\r\t\b\f\u0000\u001f`+"\x7f\"")
	f("a\xffb\xc3", `"a\ufffdb\ufffd"`)
	f("\ufffd", "\"\ufffd\"")
	f("\u2027\u2028\u2029\u202a", "\"\u2027\\u2028\\u2029\u202a\"")
	f("</script>&", `"</script>&"`)
}

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
	`{"number":"x"}`, `{"number":""}`, `{"number":true}`, `{"int":1.0}`, `{"int":1e2}`, `{"small":128}`, `{"uint":-1}`, `{"float":1e309}`,
	`{"inner":{"ID":3704612354559743232,"id":"low","addr":"10.0.0.1","many":[{"a":"1"},{},{"x":1}],"next":{"a":"2"},"raws":[ 1, null ,"x"]}}`,
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

func BenchmarkUnmarshal(b *testing.B) {
	data := []byte(`{"ToUserName":"gh_7c1d9e0b42af","FromUserName":"oK9gGyX8OAK8aH8Myj6djqSaXI8j","CreateTime":1767000037,"MsgType":"text","Content":"你好，请问营业时间是几点？","MsgId":25032267896477343}`)
	var v struct {
		FromUserName, MsgType string
		CreateTime, MsgId     RawMessage
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	data := []byte(`{"list":[` + strings.Repeat(`{"id":25032267896477343,"text":"some text of a usual length","ok":true},`, 100) + `null]}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if !Valid(data) {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	s := strings.Repeat("你好，请问营业时间是几点？ plain text ", 20)
	buf := make([]byte, 0, 2*len(s))
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendString(buf[:0], s)
	}
}
