package sim

import (
	"bytes"
	"image/jpeg"
	"mime/multipart"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"wx-gateway/gateway/codec"
)

func TestUserInfo(t *testing.T) {
	r := newRig(t, Config{})
	path := "cgi-bin/user/info?lang=zh_CN&access_token=" + r.classic() + "&openid="
	a, b := r.raw(path+testUser, "").Body.String(), r.raw(path+testUser, "").Body.String()
	if a != b || !strings.Contains(a, `"openid":"`+testUser+`"`) || !strings.Contains(a, `"subscribe":1`) {
		t.Errorf("invented follower: %s, then %s", a, b)
	}
	r.SetUser(testApp, map[string]any{"openid": testUser, "remark": "vip", "qr_scene": codec.Number("9007199254740993"), "is_snapshotuser": 1})
	if got := r.raw(path+testUser, "").Body.String(); !strings.Contains(got, `"remark":"vip"`) ||
		!strings.Contains(got, "9007199254740993") || strings.Contains(got, "snapshot") {
		t.Errorf("user that was set: %s", got)
	}
	r.SetUser(testApp, map[string]any{"openid": testUser, "subscribe": 0})
	if got := r.raw(path+testUser, "").Body.String(); got != `{"openid":"`+testUser+`","subscribe":0}` {
		t.Errorf("user that left: %s", got)
	}
	for _, bad := range []string{"", "o%20x", strings.Repeat("o", 65)} {
		if got := r.code(path+bad, ""); got != "40003" {
			t.Errorf("openid %q: %s, want 40003", bad, got)
		}
	}
}

func TestKnownUsersOnly(t *testing.T) {
	r := newRig(t, Config{KnownUsersOnly: true})
	token := r.classic()
	if got := r.raw("cgi-bin/user/info?access_token="+token+"&openid="+testUser, "").Body.String(); !strings.Contains(got, `"subscribe":0`) {
		t.Errorf("unknown user: %s", got)
	}
	if got := r.code("cgi-bin/message/custom/send?access_token="+token, `{"touser":"`+testUser+`","msgtype":"text","text":{"content":"x"}}`); got != "43004" {
		t.Errorf("message to somebody who does not follow: %s, want 43004", got)
	}
}

func TestUnverifiedAccount(t *testing.T) {
	r := newRig(t, Config{Accounts: []Account{{AppID: testApp, Secret: testSecret, NoCustomSend: true, NoUserInfo: true, Kind: KindOfficial}}})
	token := r.classic()
	f := func(path, body string) {
		t.Helper()
		if got := r.code(path+token, body); got != "48001" {
			t.Errorf("%s: %s, want 48001", path, got)
		}
	}
	f("cgi-bin/user/info?openid="+testUser+"&access_token=", "")
	f("cgi-bin/user/get?access_token=", "")
	f("cgi-bin/user/info/batchget?access_token=", `{"user_list":[{"openid":"o"}]}`)
	f("cgi-bin/message/custom/send?access_token=", `{"touser":"`+testUser+`","msgtype":"text","text":{"content":"x"}}`)
	f("cgi-bin/message/custom/typing?access_token=", `{"touser":"`+testUser+`","command":"Typing"}`)
	f("channels/ec/order/get?access_token=", `{"order_id":"1"}`)
	f("channels/ec/aftersale/getaftersaleorder?access_token=", `{"after_sale_order_id":"1"}`)
}

func TestUserLists(t *testing.T) {
	r := newRig(t, Config{})
	token := r.classic()
	if m := r.call("cgi-bin/user/get?access_token="+token, ""); m["count"].(codec.Number) != "3" {
		t.Errorf("invented followers: %v", m)
	}
	for _, id := range []string{"oB", "oA", "oC"} {
		r.SetUser(testApp, map[string]any{"openid": id})
	}
	r.SetUser(testApp, map[string]any{"openid": "oGone", "subscribe": 0})
	if got := r.raw("cgi-bin/user/get?access_token="+token, "").Body.String(); got != `{"count":3,"data":{"openid":["oA","oB","oC"]},"next_openid":"oC","total":3}` {
		t.Errorf("user/get: %s", got)
	}
	if got := r.raw("cgi-bin/user/get?next_openid=oA&access_token="+token, "").Body.String(); !strings.Contains(got, `["oB","oC"]`) {
		t.Errorf("next page: %s", got)
	}
	if got := r.raw("cgi-bin/user/get?next_openid=oC&access_token="+token, "").Body.String(); got != `{"count":0,"next_openid":"","total":3}` {
		t.Errorf("last page: %s", got)
	}
	if got := r.code("cgi-bin/user/get?next_openid=oX&access_token="+token, ""); got != "40003" {
		t.Errorf("unknown next_openid: %s", got)
	}
	m := r.call("cgi-bin/user/info/batchget?access_token="+token, `{"user_list":[{"openid":"oA","lang":"zh_CN"},{"openid":"oZ"}]}`)
	if list, _ := m["user_info_list"].([]any); len(list) != 2 {
		t.Errorf("batchget: %v", m)
	}
	if got := r.code("cgi-bin/user/info/batchget?access_token="+token, `{"user_list":[]}`); got != "40097" {
		t.Errorf("empty batch: %s", got)
	}
}

func TestQRCodes(t *testing.T) {
	r := newRig(t, Config{})
	path := "cgi-bin/qrcode/create?access_token=" + r.classic()
	m := r.call(path, `{"expire_seconds":30,"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"桌7"}}}`)
	ticket, _ := m["ticket"].(string)
	if m["expire_seconds"].(codec.Number) != "30" || r.Scene(ticket) != "桌7" || !strings.HasPrefix(m["url"].(string), "http://weixin.qq.com/q/") {
		t.Fatalf("temporary code: %v, scene %q", m, r.Scene(ticket))
	}
	if url.QueryEscape(ticket) == ticket {
		t.Errorf("ticket %q needs no escaping: forgetting it would go unnoticed", ticket)
	}
	show := "cgi-bin/showqrcode?ticket="
	w := r.raw(show+url.QueryEscape(ticket), "")
	if _, err := jpeg.Decode(w.Body); err != nil || w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "image/") {
		t.Errorf("showqrcode: %d %v", w.Code, err)
	}
	if w := r.raw(show+"unknown", ""); w.Code != 404 {
		t.Errorf("unknown ticket: %d, want 404", w.Code)
	}
	r.pass(30 * time.Second)
	if w := r.raw(show+url.QueryEscape(ticket), ""); w.Code != 404 || r.Scene(ticket) != "" {
		t.Errorf("expired ticket: %d", w.Code)
	}
	forever := r.call(path, `{"action_name":"QR_LIMIT_STR_SCENE","action_info":{"scene":{"scene_str":"x"}}}`)
	if r.pass(time.Hour); forever["expire_seconds"] != nil || r.Scene(forever["ticket"].(string)) != "x" {
		t.Errorf("permanent code: %v", forever)
	}
	f := func(body, want string) {
		t.Helper()
		if got := r.code(path, body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	f(`{"action_name":"QR_SCENE","action_info":{"scene":{"scene_id":4294967295}}}`, "0")
	f(`{"action_name":"QR_SCENE","action_info":{"scene":{"scene_id":4294967296}}}`, "40053")
	f(`{"action_name":"QR_LIMIT_SCENE","action_info":{"scene":{"scene_id":100001}}}`, "40053")
	f(`{"action_name":"QR_LIMIT_SCENE","action_info":{"scene":{"scene_id":100000}}}`, "0")
	f(`{"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":""}}}`, "40053")
	f(`{"action_name":"QR_STR_SCENE","expire_seconds":2592001,"action_info":{"scene":{"scene_str":"x"}}}`, "40097")
	f(`{"action_name":"OTHER"}`, "40053")
	f(`{`, "47001")
}

func TestMenu(t *testing.T) {
	r := newRig(t, Config{})
	token := r.classic()
	if got := r.code("cgi-bin/menu/get?access_token="+token, ""); got != "46003" {
		t.Errorf("no menu: %s", got)
	}
	f := func(body, want string) {
		t.Helper()
		if got := r.code("cgi-bin/menu/create?access_token="+token, body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	const good = `{"button":[{"type":"click","name":"今日歌曲","key":"V1"},{"name":"菜单","sub_button":[{"type":"view","name":"搜索","url":"https://example.com/"}]}]}`
	f(good, "0")
	f(`{"button":[]}`, "40016")
	f(`{"button":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}]}`, "40016")
	f(`{"button":[{"name":"一二三四五六"}]}`, "40018")
	f(`{"button":[{"name":"a","sub_button":[{},{},{},{},{},{}]}]}`, "40023")
	f(`{"button":[{"name":"a","sub_button":[{"name":""}]}]}`, "40025")
	if got := r.raw("cgi-bin/menu/get?access_token="+token, "").Body.String(); got != `{"menu":`+good+`}` {
		t.Errorf("menu/get: %s", got)
	}
	if got := r.code("cgi-bin/menu/delete?access_token="+token, ""); got != "0" || r.code("cgi-bin/menu/get?access_token="+token, "") != "46003" {
		t.Errorf("menu/delete: %s", got)
	}
}

// upload posts data as the field of a multipart form.
func upload(r *rig, path, field string, data []byte) map[string]any {
	r.t.Helper()
	var buf bytes.Buffer
	form := multipart.NewWriter(&buf)
	form.WriteField("note", "first")
	part, err := form.CreateFormFile(field, "图.jpg")
	if err != nil {
		r.t.Fatal(err)
	}
	part.Write(data)
	form.Close()
	req := httptest.NewRequest("POST", "/"+path, &buf)
	req.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	var m map[string]any
	if err := codec.Unmarshal(w.Body.Bytes(), &m); err != nil {
		r.t.Fatalf("upload answered %d %q", w.Code, w.Body)
	}
	return m
}

func TestMedia(t *testing.T) {
	r := newRig(t, Config{Accounts: []Account{{AppID: testApp, Secret: testSecret}, {AppID: "wxOther", Secret: "s"}}})
	token := r.classic()
	path := "cgi-bin/media/upload?access_token=" + token + "&type="
	data := []byte{0xff, 0xd8, 0, 1, 2, '\r', '\n', 0xff}
	m := upload(r, path+"image", "media", data)
	id, _ := m["media_id"].(string)
	w := r.raw("cgi-bin/media/get?access_token="+token+"&media_id="+id, "")
	if !bytes.Equal(w.Body.Bytes(), data) {
		t.Errorf("media/get gave %q after %v", w.Body, m)
	}
	other := r.call("cgi-bin/token?grant_type=client_credential&appid=wxOther&secret=s", "")["access_token"].(string)
	if got := r.code("cgi-bin/media/get?access_token="+other+"&media_id="+id, ""); got != "40007" {
		t.Errorf("somebody else's medium: %s", got)
	}
	if m := upload(r, path+"thumb", "media", data); m["thumb_media_id"] == nil {
		t.Errorf("thumb: %v", m)
	}
	video := upload(r, path+"video", "media", data)["media_id"].(string)
	address, _ := r.call("cgi-bin/media/get?access_token="+token+"&media_id="+video, "")["video_url"].(string)
	u, err := url.Parse(address)
	if err != nil || !bytes.Equal(r.raw(strings.TrimPrefix(u.RequestURI(), "/"), "").Body.Bytes(), data) {
		t.Errorf("video at %q: %v", address, err)
	}
	if w := r.raw("sim/media?media_id="+video, ""); w.Code != 404 {
		t.Errorf("video without its key: %d", w.Code)
	}
	code := func(m map[string]any) codec.Number { n, _ := m["errcode"].(codec.Number); return n }
	if got := code(upload(r, path+"other", "media", data)); got != "40004" {
		t.Errorf("unknown type: %s", got)
	}
	if got := code(upload(r, path+"image", "file", data)); got != "41005" {
		t.Errorf("wrong field: %s", got)
	}
	if got := code(upload(r, path+"thumb", "media", make([]byte, 64<<10+1))); got != "45001" {
		t.Errorf("too large: %s", got)
	}
	if got := r.code(path+"image", "no form"); got != "41005" {
		t.Errorf("no form: %s", got)
	}
	r.pass(3 * 24 * time.Hour)
	if got := r.code("cgi-bin/media/get?access_token="+r.classic()+"&media_id="+id, ""); got != "40007" {
		t.Errorf("after three days: %s", got)
	}
}

func TestMediaBounds(t *testing.T) {
	var s mediaStore
	for range 100 {
		s.add(&medium{data: make([]byte, 1<<20)})
	}
	if s.bytes > maxMediaBytes || len(s.list) != maxMediaBytes>>20 {
		t.Errorf("%d bytes in %d media are kept", s.bytes, len(s.list))
	}
	for range maxMediaItems + 5 {
		s.add(&medium{})
	}
	if len(s.list) != maxMediaItems {
		t.Errorf("%d media are kept", len(s.list))
	}
}

func TestTemplate(t *testing.T) {
	r := newRig(t, Config{})
	path := "cgi-bin/message/template/send?access_token=" + r.classic()
	const good = `{"touser":"` + testUser + `","template_id":"t","data":{"first":{"value":"x","color":"#173177"},"n":{"value":1}}}`
	seen := map[string]bool{}
	for range 3 {
		id := string(r.call(path, good)["msgid"].(codec.Number))
		n, _ := codec.Number(id).Int64()
		if int64(float64(n)) == n || n < 1<<53 || seen[id] {
			t.Errorf("msgid %s survives a float64 or repeats", id)
		}
		seen[id] = true
	}
	f := func(body, want string) {
		t.Helper()
		if got := r.code(path, body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	f(`{"touser":"","template_id":"t"}`, "40003")
	f(`{"touser":"o","data":{}}`, "40037")
	f(`{"touser":"o","template_id":"t","data":{"a":"plain"}}`, "47001")
	f(`{"touser":"o","template_id":"t","data":{"a":{"color":"x"}}}`, "47001")
}

func TestShortURL(t *testing.T) {
	r := newRig(t, Config{})
	path := "cgi-bin/shorturl?access_token=" + r.classic()
	m := r.call(path, `{"action":"long2short","long_url":"https://example.com/?a=1&b=2"}`)
	if s, _ := m["short_url"].(string); !strings.HasPrefix(s, "https://w.url.cn/s/A") {
		t.Errorf("short_url: %v", m)
	}
	if got := r.code(path, `{"action":"other","long_url":"https://example.com/"}`); got != "40097" {
		t.Errorf("unknown action: %s", got)
	}
	if got := r.code(path, `{"action":"long2short","long_url":"x"}`); got != "40066" {
		t.Errorf("no URL: %s", got)
	}
}

func TestShopOrders(t *testing.T) {
	r := newRig(t, Config{Accounts: []Account{{AppID: testApp, Secret: testSecret, Kind: KindShop}}})
	token := r.classic()
	const id = "3705115058471208928"
	order := "channels/ec/order/get?access_token=" + token
	for _, body := range []string{`{"order_id":"` + id + `"}`, `{"order_id":` + id + `}`} {
		got := r.raw(order, body).Body.String()
		if !strings.Contains(got, `"order_id":"`+id+`"`) || !strings.Contains(got, `"product_id":10000076089602901`) {
			t.Errorf("%s: %s", body, got)
		}
	}
	got := r.raw("channels/ec/aftersale/getaftersaleorder?access_token="+token, `{"after_sale_order_id":"`+id+`"}`).Body.String()
	if !strings.Contains(got, `"after_sale_order_id":"`+id+`"`) {
		t.Errorf("aftersale: %s", got)
	}
	for _, bad := range []string{`{}`, `{"order_id":"12a"}`, `{"order_id":1.5}`, `{"order_id":""}`} {
		if got := r.code(order, bad); got != "40097" {
			t.Errorf("%s: %s, want 40097", bad, got)
		}
	}
}

func TestOversize(t *testing.T) {
	r := newRig(t, Config{})
	if w := r.raw("cgi-bin/stable_token", strings.Repeat(" ", maxJSON+1)); w.Code != 413 {
		t.Errorf("body over the limit: %d, want 413", w.Code)
	}
}
