package msg

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func seedPushes(f *testing.F) {
	files, err := filepath.Glob("testdata/push/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	for _, s := range []string{
		"<foo/>", "<xml/>", "<xml></xml><xml>", "<xml>&", "<xml><a>&#0;]]></a></xml>", `<?xml version="1.0" encoding="x"?><xml/>`,
		"<!DOCTYPE x><xml/>", "<xml><?xml version=\"1.0\" encoding=\"gbk\"?><a/></xml>", "<xml><a:b c:d='e'>&amp;</a:b></xml>",
		`{"a":[{}],"\u0041":1,"userInfo":2}`, "{\"a\":\"\x01\xff\"}", "{", `{"`, `{"a`, `{"a":`, "<xml><userInfo/><userInfoError/></xml>",
		"<xml><1a>x</1a><é>y</é></xml>", "<xml><a>x]]>y</a><a><![CDATA[x]]>y]]></a></xml>", "<xml><a><![CDATA[x]]></a  ></xml >",
	} {
		f.Add([]byte(s))
	}
	for _, typed := range []string{
		"x]]></Content><MsgType><![CDATA[event]]></MsgType><Content><![CDATA[y", "x]]>&\x01\xff", "]]]]><![CDATA[>", "]]></Content></xml>",
	} {
		f.Add(textPush(typed))
	}
}

// keysOnce fails unless data is one JSON object whose objects, at all depths,
// have no key twice.
func keysOnce(t *testing.T, data []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		keys    map[string]bool // nil in an array
		wantKey bool
	}
	var stack []level
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		top := len(stack) - 1
		if key, ok := token.(string); ok && top >= 0 && stack[top].wantKey {
			if stack[top].keys[key] {
				t.Fatalf("key %q twice in %s", key, data)
			}
			stack[top].keys[key] = true
			stack[top].wantKey = false
			continue
		}
		if top >= 0 && stack[top].keys != nil {
			stack[top].wantKey = true
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{map[string]bool{}, true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
	if !json.Valid(data) || data[0] != '{' || !utf8.Valid(data) {
		t.Fatalf("not a JSON object: %q", data)
	}
}

func FuzzParse(f *testing.F) {
	seedPushes(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Parse(body)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		body = AppendUserInfo(nil, m.WithoutUserInfo(), []byte(`"mine"`), "why")
		if m.Format == XML {
			keysOnce(t, m.JSON)
			keysOnce(t, body)
		} else if !json.Valid(m.JSON) || !json.Valid(body) {
			t.Fatalf("not JSON: %q", m.JSON)
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal(body, &top); err != nil {
			t.Fatal(err)
		}
		if string(top["userInfo"]) != `"mine"` || string(top["userInfoError"]) != `"why"` {
			t.Fatalf("userInfo is %s", top["userInfo"])
		}
		path, err := m.Path()
		if err == nil && strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/") != "" || strings.Count(path, "/") > 2 {
			t.Fatalf("path %q", path)
		}
		for _, r := range path {
			if r != '/' && !isNameByte(r) {
				t.Fatalf("path %q", path)
			}
		}
		if m.Kind() == "" {
			t.Fatal("no kind")
		}
	})
}

var sections = regexp.MustCompile(`\]\]>[ \t\n]*<!\[CDATA\[`)

// FuzzContent puts any text into the place of a user's: it arrives as typed,
// and the push stays theirs.
func FuzzContent(f *testing.F) {
	for _, s := range []string{
		"", "hi", "]]>", "]", "]]", "x]]></Content><MsgType>event</MsgType><Content><![CDATA[y", "\r\n\x00\xff", "]]></Content></xml>",
		"]]><b/><![CDATA[", "]]><Content><![CDATA[", "]]><!--", "]]></Content><!-- ", "]]></Content><?x ", "]]></Content><a b='", "]]></Content><MsgId>1</MsgId><Content><![CDATA[",
		"]]>]]></Content>", "]]></Content ><Content><![CDATA[", "]]></Content><x:Content><![CDATA[",
	} {
		f.Add(s)
	}
	f.Fuzz(arrivesAsTyped)
}

// TestContentOfMarkup is FuzzContent over what a fuzzer takes long to find:
// the markup of the push itself, in any order.
func TestContentOfMarkup(t *testing.T) {
	t.Parallel()
	parts := []string{
		"]]>", "<![CDATA[", "</Content>", "<Content>", "</xml>", "<xml>", "<MsgType>", "</MsgType>", "<MsgId>", "</MsgId>", "<!--", "-->", "<?", "?>",
		"<a>", "</a>", "<a/>", "<", ">", "&", ";", "]", " ", "x", "<FromUserName>", "</FromUserName>", "<a b='", "<a b=\"", "<!DOCTYPE x>", "\x01", "\xff",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var typed strings.Builder
		for range 1 + r.IntN(12) {
			typed.WriteString(parts[r.IntN(len(parts))])
		}
		arrivesAsTyped(t, typed.String())
	}
}

func arrivesAsTyped(t *testing.T, typed string) {
	t.Helper()
	if strings.Contains(typed, "\r") || sections.MatchString(typed) {
		return // line ends become \n, and proper sections are joined
	}
	m, err := Parse(textPush(typed))
	if err != nil {
		t.Fatalf("lost %q: %v", typed, err)
	}
	if m.MsgType != "text" || m.FromUserName != "oU1" || m.MsgID != "77" {
		t.Fatalf("%q: %s", typed, m.JSON)
	}
	if want := string(sanitize([]byte(typed))); m.Content != want {
		t.Fatalf("typed %q, got %q", want, m.Content)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	seedPushes(f)
	f.Add([]byte("<xml><Encrypt>QUJD</Encrypt></xml>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		value, _, err := ParseEnvelope(body)
		encrypt := string(value)
		if (err == nil) != (encrypt != "") {
			t.Fatalf("%q, %v", encrypt, err)
		}
		// The scanner may know less than the parser, never something else.
		text := trimBlanks(dropBOM(body))
		if err != nil || len(text) == 0 || text[0] != '<' {
			return
		}
		if text, err = skipProlog(text); err != nil {
			t.Fatal(err)
		}
		root, _, _, err := readXML(text)
		if err != nil || strings.ContainsAny(encrypt, "&\r") {
			return
		}
		for _, g := range groupChildren(root) {
			if g.name == "Encrypt" && textOf(g.els[0]) == encrypt {
				return
			}
		}
		if utf8.ValidString(encrypt) && bytes.Equal(sanitize(text), text) && !bytes.ContainsAny(text, "&\r") && strings.Trim(encrypt, blanks) == encrypt {
			t.Fatalf("scanned %q, parsed %q", encrypt, text)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{
		`{"type":"text","msg":"a]]>b\u0000"}`, `[{"msg":1},{"type":"news","articles":[{"title":"x"}]}]`, `{"MsgType":"image","Image":{"MediaId":"x"}}`,
		`{"type":"raw","msg":{"a":1},"seal":false}`, `{"type":"async"}`, "success", "hello", `{"type":"msgmenu","list":[{"id":1,"content":2}]}`,
		`{"type":"video","msg":"x"}`, `{"type":"music","msg":"x"}`, `{"type":"transfer_customer_service","msg":"x"}`, `{"type":null,"msg":null}`, `{"":0}`, `[null]`,
	} {
		f.Add("text/plain", []byte(s))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		a, err := ParseAnswer(contentType, body)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if a.Async && len(a.Replies) > 0 || len(a.Replies) > maxReplies {
			t.Fatalf("%+v", a)
		}
		for _, r := range a.Replies {
			if out, err := r.AppendCustom(nil, "o"); err == nil && !json.Valid(out) {
				t.Fatalf("custom %q", out)
			}
			if r.Type == "raw" {
				continue
			}
			if !r.Passive() {
				if len(r.AppendXML(nil, "o", "g", 1))+len(r.AppendJSON(nil, "o", "g", 1)) > 0 {
					t.Fatalf("%s is not passive", r.Type)
				}
				continue
			}
			if out := r.AppendJSON(nil, "o", "g", 1); !json.Valid(out) {
				t.Fatalf("json %q", out)
			}
			var x struct {
				MsgType, Content string
				Items            []struct{} `xml:"Articles>item"`
				ArticleCount     int
				Media            []string `xml:",any"`
			}
			out := r.AppendXML(nil, "o", "g", 1)
			if err := xml.Unmarshal(out, &x); err != nil {
				t.Fatalf("%v: %q", err, out)
			}
			// a parser turns line ends into \n
			want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(sanitize([]byte(r.Text))))
			if x.MsgType != r.Type || r.Type == "text" && x.Content != want || len(x.Items) != x.ArticleCount || x.ArticleCount > maxArticles {
				t.Fatalf("%+v from %q", x, out)
			}
		}
	})
}

// FuzzSanitizeText: the look that leaves most texts as they are misses nothing.
func FuzzSanitizeText(f *testing.F) {
	for _, s := range []string{"", "hi", "你好👋", "\t\r\n", "a\x00b", "\x1f", "\x7f", "\u0085", "\ufffd\ufffc", "\ufffe", "\uffff", "，", "\xef\xbf", "\xef", "\xff", "\xed\xa0\x80", "\xf4\x90\x80\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := sanitizeText(s), string(sanitize([]byte(s))); got != want {
			t.Fatalf("sanitizeText(%q) = %q, want %q", s, got, want)
		}
	})
}

func FuzzSplitText(f *testing.F) {
	f.Add("你好👨‍👩‍👧‍👦e\u0301🇨🇳\r\n\xff\x80", 7)
	f.Add(strings.Repeat("\u0301", 100), 5)
	f.Add(strings.Repeat("🇨", 50), 9)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		pieces := SplitText(s, limit)
		if strings.Join(pieces, "") != s {
			t.Fatalf("pieces do not join: %q", pieces)
		}
		for _, p := range pieces {
			if p == "" || len(p) > max(limit, utf8.UTFMax) || utf8.ValidString(s) && !utf8.ValidString(p) {
				t.Fatalf("piece %q", p)
			}
		}
	})
}
