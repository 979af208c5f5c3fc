package msg

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with the file, or with -update writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// describe is what a golden file of a push holds: where it goes and what the
// backend receives.
func describe(body []byte) []byte {
	m, err := Parse(body)
	if err != nil {
		return fmt.Appendln(nil, "error:", err)
	}
	var out bytes.Buffer
	if path, err := m.Path(); err != nil {
		fmt.Fprintln(&out, "error:", err)
	} else {
		fmt.Fprintln(&out, path)
	}
	if m.Cleaned || m.Injected {
		fmt.Fprintf(&out, "cleaned %v, injected %v\n", m.Cleaned, m.Injected)
	}
	if err := json.Indent(&out, m.JSON, "", "  "); err != nil {
		fmt.Fprint(&out, "invalid JSON: ", err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// TestGoldenPushes holds what becomes of every documented push, and of the
// broken ones that real users cause.
func TestGoldenPushes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/push/*")
	if err != nil || len(files) < 150 {
		t.Fatalf("found %d pushes, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata/golden", filepath.Base(file)), describe(body))
		if strings.HasSuffix(file, ".json") {
			if m, err := Parse(body); err != nil || !bytes.Equal(m.JSON, bytes.TrimSpace(body)) {
				t.Errorf("%s does not pass through unchanged: %v", file, err)
			}
		}
	}
}

// normal drops the line breaks between elements, which the samples have and
// our XML has not.
func normal(xml []byte) string {
	for _, end := range []string{">\n<"} {
		xml = bytes.ReplaceAll(bytes.TrimSpace(xml), []byte(end), []byte("><"))
	}
	return string(xml)
}

// TestDocumentedReplies writes each reply of WeChat's documentation from the
// answer of a backend in the three forms we take.
func TestDocumentedReplies(t *testing.T) {
	t.Parallel()
	const (
		user, account = "oK9gGyX8OAK8aH8Myj6djqSaXI8j", "gh_7c1d9e0b42af"
		image         = "1fbnuTXEcZcqO_lnbPAUBRgOJPrarrmq0dC7EGjSvg7YtzFeekxBY4qC-EryQKTf"
		voice         = "NKrReE_OcrkHVguaEMcWuE1on4iuqsGuczXBFq_iPL1f_MLIgW8Xj8suRpjQSIPz"
		video         = "3UpC7ezN0Jw1LeFYf3Gn_46afDkpDW73fcBx6xqVDgc226_hjPuId3DPldJcfvoE"
		thumb         = "4jOZCglZFrqSReuX3zArQhaCffUx3Nmxbk44Um4sq9Z0VIOgj8JQfoPVmbEWA2Ge"
	)
	f := func(file string, answers ...string) {
		t.Helper()
		want, err := os.ReadFile("testdata/reply/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, answer := range answers {
			a, err := ParseReply([]byte(answer))
			if err != nil || len(a.Replies) != 1 || !a.Replies[0].Passive() {
				t.Errorf("ParseReply(%s) = %+v, %v", answer, a, err)
				continue
			}
			got := a.Replies[0].AppendXML(nil, user, account, 1767000060)
			if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
				t.Errorf("%s from %s (-want +got):\n%s", file, answer, diff)
			}
		}
	}
	f("reply-text.xml",
		`{"type":"text","msg":"您好 👋\n请点击 <a href=\"https://example.com\">这里</a>"}`,
		`{"msg":"您好 👋\n请点击 <a href=\"https://example.com\">这里</a>"}`,
		`{"MsgType":"text","Content":"您好 👋\n请点击 <a href=\"https://example.com\">这里</a>"}`,
		`{"msgtype":"text","text":{"content":"您好 👋\n请点击 <a href=\"https://example.com\">这里</a>"}}`)
	f("reply-image.xml",
		`{"type":"image","msg":"`+image+`"}`,
		`{"ToUserName":"x","MsgType":"image","Image":{"MediaId":"`+image+`"}}`,
		`{"msgtype":"image","image":{"media_id":"`+image+`"}}`)
	f("reply-voice.xml",
		`{"type":"voice","msg":"`+voice+`"}`,
		`{"MsgType":"voice","Voice":{"MediaId":"`+voice+`"}}`)
	f("reply-video.xml",
		`{"type":"video","msg":"`+video+`","title":"标题","desc":"描述"}`,
		`{"MsgType":"video","Video":{"MediaId":"`+video+`","Title":"标题","Description":"描述"}}`)
	f("reply-music.xml",
		`{"type":"music","msg":"`+thumb+`","title":"晴天","desc":"歌手","musicUrl":"https://example.com/a.mp3","hqMusicUrl":"https://example.com/a-hq.mp3"}`,
		`{"MsgType":"music","Music":{"Title":"晴天","Description":"歌手","MusicUrl":"https://example.com/a.mp3","HQMusicUrl":"https://example.com/a-hq.mp3","ThumbMediaId":"`+thumb+`"}}`)
	f("reply-news.xml",
		`{"type":"news","articles":[{"title":"图文标题","desc":"摘要","picUrl":"https://example.com/p.jpg","url":"https://example.com/a?x=1&y=2"}]}`,
		`{"MsgType":"news","ArticleCount":1,"Articles":[{"Title":"图文标题","Description":"摘要","PicUrl":"https://example.com/p.jpg","Url":"https://example.com/a?x=1&y=2"}]}`,
		`{"MsgType":"news","ArticleCount":1,"Articles":{"item":[{"Title":"图文标题","Description":"摘要","PicUrl":"https://example.com/p.jpg","Url":"https://example.com/a?x=1&y=2"}]}}`,
		`{"msgtype":"news","news":{"articles":[{"title":"图文标题","description":"摘要","picurl":"https://example.com/p.jpg","url":"https://example.com/a?x=1&y=2"}]}}`)
	f("reply-transfer_customer_service.xml", `{"type":"transfer_customer_service"}`)
	f("reply-transfer_customer_service.kf.xml",
		`{"type":"transfer_customer_service","msg":"kf2001@shop_demo"}`,
		`{"MsgType":"transfer_customer_service","TransInfo":{"KfAccount":"kf2001@shop_demo"}}`)

	coupon, err := os.ReadFile("testdata/reply/reply-sync.open_product_receive_coupon.xml")
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(string(coupon))
	if err != nil {
		t.Fatal(err)
	}
	f("reply-sync.open_product_receive_coupon.xml", `{"type":"raw","msg":`+string(quoted)+`}`)
	f("reply-sync.channels_ec_order_use_vip_discount.json", `{"type":"raw","msg":{"errcode":0,"errmsg":"ok","result":1}}`)
}
