package msg

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const head = `<ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oU1]]></FromUserName><CreateTime>1767000000</CreateTime>`

func textPush(content string) []byte {
	return []byte("<xml>" + head + "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[" + content + "]]></Content><MsgId>77</MsgId></xml>")
}

func eventPush(name, rest string) []byte {
	return []byte("<xml>" + head + "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[" + name + "]]></Event>" + rest + "</xml>")
}

// member returns one top-level member of a push's JSON as it is spelled there.
func member(t *testing.T, m *Message, name string) string {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(m.JSON, &all); err != nil {
		t.Fatalf("%s: %v", m.JSON, err)
	}
	return string(all[name])
}

func mustParse(t *testing.T, body []byte) *Message {
	t.Helper()
	m, err := Parse(body)
	if err != nil {
		t.Fatalf("Parse(%.200q): %v", body, err)
	}
	return m
}

func TestParseReadsTheHeader(t *testing.T) {
	t.Parallel()
	m := mustParse(t, textPush("hi"))
	if m.ToUserName != "gh_1" || m.FromUserName != "oU1" || m.CreateTime != "1767000000" || m.MsgType != "text" ||
		m.Event != "" || m.MsgID != "77" || m.Content != "hi" || m.Format != XML || m.Format.String() != "XML" || m.Cleaned || m.Injected {
		t.Errorf("%+v", m)
	}
	m = mustParse(t, eventPush("SCAN", "<EventKey>7</EventKey><MsgID>8</MsgID><MsgId></MsgId>"))
	if m.Event != "SCAN" || m.EventKey != "7" || m.MsgID != "8" {
		t.Errorf("%+v", m)
	}
	m = mustParse(t, []byte("\ufeff \n"+`{"ToUserName ":"gh_1"," FromUserName":"oU1","CreateTime":1767000000,"MsgType":"event","\u0045vent":"x","MsgID":9007199254740993,"EventKey":null,"Content":{"a":1}}`+"\n"))
	if m.ToUserName != "gh_1" || m.FromUserName != "oU1" || m.CreateTime != "1767000000" || m.Event != "x" || m.Format.String() != "JSON" ||
		m.MsgID != "9007199254740993" || m.EventKey != "" || m.Content != "" || m.Format != JSON {
		t.Errorf("%+v", m)
	}
}

// A body belongs to the server, which overwrites it with the next request.
func TestMessageDoesNotAliasTheBody(t *testing.T) {
	t.Parallel()
	for _, body := range [][]byte{
		textPush("hello"), textPush("a\x01b"), []byte(`{"MsgType":"text","Content":"hello","MsgId":"5"}`),
	} {
		m := mustParse(t, body)
		before := *m
		before.JSON = bytes.Clone(m.JSON)
		for _, s := range []*string{&before.MsgType, &before.Content, &before.MsgID} {
			*s = strings.Clone(*s)
		}
		for i := range body {
			body[i] = 'X'
		}
		if m.MsgType != before.MsgType || m.Content != before.Content || m.MsgID != before.MsgID || !bytes.Equal(m.JSON, before.JSON) {
			t.Errorf("changed with the body: %+v", m)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	f := func(body, want string) {
		t.Helper()
		m, err := Parse([]byte(body))
		if err == nil {
			t.Errorf("Parse(%.80q) = %s", body, m.JSON)
		} else if got := err.Error(); got != "cannot read the push: "+want {
			t.Errorf("Parse(%.80q):\n got %s\nwant cannot read the push: %s", body, got, want)
		}
	}
	f("", "it is empty")
	f("\ufeff \r\n", "it is empty")
	f("hello", "it begins with neither < nor {")
	f(`["a"]`, "it begins with neither < nor {")
	f("\xfe\xff\x00<", "it begins with neither < nor {")
	// the reference crashed on these two
	f("<foo/>", "its root element is <foo>, not <xml>")
	f("<xml", "it does not begin with an element")
	f("<foo><a>1</a></foo>", "its root element is <foo>, not <xml>")
	f("<", "it does not begin with an element")
	f("<xml></xml><xml></xml>", "text follows its root element")
	f("<xml></xml>x", "text follows its root element")
	f("<xml><a>", "element <a> is not closed")
	f("<xml><a><b></a></xml>", "element <b> is closed by another's end tag")
	f("<xml><a><![CDATA[x</a></xml>", "a CDATA section in <a> is not closed")
	f("<xml><a><!-- x</a></xml>", "a comment or instruction in <a> is not closed")
	f(`<?xml version="1.0" encoding="GBK"?><xml/>`, `it declares encoding "GBK", only UTF-8 is accepted`)
	f(`<?xml version='1.0' encoding = 'iso-8859-1' ?><xml/>`, `it declares encoding "iso-8859-1", only UTF-8 is accepted`)
	f(`<?xml version="1.0"`, "its <?…?> is not closed")
	f(`<!-- <xml/>`, "its comment is not closed")
	const doctype = "it holds a DOCTYPE or another declaration, which WeChat never sends"
	f(`<!DOCTYPE xml [<!ENTITY a "b">]><xml>&a;</xml>`, doctype)
	f(`<?xml version="1.0"?> <!-- c --> <!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml/>`, doctype)
	f(`<xml><a><!DOCTYPE x></a></xml>`, doctype)
	f(`<xml><!ENTITY a "b"></xml>`, doctype)
	f("<xml>"+strings.Repeat("<a>", 40)+strings.Repeat("</a>", 40)+"</xml>", "its elements nest deeper than 32 levels")
	f("<xml>"+strings.Repeat("<a>", 500_000), "its elements nest deeper than 32 levels")
	f("<xml>"+strings.Repeat("<a/>", 20_001)+"</xml>", "it has more than 20000 elements")
	f(`{"a":1`, "it is not valid JSON")
	f(`{"a":1}{"b":2}`, "it is not valid JSON")
	f(`{"a":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`, "its values nest deeper than 64 levels")
	f(strings.Repeat(`{"a":`, 200_000), "its values nest deeper than 64 levels")
}

func TestParseAcceptsTheLimits(t *testing.T) {
	t.Parallel()
	mustParse(t, []byte("<xml>"+strings.Repeat("<a>", 31)+strings.Repeat("</a>", 31)+"</xml>"))
	mustParse(t, []byte(`{"a":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)+`}`))
	mustParse(t, []byte(`<?xml version="1.0" encoding="utf8"?><!-- c --><xml/>`))
	mustParse(t, []byte(`<?xml version="1.1" encoding='Utf-8' standalone="yes"?><?pi x?><xml a="1" b='2'><a c="3">x</a></xml>`))
	// markup in a text costs nothing
	if m := mustParse(t, textPush(strings.Repeat("<a>", 30_000))); len(m.Content) != 90_000 || m.Cleaned {
		t.Errorf("content of %d bytes, cleaned %v", len(m.Content), m.Cleaned)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	f := func(m Message, want string) {
		t.Helper()
		got, err := m.Path()
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("Path of %+v\n got %s\nwant %s", m, got, want)
		}
		kind := "unnamed"
		if err == nil {
			kind = strings.TrimPrefix(want, "/")
		}
		if m.Kind() != kind {
			t.Errorf("Kind of %+v = %s, want %s", m, m.Kind(), kind)
		}
	}
	f(Message{MsgType: "text"}, "/msg/text")
	f(Message{MsgType: "sticker_future-2"}, "/msg/sticker_future-2")
	// the reference posted a menu click to /event/event
	f(Message{MsgType: "event", Event: "CLICK"}, "/event/CLICK")
	f(Message{MsgType: "event", Event: "complaint callback"}, "/event/complaint_callback")
	f(Message{MsgType: "device_event", Event: "bind"}, "/event/bind")
	f(Message{InfoType: "authorized"}, "/info/authorized")
	f(Message{MsgType: "text", InfoType: "authorized"}, "/msg/text")
	f(Message{MsgType: strings.Repeat("a", 64)}, "/msg/"+strings.Repeat("a", 64))
	f(Message{}, "error: push has neither MsgType nor InfoType")
	f(Message{MsgType: "event"}, `error: event name "" cannot stand in a URL: it is empty`)
	f(Message{MsgType: "event", Event: "../x"}, `error: event name "../x" cannot stand in a URL: character '.'`)
	f(Message{MsgType: "a\nb"}, `error: message name "a\nb" cannot stand in a URL: character '\n'`)
	f(Message{InfoType: "中"}, `error: info name "中" cannot stand in a URL: character '中'`)
	f(Message{MsgType: "event", Event: strings.Repeat("a", 63) + "中"}, `error: event name "`+strings.Repeat("a", 63)+`…" cannot stand in a URL: it is longer than 64 bytes`)
}

func TestAppendUserInfo(t *testing.T) {
	t.Parallel()
	f := func(object, info, reason, want string) {
		t.Helper()
		m := mustParse(t, []byte(object))
		if got := string(AppendUserInfo(nil, m.WithoutUserInfo(), []byte(info), reason)); got != want {
			t.Errorf("%s with user info\n got %s\nwant %s", object, got, want)
		}
	}
	f(`{"a":1}`, `{"openid":"o"}`, "", `{"a":1,"userInfo":{"openid":"o"},"userInfoError":""}`)
	f(`{"a":1}`, "", `48001 "no"`, `{"a":1,"userInfo":null,"userInfoError":"48001 \"no\""}`)
	f(`{ }`, "", "", `{ "userInfo":null,"userInfoError":""}`)
	f(`<xml/>`, "", "", `{"userInfo":null,"userInfoError":""}`)
	// no key twice
	f(`{"userInfo":{"openid":"evil"},"a":[1, 2],"user\u0049nfoError":5}`, `{}`, "", `{"a":[1, 2],"userInfo":{},"userInfoError":""}`)
	f(`<xml><a>1</a><userInfo><openid>evil</openid></userInfo></xml>`, `{}`, "", `{"a":"1","userInfo":{},"userInfoError":""}`)
	f(`<xml><userInfo>1</userInfo></xml>`, `{}`, "", `{"userInfo":{},"userInfoError":""}`)
	m := mustParse(t, []byte(`<xml><userInfo>1</userInfo></xml>`))
	if string(m.JSON) != `{"userInfo":"1"}` {
		t.Errorf("without Body the push keeps its element: %s", m.JSON)
	}
}

// TestConversion holds the rules of the JSON object one by one.
func TestConversion(t *testing.T) {
	t.Parallel()
	f := func(xml, want string) {
		t.Helper()
		m := mustParse(t, []byte("<xml>"+xml+"</xml>"))
		if got := string(m.JSON); got != want {
			t.Errorf("%s\n got %s\nwant %s", xml, got, want)
		}
		if m.Cleaned {
			t.Errorf("%s was cleaned", xml)
		}
	}
	// text
	f("<a> \n<![CDATA[ x ]]>\t</a>", `{"a":" x "}`)
	f("<a><![CDATA[ ]]></a>", `{"a":" "}`)
	f("<a> x\u3000</a>", "{\"a\":\"x\u3000\"}")
	f("<a><![CDATA[1]]> <![CDATA[2]]></a>", `{"a":"12"}`)
	f("<a>1<!-- c -->2</a>", `{"a":"12"}`)
	f("<a> 1 <![CDATA[2]]> 3 </a>", `{"a":"123"}`)
	f("<a/><b></b><c><![CDATA[]]></c>", `{"a":"","b":"","c":""}`)
	f(`<a k="v">&lt;&amp;&#20013;&#x4E2D;"\</a>`, `{"a":"<&中中\"\\"}`)
	f("<x:a>1</x:a>", `{"x:a":"1"}`)
	// objects and arrays
	f("<a>text<b>1</b>more</a>", `{"a":{"b":"1"}}`)
	f("<a>1</a><b>2</b><a>3</a>", `{"a":["1","3"],"b":"2"}`)
	f("<a><b>1</b></a><a/>", `{"a":[{"b":"1"},""]}`)
	for name := range strings.FieldsSeq("List item Item AroundBeacon Actions DetailList detail fail_idx material proof_material_id history media_id_list scene_group_ext_list") {
		f("<"+name+"/>", `{"`+name+`":[]}`)
		f("<"+name+">1</"+name+">", `{"`+name+`":["1"]}`)
		f("<a><"+name+"><b>1</b></"+name+"><"+name+">2</"+name+"></a>", `{"a":{"`+name+`":[{"b":"1"},"2"]}}`)
	}
	for name := range strings.FieldsSeq("PicList SendPicsInfo ScanCodeInfo SendLocationInfo SubscribeMsgPopupEvent") {
		f("<"+name+"> </"+name+">", `{"`+name+`":{}}`)
		f("<"+name+">x</"+name+">", `{"`+name+`":"x"}`)
		f("<"+name+"><b>1</b></"+name+"><"+name+"><b>2</b></"+name+">", `{"`+name+`":{"b":["1","2"]}}`)
	}
	f("<PicList><b>1</b></PicList><PicList>x</PicList>", `{"PicList":[{"b":"1"},"x"]}`)
	f("<a><Event/></a>", `{"a":{"Event":""}}`)
	// numbers
	for name := range strings.FieldsSeq("CreateTime Scale Count TotalCount FilterCount SentCount ErrorCount ResultCount") {
		f("<"+name+">7</"+name+">", `{"`+name+`":7}`)
		f("<"+name+"/>", `{"`+name+`":0}`)
		f("<a><"+name+"><![CDATA[18446744073709551616]]></"+name+"></a>", `{"a":{"`+name+`":18446744073709551616}}`)
	}
	f("<Count>-1.50e+2</Count>", `{"Count":-1.50e+2}`)
	for text := range strings.FieldsSeq("007 +1 1. .5 0x10 1e 1e+ - NaN 1,000 １") {
		f("<Count>"+text+"</Count>", `{"Count":"`+text+`"}`)
	}
	f("<MsgId>23637352235060880</MsgId><order_id>007</order_id><count>1</count><MenuId>5</MenuId>",
		`{"MsgId":"23637352235060880","order_id":"007","count":"1","MenuId":"5"}`)
	// header names are never arrays
	f("<MsgType>x</MsgType><Event>1</Event><Event>2</Event><MsgId>1</MsgId><MsgId>2</MsgId><ToUserName>a</ToUserName><ToUserName>b</ToUserName>",
		`{"MsgType":"x","Event":"1","MsgId":"2","ToUserName":"a"}`)
	// more names than are searched one by one
	var many, want strings.Builder
	for i := range 40 {
		name := "n" + strings.Repeat("x", i)
		many.WriteString("<" + name + ">1</" + name + ">")
		want.WriteString(`,"` + name + `":["1","2"]`)
	}
	f(many.String()+strings.ReplaceAll(many.String(), "1", "2"), "{"+want.String()[1:]+"}")
}

// TestExtras holds the fields that backends written for the reference find
// beside the lossless form.
func TestExtras(t *testing.T) {
	t.Parallel()
	f := func(body []byte, want ...string) {
		t.Helper()
		m := mustParse(t, body)
		for i := 0; i < len(want); i += 2 {
			if got := member(t, m, want[i]); got != want[i+1] {
				t.Errorf("%s: %s is %s, want %s", m.Kind(), want[i], got, want[i+1])
			}
		}
	}
	message := func(kind string) []byte { return []byte("<xml><MsgType>" + kind + "</MsgType></xml>") }
	base := []string{"ToUserName", `""`, "FromUserName", `""`, "CreateTime", "0"}
	f(message("text"), append(base, "MsgId", `""`, "Content", `""`)...)
	f(message("image"), append(base, "MsgId", `""`, "PicUrl", `""`, "MediaId", `""`)...)
	f(message("voice"), append(base, "MsgId", `""`, "MediaId", `""`, "Format", `""`, "Recognition", `""`)...)
	f(message("video"), "MsgId", `""`, "MediaId", `""`, "ThumbMediaId", `""`)
	f(message("shortvideo"), "MsgId", `""`, "MediaId", `""`, "ThumbMediaId", `""`)
	f(message("location"), "MsgId", `""`, "Location_X", `""`, "Location_Y", `""`, "Scale", "0", "Label", `""`)
	f(message("link"), "MsgId", `""`, "Title", `""`, "Description", `""`, "Url", `""`)
	f(message("future"), "MsgId", `""`, "ToUserName", "")
	f(eventPush("CLICK", ""), "EventKey", `""`)
	f(eventPush("VIEW", ""), "EventKey", `""`, "MenuId", `""`)
	for name := range strings.FieldsSeq("subscribe unsubscribe SCAN") {
		f(eventPush(name, ""), "EventKey", `""`, "Ticket", `""`, "MsgId", "")
	}
	f(eventPush("LOCATION", ""), "Latitude", `""`, "Longitude", `""`, "Precision", `""`)
	f(eventPush("location", ""), "Location_X", `""`, "Location_Y", `""`, "Scale", "0", "Label", `""`, "MsgId", `""`)
	f(eventPush("location_select", "<SendLocationInfo><Scale>15</Scale><Label><![CDATA[ here]]></Label></SendLocationInfo>"),
		"Location_X", `""`, "Scale", "15", "Label", `" here"`)
	for name := range strings.FieldsSeq("pic_sysphoto pic_photo_or_album pic_weixin pic_future") {
		f(eventPush(name, ""), "EventKey", `""`, "Count", "0", "PicList", "[]")
		f(eventPush(name, "<SendPicsInfo><Count>1</Count><PicList><item><PicMd5Sum>a</PicMd5Sum></item></PicList></SendPicsInfo>"),
			"Count", "1", "PicList", `["a"]`, "SendPicsInfo", `{"Count":1,"PicList":{"item":[{"PicMd5Sum":"a"}]}}`)
	}
	for name := range strings.FieldsSeq("scancode_push scancode_waitmsg") {
		f(eventPush(name, ""), "ScanType", `""`, "ScanResult", `""`)
		f(eventPush(name, "<ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>1</ScanResult></ScanCodeInfo>"),
			"ScanType", `"qrcode"`, "ScanResult", `"1"`)
	}
	f(eventPush("MASSSENDJOBFINISH", ""), "MsgID", `""`, "Status", `""`, "TotalCount", "0", "FilterCount", "0", "SentCount", "0",
		"ErrorCount", "0", "ResultCount", "0", "ResultList", "[]")
	f(eventPush("MASSSENDJOBFINISH", "<CopyrightCheckResult><Count>1</Count><ResultList><item><ArticleIdx>1</ArticleIdx></item></ResultList></CopyrightCheckResult>"),
		"ResultCount", "1", "ResultList", `[{"ArticleIdx":"1"}]`)
	f(eventPush("TEMPLATESENDJOBFINISH", "<MsgID>5</MsgID>"), "MsgID", `"5"`, "MsgId", `"5"`, "Status", `""`)
	// an element of that name beats a flattened one
	f(eventPush("pic_weixin", "<Count>9</Count><PicList>x</PicList><SendPicsInfo><Count>1</Count></SendPicsInfo>"), "Count", "9", "PicList", `"x"`)
	f(eventPush("unknown_one", ""), "EventKey", "", "MsgId", "")
	f(eventPush("bind", ""), "EventKey", "")
	f([]byte("<xml><MsgType>device_event</MsgType><Event>bind</Event></xml>"), "MsgId", "")
}

// TestCData places a section at every distance from the border of the
// parser's read buffer, where its begin could be missed.
func TestCDataAtBufferBorders(t *testing.T) {
	t.Parallel()
	for pad := 4040; pad < 4140; pad++ {
		m := mustParse(t, []byte("<xml><p>"+strings.Repeat("x", pad)+"</p><a> <![CDATA[ y ]]> </a></xml>"))
		if got := member(t, m, "a"); got != `" y "` {
			t.Fatalf("pad %d: %s", pad, got)
		}
	}
}

func TestJSONPushesPassThrough(t *testing.T) {
	t.Parallel()
	body := `{"MsgType":"event", "Event":"x","order_info":{"order_id":3705115058471208928,"f":1.50e+3},"s":"\u4e2d\/"}`
	m := mustParse(t, []byte(body))
	if string(m.JSON) != body || m.Cleaned {
		t.Errorf("%s", m.JSON)
	}
	// what no JSON reader takes is cleaned, not lost
	m = mustParse(t, []byte("{\"MsgType\":\"text\",\n\"Content\":\"a\xe4\xbd\x01\n\\\"b\"}"))
	if want := "{\"MsgType\":\"text\",\n\"Content\":\"a\ufffd\\u0001\\u000a\\\"b\"}"; string(m.JSON) != want || !m.Cleaned {
		t.Errorf("got %s\nwant %s, cleaned %v", m.JSON, want, m.Cleaned)
	}
	m = mustParse(t, []byte(`{"MsgType":"text","MsgId":1,"MsgType":"event","MsgId":2}`))
	if m.MsgType != "text" || m.MsgID != "2" || !m.Injected {
		t.Errorf("%+v", m)
	}
}

func TestParseCorpusSampleTwice(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/push/msg-text.xml")
	if err != nil {
		t.Fatal(err)
	}
	a, b := mustParse(t, body), mustParse(t, body)
	if !bytes.Equal(a.JSON, b.JSON) {
		t.Errorf("%s\n%s", a.JSON, b.JSON)
	}
}
