package rule_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"hostmeter/detector/rule"
	"hostmeter/detector/rules"
)

func TestShippedRules(t *testing.T) {
	shipped, err := rule.Parse(rules.Default)
	if err != nil {
		t.Fatal(err)
	}
	want := rule.Rule{Name: "sustained-cpu", Metric: rule.CPURatio, Value: 0.9, For: 72 * time.Hour, AtLeast: 0.95, Coverage: 0.8,
		Clear: rule.Clear{BelowShare: 0.8, Over: 6 * time.Hour}, Severity: "warning", Each: rule.EachGuest}
	if !reflect.DeepEqual(shipped[0], want) {
		t.Errorf("got %+v, want %+v", shipped[0], want)
	}
	if len(shipped) != 6 {
		t.Errorf("%d rules, want 6", len(shipped))
	}
	checkYAML(t, shipped)
}

// checkYAML: what a rule says of itself is read back to the same rule.
func checkYAML(t *testing.T, list []rule.Rule) {
	t.Helper()
	text := "rules:\n"
	for i := range list {
		text += list[i].YAML()
	}
	if len(list) == 0 {
		text = "rules: []\n"
	}
	again, err := rule.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !reflect.DeepEqual(again, list) {
		t.Fatalf("got %+v, want %+v", again, list)
	}
}

const good = `rules:
  - name: r
    metric: out_bits_per_second
    above: 2
    for: 3d
    each: address
`

func TestParse(t *testing.T) {
	list, err := rule.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	r := list[0]
	if r.For != 72*time.Hour || r.AtLeast != 1 || r.Coverage != 0.8 || r.Severity != "warning" || r.Clear != (rule.Clear{BelowShare: 0.8, Over: 6 * time.Hour}) {
		t.Errorf("defaults: %+v", r)
	}
	list, err = rule.Parse([]byte("rules: [{name: b, metric: in_packets_per_second, baseline: {quantile: 0.975, factor: 1.3, floor: 5000}, for: 24h, at_least: 0.5, each: service}]"))
	if err != nil || *list[0].Baseline != (rule.Baseline{Quantile: 0.975, Factor: 1.3, Floor: 5000}) {
		t.Errorf("%+v, %v", list, err)
	}
	checkYAML(t, list)
}

func TestParseNamesLineAndKey(t *testing.T) {
	f := func(text string, wants ...string) {
		t.Helper()
		_, err := rule.Parse([]byte(text))
		if !errors.Is(err, rule.ErrRules) {
			t.Fatalf("%q: got %v, want ErrRules", text, err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Fatalf("%q: error %q does not say %q", text, err, want)
			}
		}
	}
	change := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the good rules", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	f("", "rules", "missing")
	f("rules: 3", "line 1", "rules", "list")
	f(change("name: r", "name: reseller_rate"), "rules[0].name", "reseller_rate", "resellers")
	f("rule: []", "line 1", "rule", "unknown key")
	f(change("above: 2", "above: 2\n    at_lest: 1"), "line 5", "rules[0].at_lest", "unknown key")
	f(change("above: 2", "above: two"), "line 4", "rules[0].above", "two")
	f(change("above: 2", "above: -1"), "line 4", "rules[0].above")
	f(change("above: 2", "above: .inf"), "line 4", "rules[0].above")
	f(change("above: 2", "above: 2\n    below: 1"), "rules[0]", "exactly one", "2")
	f(change("    above: 2\n", ""), "rules[0]", "exactly one", "0")
	f(change("for: 3d", "for: soon"), "line 5", "rules[0].for", "soon")
	f(change("for: 3d", "for: 36d"), "line 5", "rules[0].for")
	f(change("    for: 3d\n", ""), "rules[0].for", "missing")
	f(change("each: address", "each: guest"), "rules[0].each", "traffic")
	f(change("each: address", "each: house"), "line 6", "rules[0].each", "house", "reseller")
	f(change("metric: out_bits_per_second", "metric: bits"), "line 3", "rules[0].metric", "bits")
	f(change("metric: out_bits_per_second", "metric: cpu_ratio"), "rules[0].each", "guests")
	f(change("above: 2", "above: 2\n    at_least: 1.5"), "line 5", "rules[0].at_least", "1.5")
	f(change("above: 2", "above: 2\n    coverage: 0"), "line 5", "rules[0].coverage")
	f(change("above: 2", "above: 2\n    clear: {over: 100h}"), "rules[0].clear.over", "longer")
	f(change("above: 2", "above: 2\n    clear: {below_share: 0.5, ever: 1h}"), "line 5", "rules[0].clear.ever")
	f(change("above: 2", "above: 2\n    at_least: 0.5\n    clear: {below_share: 0.9}"), "rules[0].clear.below_share")
	f(change("above: 2", "above: 2\n    above: 3"), "above")
	f(change("name: r", "name: a b"), "line 2", "rules[0].name")
	f(good+"  - {name: r, metric: cpu_ratio, above: 1, for: 1h, each: guest}\n", "rules[1].name", "earlier")
	f(good+"---\nrules: []\n", "second document")
	f("rules: [", "1:8")
	f("\t", "")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add(rules.Default)
	f.Add([]byte("rules: [{name: b, metric: in_packets_per_second, baseline: {quantile: 0.975}, for: 24h, each: service}]"))
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := rule.Parse(text)
		if err != nil {
			if !errors.Is(err, rule.ErrRules) {
				t.Fatalf("error %v is not ErrRules", err)
			}
			return
		}
		checkYAML(t, list)
	})
}
