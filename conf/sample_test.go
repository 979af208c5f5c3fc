package conf

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	sampleFile = "../sample.conf.json"
	schemaFile = "conf.schema.json"
)

// known returns every key that the code reads, as `services[].wx-params.token`.
func known(t *testing.T) []string {
	t.Helper()
	r := newReader(environment)
	if _, _, err := r.parse([]byte(`{"services": [{"name": "a"}]}`), ""); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(r.keys))
}

func document(t *testing.T, name string) any {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// The sample shows every key, so it names the endpoints of later versions too; there is nothing else to say of it.
func TestSampleIsWithoutFaultOrDoubt(t *testing.T) {
	c, warnings, err := Load(sampleFile, environment)
	for _, w := range warnings {
		if !strings.Contains(w.Text, "is not served by this version") {
			t.Errorf("warning: %s", w)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 4 || c.DataDir != "" || c.RedisURL != "" || c.Internal.Listen == "" {
		t.Errorf("sample is %+v", c)
	}
}

func TestSampleShowsEveryKey(t *testing.T) {
	shown := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				path := strings.TrimPrefix(at+"."+k, ".")
				shown[path] = true
				walk(path, inner)
			}
		case []any:
			for _, inner := range v {
				walk(at+"[]", inner)
			}
		}
	}
	walk("", document(t, sampleFile))
	if diff := cmp.Diff(known(t), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("-read by the code +in the sample:\n%s", diff)
	}
}

// schemaProperties returns the properties of the schema by the same paths as known.
func schemaProperties(t *testing.T) map[string]map[string]any {
	t.Helper()
	schema := document(t, schemaFile).(map[string]any)
	defs := schema["$defs"].(map[string]any)
	all := map[string]map[string]any{}
	var walk func(at string, node map[string]any)
	walk = func(at string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			walk(at, defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any))
		}
		if items, ok := node["items"].(map[string]any); ok {
			walk(at+"[]", items)
		}
		properties, _ := node["properties"].(map[string]any)
		for k, p := range properties {
			path := strings.TrimPrefix(at+"."+k, ".")
			all[path] = p.(map[string]any)
			walk(path, p.(map[string]any))
		}
	}
	walk("", schema)
	return all
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	all := schemaProperties(t)
	if diff := cmp.Diff(known(t), slices.Sorted(maps.Keys(all))); diff != "" {
		t.Errorf("-read by the code +in the schema:\n%s", diff)
	}
	for path, p := range all {
		if d, _ := p["description"].(string); !strings.HasSuffix(d, ".") {
			t.Errorf("%s: description %q is no sentence", path, d)
		}
	}
}

// What the schema gives as a default is what the code takes when the key is absent.
func TestSchemaDefaultsAreTheCodes(t *testing.T) {
	doc, service, late, redeliver, log, tls, tracing := map[string]any{"listen-port": 1}, map[string]any{"name": "a"}, map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	n := 0
	for path, p := range schemaProperties(t) {
		def, ok := p["default"]
		if !ok {
			continue
		}
		n++
		into := doc
		for prefix, object := range map[string]map[string]any{"services[].late-reply.": late, "services[].redeliver.": redeliver, "log.": log, "services[].backend-tls.": tls, "tracing.": tracing} {
			if rest, ok := strings.CutPrefix(path, prefix); ok {
				into, path = object, rest
			}
		}
		if rest, ok := strings.CutPrefix(path, "services[]."); ok {
			into, path = service, rest
		}
		into[path] = def
	}
	if n < 15 {
		t.Errorf("found %d defaults only", n)
	}
	parse := func(doc any) *Config {
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := Parse(data, "", nil)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		return c
	}
	service["late-reply"], service["redeliver"], service["backend-tls"], doc["log"], doc["tracing"], doc["services"] = late, redeliver, tls, log, tracing, []any{service}
	want := parse(doc)
	got := parse(map[string]any{"listen-port": 1, "services": []any{map[string]any{"name": "a", "late-reply": map[string]any{}}}})
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Secret) bool { return a == b })); diff != "" {
		t.Errorf("-schema +code:\n%s", diff)
	}
}

func TestSchemaTakesWhatTheCodeTakes(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files(t, "testdata/good.*.json"), sampleFile) {
		if strings.Contains(name, "byte-order-mark") {
			continue // which no JSON reader takes but ours
		}
		if err := schema.Validate(document(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// and refuses at least what has the wrong type or is far out of range
	for _, name := range []string{"types", "services", "values", "paths", "list", "names", "tracing"} {
		if err := schema.Validate(document(t, "testdata/bad."+name+".json")); err == nil {
			t.Errorf("bad.%s.json passes the schema", name)
		}
	}
}

// The format of rosbit/go-wx-gateway, as its users have it: notes are no slips, one line names them all.
func TestReferenceFileIsADropIn(t *testing.T) {
	c, warnings, err := Load("testdata/good.reference.json", environment)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		if strings.Contains(w.Text, "unknown key") {
			t.Errorf("a note is taken for a slip: %s", w)
		}
	}
	if got := warnings[len(warnings)-1].String(); strings.Count(lines(warnings), "notes") != 1 || !strings.Contains(got, "common-endpoints.wx-qr的参数说明") {
		t.Errorf("the notes are told as %q", got)
	}
	if s := c.Services[1]; s.Kind != Shop || s.Timeout != 0 || s.RedirectLive() {
		t.Errorf("shop is %+v", s)
	}
	if s := c.Services[0]; s.Timeout != 0 || s.AppendUserInfo || !s.RedirectLive() || s.MsgProxyPass != "http://10.0.0.5:8000/handle?to=" {
		t.Errorf("account is %+v", s)
	}
}

// null counts as absent, so the schema takes it for any key but the name that each service needs.
func TestSchemaTakesNull(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc := document(t, sampleFile)
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				v[k] = nil
				if err := schema.Validate(doc); (err != nil) != (k == "name") {
					t.Errorf("%s.%s: null: %v", at, k, err)
				}
				v[k] = inner
				walk(at+"."+k, inner)
			}
		case []any:
			for _, inner := range v {
				walk(at+"[]", inner)
			}
		}
	}
	walk("", doc)
}
