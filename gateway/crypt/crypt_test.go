package crypt

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const (
	testAppID = "wxba5fad812f8e6fb9"
	testKey   = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	otherKey  = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
)

// sealRaw encrypts plain, which must be whole blocks, as it is.
func sealRaw(b *Box, plain []byte) string {
	k := &b.keys[0]
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(k.block, k.iv[:]).CryptBlocks(out, plain)
	return base64.StdEncoding.EncodeToString(out)
}

// layout is an envelope's content with the given length field and padding.
func layout(size uint32, msg, appID string, padding ...byte) []byte {
	p := append([]byte("0123456789abcdef"), binary.BigEndian.AppendUint32(nil, size)...)
	p = append(append(p, msg...), appID...)
	return append(p, padding...)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	b := mustBox(t, testAppID, "", testKey)
	f := func(encrypt, want string) {
		t.Helper()
		got, err := b.Open([]byte(encrypt))
		if err == nil || err.Error() != want {
			t.Errorf("Open = %q, %v, want %q", got.Msg, err, want)
		}
		if !errors.Is(err, ErrEnvelope) && !errors.Is(err, ErrAppID) {
			t.Errorf("Open: %v wraps neither ErrEnvelope nor ErrAppID", err)
		}
	}
	pad := func(n, with int) []byte { return bytes.Repeat([]byte{byte(with)}, n) }

	// base64 and blocks
	f("", "bad envelope: it is empty")
	f("\r\n", "bad envelope: it is empty")
	f("AAA*", "bad envelope: illegal base64 data at input byte 3")
	f("AAAAA", "bad envelope: illegal base64 data at input byte 4")
	f(base64.StdEncoding.EncodeToString(make([]byte, 17)), "bad envelope: 17 bytes is not a whole number of blocks")
	// padding
	f(sealRaw(b, layout(0, "", "xxxxxxxxxxx", 33)), "bad envelope: padding of 33 bytes, must be 1 to 32 (is the aes-key right?)")
	f(sealRaw(b, pad(16, 17)), "bad envelope: padding of 17 bytes, must be 1 to 16 (is the aes-key right?)")
	f(sealRaw(b, layout(0, "", "xxxxxxxxxx", 1, 2)), "bad envelope: uneven padding (is the aes-key right?)")
	// header and length field
	f(sealRaw(b, pad(32, 32)), "bad envelope: 0 bytes cannot hold the header of 20")
	f(sealRaw(b, append([]byte("0123456789abcdefxyz"), pad(13, 13)...)), "bad envelope: 19 bytes cannot hold the header of 20")
	f(sealRaw(b, layout(12, "hello", "", pad(7, 7)...)), "bad envelope: length field says 12 bytes, 5 are left")
	f(sealRaw(b, layout(1<<31, "hello", "", pad(7, 7)...)), "bad envelope: length field says 2147483648 bytes, 5 are left")
	// app-id
	f(sealRaw(b, layout(5, "hello", "", pad(7, 7)...)), `bad app-id: found "", expected "wxba5fad812f8e6fb9"`)
	f(sealRaw(b, layout(0, "", "wxOTHER", pad(5, 5)...)), `bad app-id: found "wxOTHER", expected "wxba5fad812f8e6fb9"`)
	f(sealRaw(b, layout(0, "<xml>", "", pad(7, 7)...)), `bad app-id: found 5 bytes that are no app-id, expected "wxba5fad812f8e6fb9"`)
	f(sealRaw(b, layout(0, strings.Repeat("x", 65), "", pad(11, 11)...)), `bad app-id: found 65 bytes, expected "wxba5fad812f8e6fb9"`)
	// the right id with something before or behind it
	f(sealRaw(b, layout(0, "", testAppID+"x", pad(9, 9)...)), `bad app-id: found "wxba5fad812f8e6fb9x", expected "wxba5fad812f8e6fb9"`)
	f(sealRaw(b, layout(0, "x", testAppID, pad(9, 9)...)), `bad app-id: found "xwxba5fad812f8e6fb9", expected "wxba5fad812f8e6fb9"`)

	b = mustBox(t, testAppID, "token")
	f("AAAA", "bad envelope: no aes-key is set")
}

func TestOpenTriesOldKeys(t *testing.T) {
	t.Parallel()
	seal := func(appID, key, msg string) string {
		e, err := mustBox(t, appID, "t", key).Seal(0, 0, []byte(msg), 1, "n")
		if err != nil {
			t.Fatal(err)
		}
		return e.Encrypt
	}
	b := mustBox(t, testAppID, "t", testKey, otherKey)
	for i, key := range []string{testKey, otherKey} {
		got, err := b.Open([]byte(seal(testAppID, key, "hello")))
		if err != nil || string(got.Msg) != "hello" || got.Key != i {
			t.Errorf("key %d: Open = %q, %d, %v", i, got.Msg, got.Key, err)
		}
	}
	// An old key that finds another app-id says more than the current key's noise.
	if _, err := b.Open([]byte(seal("wxOTHER", otherKey, "hello"))); !errors.Is(err, ErrAppID) {
		t.Errorf("sealed for another account with the old key: %v, want ErrAppID", err)
	}
	if _, err := b.Open([]byte(seal("wxOTHER", testKey, "hello"))); !errors.Is(err, ErrAppID) {
		t.Errorf("sealed for another account with the current key: %v, want ErrAppID", err)
	}
	unknown := "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	if _, err := b.Open([]byte(seal(testAppID, unknown, "hello"))); !errors.Is(err, ErrEnvelope) {
		t.Errorf("sealed with an unknown key: %v, want ErrEnvelope", err)
	}
}

func TestVerifyTriesTokens(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Tokens: []string{"current", "older"}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(signature string, want int, wantErr error) {
		t.Helper()
		got, err := b.Verify(signature, "1714036504", "1514711492")
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("Verify(%q) = %d, %v, want %d, %v", signature, got, err, want, wantErr)
		}
	}
	f(Sign("current", "1714036504", "1514711492"), 0, nil)
	f(Sign("older", "1514711492", "1714036504"), 1, nil)
	f(Sign("gone", "1714036504", "1514711492"), 0, ErrSignature)
	f(Sign("", "1714036504", "1514711492"), 0, ErrSignature)
	f(strings.ToUpper(Sign("current", "1714036504", "1514711492")), 0, ErrSignature)
	f(Sign("current", "1714036504", "1514711492")+"0", 0, ErrSignature)
	f("", 0, ErrSignature)

	// The plain signature does not pass for one over Encrypt.
	if _, err := b.VerifyMsg(Sign("current", "1", "2"), "1", "2", []byte("AAAA")); !errors.Is(err, ErrSignature) {
		t.Errorf("VerifyMsg took a signature without Encrypt: %v", err)
	}
	if i, err := b.VerifyMsg(Sign("AAAA", "older", "1", "2"), "1", "2", []byte("AAAA")); err != nil || i != 1 {
		t.Errorf("VerifyMsg = %d, %v", i, err)
	}
	if _, err := mustBox(t, "", "").Verify(Sign("1", "2"), "1", "2"); !errors.Is(err, ErrSignature) {
		t.Errorf("a box without tokens verified: %v", err)
	}
}

func TestSignLeavesPartsAlone(t *testing.T) {
	t.Parallel()
	parts := []string{"c", "a", "b"}
	Sign(parts...)
	if parts[0] != "c" || parts[1] != "a" {
		t.Errorf("Sign sorted its caller's slice: %q", parts)
	}
	many := strings.Split("l k j i h g f e d c b a", " ")
	if got, want := Sign(many...), Sign("abcdefghijkl"); got != want {
		t.Errorf("Sign of many parts = %s, want %s", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	f := func(c Config, want string) {
		t.Helper()
		_, err := New(c)
		if err == nil || err.Error() != want {
			t.Errorf("New = %v, want %q", err, want)
		}
	}
	f(Config{AppID: "wx1", Tokens: []string{"a", ""}}, "cannot use token 1: it is empty")
	f(Config{Keys: []string{testKey}}, "cannot use aes-keys without an app-id")
	f(Config{AppID: "wx1", Keys: []string{testKey, testKey[1:]}}, "cannot use aes-key 1: 42 characters, must be 43")
	f(Config{AppID: "wx1", Keys: []string{"*" + testKey[1:]}}, "cannot use aes-key 0: character 1 is not base64")

	check := func(key, want string) {
		t.Helper()
		got := ""
		if _, err := decodeKey(key); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("decodeKey(%q) = %q, want %q", key, got, want)
		}
	}
	check(testKey, "")
	check(otherKey, "") // its last two bits are set
	check(strings.Repeat("+/9", 14)+"z", "")
	check("", "0 characters, must be 43")
	check(testKey+"=", "44 characters, must be 43")
	check(testKey[1:]+"=", "not base64")
	check(testKey[1:]+"_", "character 43 is not base64")
	check(testKey[4:]+"\n\n\n\n", "not base64")
}

func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	c := Config{AppID: "wx1", Tokens: []string{"s3cret-token"}, Keys: []string{otherKey}}
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", c, &c, b)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "c", c, "b", b)
	}
	for _, secret := range []string{"s3cret", otherKey[:8], fmt.Sprintf("%x", "s3cret"), fmt.Sprintf("%x", otherKey[:8])} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q was printed:\n%s", secret, &out)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	b := mustBox(t, testAppID, "token", testKey)
	f := func(key, token int, msg []byte, want string) {
		t.Helper()
		_, err := b.Seal(key, token, msg, 1, "n")
		if err == nil || err.Error() != want {
			t.Errorf("Seal = %v, want %q", err, want)
		}
	}
	f(1, 0, nil, "cannot seal with aes-key 1: there are 1")
	f(-1, 0, nil, "cannot seal with aes-key -1: there are 1")
	f(0, 1, nil, "cannot seal with token 1: there are 1")
	f(0, 0, make([]byte, maxMsg+1), "cannot seal a message of 67108865 bytes: at most 67108864")
	b.random = strings.NewReader("short")
	f(0, 0, nil, "cannot seal a message: unexpected EOF")
}

func TestSealNeverRepeats(t *testing.T) {
	t.Parallel()
	b := mustBox(t, testAppID, "token", testKey)
	one, _ := b.Seal(0, 0, []byte("same"), 1, "n")
	two, _ := b.Seal(0, 0, []byte("same"), 1, "n")
	if one.Encrypt == two.Encrypt {
		t.Error("two envelopes of one message are the same")
	}
}

type wireEnvelope struct {
	Encrypt, MsgSignature, Nonce string
	TimeStamp                    int64
}

// Whatever is sealed opens again, and both written forms carry it whole.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		appID := rapid.StringMatching(`wx[0-9a-f]{0,30}`).Draw(t, "app-id")
		key := rapid.StringMatching(`[A-Za-z0-9+/]{43}`).Draw(t, "key")
		token := rapid.StringMatching(`[A-Za-z0-9]{1,32}`).Draw(t, "token")
		msg := rapid.SliceOf(rapid.Byte()).Draw(t, "msg")
		nonce := rapid.OneOf(rapid.String(), rapid.StringMatching(`[\]>\[<!&"0-9\x00-\x20]*`)).Draw(t, "nonce")
		at := rapid.Int64().Draw(t, "timestamp")

		b, err := New(Config{AppID: appID, Tokens: []string{"later", token}, Keys: []string{key}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := b.Seal(0, 1, msg, at, nonce)
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, e)
		if i, err := b.VerifyMsg(e.MsgSignature, strconv.FormatInt(e.TimeStamp, 10), e.Nonce, []byte(e.Encrypt)); err != nil || i != 1 && token != "later" {
			t.Fatalf("VerifyMsg = %d, %v", i, err)
		}
		got, err := b.Open([]byte(e.Encrypt))
		if err != nil || !bytes.Equal(got.Msg, msg) || got.Key != 0 {
			t.Fatalf("Open = %x, %d, %v, want %x", got.Msg, got.Key, err, msg)
		}
	})
}

func checkWire(t interface{ Fatalf(string, ...any) }, e Envelope) {
	var x struct {
		XMLName xml.Name `xml:"xml"`
		wireEnvelope
	}
	var j wireEnvelope
	want := wireEnvelope{e.Encrypt, e.MsgSignature, e.Nonce, e.TimeStamp}
	if err := xml.Unmarshal(e.AppendXML(nil), &x); err != nil || x.wireEnvelope != want {
		t.Fatalf("%s reads as %+v, %v", e.AppendXML(nil), x.wireEnvelope, err)
	}
	if err := json.Unmarshal(e.AppendJSON(nil), &j); err != nil || j != want {
		t.Fatalf("%s reads as %+v, %v", e.AppendJSON(nil), j, err)
	}
}

func TestAppendEnvelope(t *testing.T) {
	t.Parallel()
	f := func(nonce, wantXML, wantJSON string) {
		t.Helper()
		e := Envelope{"RU5D", "abc", 1713424427, nonce}
		x := "p:<xml><Encrypt><![CDATA[RU5D]]></Encrypt><MsgSignature><![CDATA[abc]]></MsgSignature><TimeStamp>1713424427</TimeStamp><Nonce>" + wantXML + "</Nonce></xml>"
		if got := string(e.AppendXML([]byte("p:"))); got != x {
			t.Errorf("AppendXML = %s, want %s", got, x)
		}
		j := `p:{"Encrypt":"RU5D","MsgSignature":"abc","TimeStamp":1713424427,"Nonce":` + wantJSON + "}"
		if got := string(e.AppendJSON([]byte("p:"))); got != j {
			t.Errorf("AppendJSON = %s, want %s", got, j)
		}
	}
	f("415670741", "<![CDATA[415670741]]>", `"415670741"`)
	f("", "<![CDATA[]]>", `""`)
	f("a]]></Nonce><x>", "<![CDATA[a]]]]><![CDATA[></Nonce><x>]]>", `"a]]></Nonce><x>"`)
	f("]]>]]>", "<![CDATA[]]]]><![CDATA[>]]]]><![CDATA[>]]>", `"]]>]]>"`)
	f("\"\\\x01\xff", `<![CDATA["\]]>`, `"\"\\\u0001\ufffd"`)
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	f := func(in, want string) {
		t.Helper()
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("1372623149", "1372623149")
	f("\x00a\r\nb\t\x7f", "ab")
	f("中\u0085文\ufffe\uffff\U0001fffe👋\ufffd", "中文👋\ufffd")
	f("a\xffb\xc3", "ab")
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00]]>\xff\ufffe")
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || printable(got) != got {
			t.Fatalf("printable(%q) = %q", s, got)
		}
		checkWire(t, Envelope{Encrypt: "RU5D", MsgSignature: "abc", TimeStamp: 1, Nonce: got})
	})
}

func FuzzOpen(f *testing.F) {
	var v vectors
	readJSON(f, "vectors.json", &v)
	b := mustBox(f, testAppID, "t", testKey, otherKey)
	for _, s := range append(v.Pushes, v.Encrypt...) {
		raw, err := base64.StdEncoding.DecodeString(s.Encrypt)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.Encrypt, raw)
	}
	for _, s := range []string{"", "=", "AAAA", "\n", "uMMzGtqcnpOzXOYBwDQNrQH5wxVbYTSr9HP4oVKwJBk="} {
		f.Add(s, []byte(s))
	}
	f.Fuzz(func(t *testing.T, encrypt string, plain []byte) {
		try := func(encrypt string) {
			got, err := b.Open([]byte(encrypt))
			switch {
			case err == nil:
				if len(got.Msg) > len(encrypt) || got.Key < 0 || got.Key > 1 {
					t.Fatalf("Open(%q) = %q, %d", encrypt, got.Msg, got.Key)
				}
			case !errors.Is(err, ErrEnvelope) && !errors.Is(err, ErrAppID):
				t.Fatalf("Open(%q): %v", encrypt, err)
			}
		}
		try(encrypt)
		// Content that reaches the checks behind the decryption.
		plain = plain[:len(plain)/16*16]
		try(sealRaw(b, plain))
	})
}
