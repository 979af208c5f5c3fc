package wxgateway_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wx-gateway/conf"
)

// pages are all documents of the project by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, glob := range []string{"*.md", "docs/*.md", "bench/*.md"} {
		names, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(data)
		}
	}
	if len(all) < 8 {
		t.Fatalf("found only %q", slices.Sorted(maps.Keys(all)))
	}
	return all
}

// block is a fenced piece of a page.
var block = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// A reader may copy every configuration that is shown.
func TestShownConfigurationsAreGood(t *testing.T) {
	t.Parallel()
	anything := func(name string) (string, bool) { return "a-value-of-" + name, true }
	n := 0
	for name, text := range pages(t) {
		for _, b := range block.FindAllStringSubmatch(text, -1) {
			if b[1] != "json" || !strings.Contains(b[2], `"services"`) {
				continue
			}
			n++
			_, warnings, err := conf.Parse([]byte(b[2]), "", anything)
			if err != nil {
				t.Errorf("%s shows a configuration with faults:\n%v\n%s", name, err, b[2])
			}
			for _, w := range warnings {
				if strings.Contains(w.Text, "unknown key") {
					t.Errorf("%s shows a configuration with an unknown key: %s", name, w)
				}
			}
		}
	}
	if n < 2 {
		t.Errorf("found only %d configurations", n)
	}
}

// sample.conf.json holds every key that the code reads (a test of conf keeps
// it so), and docs/configuration.md has a row for each.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("sample.conf.json")
	if err != nil {
		t.Fatal(err)
	}
	var sample any
	if err := json.Unmarshal(data, &sample); err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\|[^|]*\|`).FindAllString(pages(t)["docs/configuration.md"], -1)
	keys := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				keys[k] = true
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(sample)
	for k := range keys {
		if !slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, "`"+k+"`") }) {
			t.Errorf("docs/configuration.md has no row for `%s`", k)
		}
	}
}

// shape is what two languages of one page have in common.
type shape struct{ headings, tables, rows, blocks int }

func shapeOf(text string) shape {
	s := shape{blocks: len(block.FindAllString(text, -1))}
	for line := range strings.Lines(block.ReplaceAllString(text, "")) {
		switch {
		case strings.HasPrefix(line, "#"):
			s.headings++
		case strings.HasPrefix(line, "|--"):
			s.tables++
		case strings.HasPrefix(line, "|"):
			s.rows++
		}
	}
	return s
}

func TestBothREADMEsSayTheSame(t *testing.T) {
	t.Parallel()
	all := pages(t)
	english, chinese := shapeOf(all["README.md"]), shapeOf(all["README.zh-CN.md"])
	if english != chinese {
		t.Errorf("README.md has %+v, README.zh-CN.md %+v", english, chinese)
	}
	if english.headings < 5 || english.tables < 2 || english.blocks < 3 {
		t.Errorf("README.md has only %+v", english)
	}
}

// link is [text](target) with a target inside the repository.
var link = regexp.MustCompile(`\]\(([^)\s:]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: there is no %s", name, m[1], target)
				continue
			}
			if page, ok := all[target]; ok && anchor != "" && !slices.Contains(anchors(page), anchor) {
				t.Errorf("%s links to %s: no heading there gives that anchor", name, m[1])
			}
		}
	}
}

// anchors are the names of a page's headings, as code hosts make them.
func anchors(page string) []string {
	var list []string
	for line := range strings.Lines(block.ReplaceAllString(page, "")) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = strings.ToLower(strings.TrimSpace(title))
			list = append(list, strings.ReplaceAll(notInAnchor.ReplaceAllString(title, ""), " ", "-"))
		}
	}
	return list
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// The commands of the project that pages tell readers to type exist.
func TestShownMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s shows make %s, which the Makefile does not have", name, m[1])
			}
		}
	}
}
