package sim

import (
	"strings"
	"testing"
	"time"
)

func customText(to, text string) string {
	return `{"touser":"` + to + `","msgtype":"text","text":{"content":"` + text + `"}}`
}

func TestCustomSend(t *testing.T) {
	r := newRig(t, Config{})
	path := "cgi-bin/message/custom/send?access_token=" + r.classic()
	f := func(body, want string) {
		t.Helper()
		if got := r.code(path, body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	f(customText("oA", "一"), "0")
	f(customText("oB", "二"), "0")
	f(customText("oA", "三"), "0")
	f(`{"touser":"oA","msgtype":"news","news":{"articles":[{"title":"t"}]},"customservice":{"kf_account":"a@b"}}`, "0")
	f(`{"touser":"oA","msgtype":"msgmenu","msgmenu":{"head_content":"h","list":[]}}`, "0")

	sent := r.Sent(testApp, "oA")
	if len(sent) != 4 || string(sent[0].JSON) != customText("oA", "一") || string(sent[1].JSON) != customText("oA", "三") || !sent[0].At.Equal(r.now) {
		t.Errorf("Sent(oA) = %v", sent)
	}
	if all := r.Sent(testApp, ""); len(all) != 5 {
		t.Errorf("Sent to anybody = %d messages", len(all))
	}

	f(``, "43002")
	f(` `, "47001")
	f(`{"touser":"","msgtype":"text","text":{"content":"x"}}`, "40003")
	f(`{"touser":"oA","text":{"content":"x"}}`, "40008")
	f(`{"touser":"oA","msgtype":"hologram","hologram":{}}`, "40008")
	f(`{"touser":"oA","msgtype":"text","text":{"content":""}}`, "44002")
	f(`{"touser":"oA","msgtype":"text"}`, "47001")
	f(customText("oA", strings.Repeat("字", 682)+"xy"), "0") // 2,048 bytes
	f(customText("oA", strings.Repeat("字", 683)), "45002")
	f(`{"touser":"oA","msgtype":"news","news":{"articles":[{},{}]}}`, "45008")
	f(`{"touser":"oA","msgtype":"news","news":{}}`, "47001")
	r.SetUser(testApp, map[string]any{"openid": "oGone", "subscribe": 0})
	f(customText("oGone", "x"), "43004")
}

func TestQuota(t *testing.T) {
	r := newRig(t, Config{Quota: true})
	path := "cgi-bin/message/custom/send?access_token=" + r.classic()
	send := func(want string) {
		t.Helper()
		if got := r.code(path, customText(testUser, "x")); got != want {
			t.Errorf("send: %s, want %s", got, want)
		}
	}
	send("45015") // nothing was heard from the user
	r.Interacted(testApp, testUser, "CLICK")
	for range 3 {
		send("0")
	}
	send("45047")
	r.pass(time.Minute)
	send("45015")

	r.Interacted(testApp, testUser, "text")
	r.Interacted(testApp, testUser, "SCAN")
	for range 8 { // three of the scan, then five of the message
		send("0")
	}
	send("45047")
	r.Interacted(testApp, testUser, "text")
	send("0")
	r.pass(48 * time.Hour)
	path = "cgi-bin/message/custom/send?access_token=" + r.classic()
	send("45015")
	r.Interacted(testApp, testUser, "text")
	r.Interacted(testApp, testUser, "unsubscribe")
	send("45015")
	if n := len(r.Sent(testApp, testUser)); n != 12 {
		t.Errorf("%d messages were kept, want the 12 accepted ones", n)
	}
}

func TestTyping(t *testing.T) {
	r := newRig(t, Config{Quota: true})
	token := r.classic()
	f := func(command, want string) {
		t.Helper()
		if got := r.code("cgi-bin/message/custom/typing?access_token="+token, `{"touser":"`+testUser+`","command":"`+command+`"}`); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
	f("Typing", "45080")
	r.Interacted(testApp, testUser, "text")
	f("Typing", "0")
	f("Typing", "45081")
	f("CancelTyping", "0")
	f("Typing", "0")
	r.code("cgi-bin/message/custom/send?access_token="+token, customText(testUser, "x"))
	f("Typing", "0") // the message ended it
	f("Shout", "45072")
	r.pass(31 * time.Second)
	f("Typing", "45080")
}
