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
)

var seriesName = regexp.MustCompile(`\bwxgw_[a-z_]+`)

// servedSeries are the series that the code writes, by name.
func servedSeries(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("gateway/meter/*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range append(files, "gateway/measure.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, name := range seriesName.FindAllString(readText(t, file), -1) {
			names[name] = true
		}
	}
	if len(names) < 20 {
		t.Fatalf("found only %q", slices.Sorted(maps.Keys(names)))
	}
	return names
}

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documented is a row of docs/metrics.md.
type documented struct {
	kind   string
	labels []string
}

func documentedSeries(t *testing.T) map[string]documented {
	t.Helper()
	all := map[string]documented{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(wxgw_[a-z_]+)` \\| (counter|gauge|histogram) \\|([^|]*)\\|").FindAllStringSubmatch(readText(t, "docs/metrics.md"), -1) {
		d := documented{kind: m[2]}
		for _, l := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(m[3], -1) {
			d.labels = append(d.labels, l[1])
		}
		all[m[1]] = d
	}
	return all
}

// docs/metrics.md has a row for every series, and none for others.
func TestEverySeriesIsDocumented(t *testing.T) {
	t.Parallel()
	served, rows := servedSeries(t), documentedSeries(t)
	for name := range served {
		if _, ok := rows[name]; !ok {
			t.Errorf("docs/metrics.md has no row for %s", name)
		}
	}
	for _, name := range seriesName.FindAllString(readText(t, "docs/metrics.md"), -1) {
		if !served[name] {
			t.Errorf("docs/metrics.md names %s, which the gateway does not have", name)
		}
	}
}

var (
	selector  = regexp.MustCompile(`\b(wxgw_[a-z_]+)(\{[^}]*\})?(\[)?`)
	matched   = regexp.MustCompile(`([a-z_]+)(?:=|!=|=~|!~)"[^"]*"`)
	grouped   = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	quoted    = regexp.MustCompile(`"[^"]*"`)
	dashboard = regexp.MustCompile(`\$[a-z_]+`)
)

// checkExpr finds what a PromQL expression gets wrong about the gateway's
// series: names, kinds, labels; and brackets that do not match.
func checkExpr(t *testing.T, where, expr string, rows map[string]documented) {
	t.Helper()
	labels := map[string]bool{"le": true}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		name, part := m[1], ""
		d, ok := rows[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
				d, ok, part = rows[base], rows[base].kind == "histogram", suffix
			}
		}
		switch {
		case !ok:
			t.Errorf("%s: there is no series %s", where, name)
			continue
		case d.kind == "histogram" && part == "":
			t.Errorf("%s: %s is a histogram: _bucket, _sum or _count", where, name)
		case d.kind != "gauge" && m[3] == "":
			t.Errorf("%s: %s only grows: it needs rate or increase", where, name)
		case d.kind == "gauge" && m[3] != "":
			t.Errorf("%s: %s is a gauge: rate means nothing", where, name)
		}
		for _, l := range d.labels {
			labels[l] = true
		}
		for _, l := range matched.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(d.labels, l[1]) {
				t.Errorf("%s: %s has no label %s", where, name, l[1])
			}
		}
	}
	for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if !labels[strings.TrimSpace(l)] {
				t.Errorf("%s: no series of it has the label %q", where, l)
			}
		}
	}
	var open []rune
	for _, c := range quoted.ReplaceAllString(expr, `""`) {
		switch c {
		case '(', '[', '{':
			open = append(open, c)
		case ')', ']', '}':
			if len(open) == 0 || !slices.Contains([]string{"()", "[]", "{}"}, string(open[len(open)-1])+string(c)) {
				t.Fatalf("%s: brackets do not match: %s", where, expr)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("%s: brackets are left open: %s", where, expr)
	}
}

// The alert rules speak of series that exist, and docs/metrics.md of the rules.
// Of YAML this reads only what the file is made of: a rule is a list item that
// begins with its name, each key on a line of its own.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	rows, page := documentedSeries(t), readText(t, "docs/metrics.md")
	text := readText(t, "docs/prometheus-rules.yml")
	if strings.Contains(text, "\t") {
		t.Error("YAML knows no tabs")
	}
	rules := strings.Split(text, "\n      - alert: ")
	if len(rules) < 13 || !strings.HasSuffix(rules[0], "groups:\n  - name: wx-gateway\n    rules:") {
		t.Fatalf("found %d rules after %q", len(rules)-1, rules[0])
	}
	key := regexp.MustCompile(`^(?:        (expr|for|labels|annotations)|          (summary)):(?: (.+))?$`)
	names := map[string]bool{}
	for _, rule := range rules[1:] {
		lines := strings.Split(strings.TrimSpace(rule), "\n")
		name := lines[0]
		if names[name] || !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s: twice, or not in docs/metrics.md", name)
		}
		names[name] = true
		got := map[string]string{}
		for _, line := range lines[1:] {
			m := key.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%s: cannot read %q", name, line)
				continue
			}
			got[m[1]+m[2]] = m[3]
		}
		if expr := got["expr"]; !seriesName.MatchString(expr) || strings.Contains(expr, ": ") || strings.Contains(expr, " #") {
			t.Errorf("%s: expr %q", name, expr)
		} else {
			checkExpr(t, name, expr, rows)
		}
		if !regexp.MustCompile(`^\{severity: (critical|warning|info)\}$`).MatchString(got["labels"]) {
			t.Errorf("%s: labels %q", name, got["labels"])
		}
		if s := got["summary"]; s == "" || strings.Contains(s, ":") && !strings.HasPrefix(s, `"`) {
			t.Errorf("%s: summary %q", name, s)
		}
		if f, ok := got["for"]; ok && !regexp.MustCompile(`^\d+[mhd]$`).MatchString(f) {
			t.Errorf("%s: for %q", name, f)
		}
	}
	for _, name := range regexp.MustCompile("`(Wxgw[A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		if !names[name[1]] {
			t.Errorf("docs/metrics.md tells of %s, which is no rule", name[1])
		}
	}
}

// The dashboard can be imported, and every panel has something to show.
func TestDashboard(t *testing.T) {
	t.Parallel()
	rows := documentedSeries(t)
	var board struct {
		Title         string
		UID           string
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			ID          int
			Title, Type string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, "docs/grafana-dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	if board.Title == "" || board.UID == "" || board.SchemaVersion < 30 || len(board.Panels) < 20 {
		t.Fatalf("title %q, uid %q, schema %d, %d panels", board.Title, board.UID, board.SchemaVersion, len(board.Panels))
	}
	variables := []string{"$__rate_interval"}
	for _, v := range board.Templating.List {
		variables = append(variables, "$"+v.Name)
		for _, name := range seriesName.FindAllString(v.Definition, -1) {
			if _, ok := rows[name]; !ok {
				t.Errorf("variable %s: there is no series %s", v.Name, name)
			}
		}
	}
	ids, places := map[int]bool{}, map[[2]int]bool{}
	for _, p := range board.Panels {
		place := [2]int{p.GridPos.X, p.GridPos.Y}
		if ids[p.ID] || places[place] || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 {
			t.Errorf("panel %q: id %d or place %+v is taken or none", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID], places[place] = true, true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			checkExpr(t, "panel "+p.Title, target.Expr, rows)
			for _, v := range dashboard.FindAllString(target.Expr, -1) {
				if !slices.Contains(variables, v) {
					t.Errorf("panel %q: there is no variable %s", p.Title, v)
				}
			}
		}
	}
}
