package main

import (
	"fmt"
	"strings"
	"testing"

	"wx-gateway/gateway/sim"
)

// TestHostileBodies: what stands behind a valid signature may be as rotten as
// it likes.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	const unread = "400 cannot read the message"
	var attacks []attack
	for name, body := range rottenBodies() {
		for _, path := range []string{"/wx", "/open"} {
			p := w.push(path, []byte(body))
			p.OpenID = "u"
			target, sent := w.build(p)
			attacks = append(attacks, attack{name + " at " + path, lastPost(target, sent), []string{unread}})
		}
		// In the place of an envelope.
		target, _ := w.build(w.push("/wx", []byte("{}")))
		attacks = append(attacks, attack{name + " as an envelope", lastPost(target, body), []string{"400 cannot find Encrypt in the body"}})
	}
	w.attack(attacks)
	w.forwardsNothing()
	w.unhurt(bodiesMost)
}

// bodiesMost bounds what the process takes while eight strangers send bodies of
// up to 4 MiB at once.
const bodiesMost = 400 << 20

func rottenBodies() map[string]string {
	const many = 200_000
	text := func(more string) string {
		return "<xml><FromUserName>u</FromUserName><MsgType>text</MsgType>" + more + "</xml>"
	}
	r := strings.Repeat
	lol := `<!DOCTYPE lol [<!ENTITY a0 "lol">`
	for i := range 9 {
		lol += fmt.Sprintf(`<!ENTITY a%d "%s">`, i+1, r(fmt.Sprintf("&a%d;", i), 10))
	}
	return map[string]string{
		"an entity bomb":                     lol + "]>" + text("<Content>&a9;</Content>"),
		"a quadratic entity bomb":            `<!DOCTYPE x [<!ENTITY a "` + r("a", 100_000) + `">]>` + text("<Content>"+r("&a;", 100_000)+"</Content>"),
		"an external entity":                 `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + text("<Content>&a;</Content>"),
		"an external DTD":                    `<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd">` + text(""),
		"a parameter entity":                 `<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>` + text(""),
		"a DOCTYPE behind a comment":         `<?xml version="1.0"?><!-- x --><!DOCTYPE x>` + text(""),
		"a DOCTYPE inside":                   text("<!DOCTYPE x []>"),
		"an ENTITY inside":                   text(`<Content><!ENTITY a "b"></Content>`),
		"a DOCTYPE in lower case":            `<!doctype x>` + text(""),
		"encoding GBK":                       `<?xml version="1.0" encoding="GBK"?>` + text(""),
		"encoding UTF-7":                     `<?xml version='1.0' encoding='UTF-7'?>` + text(""),
		"UTF-16":                             "\xff\xfe<\x00x\x00m\x00l\x00>\x00",
		"200,000 deep, not closed":           "<xml>" + r("<a>", many),
		"200,000 deep":                       "<xml>" + r("<a>", many) + r("</a>", many) + "</xml>",
		"200,000 deep with a bare &":         "<xml><b>&</b>" + r("<a>", many) + r("</a>", many) + "</xml>",
		"200,000 deep with text":             text("<Content><![CDATA[" + r("<a>", 10) + "]]>" + r("<a>", many) + "</Content>"),
		"200,000 deep in another root":       r("<a>", many) + r("</a>", many),
		"200,000 end tags":                   "<xml>" + r("</a>", many),
		"200,000 elements":                   text(r("<a/>", many)),
		"200,000 elements and a bare &":      text("<b>&</b>" + r("<a/>", many)),
		"200,000 attributes":                 "<xml " + r(`a="" `, many) + ">",
		"200,000 open sections":              "<xml>" + r("<a><![CDATA[", many),
		"200,000 open comments":              "<xml>" + r("<!--", many),
		"200,000 open instructions":          "<xml>" + r("<?a", many),
		"200,000 quotes":                     "<xml>" + r(`<a "<b '`, many),
		"a name of 2 MB":                     "<" + r("x", 2<<20),
		"a section that is not closed":       "<xml><MsgType><![CDATA[text",
		"a tag that is not closed":           "<xml><MsgType",
		"two roots":                          text("") + text(""),
		"text behind the root":               text("") + "x",
		"another root":                       "<foo/>",
		"200,000 deep JSON, not closed":      r(`{"a":`, many),
		"200,000 deep JSON":                  r(`{"a":`, many) + "1" + r("}", many),
		"200,000 deep JSON arrays":           `{"a":` + r("[", many) + r("]", many) + "}",
		"200,000 deep JSON in the text":      `{"FromUserName":"u","MsgType":"text","Content":` + r("[", many) + r("]", many) + "}",
		"200,000 closing brackets":           `{` + r("]", many),
		"200,000 open strings":               `{"a":"` + r(`\"`, many),
		"JSON that ends in a string":         `{"MsgType":"text","Content":"`,
		"JSON behind JSON":                   `{"MsgType":"text"}{"MsgType":"text"}`,
		"a JSON array":                       "[1,2,3]",
		"a JSON number":                      "42",
		"a JSON string":                      `"<xml>"`,
		"2 MB of NULs":                       r("\x00", 2<<20),
		"2 MB of blanks":                     r(" ", 2<<20),
		"nothing":                            "",
		"a byte order mark":                  "\ufeff",
		"plain text":                         "hello",
		"compressed":                         "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
		"a form":                             "MsgType=text&Content=x",
		"2 MB of bad UTF-8 in a broken text": "<xml><a>" + r("\xff", 2<<20),
	}
}

// TestHostileNames: a name that the backend's URL cannot hold is refused, in
// whatever it stands.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	var attacks []attack
	names := []string{
		"..", ".", "../", "../../internal", "..%2f..", "%2e%2e%2fx", "%2e", "/", "//x", "a/b", `a\b`, "a?b", "a#b", "a&b", "a;b", "a=b", "a+b",
		"a:b", "@x", "x@127.0.0.1", "http://127.0.0.1", "x.php", "~root", "$x", "a'b", `a"b`, "a<b", "{x}", "a,b", "a|b", "名", "a\u202eb", "a\u00a0b", "a\u2028b",
		"x\r\nHost: y", "x\ny", strings.Repeat("x", 65), strings.Repeat("x", 1<<20),
	}
	unsent := "400 cannot forward a message of that name"
	add := func(name string, body []byte) {
		for _, path := range []string{"/wx", "/open"} {
			target, sent := w.build(w.push(path, body))
			attacks = append(attacks, attack{name + " at " + path, lastPost(target, sent), []string{unsent}})
		}
	}
	for _, name := range names {
		shown := fmt.Sprintf("%.20q", name)
		for kind, f := range map[string]sim.Fields{"event": {Event: name}, "message": {Type: name}, "device_event": {Type: "device_event", Event: name}} {
			add(kind+" "+shown+" in XML", f.XML())
			add(kind+" "+shown+" in JSON", f.JSON())
		}
		add("info "+shown+" in XML", []byte("<xml><AppId>x</AppId><InfoType><![CDATA["+name+"]]></InfoType></xml>"))
	}
	// XML cannot hold these, JSON can.
	for _, name := range []string{"\x00", "text\x00", "../\x00", "a\x1fb", "a\x7fb"} {
		add(fmt.Sprintf("%q in JSON", name), sim.Fields{Type: name}.JSON())
	}
	add("no name", []byte("<xml><FromUserName>u</FromUserName></xml>"))
	add("no name in JSON", []byte("{}"))
	add("an event without a name", []byte("<xml><MsgType>event</MsgType></xml>"))
	add("an event with a blank name", []byte("<xml><MsgType>event</MsgType><Event><![CDATA[]]></Event></xml>"))
	add("a list of names", []byte(`{"MsgType":["text"]}`))
	add("an object as name", []byte(`{"MsgType":{"a":"text"}}`))
	w.attack(attacks)
	w.forwardsNothing()
	w.unhurt(hostileMost)
}
