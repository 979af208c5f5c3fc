package msg

import (
	"os"
	"strings"
	"testing"
)

func sample(b *testing.B, name string) []byte {
	b.Helper()
	body, err := os.ReadFile("testdata/push/" + name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	return body
}

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"msg-text.xml", "event-CLICK.xml", "event-MASSSENDJOBFINISH.xml", "msg-text.json", "event-channels_ec_order_pay.json"} {
		b.Run(name, func(b *testing.B) {
			body := sample(b, name)
			for b.Loop() {
				if _, err := Parse(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("cleaned", func(b *testing.B) {
		body := textPush("x]]>y\x01")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPath(b *testing.B) {
	for _, m := range []Message{{MsgType: "text"}, {MsgType: "event", Event: "CLICK"}, {MsgType: "event", Event: "complaint callback"}} {
		b.Run(m.MsgType+m.Event, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Path()
			}
		})
	}
}

func BenchmarkParseEnvelope(b *testing.B) {
	for _, name := range []string{"push-safe.msg-text.xml", "push-compatible.msg-text.xml", "push-safe.event-channels_ec_order_pay.json"} {
		b.Run(name, func(b *testing.B) {
			body := sample(b, name)
			for b.Loop() {
				if _, _, err := ParseEnvelope(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendUserInfo(b *testing.B) {
	m, err := Parse(sample(b, "msg-text.xml"))
	if err != nil {
		b.Fatal(err)
	}
	info := []byte(`{"openid":"oK9gGyX8OAK8aH8Myj6djqSaXI8j","nickname":"x","privilege":[]}`)
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendUserInfo(buf[:0], m.WithoutUserInfo(), info, "")
	}
}

func BenchmarkParseAnswer(b *testing.B) {
	for _, c := range []struct{ name, body string }{
		{"text", `{"type":"text","msg":"您好 👋 请点击这里"}`},
		{"escapes", `{"type":"text","msg":"您好 👋 请点击 <a href=\"https://example.com\">这里</a>"}`},
		{"ascii", `{"type": "text", "msg": "\u60a8\u597d \ud83d\udc4b \u8bf7\u70b9\u51fb\u8fd9\u91cc"}`},
		{"WeChat's", `{"MsgType":"text","Content":"您好 👋 请点击这里"}`},
		{"image", `{"type":"image","msg":"pQ7mEvr2tKc9Wd4xVbN1hZs6uYj8gLf3RaTo5iPwXeBqCnDkMyHzJlGvUc0rSxOt"}`},
		{"news", `{"type":"news","articles":[{"title":"一","desc":"二","picurl":"https://example.com/a.jpg","url":"https://example.com/"}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			body := []byte(c.body)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseAnswer("application/json", body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	r := Reply{Type: "text", Text: "您好 👋 请点击 <a href=\"https://example.com\">这里</a>"}
	buf := make([]byte, 0, 1024)
	for name, appendTo := range map[string]func([]byte) []byte{
		"XML":  func(dst []byte) []byte { return r.AppendXML(dst, "oU", "gh", 1767000060) },
		"JSON": func(dst []byte) []byte { return r.AppendJSON(dst, "oU", "gh", 1767000060) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = appendTo(buf[:0])
			}
		})
	}
}

func BenchmarkSplitText(b *testing.B) {
	s := strings.Repeat("你好，world 👨‍👩‍👧‍👦", 500)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		SplitText(s, TextLimit)
	}
}
