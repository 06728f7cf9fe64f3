package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newUsage() *cobra.Command {
	var options app.UsageOptions
	cmd := &cobra.Command{
		Use:     "usage --from T --to T [--by service|meter|hour] [--format csv|json]",
		Short:   "Print usage out of the ledger",
		Example: "  hostmeter usage --from 2026-10-01 --to 2026-11-01 --by service",
		Args:    cobra.NoArgs,
	}
	path := configFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&options.From, "from", "", "first instant: RFC 3339, or a date in the provider's zone (required)")
	flags.StringVar(&options.To, "to", "", "end, not included (required)")
	flags.StringVar(&options.By, "by", "service", "service, meter or hour")
	flags.StringVar(&options.Service, "service", "", "only this service")
	flags.StringVar(&options.Meter, "meter", "", "only this meter")
	flags.StringVar(&options.Format, "format", "csv", "csv or json")
	flags.BoolVar(&options.JSON, "json", false, "the same as --format json")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagRequired("to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Usage(cmd.Context(), options, cmd.OutOrStdout())
		})
	}
	return cmd
}
