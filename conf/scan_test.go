package conf

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestMembersAndElements(t *testing.T) {
	f := func(object string, want ...string) {
		t.Helper()
		if err := checkSyntax([]byte(object)); err != nil {
			t.Fatal(err)
		}
		var got []string
		list, _ := members([]byte(object), 100)
		for _, m := range list {
			got = append(got, m.key+"="+string(m.value))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("members(%s):\n%s", object, diff)
		}
	}
	f(`{}`)
	f(` { } `)
	f("{\t\"a\" :\r\n1 , \"b\":[1, {\"c\": \"}\"}]\n}", "a=1", `b=[1, {"c": "}"}]`)
	f(`{"\u4e2d\"文":null,"a":"\\","a":"x"}`, `中"文=null`, `a="\\"`, `a="x"`)
	f(`{"\ud800":1}`, "\ufffd=1")

	list, more := elements([]byte(`[1, "]", [2] ]`), 3)
	if len(list) != 3 || more || string(list[1]) != `"]"` || string(list[2]) != "[2]" {
		t.Errorf("elements = %s, %t", list, more)
	}
	if list, more = elements([]byte(`[1,2,3]`), 2); len(list) != 2 || !more {
		t.Errorf("elements = %s, %t", list, more)
	}
	if list, more := members([]byte(`{"a":1,"b":2}`), 1); len(list) != 1 || !more {
		t.Errorf("members = %v, %t", list, more)
	}
}

// FuzzScan holds the scanner against encoding/json: both take and refuse the same texts and see the same parts.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `""`, `0`, `-0.5e+10`, `01`, `1.`, `-`, `tru`, `null `, "{\"a\":[1,2,{\"b\":null}]}", `{"a":1,}`, `[1,]`, `{"a" 1}`,
		`"\u12g4"`, `"\ud83d\ude00"`, `"\ud800"`, "\"\x00\"", "\"\xff\"", `{"a":1}x`, "\ufeff{}", `{"a":1,"a":2}`, "［1］",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bad := checkSyntax(data)
		if bad != nil {
			if line, column := position(data, bad.offset); line < 1 || column < 1 || bad.offset > len(data) {
				t.Fatalf("position of offset %d is %d, %d", bad.offset, line, column)
			}
		}
		if !utf8.Valid(data) || depth(data) > maxDepth {
			return // taken by encoding/json, refused here
		}
		if want := json.Valid(data); want != (bad == nil) {
			t.Fatalf("checkSyntax = %v, json.Valid = %t", bad, want)
		}
		if bad != nil {
			return
		}
		trimmed := []byte(strings.TrimLeft(string(data), " \t\r\n"))
		switch trimmed[0] {
		case '{':
			var want map[string]json.RawMessage
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			got := map[string]json.RawMessage{}
			list, _ := members(trimmed, len(data))
			for _, m := range list {
				got[m.key] = m.value
			}
			if !reflect.DeepEqual(want, got) {
				t.Fatalf("members = %q, want %q", got, want)
			}
		case '[':
			var want []json.RawMessage
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			got, _ := elements(trimmed, len(data))
			if len(got) != len(want) {
				t.Fatalf("elements = %q, want %q", got, want)
			}
			for i := range got {
				if string(got[i]) != string(want[i]) {
					t.Fatalf("element %d = %q, want %q", i, got[i], want[i])
				}
			}
		}
	})
}

// depth is more than the nesting of data, brackets within strings included.
func depth(data []byte) int {
	return strings.Count(string(data), "[") + strings.Count(string(data), "{")
}

// FuzzParse: whatever the file holds, Parse ends, shows no secret, and what it takes is complete.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good.*.json", "testdata/bad.*.json", "../sample.conf.json"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(`{"services":[{"name":"a","wx-params":{"token":"file:a\u0000"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newReader(environment)
		r.readFile = func(name string) ([]byte, error) { return []byte("content of " + name), nil }
		c, warnings, err := r.parse(data, "conf.json")
		if (c == nil) == (err == nil) {
			t.Fatalf("parse = %v, %v", c, err)
		}
		if len(warnings) > maxProblems+1 {
			t.Fatalf("%d warnings", len(warnings))
		}
		text := lines(warnings)
		if err != nil {
			text += err.Error()
		} else {
			text += fmt.Sprintf("%v", c.Internal.Token)
			for _, s := range c.Services {
				if s.Name == "" || s.WorkerNum < 1 || s.Timeout < 0 || s.LateReply.MaxWait <= 0 || (s.LateReply.Via == ViaPickup) && len(s.LateReply.PickupWords) == 0 {
					t.Fatalf("incomplete service %+v", s)
				}
				if s.ServicePath != "" && (s.Token == "" || s.ServicePath[0] != '/') {
					t.Fatalf("service without token or with a relative path: %+v", s)
				}
			}
			if c.MaxBody < 1 || c.WXAPIBase == "" || strings.HasSuffix(c.WXAPIBase, "/") || c.Log.Format == "" {
				t.Fatalf("incomplete %+v", c)
			}
		}
		if strings.Contains(text, "hunter2secret") && !strings.Contains(string(data), "hunter") && !strings.Contains(string(data), "${") {
			t.Fatalf("shows a secret:\n%s", text)
		}
	})
}
