package msg

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sameAsTree fails unless what the fast reader makes of body, if it reads it
// at all, is what the tree gives.
func sameAsTree(t *testing.T, body []byte) (read bool) {
	t.Helper()
	text := trimBlanks(dropBOM(body))
	if len(text) == 0 || text[0] != '<' {
		return false
	}
	text, err := skipProlog(text)
	if err != nil {
		return false
	}
	fast, ok := readFast(text)
	if !ok {
		return false
	}
	tree, err := parseTree(text)
	if err != nil {
		t.Fatalf("the fast reader took %q, the tree says %v", text, err)
	}
	if string(fast.JSON) != string(tree.JSON) {
		t.Fatalf("of %q\nthe fast reader makes %s\nthe tree makes        %s", text, fast.JSON, tree.JSON)
	}
	if !reflect.DeepEqual(fast, tree) {
		t.Fatalf("of %q\nthe fast reader makes %+v\nthe tree makes        %+v", text, fast, tree)
	}
	return true
}

// plainPush spells a push as WeChat does.
func plainPush(elements string) []byte { return []byte("<xml>" + elements + "</xml>") }

var fastSeeds = []string{
	"<Content><![CDATA[x]]></Content>", "<Content> \n<![CDATA[ x ]]>\t</Content>", "<CreateTime> 1 </CreateTime>", "<CreateTime></CreateTime>",
	"<MsgType>event</MsgType><Event>TEMPLATESENDJOBFINISH</Event><MsgID>7</MsgID>", "<MsgType>event</MsgType><Event>pic_weixin</Event>",
	"<MsgType>event</MsgType><Event>MASSSENDJOBFINISH</Event><CopyrightCheckResult/>", "<MsgType>device_event</MsgType><Event>bind</Event>",
	"<MsgType>event</MsgType><Event>location_select</Event>", "<MsgType>other</MsgType>", "<MsgType>location</MsgType><Scale>x</Scale>",
	"<MsgId>1</MsgId><MsgID>2</MsgID>", "<MsgID>2</MsgID><MsgId></MsgId>", "<a>x]]></a>", "<a>x&amp;y</a>", "<a>x>y</a>", "<a>\ufffe</a>", "<a>，\ufffd</a>",
	"<a>\xef\xbf</a>", "<a><![CDATA[\r\n]]></a>", "<a><![CDATA[x]]>y</a>", "<a><![CDATA[x]]><![CDATA[y]]></a>", "<a b='c'>d</a>", "<a >x</a>", "<a>x</a >",
	"<a>x</a><a>y</a>", "<1>x</1>", "<_>x</_>", "<a:b>x</a:b>", "<item>x</item>", "<PicList></PicList>", "<SomeEvent></SomeEvent>", "<userInfo>x</userInfo>",
	"<a><b>x</b></a>", "<a>x</b>", "<a>x", "x<a>y</a>", "<!-- c --><a>y</a>", "<?x?><a>y</a>", "<a/>", "</xml>", "<xml></xml>", "<a><![CDATA[x</a>",
	"<a>\r\nx</a>\r\n", "<a>x\r\n</a>", "<a><![CDATA[\"\\\n\t\u2028\u2029\u201c\u2026]] ]>]]></a>", "<Content><![CDATA[\"\xe2]]></Content>", "<Title>a\"b</Title><Scale>1</Scale>",
	"<a>\u0085\u00a0x\u3000</a>", "<a>\u2028</a>", "<Encrypt>x</Encrypt>", "<InfoType>authorized</InfoType>", "<CreateTime>1e5</CreateTime>", "<Count>01</Count>",
}

// FuzzFastReader holds the fast reader to the tree's result.
func FuzzFastReader(f *testing.F) {
	seedPushes(f)
	for _, s := range fastSeeds {
		f.Add(plainPush(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { sameAsTree(t, body) })
}

// TestFastReaderReadsWhatIsCommon: without this, nobody would notice that the
// tree does all the work.
func TestFastReaderReadsWhatIsCommon(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"msg-text", "msg-image", "msg-voice", "msg-link", "event-subscribe", "event-SCAN", "event-CLICK", "event-VIEW"} {
		files, err := filepath.Glob("testdata/push/" + name + ".xml")
		if err != nil || len(files) == 0 {
			t.Errorf("no sample of %s: %v", name, err)
		}
		for _, file := range files {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !sameAsTree(t, body) {
				t.Errorf("%s is left to the tree:\n%s", file, body)
			}
			// It waits with the push, thousands with it.
			if m := mustParse(t, body); cap(m.JSON)-len(m.JSON) > 16 {
				t.Errorf("%s: JSON of %d bytes has room for %d", file, len(m.JSON), cap(m.JSON))
			}
		}
	}
}

// TestFastReaderBounds: what it keeps alive is bounded.
func TestFastReaderBounds(t *testing.T) {
	t.Parallel()
	f := func(elements string, want bool) {
		t.Helper()
		if got := sameAsTree(t, plainPush(elements)); got != want {
			t.Errorf("%.60s… is read %v, want %v", elements, got, want)
		}
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			name := "e" + strings.Repeat("x", i)
			b.WriteString("<" + name + ">1</" + name + ">")
		}
		return b.String()
	}
	f(many(maxFastElements), true)
	f(many(maxFastElements+1), false)
	f("<a>"+strings.Repeat("x", maxFastText-len("<xml><a></a></xml>"))+"</a>", true)
	f("<a>"+strings.Repeat("x", maxFastText)+"</a>", false)
}

func TestSeedsOfFastReader(t *testing.T) {
	t.Parallel()
	read := 0
	for _, s := range fastSeeds {
		if sameAsTree(t, plainPush(s)) {
			read++
		}
	}
	if read < 15 {
		t.Errorf("only %d of the seeds are read", read)
	}
}
