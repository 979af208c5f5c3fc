package msg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	f := func(contentType, body string, want Answer) {
		t.Helper()
		got, err := ParseAnswer(contentType, []byte(body))
		if err != nil {
			t.Errorf("ParseAnswer(%q, %.80q): %v", contentType, body, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParseAnswer(%q, %.80q) (-want +got):\n%s", contentType, body, diff)
		}
	}
	one := func(r Reply) Answer {
		r.Seal = true
		return Answer{Replies: []Reply{r}}
	}
	text := func(s string) Answer { return one(Reply{Type: "text", Text: s}) }
	const plainText, js, html = "text/plain; charset=utf-8", "application/json", "text/html"

	// nothing to say
	for _, body := range []string{
		"", " \r\n", "success", "\ufeffsuccess\n", `"success"`, `""`, "null", "[]", "[ ]", "{}", `{"ok":true}`, `{"msg":null}`, `{"msg":""}`,
		`{"type":"success"}`, `{"type":"success","msg":"x"}`, `{"type":null}`, `{"type":""}`, `{"type":"text","msg":""}`, `{"type":"raw","msg":""}`,
		`{"Content":"no type"}`, `[{"ok":1},{"type":"success"}]`, `{"MsgType":"success"}`,
	} {
		for _, contentType := range []string{"", plainText, js, html} {
			f(contentType, body, Answer{})
		}
	}
	f(js, `{"type":"async"}`, Answer{Async: true})
	f(js, `{"type":"async","msg":"later"}`, Answer{Async: true})

	// the body decides
	for _, contentType := range []string{"", plainText, js, html, "application/xml"} {
		f(contentType, ` {"msg":"x"}`, text("x"))
		f(contentType, "\ufeff\n[{\"msg\":\"x\"}]", text("x"))
	}
	f("Text/Plain", "hello <b>\n", text("hello <b>"))
	f(plainText, "true", text("true"))

	// type and its place
	f(js, `{"type":"text","msg":"a","MsgType":"image","Content":"b"}`, text("a"))
	f(js, `{"MsgType":"text","Content":"b"}`, text("b"))
	f(js, `{"Type":"text","Msg":"a"}`, text("a"))
	f(js, `{"msg":"a","msg":"b"}`, text("b"))
	// the reference panicked on anything but a string
	f(js, `{"msg":9007199254740993}`, text("9007199254740993"))
	f(js, `{"msg":1.50}`, text("1.50"))
	f(js, `{"msg":true}`, text("true"))
	f(js, `{"msg":"\ud83d\ude00\u0000"}`, text("😀\x00"))

	// the reference lost video, music and news
	f(js, `{"type":"video","msg":"m"}`, one(Reply{Type: "video", MediaID: "m", Title: "[no title]", Description: "[no desc]"}))
	f(js, `{"type":"video","msg":"m","title":"","desc":null}`, one(Reply{Type: "video", MediaID: "m", Description: "[no desc]"}))
	f(js, `{"type":"music","msg":"t","musicUrl":"u","hqMusicUrl":"h","title":"a","desc":"b"}`,
		one(Reply{Type: "music", ThumbMediaID: "t", MusicURL: "u", HQMusicURL: "h", Title: "a", Description: "b"}))
	f(js, `{"type":"news","articles":[{"title":"a","desc":"b","picUrl":"p","url":"u"},{"title":5}]}`,
		one(Reply{Type: "news", Articles: []Article{{"a", "b", "p", "u"}, {Title: "5"}}}))
	f(js, `{"type":"transfer_customer_service","msg":"kf@x"}`, one(Reply{Type: "transfer_customer_service", KfAccount: "kf@x"}))
	f(js, `{"msg":"x","kfAccount":"kf@x"}`, one(Reply{Type: "text", Text: "x", KfAccount: "kf@x"}))
	f(js, `{"msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"kf@x"}}`, one(Reply{Type: "text", Text: "x", KfAccount: "kf@x"}))
	f(js, `{"type":"msgmenu","msg":"head","list":[{"id":101,"content":"good"}],"tail":"bye"}`,
		one(Reply{Type: "msgmenu", Text: "head", Menu: Menu{Items: []MenuItem{{"101", "good"}}, Tail: "bye"}}))
	f(js, `{"msgtype":"msgmenu","msgmenu":{"head_content":"head","list":[{"id":"1","content":"good"}],"tail_content":"bye"}}`,
		one(Reply{Type: "msgmenu", Text: "head", Menu: Menu{Items: []MenuItem{{"1", "good"}}, Tail: "bye"}}))
	f(js, `{"type":"link","title":"t","desc":"d","url":"u","thumbUrl":"p"}`, one(Reply{Type: "link", Title: "t", Description: "d", URL: "u", ThumbURL: "p"}))
	f(js, `{"type":"miniprogrampage","title":"t","appid":"wx1","pagepath":"p","thumb_media_id":"m"}`,
		one(Reply{Type: "miniprogrampage", Title: "t", AppID: "wx1", PagePath: "p", ThumbMediaID: "m"}))
	f(js, `{"type":"miniprogrampage","title":"t","pagepath":"p","msg":"m"}`,
		one(Reply{Type: "miniprogrampage", Title: "t", PagePath: "p", ThumbMediaID: "m"}))
	f(js, `{"type":"wxcard","msg":"c"}`, one(Reply{Type: "wxcard", MediaID: "c"}))
	f(js, `{"msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"a"}}`, one(Reply{Type: "mpnewsarticle", MediaID: "a"}))

	// raw is kept to the letter
	f(js, `{"type":"raw","msg":{"id": 3705115058471208928, "f":1.0}}`, one(Reply{Type: "raw", Raw: []byte(`{"id": 3705115058471208928, "f":1.0}`)}))
	f(js, `{"type":"raw","msg":"<xml>\u4e2d</xml>","seal":true}`, one(Reply{Type: "raw", Raw: []byte("<xml>中</xml>")}))
	f(js, `{"type":"raw","msg":[1],"seal":false}`, Answer{Replies: []Reply{{Type: "raw", Raw: []byte("[1]")}}})

	// several
	f(js, `[{"msg":"a"},{"ok":1},{"type":"image","msg":"b"}]`, Answer{Replies: []Reply{{Type: "text", Text: "a", Seal: true}, {Type: "image", MediaID: "b", Seal: true}}})
	many := make([]Reply, 20)
	for i := range many {
		many[i] = Reply{Type: "text", Text: "x", Seal: true}
	}
	f(js, "["+strings.Repeat(`{"msg":"x"},`, 19)+`{"msg":"x"}]`, Answer{Replies: many})
}

func TestParseAnswerRefuses(t *testing.T) {
	t.Parallel()
	f := func(contentType, body, want string) {
		t.Helper()
		a, err := ParseAnswer(contentType, []byte(body))
		if err == nil || err.Error() != want || a.Async || a.Replies != nil {
			t.Errorf("ParseAnswer(%.80q) = %+v\n got %v\nwant %s", body, a, err, want)
		}
	}
	const js = "application/json"
	f("text/html; charset=UTF-8", "<html>", `answer is neither JSON nor, with Content-Type "text/html; charset=UTF-8", plain text`)
	f("", "hello", `answer is neither JSON nor, with Content-Type "", plain text`)
	f(js, "true", `answer is neither JSON nor, with Content-Type "application/json", plain text`)
	f("text/plain", "a\xff", "answer is plain text but not UTF-8")
	f(js, strings.Repeat("x", 1<<20+1), "answer is longer than 1048576 bytes")
	f(js, `{"type":"text"`, "answer is broken JSON")
	f(js, `{"msg":"a"}{}`, "answer is broken JSON")
	f(js, "{'msg':'a'}", "answer is broken JSON")
	f(js, "{\"msg\":\"\xff\"}", "answer is broken JSON")
	f(js, strings.Repeat("[", 1000)+strings.Repeat("]", 1000), "answer is broken JSON")
	f(js, `{"type":"foo","msg":"x"}`, `unknown reply type "foo"`)
	f(js, `{"type":"`+strings.Repeat("f", 100)+`"}`, `unknown reply type "`+strings.Repeat("f", 64)+`…"`)
	f(js, `{"type":"Text","msg":"x"}`, `unknown reply type "Text"`)
	f(js, `{"type":{"a":1}}`, `field "type" is not a string`)
	f(js, `{"MsgType":[1]}`, `field "msgtype" is not a string`)
	f(js, `{"type":"text"}`, `text reply: field "msg" is missing`)
	f(js, `{"msg":{"a":1}}`, `text reply: field "msg" is not a string`)
	f(js, `{"type":"image"}`, `image reply: field "msg" is missing`)
	f(js, `{"type":"voice","msg":""}`, `voice reply: field "msg" is empty`)
	f(js, `{"type":"video","msg":"m","title":[]}`, `video reply: field "title" is not a string`)
	f(js, `{"type":"music","title":"x"}`, `music reply: field "msg" is missing`)
	f(js, `{"type":"news"}`, `news reply: field "articles" is missing or empty`)
	f(js, `{"type":"news","articles":[]}`, `news reply: field "articles" is missing or empty`)
	f(js, `{"type":"news","articles":"x"}`, `news reply: field "articles" is not an array`)
	f(js, `{"type":"news","articles":[{"title":"a"},5]}`, `news reply: articles[1] is not an object`)
	f(js, `{"type":"news","articles":[{"url":{}}]}`, `news reply: field "url" is not a string`)
	f(js, `{"type":"msgmenu","list":[{"id":"1"}]}`, `msgmenu reply: field "content" is missing`)
	f(js, `{"type":"msgmenu","msg":"x"}`, `msgmenu reply: field "list" is missing or empty`)
	f(js, `{"type":"link","title":"x"}`, `link reply: field "url" is missing`)
	f(js, `{"type":"raw"}`, `raw reply: field "msg" is missing`)
	f(js, `{"type":"raw","msg":"x","seal":"no"}`, `raw reply: field "seal" is neither true nor false`)
	f(js, `[[{"msg":"x"}]]`, "answer[0] is not an object")
	f(js, `[{"msg":"x"},"y"]`, "answer[1] is not an object")
	f(js, `[{"msg":"x"},{"type":"foo"}]`, `answer[1]: unknown reply type "foo"`)
	f(js, `[{"msg":"x"},{"type":"async"}]`, "answer[1]: async cannot stand in an array")
	f(js, "["+strings.Repeat(`{"msg":"x"},`, 20)+`{"msg":"x"}]`, "answer has more than 20 replies")
	if a, err := ParseReply([]byte(" null ")); err != nil || a.Async || a.Replies != nil {
		t.Errorf("ParseReply(null) = %+v, %v", a, err)
	}
	if _, err := ParseReply([]byte("5")); err == nil || err.Error() != "answer is neither an object nor an array" {
		t.Errorf("ParseReply(5): %v", err)
	}
	if _, err := ParseReply(nil); err == nil || err.Error() != "answer is broken JSON" {
		t.Errorf("ParseReply(nil): %v", err)
	}
}

// everyType has one reply of each type, with text that wants out.
func everyType() []Reply {
	const bad = "a]]>b<&\"\\\x00\xff\ufffe中"
	return []Reply{
		{Type: "text", Text: bad},
		{Type: "image", MediaID: bad},
		{Type: "voice", MediaID: bad},
		{Type: "video", MediaID: bad, Title: bad, Description: bad, ThumbMediaID: bad},
		{Type: "music", ThumbMediaID: bad, Title: bad, Description: bad, MusicURL: bad, HQMusicURL: bad},
		{Type: "news", Articles: []Article{{bad, bad, bad, bad}, {Title: "2"}, {Title: "3"}, {Title: "4"}, {Title: "5"}, {Title: "6"}, {Title: "7"}, {Title: "8"}, {Title: "9"}}},
		{Type: "transfer_customer_service"},
		{Type: "transfer_customer_service", KfAccount: bad},
		{Type: "raw", Raw: []byte(`{"result": 1}`)},
		{Type: "msgmenu", Text: bad, Menu: Menu{Items: []MenuItem{{bad, bad}, {"2", "b"}}, Tail: bad}},
		{Type: "link", Title: bad, Description: bad, URL: bad, PicURL: bad},
		{Type: "miniprogrampage", Title: bad, AppID: bad, PagePath: bad, ThumbMediaID: bad},
		{Type: "miniprogrampage", Title: "a page of the mini program itself", PagePath: bad, ThumbMediaID: bad},
		{Type: "mpnews", MediaID: bad},
		{Type: "mpnewsarticle", MediaID: bad},
		{Type: "wxcard", MediaID: bad, KfAccount: "kf@x"},
		{Type: "unknown"},
	}
}

// TestGoldenReplies holds every type in its three forms.
func TestGoldenReplies(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	for _, r := range everyType() {
		fmt.Fprintf(&out, "%s passive=%v\nxml:    %s\njson:   %s\n", r.Type, r.Passive(),
			r.AppendXML([]byte("|"), "o]]>U", "gh", -5), r.AppendJSON([]byte("|"), "o\"U", "gh", 5))
		custom, err := r.AppendCustom([]byte("|"), "oU")
		if err != nil {
			fmt.Fprintf(&out, "custom: %s error: %v\n\n", custom, err)
			continue
		}
		fmt.Fprintf(&out, "custom: %s\n\n", custom)
		if !json.Valid(custom[1:]) {
			t.Errorf("%s is not JSON", custom)
		}
	}
	golden(t, "testdata/replies.golden", out.Bytes())
}

// What AppendJSON writes is a form that ParseReply takes.
func TestJSONFormRoundTrip(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		`{"msg":"x"}`, `{"type":"image","msg":"m"}`, `{"type":"voice","msg":"m"}`, `{"type":"video","msg":"m","title":"t","desc":"d"}`,
		`{"type":"music","msg":"m","title":"t","desc":"d","musicUrl":"u","hqMusicUrl":"h"}`, `{"type":"news","articles":[{"title":"t","desc":"d","picUrl":"p","url":"u"}]}`,
		`{"type":"transfer_customer_service","msg":"kf@x"}`, `{"type":"transfer_customer_service"}`,
	} {
		a, err := ParseReply([]byte(answer))
		if err != nil {
			t.Fatal(err)
		}
		out := a.Replies[0].AppendJSON(nil, "o", "gh", 5)
		b, err := ParseReply(out)
		if diff := cmp.Diff(a, b); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", out, err, diff)
		}
		if custom, err := a.Replies[0].AppendCustom(nil, "o"); err == nil {
			c, err := ParseReply(custom)
			if diff := cmp.Diff(a, c); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", custom, err, diff)
			}
		}
	}
}
