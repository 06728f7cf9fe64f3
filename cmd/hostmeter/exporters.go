package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newExporters() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "exporters", Short: "How the exporters and hypervisors are: state, drops, losses, coverage", Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListExporters(cmd.Context(), asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newGuests() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "guests", Short: "The guests' CPU time, steal and capacity of the last 24 hours", Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListGuests(cmd.Context(), asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}
