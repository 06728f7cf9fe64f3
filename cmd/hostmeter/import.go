package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newImport() *cobra.Command {
	var dryRun, charges, asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Import customers, services, plans, prices and ownership from YAML or CSV",
		Long: `Import an inventory: one YAML file with everything, or CSV files with one kind each (customers.csv,
services.csv, plans.csv, prices.csv, prefixes.csv, ownership.csv, pools.csv, pool_members.csv, changes.csv, decisions.csv,
provider.csv). An import is all or nothing; every line that is wrong is named. Importing the same file twice changes nothing.`,
		Example: `  hostmeter import --dry-run inventory.yaml
  hostmeter import --charges correction.yaml`,
		Args: cobra.MinimumNArgs(1),
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would change, and change nothing")
	cmd.Flags().BoolVar(&charges, "charges", false, "print what would change in closed periods, statement by statement, and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the difference as JSON")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			if charges {
				return desk.PreviewImport(cmd.Context(), files, asJSON, cmd.OutOrStdout())
			}
			return desk.Import(cmd.Context(), files, dryRun, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

// withDesk opens the store that the configuration names, for one command.
func withDesk(cmd *cobra.Command, path string, f func(*app.Desk) error) error {
	desk, err := app.OpenDesk(cmd.Context(), path)
	if err != nil {
		return err
	}
	defer desk.Close()
	return f(desk)
}
