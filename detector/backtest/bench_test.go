package backtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"hostmeter/detector/backtest"
	"hostmeter/detector/rule"
	"hostmeter/detector/rules"
)

// BenchmarkShipped runs the shipped rules over 100 machines and 91 days: 2.5 million rows.
func BenchmarkShipped(b *testing.B) {
	series := filepath.Join(traces, "hosted-vms.csv.zst")
	if _, err := os.Stat(series); err != nil {
		b.Skipf("NOT MEASURED: %s is not here", series)
	}
	shipped, err := rule.Parse(rules.Default)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		if err := backtest.Run(shipped, series, backtest.Options{}, func(backtest.Result) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			b.Fatal("nothing was found: the rules did not run")
		}
	}
}
