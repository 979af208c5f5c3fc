package endpoint

import (
	"errors"
	"strings"
	"testing"

	"wx-gateway/gateway/delivery"
)

func TestReply(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := func(rest, call string) {
		t.Helper()
		d.want(t, `POST /reply {"s":"demo","push":"`+testPush+`"`+rest+`}`, 200, `{"code":200,"msg":"OK"}`)
		d.did(t, "reply demo "+testPush+" "+call)
	}
	// what a backend may answer
	f(`,"type":"text","msg":"你好"`, "more false: text 你好")
	f(`,"msg":"no type"`, "more false: text no type")
	f(`,"type":"image","msg":"m1","more":true`, "more true: image m1")
	f(`,"MsgType":"text","Content":"cloud"`, "more false: text cloud")
	f(`,"MsgType":"image","Image":{"MediaId":"m2"}`, "more false: image m2")
	f(`,"msg_type":"text","content":"under"`, "more false: text under")
	f(`,"replies":[{"type":"text","msg":"a"},{"type":"image","msg":"b"}]`, "more false: text a image b")
	// an end with nothing to say
	f(`,"type":"success"`, "more false:")
	f(`,"replies":[]`, "more false:")
	f(`,"type":"text","msg":""`, "more false:")

	d.pushes.took = delivery.Duplicate
	const body = `POST /reply {"s":"demo","push":"` + testPush + `","msg":"x"}`
	d.want(t, body, 200, `{"code":200,"msg":"OK","duplicate":true}`)
	d.pushes.took = delivery.Unknown
	d.want(t, body, 404, `{"code":404,"msg":"service demo has no push `+testPush+` that waits for a reply"}`)
	d.pushes.took = delivery.Expired
	d.want(t, body, 410, `{"code":410,"msg":"push `+testPush+` has waited too long for its reply"}`)
	d.pushes.err = errors.New("no space left on device")
	d.want(t, body, 503, `{"code":503,"msg":"the reply cannot be stored just now, please repeat"}`)
}

func TestReplyRefusals(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	f := func(body string, status int, msg string) {
		t.Helper()
		got := d.send(t, "POST", "/reply", "application/json", body)
		if got.status != status || !strings.Contains(got.body, msg) {
			t.Errorf("%.80s: %d %s, want %d with %q", body, got.status, got.body, status, msg)
		}
	}
	with := func(rest string) string { return `{"s":"demo","push":"` + testPush + `"` + rest + `}` }
	f("", 400, "JSON object expected")
	f("[]", 400, "JSON object expected")
	f(with("")[:20], 400, "JSON object expected")
	f(`{"push":"`+testPush+`","msg":"x"}`, 400, "s(ervice) parameter expected")
	f(`{"s":"nobody","push":"`+testPush+`","msg":"x"}`, 404, "unknown service name nobody")
	f(`{"s":"demo","msg":"x"}`, 400, "push parameter expected")
	f(`{"s":"demo","push":"44d0","msg":"x"}`, 400, "push parameter expected")
	f(`{"s":"demo","push":"`+strings.Repeat("z", 32)+`","msg":"x"}`, 400, "push parameter expected")
	f(with(""), 400, "neither type nor msg nor replies")
	f(with(`,"message":"mistyped"`), 400, "neither type nor msg nor replies")
	f(with(`,"type":"no such type"`), 400, "no such type")
	f(with(`,"type":"async"`), 400, "async")
	f(with(`,"replies":{"type":"text","msg":"a"}`), 400, "must be an array")
	f(with(`,"replies":null`), 400, "must be an array")
	f(with(`,"replies":["a"]`), 400, "not an object")
	f(with(`,"replies":[`+strings.Repeat(`{"msg":"a"},`, 20)+`{"msg":"a"}]`), 400, "more than 20")
	f(with(`,"msg":"`+strings.Repeat("x", maxReply)+`"`), 413, "body must not exceed")
	d.did(t)
	if got := d.call(t, "GET /reply"); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %s", got.status, got.body)
	}
}
