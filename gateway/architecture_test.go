package gateway_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "wx-gateway/"

// goPackage is a package of this module, without its tests.
type goPackage struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 { // the root holds only tests
			list = append(list, p)
		}
	}
}

// levels reads the picture in docs/architecture.md: the level of each package
// by its path in the module.
func levels(t *testing.T) map[string]int {
	t.Helper()
	doc, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^( *)[├└]── ([a-z/-]+)/ +L(\d) `).FindAllStringSubmatch(string(doc), -1) {
		name := m[2]
		if m[1] != "" {
			name = "gateway/" + name
		}
		all[name] = int(m[3][0] - '0')
	}
	if len(all) < 20 {
		t.Fatalf("found only %d packages in the picture of docs/architecture.md", len(all))
	}
	return all
}

// outside are the programs beside the house: they may import what they show or measure.
func outside(name string) bool {
	return strings.HasPrefix(name, "examples/") || name == "bench" || name == "internal_deps"
}

// TestImportOrder holds the rules of docs/architecture.md: imports point down
// the levels only, L0 packages import no sibling but codec, httpc and socket, packages
// of L1 and L2 do not import each other.
func TestImportOrder(t *testing.T) {
	t.Parallel()
	level := levels(t)
	// These speak in delivery's types (Push, Arrival, Verdict, Stored …). What
	// they call is an interface of their own: TestNobodyCallsTheEngine.
	exceptions := map[string]string{"gateway/push": "gateway/delivery", "gateway/endpoint": "gateway/delivery"}
	shared := []string{"gateway/codec", "gateway/httpc", "gateway/socket"}
	found := map[string]bool{}
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		if outside(from) {
			continue
		}
		fromLevel, ok := level[from]
		if !ok {
			t.Errorf("%s does not stand in the picture of docs/architecture.md", from)
			continue
		}
		found[from] = true
		for _, path := range p.Imports {
			to, own := strings.CutPrefix(path, module)
			if !own || exceptions[from] == to {
				continue
			}
			toLevel, ok := level[to]
			switch {
			case !ok:
				t.Errorf("%s imports %s, which does not stand in the picture", from, to)
			case fromLevel == 0 && !slices.Contains(shared, to):
				t.Errorf("%s (L0) imports its sibling %s", from, to)
			case fromLevel == 0:
			case toLevel >= fromLevel:
				t.Errorf("%s (L%d) imports %s (L%d): imports point down", from, fromLevel, to, toLevel)
			case toLevel > 0 && fromLevel < 3:
				t.Errorf("%s (L%d) imports %s (L%d): they meet through an interface that %s declares", from, fromLevel, to, toLevel, from)
			}
		}
	}
	for name := range level {
		if !found[name] {
			t.Errorf("%s stands in the picture of docs/architecture.md, but there is no such package", name)
		}
	}
}

// TestWhoMayImport holds the imports that one place has to itself.
func TestWhoMayImport(t *testing.T) {
	t.Parallel()
	type place = []string
	rules := []struct {
		path string // of the imported package, or how it begins with a slash at the end
		by   place
		why  string
	}{
		{module + "conf", place{"cmd/wx-gateway", "gateway", "examples/demo", "bench"}, "every other package takes a small Config of its own"},
		{module + "gateway/sim", place{"cmd/wx-gateway", "examples/demo", "bench"}, "the gateway does not contain a simulator"},
		{"github.com/json-iterator/", place{"gateway/codec"}, "JSON goes through gateway/codec"},
		{"github.com/modern-go/", place{"gateway/codec"}, "JSON goes through gateway/codec"},
		{"encoding/json", place{"gateway/codec", "examples/"}, "JSON goes through gateway/codec"},
		{"github.com/beevik/etree", place{"gateway/msg"}, "XML is the business of msg"},
		{"go.etcd.io/bbolt", place{"gateway/store"}, "stores hide behind gateway/store"},
		{"go.opentelemetry.io/", place{"gateway/trace"}, "OpenTelemetry hides behind gateway/trace"},
		{module + "gateway/trace", place{"gateway"}, "what a push passes through has no OpenTelemetry linked in"},
		{"unsafe", place{"gateway/socket", "gateway/codec", "gateway/delivery"}, "memory is Go's business: socket calls the system, codec knows json-iterator, delivery asks for sizes"},
		{"net/http", place{"gateway/sim", "examples/"}, "HTTP is fasthttp, in httpc and web"},
		{"math/rand", nil, "math/rand/v2, or crypto/rand for what must not be guessed"},
	}
	under := func(path, rule string) bool {
		return path == rule || strings.HasSuffix(rule, "/") && strings.HasPrefix(path, rule)
	}
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, path := range p.Imports {
			for _, r := range rules {
				allowed := slices.ContainsFunc(r.by, func(by string) bool { return under(from, by) })
				if under(path, r.path) && !allowed {
					t.Errorf("%s imports %s: %s", from, path, r.why)
				}
			}
		}
	}
}

// TestNobodyCallsTheEngine holds the interfaces between L2 and delivery: only
// gateway knows that there is an Engine behind them.
func TestNobodyCallsTheEngine(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/*.go")
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") && regexp.MustCompile(`\bdelivery\.(Engine|New)\b`).Match(text) {
			t.Errorf("%s names delivery.Engine: declare an interface that holds what it calls", name)
		}
	}
}
