package crypt

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// vectors are published examples of the algorithms and some computed ones;
// each entry of testdata/vectors.json names its source.
type vectors struct {
	URLSignature []struct{ Name, Token, Timestamp, Nonce, Signature string } `json:"url_signature"`
	SortedSHA1   []struct {
		Name, SHA1 string
		Parts      []string
	} `json:"sorted_sha1"`
	Pushes  []sealedVector `json:"encrypted_push"`
	Encrypt []sealedVector `json:"encrypt"`
	JSAPI   []struct {
		Name, Noncestr, URL, Signature string
		Timestamp                      json.Number
		Ticket                         string `json:"jsapi_ticket"`
	} `json:"jsapi"`
	Negative []struct {
		sealedVector
		Signature, Use string
		AppID          string `json:"configured_appid"`
	} `json:"negative"`
}

type sealedVector struct {
	Name, Token, Timestamp, Nonce, Encrypt, Msg, Random string
	Key                                                 string `json:"encoding_aes_key"`
	MsgSignature                                        string `json:"msg_signature"`
	AppID                                               string `json:"receive_id"`
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	readJSON(t, "vectors.json", &v)
	if len(v.URLSignature) == 0 || len(v.SortedSHA1) == 0 || len(v.Pushes) == 0 || len(v.Encrypt) == 0 || len(v.JSAPI) == 0 || len(v.Negative) == 0 {
		t.Fatal("vectors.json misses a section")
	}
	return v
}

func mustBox(t testing.TB, appID, token string, keys ...string) *Box {
	t.Helper()
	c := Config{AppID: appID, Keys: keys}
	if token != "" {
		c.Tokens = []string{token}
	}
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	for _, c := range v.URLSignature {
		if i, err := mustBox(t, "", c.Token).Verify(c.Signature, c.Timestamp, c.Nonce); err != nil || i != 0 {
			t.Errorf("%s: Verify = %d, %v", c.Name, i, err)
		}
	}
	for _, c := range v.SortedSHA1 {
		if len(c.Parts) == 0 {
			continue // joined with &, which WeChat does nowhere here
		}
		if got := Sign(c.Parts...); got != c.SHA1 {
			t.Errorf("%s: Sign = %s, want %s", c.Name, got, c.SHA1)
		}
	}
	for _, c := range v.JSAPI {
		at, err := c.Timestamp.Int64()
		if err != nil {
			t.Fatal(err)
		}
		if got := SignJSAPI(c.Ticket, c.Noncestr, at, c.URL); got != c.Signature {
			t.Errorf("%s: SignJSAPI = %s, want %s", c.Name, got, c.Signature)
		}
	}
}

func TestPushVectors(t *testing.T) {
	t.Parallel()
	for _, c := range readVectors(t).Pushes {
		if _, err := mustBox(t, "", c.Token).VerifyMsg(c.MsgSignature, c.Timestamp, c.Nonce, []byte(c.Encrypt)); err != nil {
			t.Errorf("%s: VerifyMsg: %v", c.Name, err)
		}
		if c.Key == "" {
			continue // published without its key
		}
		got, err := mustBox(t, c.AppID, c.Token, c.Key).Open([]byte(c.Encrypt))
		if err != nil || got.Key != 0 || string(got.Msg) != c.Msg {
			t.Errorf("%s: Open = %q, %d, %v, want %q", c.Name, got.Msg, got.Key, err, c.Msg)
		}
	}
}

func TestSealVectors(t *testing.T) {
	t.Parallel()
	for _, c := range readVectors(t).Encrypt {
		token, at := c.Token, int64(1)
		if token == "" {
			token = "unsigned"
		} else {
			at, _ = strconv.ParseInt(c.Timestamp, 10, 64)
		}
		b := mustBox(t, c.AppID, token, c.Key)
		b.random = strings.NewReader(c.Random)
		got, err := b.Seal(0, 0, []byte(c.Msg), at, c.Nonce)
		if err != nil || got.Encrypt != c.Encrypt {
			t.Errorf("%s: Seal = %s, %v, want %s", c.Name, got.Encrypt, err, c.Encrypt)
		}
		if c.MsgSignature != "" && got.MsgSignature != c.MsgSignature {
			t.Errorf("%s: signed %s, want %s", c.Name, got.MsgSignature, c.MsgSignature)
		}
		if opened, err := b.Open([]byte(c.Encrypt)); err != nil || string(opened.Msg) != c.Msg {
			t.Errorf("%s: Open = %q, %v, want %q", c.Name, opened.Msg, err, c.Msg)
		}
	}
}

func TestNegativeVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	want := map[string]string{
		"wrong-nonce":          "bad signature",
		"wrong-signature":      "bad signature",
		"wrong-receive-id":     `bad app-id: found "wxb11529c136998cb6", expected "wx0000000000000000"`,
		"truncated-ciphertext": "bad envelope: 27 bytes is not a whole number of blocks",
		"msg-len-overflow":     "bad envelope: length field says 4294967295 bytes, 5 are left",
		"bad-pad-0":            "bad envelope: padding of 0 bytes, must be 1 to 32 (is the aes-key right?)",
	}
	for _, c := range v.Negative {
		var err error
		switch {
		case c.Signature != "":
			_, err = mustBox(t, "", c.Token).Verify(c.Signature, c.Timestamp, c.Nonce)
		case c.MsgSignature != "":
			_, err = mustBox(t, "", c.Token).VerifyMsg(c.MsgSignature, c.Timestamp, c.Nonce, []byte(c.Encrypt))
		case c.Use != "":
			for _, p := range v.Pushes {
				if c.Use == "encrypted_push/"+p.Name {
					_, err = mustBox(t, c.AppID, "", p.Key).Open([]byte(p.Encrypt))
				}
			}
		default:
			_, err = mustBox(t, "wxba5fad812f8e6fb9", "", c.Key).Open([]byte(c.Encrypt))
		}
		if err == nil || err.Error() != want[c.Name] {
			t.Errorf("%s: %v, want %q", c.Name, err, want[c.Name])
		}
		delete(want, c.Name)
	}
	if len(want) > 0 {
		t.Errorf("vectors.json lacks %v", want)
	}
}

// The sealed pushes of the sample account, as they stand in a request body.
type pushSamples struct {
	Account struct {
		Token  string
		Key    string            `json:"encoding_aes_key"`
		AppIDs map[string]string `json:"appids"`
	}
	Envelopes []struct {
		File, Signature, Timestamp, Nonce, AppID string
		MsgSignature                             string `json:"msg_signature"`
		Inner                                    string `json:"inner_file"`
	}
}

var encryptText = regexp.MustCompile(`"Encrypt": ?"([^"]*)"|<Encrypt><!\[CDATA\[(.*?)\]\]></Encrypt>`)

func encryptOf(t testing.TB, body []byte) string {
	t.Helper()
	m := encryptText.FindSubmatch(body)
	if m == nil {
		t.Fatal("no Encrypt in the body")
	}
	return string(m[1]) + string(m[2])
}

func TestPushSamples(t *testing.T) {
	t.Parallel()
	var s pushSamples
	readJSON(t, "pushes.json", &s)
	files, err := filepath.Glob("testdata/push-*")
	if err != nil || len(files) == 0 || len(files) != len(s.Envelopes) {
		t.Fatalf("%d push files, %d in pushes.json, %v", len(files), len(s.Envelopes), err)
	}
	for _, e := range s.Envelopes {
		b := mustBox(t, e.AppID, s.Account.Token, s.Account.Key)
		encrypt := []byte(encryptOf(t, readFile(t, e.File)))
		if _, err := b.Verify(e.Signature, e.Timestamp, e.Nonce); err != nil {
			t.Errorf("%s: Verify: %v", e.File, err)
		}
		if _, err := b.VerifyMsg(e.MsgSignature, e.Timestamp, e.Nonce, encrypt); err != nil {
			t.Errorf("%s: VerifyMsg: %v", e.File, err)
		}
		got, err := b.Open(encrypt)
		// Some were sealed with the newline that ends the file, some without.
		want := bytes.TrimRight(readFile(t, e.Inner), "\n")
		if err != nil || !bytes.Equal(bytes.TrimRight(got.Msg, "\n"), want) {
			t.Errorf("%s: Open = %q, %v, want %q", e.File, got.Msg, err, want)
		}

		foreign := mustBox(t, "wx0123456789abcdef", s.Account.Token, s.Account.Key)
		wantErr := `bad app-id: found "` + e.AppID + `", expected "wx0123456789abcdef"`
		if _, err := foreign.Open(encrypt); !errors.Is(err, ErrAppID) || err.Error() != wantErr {
			t.Errorf("%s: Open for another account = %v, want %q", e.File, err, wantErr)
		}
	}
}

// The reply of the sample account is what Seal and AppendXML write, to the
// byte; the JSON form has no published counterpart and is held as it is.
func TestReplySample(t *testing.T) {
	t.Parallel()
	var s pushSamples
	readJSON(t, "pushes.json", &s)
	f := func(golden string, write func(Envelope, []byte) []byte) {
		t.Helper()
		b := mustBox(t, s.Account.AppIDs["official_account"], s.Account.Token, s.Account.Key)
		b.random = strings.NewReader("0f1e2d3c4b5a6978")
		e, err := b.Seal(0, 0, bytes.TrimRight(readFile(t, "reply-news.xml"), "\n"), 1767000200, "1372623149")
		if err != nil {
			t.Fatal(err)
		}
		got := write(e, nil)
		if *update {
			if err := os.WriteFile(filepath.Join("testdata", golden), got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := bytes.TrimRight(readFile(t, golden), "\n"); !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", golden, got, want)
		}
	}
	f("reply-encrypted.news.xml", Envelope.AppendXML)
	f("reply-encrypted.news.json", Envelope.AppendJSON)
}
