package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check a configuration, or print a first one"}
	check := &cobra.Command{Use: "check", Short: "Read the configuration strictly and say what is wrong", Args: cobra.NoArgs}
	path := configFlag(check)
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := app.LoadConfig(*path); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", *path)
		return err
	}
	example := &cobra.Command{
		Use: "example", Short: "Print a first configuration, explained", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), app.ExampleConfig)
			return err
		},
	}
	cmd.AddCommand(check, example)
	return cmd
}
