package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	f := func(what, doc, want string) {
		t.Helper()
		_, _, err := Parse([]byte(doc), "", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %.200v, want %q", what, err, want)
		}
	}
	f("services", `{"services": [`+strings.Repeat("0,", maxServices)+`0]}`, "services: holds more than 10000 entries")
	f("allow", `{"internal": {"allow": [`+strings.Repeat(`"::",`, maxList)+`"::"]}}`, "internal.allow: holds more than 1000 entries")
	f("old tokens", `{"services": [{"name": "a", "tokens-old": [`+strings.Repeat(`"t",`, maxOldKeys)+`"t"]}]}`, `services[0].tokens-old: holds more than 16 entries (service "a")`)
	f("words", `{"services": [{"name": "a", "late-reply": {"pickup-words": [`+strings.Repeat(`"w",`, maxWords)+`"w"]}}]}`, "pickup-words: holds more than 20 entries")
	f("ack", `{"services": [{"name": "a", "late-reply": {"ack": "`+strings.Repeat("长", 700)+`"}}]}`, "late-reply.ack: must not be longer than 2047 bytes, got 2100")
	f("path", `{"common-endpoints": {"wx-qr": "/`+strings.Repeat("a", maxPath)+`"}}`, "common-endpoints.wx-qr: must not be longer than 512 bytes")
	f("name", `{"services": [{"name": "`+strings.Repeat("名", maxName+1)+`"}]}`, "services[0].name: must not be longer than 128 characters")
	f("backend secrets", `{"services": [{"name": "a", "backend-secret": "`+strings.Repeat("0123456789abcdef01234567 ", maxOldKeys+1)+`"}]}`, "backend-secret: must not hold more than 16 secrets")
	f("depth", strings.Repeat("[", 1<<20), "is nested deeper than 64 levels")

	var keys strings.Builder
	for i := range maxKeys + 1 {
		fmt.Fprintf(&keys, `"k%d": 0,`, i)
	}
	f("keys", `{`+keys.String()+`"services": []}`, "holds more than 10000 keys")
}

func TestProblemsAreBounded(t *testing.T) {
	var keys strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&keys, `"unknown-key-%d": 0,`, i)
	}
	_, warnings, err := Parse([]byte(`{`+keys.String()+`"listen-port": 1, "services": [{"name": "a"}]}`), "", nil)
	// app-secret comes first
	if err != nil || len(warnings) != maxProblems+1 || warnings[maxProblems].String() != "and 4001 more of this sort" {
		t.Errorf("%d warnings, the last is %v, error %v", len(warnings), warnings[len(warnings)-1], err)
	}
	_, _, err = Parse([]byte(`{"services": [`+strings.Repeat("0,", 2000)+`0]}`), "", nil)
	if f, ok := errors.AsType[*Faults](err); !ok || len(f.List) != maxProblems+1 || f.List[maxProblems].Text != "and 1001 more of this sort" {
		t.Errorf("%d faults", len(f.List))
	}
	_, warnings, _ = Parse([]byte(`{"`+strings.Repeat("k", 1<<20)+`": 1}`), "", nil)
	if len(warnings) == 0 || len(lines(warnings)) > 1000 {
		t.Errorf("a key of a megabyte makes warnings of %d bytes", len(lines(warnings)))
	}
}

func TestFilesAreBounded(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big.json")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(big, nil); err == nil || !strings.HasSuffix(err.Error(), "it is larger than 16MiB") {
		t.Errorf("Load = %v", err)
	}
	if _, err := readTarget(big); err == nil || err.Error() != "it is larger than 64KiB" {
		t.Errorf("readTarget = %v", err)
	}
	if _, err := readTarget(os.DevNull); err == nil || err.Error() != "it is not a regular file" {
		t.Errorf("readTarget = %v", err)
	}
}

func TestFilesOnce(t *testing.T) {
	one := filepath.Join(t.TempDir(), "one")
	if err := os.WriteFile(one, []byte("\ufeff s3cret \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := fmt.Sprintf(`{"services": [{"name": "a", "wx-params": {"token": "file:%s", "app-secret": "file:%[1]s"}}]}`, one)
	c, _, err := Parse([]byte(doc), "conf.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Files) != 2 || c.Files[0] != "conf.json" || c.Files[1] != one {
		t.Errorf("Files = %q", c.Files)
	}
	if c.Services[0].Token != "s3cret" {
		t.Errorf("token = %q", c.Services[0].Token.Reveal())
	}
}
