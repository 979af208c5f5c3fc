package sim

import (
	"bytes"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestFieldsGolden(t *testing.T) {
	f := func(name string, fields Fields) {
		t.Helper()
		fields.CreateTime = 1767000037
		for ext, have := range map[string][]byte{"xml": fields.XML(), "json": fields.JSON()} {
			file := filepath.Join("testdata", "built-"+name+"."+ext)
			if *update {
				if err := os.WriteFile(file, have, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(have, want) {
				t.Errorf("%s:\ngot  %s\nwant %s", file, have, want)
			}
		}
	}
	f("text", Fields{To: testGH, From: testUser, Content: "你好，请问营业时间是几点？", MsgID: "25032267896477343"})
	f("markup", Fields{Content: `]]> <b> & "x" \ 👋` + "\n", MsgID: "1"})
	f("click", Fields{To: testGH, From: testUser, Event: "CLICK", EventKey: "V1001_TODAY_MUSIC"})
	f("subscribe", Fields{Event: "subscribe"})
	f("location", Fields{Type: "location", MsgID: "7", Extra: map[string]string{"Label": "here", "Zebra": "z"}})
	f("odd-id", Fields{Type: "image", MsgID: "abc"})
}

func TestFieldsLikeTheCorpus(t *testing.T) {
	f := func(file string, fields Fields) {
		t.Helper()
		want, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if got := fields.XML(); string(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", file, got, want)
		}
	}
	f("msg-text.xml", Fields{To: testGH, From: testUser, CreateTime: 1767000037, Content: "你好，请问营业时间是几点？", MsgID: "25032267896477343"})
	f("event-CLICK.xml", Fields{To: testGH, From: testUser, CreateTime: 1767001332, Event: "CLICK", EventKey: "V1001_TODAY_MUSIC"})
}

func TestFieldsDefaults(t *testing.T) {
	before := time.Now().Unix()
	m, err := readXML(Fields{}.XML())
	if err != nil {
		t.Fatal(err)
	}
	id := m.text("MsgId")
	n, ok := number(id)
	if !ok || n <= 1<<53 || int64(float64(n)) == n && n%2 == 0 {
		t.Errorf("MsgId %s is not beyond 2^53", id)
	}
	if at, _ := number(m.text("CreateTime")); at < before {
		t.Errorf("CreateTime %d", at)
	}
	if again := xmlText(string(Fields{}.XML()), "MsgId"); again == id {
		t.Error("two messages share an id")
	}
	var j struct {
		MsgID codec.Number `json:"MsgId"`
	}
	if err := codec.Unmarshal(Fields{MsgID: "9007199254740993"}.JSON(), &j); err != nil || j.MsgID != "9007199254740993" {
		t.Errorf("MsgId in JSON: %v, %v", j, err)
	}
}

func TestLook(t *testing.T) {
	f := func(body string, want facts) {
		t.Helper()
		if got := look([]byte(body)); got != want {
			t.Errorf("look(%q) = %+v, want %+v", body, got, want)
		}
	}
	f("<xml><ToUserName> <![CDATA[gh_a]]> </ToUserName><FromUserName>\n o1 \n</FromUserName><MsgType>event</MsgType><Event><![CDATA[ x ]]></Event></xml>",
		facts{to: "gh_a", from: "o1", msgType: "event", event: " x "})
	f("\ufeff \n{\"ToUserName\":\"gh_a\",\"FromUserName\":\"o1\",\"MsgType\":\"text\"}", facts{json: true, to: "gh_a", from: "o1", msgType: "text"})
	f(`{"ToUserName":`, facts{json: true})
	f("<xml><FromUserName>o1", facts{from: "o1"})
	f("<xml><FromUserName><![CDATA[o1", facts{from: "o1"})
	f("\x00\xff", facts{})
	f("", facts{})
}

// FuzzFields: whatever the user says, the message is well-formed and says it.
func FuzzFields(f *testing.F) {
	f.Add("你好", "K")
	f.Add("]]>", "]]]]>>")
	f.Add("<a>&amp;", "\"\\")
	f.Add("a\x00b\xff", "\ufffe")
	f.Fuzz(func(t *testing.T, content, key string) {
		fields := Fields{Content: content, EventKey: key, MsgID: "1", CreateTime: 1}
		if m, err := readXML(fields.XML()); err == nil {
			// XML knows one line end only.
			want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(content)
			if got := string(m["Content"][0]); got != want {
				t.Errorf("Content %q came out as %q", content, got)
			}
		} else if xml.EscapeText(&bytes.Buffer{}, []byte(content)) == nil && inXML(content) && inXML(key) {
			t.Errorf("XML of %q: %v", content, err)
		}
		var j map[string]any
		if err := codec.Unmarshal(fields.JSON(), &j); err != nil {
			t.Fatalf("JSON of %q: %v", content, err)
		}
		if utf8.ValidString(content) && j["Content"] != content {
			t.Errorf("Content %q came out as %q", content, j["Content"])
		}
	})
}

// inXML says whether XML 1.0 can hold s at all.
func inXML(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}

// FuzzLook: files are sent as they are, so anything may come.
func FuzzLook(f *testing.F) {
	files, err := filepath.Glob("testdata/*l")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"ToUserName":1,"FromUserName":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p := Push{URL: "http://h/", Token: "t", AppID: testApp, AESKey: testKey, Mode: Compatible, Body: body}
		if _, out, err := p.Build(); err == nil && look(body).json != look(out).json {
			t.Errorf("the sealed copy changed the format of %q", body)
		}
	})
}
