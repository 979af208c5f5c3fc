package codec

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

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
		Lower string       `json:"lower"`
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

func TestUnmarshalTellsCaseApart(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"MsgId":1,"MsgID":2}`, `{"MsgID":2,"MsgId":1}`} {
		var v struct{ MsgId, MsgID Number }
		if err := Unmarshal([]byte(text), &v); err != nil || v.MsgId != "1" || v.MsgID != "2" {
			t.Errorf("Unmarshal(%s) = %+v, %v", text, v, err)
		}
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
	f(`[]`, "cannot decode JSON: array where object is wanted")
	f(`{"text":12345}`, `cannot decode JSON: field "text": number where string is wanted`)
	f(`{"int":"s3cret"}`, `cannot decode JSON: field "int": string where int64 is wanted`)
	f(`{"small":12345}`, `cannot decode JSON: field "small": number where int8 is wanted`)
	f(`{"int":21000000000000000000}`, `cannot decode JSON: field "int": number where int64 is wanted`)
	f(`{"int":1.5}`, `cannot decode JSON: field "int": number where int64 is wanted`)
	f(`{"number":"s3cret"}`, `cannot decode JSON: string where a number is wanted`)
	f(`{"inner":{"lower":{"s3cret":1}}}`, `cannot decode JSON: field "inner.lower": object where string is wanted`)
	f(`{"inner":7}`, `cannot decode JSON: field "inner": number where object is wanted`)
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
