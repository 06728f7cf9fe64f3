package main

import (
	"time"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newBacktest() *cobra.Command {
	var options app.BacktestOptions
	cmd := &cobra.Command{
		Use:   "backtest --rules FILE --series FILE --json",
		Short: "Run detection rules over stored series and print when they held",
		Long: `Run rules over a CSV of series (.csv, .csv.gz, .csv.zst; columns meter, time and one per metric) with the
detector's own code. Prints a JSON line per interval: kind "condition" is when the condition held, "incident"
is what a person would have been told.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return app.Backtest(cmd.Context(), options, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&options.Rules, "rules", "", "rules file (required)")
	cmd.Flags().StringVar(&options.Series, "series", "", "series file (required)")
	cmd.Flags().DurationVar(&options.MaxHold, "max-hold", 5*time.Minute, "longest time that one sample stands for")
	cmd.Flags().BoolVar(&options.JSON, "json", true, "print JSON lines (the only form)")
	_ = cmd.MarkFlagRequired("rules")
	_ = cmd.MarkFlagRequired("series")
	return cmd
}
