package msg

import (
	"strings"
	"testing"
	"time"
)

// TestCleaning holds that whatever a user types arrives as one Content, in a
// push that is still theirs.
func TestCleaning(t *testing.T) {
	t.Parallel()
	f := func(typed, want string, injected bool) {
		t.Helper()
		m := mustParse(t, textPush(typed))
		if m.Content != want || m.MsgType != "text" || m.MsgID != "77" || m.FromUserName != "oU1" || m.Event != "" {
			t.Errorf("%q: %s", typed, m.JSON)
		}
		if !m.Cleaned || m.Injected != injected {
			t.Errorf("%q: cleaned %v, injected %v, want %v", typed, m.Cleaned, m.Injected, injected)
		}
		if got := member(t, m, "Content"); !strings.HasPrefix(got, `"`) {
			t.Errorf("%q: Content is %s", typed, got)
		}
	}
	same := func(typed string, injected bool) {
		t.Helper()
		f(typed, typed, injected)
	}
	// characters
	f("a\x00b\x01\x08\x0b\x0c\x0e\x1fc", "abc", false)
	f("a\ufffe\uffffb", "ab", false)
	f("a\xe4\xbdb\xff", "a\ufffdb\ufffd", false)
	f("\xed\xa0\xbd", "\ufffd", false)
	// a section that ends early
	same("x]]>y", false)
	same("]]>", false)
	same("x]]>&<y", false)
	same("x]]></Content", false)
	same("x]]></Content>y", false)
	same("x]]> </Content >y", false)
	same("<![CDATA[x]]>", false)
	f("x\x01]]]]><![CDATA[>y", "x]]>y", false)
	same("x]]></Content></xml>", false)
	same("x]]></Content></xml><xml><Content><![CDATA[y", false)
	same("x]]></Content><Content><![CDATA[y", false)
	same("x]]><b/><![CDATA[y", false)
	same("x]]>text<![CDATA[y", false)
	same("x]]><!-- c --><![CDATA[y", false)
	same("x]]><!DOCTYPE x><![CDATA[y", false)
	same("x]]>"+strings.Repeat("<a>", 100), false)
	same("x]]>"+strings.Repeat("<a>", 30_000), false)
	// a second header, for the gateway or for the backend
	same("x]]></Content><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[subscribe]]></Event><Content><![CDATA[y", true)
	same("x]]></Content><MsgType><![CDATA[event]]></MsgType>", true)
	same("x]]></Content><FromUserName><![CDATA[oVictim]]></FromUserName><MsgId>1</MsgId><A><![CDATA[", true)
	same("x]]></Content><MsgType>event</MsgType></xml><!--", true)
	same("x]]><MsgType>event</MsgType><![CDATA[y", true)
}

func TestTextThatNeedsNoCleaning(t *testing.T) {
	t.Parallel()
	for _, typed := range []string{
		"", " ", "x", "]]", "a & b < c > d", "<MsgType>event</MsgType>", "</Content></xml>", "<!DOCTYPE x>", "&lt;", "\t\n", "👨‍👩‍👧‍👦𠮷",
	} {
		m := mustParse(t, textPush(typed))
		if m.Content != typed || m.Cleaned || m.Injected {
			t.Errorf("%q: %s, cleaned %v, injected %v", typed, m.JSON, m.Cleaned, m.Injected)
		}
	}
}

// Outside of CDATA too, and in pushes other than texts.
func TestCleaningElsewhere(t *testing.T) {
	t.Parallel()
	f := func(xml, want string) {
		t.Helper()
		m := mustParse(t, []byte("<xml>"+xml+"</xml>"))
		if got := string(m.JSON); got != want || !m.Cleaned {
			t.Errorf("%s\n got %s (cleaned %v)\nwant %s", xml, got, m.Cleaned, want)
		}
	}
	f("<Url>http://x/?a=1&b=2&lt;&copy;&#65;</Url>", `{"Url":"http://x/?a=1&b=2<&copy;A"}`)
	f("<a>1 < 2 ]]> &</a>", `{"a":"1 < 2 ]]> &"}`)
	f("<a>x&#0;&#x1F;&#xD800;&#x110000;&#xFFFFFFFF;&#;&#x;&#+5;y</a>", `{"a":"x&#xFFFFFFFF;&#;&#x;&#+5;y"}`)
	f("<a b=\"1\">x\x01<c d='>'>y</c><e/></a>", `{"a":{"c":"y","e":""}}`)
	f("<!-- c --><a>x&y<!-- d --></a><?pi?>", `{"a":"x&y"}`)
	f("stray & text<a>1</a></b>", `{"a":"1"}`)
	f("<![CDATA[stray]]><a>[1] & [2]</a>", `{"a":"[1] & [2]"}`)
	f("<a>x<![CDATA[y]]>&z</a>", `{"a":"xy&z"}`)
	// a nested value ends at its first end tag
	f("<ScanCodeInfo><ScanType><![CDATA[qrcode]]></ScanType><ScanResult><![CDATA[a]]>b]]></ScanResult></ScanCodeInfo>",
		`{"ScanCodeInfo":{"ScanType":"qrcode","ScanResult":"a]]>b"}}`)
	f("<x><item><k><![CDATA[1]]></k></item><item><k><![CDATA[2\x01]]></k></item></x>", `{"x":{"item":[{"k":"1"},{"k":"2"}]}}`)
	// lists stay lists, headers end where they end
	f("<fail_idx><![CDATA[1]]></fail_idx><fail_idx><![CDATA[2]]></fail_idx><a>&</a>", `{"fail_idx":["1","2"],"a":"&"}`)
	f("<Event><![CDATA[e]]></Event><Title><![CDATA[a]]>&b]]></Title><Event><![CDATA[f]]></Event>", `{"Event":"e","Title":"a]]>&b"}`)
	// of one name the last end counts, whatever stands between
	f("<Title><![CDATA[t]]></Title><Description><![CDATA[x]]></Title>y]]></Description>",
		`{"Title":"t]]></Title><Description><![CDATA[x"}`)
	f("<Event> <![CDATA[user_get_card]]> </Event><a>&</a>", `{"Event":"user_get_card","a":"&"}`)
}

func TestInjectedWithoutCData(t *testing.T) {
	t.Parallel()
	m := mustParse(t, []byte("<xml><MsgType>text</MsgType><MsgId>1</MsgId><MsgType>event</MsgType><MsgId>2</MsgId></xml>"))
	if m.MsgType != "text" || m.MsgID != "2" || !m.Injected || m.Cleaned {
		t.Errorf("%+v", m)
	}
	m = mustParse(t, []byte("<xml><MsgType><![CDATA[text]]></MsgType><MsgType><![CDATA[event]]></MsgType></xml>"))
	if m.MsgType != "text" || !m.Injected {
		t.Errorf("%+v", m)
	}
}

// TestCleaningIsLinear feeds shapes that would take a quadratic cleaner
// minutes; the bound is far from what the linear one needs.
func TestCleaningIsLinear(t *testing.T) {
	t.Parallel()
	const size = 1 << 17
	start := time.Now()
	for _, unit := range []string{
		"<a>", "<a><![CDATA[", "]]></a>", "<![CDATA[", "]]>", "]]> ", "<a '", "<a \"<b '", "</", "</a", "&", "&#", "&#1", "<!--", "<?",
		"<a><![CDATA[x]]></a>", "<a><![CDATA[x]]></b>", "<a><![CDATA[]]>]]></a>&", "<MsgId><![CDATA[x]]></a>", "]]></MsgId>", "\x01", "\xff", "<",
	} {
		body := strings.Repeat(unit, size/len(unit))
		for _, around := range [][2]string{{"<xml>", "</xml>"}, {"<xml><Content><![CDATA[", "]]></Content></xml>"}, {"<xml>&", ""}, {"<xml><b>&", "</b></xml>"}} {
			_, _ = Parse([]byte(around[0] + body + around[1]))
			_, _, _ = ParseEnvelope([]byte(around[0] + body + around[1]))
		}
		_, _ = Parse([]byte(`{"a":"` + body))
	}
	t.Logf("took %v", time.Since(start))
}
