package wxgateway_test

import (
	"os/exec"
	"regexp"
	"slices"
	"testing"
)

const (
	alertRules = "docs/prometheus-rules.yml"
	alertCases = "testdata/prometheus-rules.yml"
)

// Prometheus itself takes the alert rules, and each fires when it should.
func TestAlertRulesInPrometheus(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skipf("promtool is not installed, so %s is not run", alertCases)
	}
	for _, args := range [][]string{{"check", "rules", alertRules}, {"test", "rules", alertCases}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}

// No alert is without a case that fires and one that stays silent.
func TestEveryAlertHasCases(t *testing.T) {
	t.Parallel()
	names := func(expr, text string) (all []string) {
		for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		return all
	}
	cases := readText(t, alertCases)
	fires := names(`(?m)alertname: (\w+)\n +exp_alerts:$`, cases)
	silent := names(`alertname: (\w+), exp_alerts: \[\]`, cases)
	rules := names(`- alert: (\w+)`, readText(t, alertRules))
	if len(rules) < 13 {
		t.Fatalf("found only the rules %q", rules)
	}
	for _, rule := range rules {
		if !slices.Contains(fires, rule) || !slices.Contains(silent, rule) {
			t.Errorf("%s has no case of %s that fires, or none that stays silent", alertCases, rule)
		}
	}
}
