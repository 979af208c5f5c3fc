package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wx-gateway/gateway/crypt"
)

// pushed is the wire of a text message as the corpus has it.
func pushed(t *testing.T, mode Mode, body []byte) wire {
	t.Helper()
	p := Push{URL: "http://h/", Token: testToken, AppID: testApp, AESKey: testKey, Mode: mode, Body: body}
	w, err := p.seal()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var (
	textPush  = Fields{To: testGH, From: testUser, Content: "x"}.XML()
	clickPush = Fields{To: testGH, From: testUser, Event: "CLICK"}.XML()
	jsonPush  = Fields{To: testGH, From: testUser, Event: "channels_ec_order_pay"}.JSON()
)

func TestJudgePlain(t *testing.T) {
	f := func(push []byte, status int, body, wantOutcome, wantWhy string) {
		t.Helper()
		w := pushed(t, Plain, push)
		v := w.judge(status, []byte(body))
		if v.outcome != wantOutcome || !strings.HasPrefix(v.why, wantWhy) || (wantWhy == "") != (v.why == "") || v.sealed {
			t.Errorf("judge(%d, %q) = %s %q, want %s %q", status, body, v.outcome, v.why, wantOutcome, wantWhy)
		}
	}
	reply := func(inner string) string {
		return "<xml><ToUserName><![CDATA[" + testUser + "]]></ToUserName><FromUserName><![CDATA[" + testGH + "]]></FromUserName><CreateTime>1</CreateTime>" + inner + "</xml>"
	}
	f(textPush, 200, "success", OutcomeSuccess, "")
	f(textPush, 200, "", OutcomeSuccess, "")
	f(textPush, 201, "success", OutcomeBad, "status 201 instead of 200")
	f(textPush, 302, "", OutcomeBad, "status 302 instead of 200")
	f(textPush, 503, "", OutcomeBad, "status 503 instead of 200")
	f(textPush, 200, "SUCCESS", OutcomeBad, `neither success, nor empty, nor XML: "SUCCESS"`)
	f(textPush, 200, "success\n", OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, "\ufeffsuccess", OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, "<html></html>", OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, `{"type":"text","msg":"leaked"}`, OutcomeBad, "JSON reply to an XML push")
	f(clickPush, 200, `{"type":"text","msg":"leaked"}`, OutcomeBad, "JSON reply to an XML push")
	f(textPush, 200, `{"type":`, OutcomeBad, "neither success, nor empty, nor a JSON object")
	f(textPush, 200, `["x"]`, OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, strings.Repeat("x", maxReply+1), OutcomeBad, "more than 1048576 bytes")

	text := "<MsgType>text</MsgType><Content><![CDATA[hi]]></Content>"
	f(textPush, 200, reply(text), OutcomeReply, "")
	f(textPush, 200, "\n<?xml version=\"1.0\"?>\n"+reply(text)+"\n", OutcomeBad, "neither success") // nothing may stand before the declaration
	f(textPush, 200, "<?xml version=\"1.0\"?>\n"+reply(text)+"\n", OutcomeReply, "")
	f(textPush, 200, reply(text)+reply(text), OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, reply(text)+"x", OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, strings.TrimSuffix(reply(text), "</xml>"), OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, "<!DOCTYPE x>"+reply(text), OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, reply("<MsgType>text</MsgType><Content>a\x01b</Content>"), OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, reply("<MsgType>text</MsgType><Content>a]]>b</Content>"), OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, reply(strings.Repeat("<a>", 40)+strings.Repeat("</a>", 40)), OutcomeBad, "neither success, nor empty, nor XML")
	f(textPush, 200, strings.Replace(reply(text), testUser, "oSomebody", 1), OutcomeBad, `reply's ToUserName is "oSomebody" instead of "`+testUser+`"`)
	f(textPush, 200, strings.Replace(reply(text), testGH, "gh_x", 1), OutcomeBad, `reply's FromUserName is "gh_x"`)
	f(textPush, 200, strings.Replace(reply(text), "<CreateTime>1</CreateTime>", "", 1), OutcomeBad, `reply's CreateTime is ""`)
	f(textPush, 200, reply("<MsgType>text</MsgType>"), OutcomeBad, "text reply without Content")
	f(textPush, 200, reply("<MsgType>text</MsgType><Content>"+strings.Repeat("x", 2049)+"</Content>"), OutcomeBad, "text reply of 2049 bytes")
	f(textPush, 200, reply("<MsgType>image</MsgType><MediaId>m</MediaId>"), OutcomeBad, "image reply without Image/MediaId")
	f(textPush, 200, reply("<MsgType>link</MsgType>"), OutcomeBad, `reply's MsgType "link" is none of the passive ones`)
	f(textPush, 200, reply("<Content>x</Content>"), OutcomeBad, "reply without MsgType")
	item := "<item><Title>t</Title><Description></Description><PicUrl></PicUrl><Url>u</Url></item>"
	f(textPush, 200, reply("<MsgType>news</MsgType><ArticleCount>2</ArticleCount><Articles>"+item+item+"</Articles>"), OutcomeReply, "")
	f(textPush, 200, reply("<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles>"+item+item+"</Articles>"), OutcomeBad, `news reply with ArticleCount "1" and 2 articles`)
	f(textPush, 200, reply("<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles><item><Title>t</Title></item></Articles>"), OutcomeBad, "news reply with an article without Description")

	f(jsonPush, 200, `{"errcode":0,"result":1}`, OutcomeReply, "")
	f(jsonPush, 200, `[1]`, OutcomeBad, "neither success, nor empty, nor a JSON object")
	f(jsonPush, 200, `null`, OutcomeBad, "neither success, nor empty, nor a JSON object")
	f(jsonPush, 200, reply(text), OutcomeBad, "neither success, nor empty, nor a JSON object")
	f(jsonPush, 200, `{"MsgType":"text","ToUserName":"`+testUser+`","FromUserName":"`+testGH+`","CreateTime":1,"Content":"x"}`, OutcomeReply, "")
	f(jsonPush, 200, `{"MsgType":"text","ToUserName":"x","FromUserName":"`+testGH+`","CreateTime":1}`, OutcomeBad, "reply's ToUserName")
}

// TestJudgeCorpus: every recorded reply is one WeChat takes.
func TestJudgeCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/reply-*.xml")
	if err != nil || len(files) < 9 {
		t.Fatalf("replies %v, %v", files, err)
	}
	for _, name := range files {
		push := textPush
		if strings.Contains(name, "reply-sync") {
			push, err = os.ReadFile("testdata/event-open_product_receive_coupon.xml")
			if err != nil {
				t.Fatal(err)
			}
		}
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if v := pushed(t, Plain, push).judge(200, body); v.outcome != OutcomeReply {
			t.Errorf("%s: %s %s", name, v.outcome, v.why)
		}
	}
	push, err := os.ReadFile("testdata/event-channels_ec_order_use_vip_discount.xml")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := os.ReadFile("testdata/reply-sync.channels_ec_order_use_vip_discount.json")
	if err != nil {
		t.Fatal(err)
	}
	if v := pushed(t, Plain, push).judge(200, reply); v.outcome != OutcomeReply {
		t.Errorf("JSON answer of a shop event: %s %s", v.outcome, v.why)
	}
}

func TestJudgeSealed(t *testing.T) {
	sealed := func(appid, token, key, msg string, json bool) string {
		t.Helper()
		box, err := crypt.New(crypt.Config{AppID: appid, Tokens: []string{token}, Keys: []string{key}})
		if err != nil {
			t.Fatal(err)
		}
		seal := box.AppendXML
		if json {
			seal = box.AppendJSON
		}
		text, err := seal(nil, 0, 0, []byte(msg), time.Now().Unix(), "n")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	seal := func(appid, token, key, msg string) string { return sealed(appid, token, key, msg, false) }
	f := func(mode Mode, push []byte, body string, wantSealed bool, wantOutcome, wantWhy string) {
		t.Helper()
		v := pushed(t, mode, push).judge(200, []byte(body))
		if v.outcome != wantOutcome || !strings.HasPrefix(v.why, wantWhy) || (wantWhy == "") != (v.why == "") || v.sealed != wantSealed {
			t.Errorf("judge(%s, %q) = %s %q sealed %t, want %s %q", mode, body, v.outcome, v.why, v.sealed, wantOutcome, wantWhy)
		}
		NoSecrets(t, []string{testKey, testToken}, v.why)
	}
	text := "<xml><ToUserName>" + testUser + "</ToUserName><FromUserName>" + testGH + "</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>hi</Content></xml>"
	good := seal(testApp, testToken, testKey, text)
	const otherKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

	f(Safe, textPush, good, true, OutcomeReply, "")
	f(Compatible, textPush, good, true, OutcomeReply, "")
	f(Compatible, textPush, text, false, OutcomeReply, "")
	f(Safe, textPush, "success", false, OutcomeSuccess, "")
	f(Safe, textPush, text, false, OutcomeBad, "plain reply to a sealed push")
	f(Plain, textPush, good, true, OutcomeBad, "sealed reply to a plain push")
	f(Safe, textPush, strings.Replace(good, "<MsgSignature><![CDATA[", "<MsgSignature><![CDATA[0", 1), true, OutcomeBad, "sealed reply: ")
	f(Safe, textPush, seal(testApp, "otherToken", testKey, text), true, OutcomeBad, "sealed reply: ")
	f(Safe, textPush, seal(testApp, testToken, otherKey, text), true, OutcomeBad, "sealed reply: ")
	f(Safe, textPush, seal("wxOther", testToken, testKey, text), true, OutcomeBad, "sealed reply: ")
	f(Safe, textPush, "<xml><Encrypt>x</Encrypt></xml>", true, OutcomeBad, "sealed reply without a TimeStamp in digits")
	f(Safe, textPush, seal(testApp, testToken, testKey, "success"), true, OutcomeBad, "reply is not well-formed")
	f(Safe, textPush, seal(testApp, testToken, testKey, `{"type":"text"}`), true, OutcomeBad, "JSON reply to an XML push")
	f(Safe, jsonPush, sealed(testApp, testToken, testKey, `{"demo_resp":"good luck"}`, true), true, OutcomeReply, "")
	f(Safe, jsonPush, `{"demo_resp":"good luck"}`, false, OutcomeBad, "plain reply to a sealed push")
	f(Safe, jsonPush, good, false, OutcomeBad, "neither success, nor empty, nor a JSON object")
}

// FuzzJudge: no answer of any server may break the push client.
func FuzzJudge(f *testing.F) {
	files, err := filepath.Glob("testdata/reply-*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Add([]byte("<xml><Encrypt>AA==</Encrypt><MsgSignature/><TimeStamp>1</TimeStamp></xml>"), false)
	f.Add([]byte("<xml><a><![CDATA[x]]]]><![CDATA[>]]></a></xml>"), false)
	f.Add([]byte(`{"Encrypt":1,"TimeStamp":"1"}`), true)
	safe := Push{URL: "http://h/", Token: testToken, AppID: testApp, AESKey: testKey, Mode: Safe}
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		p := safe
		if p.Body = textPush; asJSON {
			p.Body = jsonPush
		}
		w, err := p.seal()
		if err != nil {
			t.Fatal(err)
		}
		v := w.judge(200, body)
		switch {
		case v.outcome == OutcomeReply && !v.sealed:
			t.Errorf("plain reply to a sealed push was taken: %q", body)
		case v.outcome == OutcomeBad && v.why == "":
			t.Error("bad without a reason")
		}
		w.mode = Plain
		w.box = nil
		w.judge(200, body)
	})
}
