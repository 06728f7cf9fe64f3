package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newPrune() *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use: "prune", Short: "Take from the ledger what has reached its age, as the aggregator does each day", Args: cobra.NoArgs,
		Long: `Take from the ledger what has reached the age that "retention" in the configuration gives it. The aggregator does it by
itself each day. Nothing goes that is not closed and told yet, nor anything behind a statement that was closed less than
retention.evidence ago; the table says what stays longer, and why.

Look at it first with --dry-run, and take a backup: what has gone is gone.`,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would go, and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Prune(cmd.Context(), dryRun, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}
