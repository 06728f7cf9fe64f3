package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"hostmeter/detector/backtest"
	"hostmeter/detector/rule"
)

// BacktestOptions are the flags of `hostmeter backtest`.
type BacktestOptions struct {
	Rules, Series string
	MaxHold       time.Duration
	JSON          bool
}

// Backtest runs rules over stored series and prints a JSON line per interval; what was left out is
// told to notices.
func Backtest(_ context.Context, options BacktestOptions, w, notices io.Writer) error {
	text, err := os.ReadFile(options.Rules)
	if err != nil {
		return wrong(fmt.Errorf("read rules: %w", err), "name the file with --rules")
	}
	rules, err := rule.Parse(text)
	if err != nil {
		return wrong(fmt.Errorf("%s: %w", options.Rules, err), "docs/reference/rules.md lists the keys")
	}
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	notice := func(text string) { _, _ = fmt.Fprintln(notices, "hostmeter:", text) }
	if err := backtest.Run(rules, options.Series, backtest.Options{MaxHold: options.MaxHold, Notice: notice}, func(r backtest.Result) error {
		return encoder.Encode(r)
	}); err != nil {
		return err
	}
	return out.Flush()
}
