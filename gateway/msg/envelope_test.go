package msg

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestParseEnvelope(t *testing.T) {
	t.Parallel()
	f := func(body, want string, format Format) {
		t.Helper()
		got, f, err := ParseEnvelope([]byte(body))
		if err != nil || string(got) != want || f != format {
			t.Errorf("ParseEnvelope(%.200q) = %q, %v, %v, want %q, %v", body, got, f, err, want, format)
		}
	}
	f("<xml><ToUserName><![CDATA[gh]]></ToUserName><Encrypt><![CDATA[QUJD]]></Encrypt></xml>", "QUJD", XML)
	f("\ufeff<?xml version=\"1.0\"?>\n<xml>\n <Encrypt> <![CDATA[QUJD]]> </Encrypt>\n</xml>\n", "QUJD", XML)
	f("<xml><Encrypt>QUJD</Encrypt><AgentID>1</AgentID></xml>", "QUJD", XML)
	f("<xml a='1'><Encrypt b='2'>\nQUJD\n</Encrypt><x><y/></x></xml>", "QUJD", XML)
	f(`{"ToUserName":"gh","Encrypt":"QU\/D"}`, "QU/D", JSON)
	f("\ufeff {\"Encrypt \":\"QUJD\"}", "QUJD", JSON)

	// compatible mode: a user's text cannot pass for the envelope
	compatible := func(content string) string {
		return strings.TrimSuffix(string(textPush(content)), "</xml>") + "<Encrypt><![CDATA[QUJD]]></Encrypt></xml>"
	}
	for _, typed := range []string{
		"hi", "a\x01\xff", "a & b", "<Encrypt>evil</Encrypt>", "x]]>y", "x]]></Content><Encrypt><![CDATA[evil]]></Encrypt><Content><![CDATA[y",
		"x]]></Content><Encrypt>evil</Encrypt></xml>", "x]]></Content></xml><xml><Encrypt>evil</Encrypt><Content><![CDATA[y",
	} {
		f(compatible(typed), "QUJD", XML)
	}
	f(strings.Replace(compatible("x]]></Content><Encrypt><![CDATA[evil]]></Encrypt><Content><![CDATA[y"), "<xml>", "<xml><z/>", 1), "QUJD", XML)
}

func TestParseEnvelopeOfSamples(t *testing.T) {
	t.Parallel()
	for file, format := range map[string]Format{
		"push-compatible.msg-text.json": JSON, "push-compatible.msg-text.xml": XML, "push-safe.event-channels_ec_order_pay.json": JSON,
		"push-safe.event-user_get_card.xml": XML, "push-safe.msg-text.xml": XML, "push-safe.wrong-appid.xml": XML,
	} {
		body, err := os.ReadFile("testdata/push/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, f, err := ParseEnvelope(body)
		if err != nil || f != format || len(got) < 100 || bytes.ContainsAny(got, "<>[]\" \n") {
			t.Errorf("%s: %q, %v, %v", file, got, f, err)
		}
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", " ", "<xml/>", "<xml><Encrypt/></xml>", "<xml><Encrypt><![CDATA[]]></Encrypt></xml>", "{}", `{"Encrypt":5}`, `{"Encrypt":""}`,
		`{"encrypt":"QUJD"}`, `{"a":{"Encrypt":"QUJD"}}`, "<xml><a><Encrypt>QUJD</Encrypt></a></xml>", string(textPush("hi")),
		string(textPush("<Encrypt>evil</Encrypt>")), string(textPush("x]]></Content><Encrypt>evil</Encrypt><Content><![CDATA[y")),
	} {
		if got, _, err := ParseEnvelope([]byte(body)); !errors.Is(err, ErrNoEncrypt) || got != nil {
			t.Errorf("ParseEnvelope(%q) = %q, %v", body, got, err)
		}
	}
	f := func(body, want string) {
		t.Helper()
		_, _, err := ParseEnvelope([]byte(body))
		if err == nil || err.Error() != "cannot read the envelope: "+want {
			t.Errorf("ParseEnvelope(%.60q) = %v, want cannot read the envelope: %s", body, err, want)
		}
	}
	f("Encrypt", "it begins with neither < nor {")
	f("<foo><Encrypt>QUJD</Encrypt></foo>", "its root element is <foo>, not <xml>")
	f("<xml><Encrypt>QUJD", "element <Encrypt> is not closed")
	f("<!DOCTYPE x><xml><Encrypt>QUJD</Encrypt></xml>", errDoctype.Error())
	f(`<?xml version="1.0" encoding="gb2312"?><xml><Encrypt>QUJD</Encrypt></xml>`, `it declares encoding "gb2312", only UTF-8 is accepted`)
	f(`{"Encrypt":"QUJD"`, "it is not valid JSON")
	f(strings.Repeat(`{"a":`, 100), "its values nest deeper than 64 levels")
}
