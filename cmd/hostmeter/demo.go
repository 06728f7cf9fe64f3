package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newDemo() *cobra.Command {
	options := app.DefaultDemo()
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a simulated provider through the real pipeline, with its pages",
		Long: `Play five past weeks of a simulated provider (about 60 services, exporters of every protocol, hypervisors)
through the real pipeline, then go on live over loopback UDP, with abuse starting while you watch. The
provider speaks the real wire formats; only the customers are invented. The same seed gives the same
reports, on any day.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return app.RunDemo(cmd.Context(), options, cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&options.Seed, "seed", options.Seed, "the provider to simulate, and its date")
	flags.BoolVar(&options.Once, "once", false, "stop after the past weeks, with the reports in --out")
	flags.StringVar(&options.Out, "out", options.Out, "folder of the demo's data and reports; its old contents are replaced")
	flags.StringVar(&options.Listen, "listen", options.Listen, "address of the pages")
	return cmd
}
