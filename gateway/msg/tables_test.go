package msg

import (
	"fmt"
	"strings"
	"testing"
)

// The tables as the documents promise them, name by name: backends are written
// against every one.

func TestAlwaysArrays(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq("List item Item AroundBeacon Actions DetailList detail fail_idx material proof_material_id " +
		"history media_id_list scene_group_ext_list") {
		f := func(xml, want string) {
			t.Helper()
			xml = strings.ReplaceAll(xml, "?", name)
			m := mustParse(t, eventPush("e", xml+"<Deep>"+xml+"</Deep>"))
			if got := member(t, m, name); got != want {
				t.Errorf("%s: %s, want %s", xml, got, want)
			}
			if got, want := member(t, m, "Deep"), `{"`+name+`":`+want+`}`; got != want {
				t.Errorf("%s within another: %s, want %s", xml, got, want)
			}
		}
		f("<?></?>", "[]")
		f("<?/>", "[]")
		f("<?>1</?>", `["1"]`)
		f("<?><a>1</a></?>", `[{"a":"1"}]`)
		f("<?>1</?><?>2</?>", `["1","2"]`)
	}
}

func TestAlwaysObjects(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq("PicList SendPicsInfo ScanCodeInfo SendLocationInfo SubscribeMsgPopupEvent GuideScanEvent OfTomorrowEvent") {
		f := func(xml, want string) {
			t.Helper()
			xml = strings.ReplaceAll(xml, "?", name)
			if got, want := member(t, mustParse(t, eventPush("e", "<Deep>"+xml+"</Deep>")), "Deep"), `{"`+name+`":`+want+`}`; got != want {
				t.Errorf("%s: %s, want %s", xml, got, want)
			}
		}
		f("<?></?>", "{}")
		f("<?><![CDATA[]]></?>", "{}")
		f("<?><a>1</a></?>", `{"a":"1"}`)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	names := strings.Fields("CreateTime Scale Count TotalCount FilterCount SentCount ErrorCount ResultCount")
	f := func(name, text, want string) {
		t.Helper()
		m := mustParse(t, eventPush("e", fmt.Sprintf("<A><B><%s>%s</%[1]s></B></A>", name, text)))
		if got, want := member(t, m, "A"), `{"B":{"`+name+`":`+want+`}}`; got != want {
			t.Errorf("%s %q: %s, want %s", name, text, got, want)
		}
	}
	for _, name := range names {
		f(name, "12345678901234567890123", "12345678901234567890123")
		f(name, "-1.50e+3", "-1.50e+3")
		f(name, "", "0")
		for _, text := range []string{"007", "+5", "1.", ".5", "0x10", "NaN", "1e", "-", "1 2", "many"} {
			f(name, text, `"`+text+`"`)
		}
	}
	for _, name := range strings.Fields("MsgId MsgID MenuId Location_X Location_Y Latitude Precision ArticleIdx count scale CopyCount") {
		f(name, "12", `"12"`)
	}
}

// TestAlwaysThere: what go-wx-gateway always sends.
func TestAlwaysThere(t *testing.T) {
	t.Parallel()
	f := func(body []byte, names, zeros string) {
		t.Helper()
		m := mustParse(t, body)
		for name := range strings.FieldsSeq(names) {
			if got := member(t, m, name); got != `""` {
				t.Errorf("%s: %s is %s, want it empty", m.Kind(), name, got)
			}
		}
		for name := range strings.FieldsSeq(zeros) {
			if got := member(t, m, name); got != "0" {
				t.Errorf("%s: %s is %s, want 0", m.Kind(), name, got)
			}
		}
	}
	message := func(kind string) []byte { return []byte("<xml>" + head + "<MsgType>" + kind + "</MsgType></xml>") }
	for kind, names := range map[string]string{
		"text": "MsgId Content", "image": "MsgId PicUrl MediaId", "voice": "MsgId MediaId Format Recognition",
		"video": "MsgId MediaId ThumbMediaId", "shortvideo": "MsgId MediaId ThumbMediaId",
		"location": "MsgId Location_X Location_Y Label", "link": "MsgId Title Description Url", "of_tomorrow": "MsgId",
	} {
		f(message(kind), names, "")
	}
	f(message("location"), "", "Scale")
	for kind, names := range map[string]string{
		"CLICK": "EventKey", "VIEW": "EventKey MenuId", "subscribe": "EventKey Ticket", "unsubscribe": "EventKey Ticket", "SCAN": "EventKey Ticket",
		"LOCATION": "Latitude Longitude Precision", "scancode_push": "EventKey ScanType ScanResult", "scancode_waitmsg": "EventKey ScanType ScanResult",
		"pic_sysphoto": "EventKey", "location_select": "Location_X Location_Y Label", "MASSSENDJOBFINISH": "MsgID Status", "TEMPLATESENDJOBFINISH": "MsgId Status",
	} {
		f(eventPush(kind, ""), names, "")
	}
	f(eventPush("MASSSENDJOBFINISH", ""), "", "TotalCount FilterCount SentCount ErrorCount ResultCount")
	f(eventPush("pic_weixin", ""), "", "Count")
	f(eventPush("location_select", ""), "", "Scale")
}

// TestTextLimit: WeChat's, in bytes.
func TestTextLimit(t *testing.T) {
	t.Parallel()
	if TextLimit != 2047 {
		t.Errorf("TextLimit = %d, want 2047", TextLimit)
	}
}
