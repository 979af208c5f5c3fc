package user

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"wx-gateway/gateway/codec"
)

// rest are the fields added to an info that has none of them, from the given
// one on.
func rest(from string) string {
	const all = `"openid":"","nickname":"","sex":0,"province":"","city":"","country":"","headimgurl":"","privilege":[],"unionid":""}`
	return all[strings.Index(all, `"`+from+`"`):]
}

func TestFill(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		in := []byte(raw)
		got, err := Fill(in)
		if err != nil || string(got) != want {
			t.Errorf("Fill(%s)\n got %s, %v\nwant %s", raw, got, err, want)
		}
		if string(in) != raw {
			t.Errorf("Fill changed its input to %s", in)
		}
	}
	f(`{}`, `{`+rest("openid"))
	f(" \n{ \t} \r\n", `{`+rest("openid"))
	// as WeChat answers for a follower, and for somebody who is none
	f(`{"subscribe":1,"openid":"o1","language":"zh_CN","subscribe_time":1382694957,"unionid":"u1","remark":"","groupid":0,"tagid_list":[128,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765432109876543,"qr_scene_str":""}`,
		`{"subscribe":1,"openid":"o1","language":"zh_CN","subscribe_time":1382694957,"unionid":"u1","remark":"","groupid":0,"tagid_list":[128,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765432109876543,"qr_scene_str":"","nickname":"","sex":0,"province":"","city":"","country":"","headimgurl":"","privilege":[]}`)
	f(`{"subscribe":0,"openid":"o1"}`, `{"subscribe":0,"openid":"o1",`+rest("nickname"))
	// sns/userinfo has them all: nothing changes
	const full = `{"openid":"o1","nickname":"\u5f20 <b>&三😀","sex":1,"province":"","city":"","country":"","headimgurl":"https:\/\/thirdwx.qlogo.cn\/132","privilege":[],"unionid":"u1"}`
	f(full, full)
	// blanks between members go, inside values they stay
	f("{ \"openid\" : \"o1\" ,\n\t\"x\" : [ 1, {} ] }", `{"openid" : "o1","x" : [ 1, {} ],`+rest("nickname"))
	// null is absent where a field is always there
	f(`{"openid":"o1","privilege":null,"sex":null,"remark":null}`, `{"openid":"o1","remark":null,"nickname":"","sex":0,"province":"","city":"","country":"","headimgurl":"","privilege":[],"unionid":""}`)
	// another type than expected is WeChat's business
	f(`{"openid":"o1","sex":"1"}`, `{"openid":"o1","sex":"1","nickname":"","province":"","city":"","country":"","headimgurl":"","privilege":[],"unionid":""}`)
	// no fault is not news, a fault is kept
	f(`{"errcode":0,"errmsg":"ok","openid":"o1"}`, `{"openid":"o1",`+rest("nickname"))
	f(`{"openid":"o1","errcode": 0 , "errmsg":"ok"}`, `{"openid":"o1",`+rest("nickname"))
	f(`{"errcode":40003,"errmsg":"invalid openid"}`, `{"errcode":40003,"errmsg":"invalid openid",`+rest("openid"))
	// of a repeated name the last holds, however it is spelt
	f(`{"openid":"o1","a":1,"a":2,"\u006fpenid":"o2"}`, `{"a":2,"\u006fpenid":"o2",`+rest("nickname"))
	f(`{"openid":"o1","openid":null}`, `{`+rest("openid"))
	f(`{"errcode":40003,"errcode":0}`, `{`+rest("openid"))
	// strings with everything that could mislead a scanner
	f(`{"openid":"}{][,:\"\\","a":{"b":"}\\\"","c":[[],{"d":"]"}]},"e":-1.5e+7,"f":true}`,
		`{"openid":"}{][,:\"\\","a":{"b":"}\\\"","c":[[],{"d":"]"}]},"e":-1.5e+7,"f":true,`+rest("nickname"))
	f(`{"":"","openid":"o1"}`, `{"":"","openid":"o1",`+rest("nickname"))
}

func TestFillRefuses(t *testing.T) {
	f := func(raw string) {
		t.Helper()
		got, err := Fill([]byte(raw))
		if got != nil {
			t.Errorf("Fill(%s) = %s", raw, got)
		}
		wantErr(t, err, "user info is not a JSON object")
	}
	f("")
	f(" ")
	f("null")
	f("[]")
	f(`"o1"`)
	f("<html>")
	f("{")
	f(`{"openid":"o1"`)
	f(`{"openid":"o1",}`)
	f(`{"openid" "o1"}`)
	f("{\"openid\":\"\xff\"}")
	f(strings.Repeat(`{"a":`, 100_000))
}

func TestUnsubscribed(t *testing.T) {
	f := func(openid, want string) {
		t.Helper()
		if got := Unsubscribed(openid); string(got) != want || !codec.Valid(got) {
			t.Errorf("Unsubscribed(%q) = %s", openid, got)
		}
	}
	f("o1", `{"subscribe":0,"openid":"o1",`+rest("nickname"))
	f("", `{"subscribe":0,"openid":"",`+rest("nickname"))
	f(`"},{"`, `{"subscribe":0,"openid":"\"},{\"",`+rest("nickname"))
}

// Whatever is accepted comes out valid, each name once, with every member that
// went in and was not to be dropped, and filling twice changes nothing.
func FuzzFill(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"subscribe":0,"openid":"o1"}`))
	f.Add([]byte(`{"errcode":0,"errmsg":"ok","sex":null,"x":null}`))
	f.Add([]byte(`{"a":1,"a":[2,{"b":"}"}],"\u0061":"\\\""}`))
	f.Add([]byte("{ \"n\" : -1.5e+7 , \"t\" : true }\n"))
	f.Add([]byte(`{"\ud800":1,"\ufffd":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Fill(raw)
		var in map[string]json.RawMessage
		isObject := utf8.Valid(raw) && json.Unmarshal(raw, &in) == nil && in != nil
		if err != nil {
			if isObject && len(raw) < 1000 { // longer ones may be nested too deep
				t.Fatalf("refused %s: %v", raw, err)
			}
			return
		}
		if !isObject || !json.Valid(got) {
			t.Fatalf("Fill(%s) = %s", raw, got)
		}
		var out map[string]json.RawMessage
		if err := json.Unmarshal(got, &out); err != nil {
			t.Fatal(err)
		}
		for _, a := range always {
			if v, ok := in[a.name]; !ok || string(v) == "null" {
				in[a.name] = json.RawMessage(a.value)
			}
		}
		if string(in["errcode"]) == "0" {
			delete(in, "errcode")
		}
		if string(in["errmsg"]) == `"ok"` {
			delete(in, "errmsg")
		}
		if len(in) != len(out) {
			t.Fatalf("Fill(%s) = %s: %d members, want %d", raw, got, len(out), len(in))
		}
		for name, v := range in {
			if !bytes.Equal(v, out[name]) {
				t.Fatalf("Fill(%s) = %s: %q changed", raw, got, name)
			}
		}
		members, err := split(got)
		if err != nil || len(members) != len(out) {
			t.Fatalf("Fill(%s) = %s: a name stands there twice", raw, got)
		}
		if again, err := Fill(got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("filled twice: %s, then %s, %v", got, again, err)
		}
	})
}
