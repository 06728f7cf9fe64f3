package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check that everything works, and say what to do where it does not", Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return app.Doctor(cmd.Context(), *path, asJSON, cmd.OutOrStdout())
	}
	return cmd
}

func newVerify() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Re-add the whole ledger and say what does not add up", Args: cobra.NoArgs,
		Long: `Add the books up again in other ways, while they are written: slots, days, late entries, accounts, exporters,
services, the feed, closed periods, pools, and each statement from what it names. It changes nothing. "hostmeter doctor"
does it for the last 40 days.`,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Verify(cmd.Context(), asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}
