package backtest_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"hostmeter/detector/backtest"
	"hostmeter/detector/rule"
)

const traces = "../../../shared/traces"

// tolerance is how far begin and end may be from the reference.
const tolerance = 600 * time.Second

// TestReference runs the ten settings over the trace of a hosting provider and compares every interval
// with a reference that was computed apart.
func TestReference(t *testing.T) {
	series := filepath.Join(traces, "hosted-vms.csv.zst")
	if _, err := os.Stat(series); err != nil {
		t.Skipf("NOT TESTED AGAINST THE REFERENCE: %s is not here", series)
	}
	want := readReference(t)
	var text string
	for name := range want {
		s := want[name]
		text += fmt.Sprintf("  - {name: %q, metric: cpu_ratio, above: %v, for: %dh, at_least: %v, coverage: %v, each: guest}\n",
			name, s.above/100, 24*s.days, s.share, s.coverage)
	}
	rules, err := rule.Parse([]byte("rules:\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string][]backtest.Result{}
	err = backtest.Run(rules, series, backtest.Options{}, func(r backtest.Result) error {
		if r.Kind != backtest.KindCondition {
			return nil
		}
		if got[r.Rule] == nil {
			got[r.Rule] = map[string][]backtest.Result{}
		}
		got[r.Rule][r.Meter] = append(got[r.Rule][r.Meter], r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var compared int
	var worst time.Duration
	for name, s := range want {
		if len(got[name]) != len(s.intervals) {
			t.Errorf("%s: %d machines, want %d", name, len(got[name]), len(s.intervals))
		}
		for machine, intervals := range s.intervals {
			worst = max(worst, compare(t, name+" of machine "+machine, got[name][machine], intervals))
			compared += len(intervals)
		}
	}
	if compared < 100 {
		t.Fatalf("compared %d intervals: the reference was not read", compared)
	}
	t.Logf("%d intervals of %d settings, the worst bound %s off", compared, len(want), worst)
}

func compare(t *testing.T, what string, got []backtest.Result, want []interval) (worst time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d intervals, want %d", what, len(got), len(want))
		return 0
	}
	for i := range want {
		off := got[i].From.Sub(want[i].from).Abs()
		if (got[i].To == nil) != want[i].to.IsZero() {
			t.Errorf("%s: interval %d ends at %v, want %v", what, i, got[i].To, want[i].to)
		} else if got[i].To != nil {
			off = max(off, got[i].To.Sub(want[i].to).Abs())
		}
		if off > tolerance {
			t.Errorf("%s: interval %d is %s off", what, i, off)
		}
		worst = max(worst, off)
	}
	return worst
}

type setting struct {
	above, share, coverage float64
	days                   int
	intervals              map[string][]interval
}

type interval struct{ from, to time.Time }

func readReference(t *testing.T) map[string]setting {
	t.Helper()
	file, err := os.Open(filepath.Join(traces, "cpu-sustained-reference.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(text string) float64 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	out := map[string]setting{}
	for _, row := range rows[1:] {
		name := fmt.Sprintf("cpu%s-%sd-%s-%s", row[1], row[2], row[3], row[4])
		if _, there := out[name]; !there {
			out[name] = setting{number(row[1]), number(row[3]), number(row[4]), int(number(row[2])), map[string][]interval{}}
		}
		span := interval{from: time.Unix(int64(number(row[5])), 0)}
		if end := number(row[6]); end >= 0 {
			span.to = time.Unix(int64(end), 0)
		}
		out[name].intervals[row[0]] = append(out[name].intervals[row[0]], span)
	}
	return out
}
