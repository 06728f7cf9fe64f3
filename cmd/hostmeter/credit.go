package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newCredit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credit",
		Short: "Credits that come after the window of your terms",
		Long: `What a closed period was charged too much is credited by itself for a month after the period (credit_window of the
provider). What is found later waits here for a person, and is given with a name and a reason, which stand on the
statement and in the audit log. Two months after the period (claim_window) it lapses.`,
	}
	path := configFlag(cmd)
	cmd.AddCommand(newCreditList(path), newCreditAllow(path))
	return cmd
}

func newCreditList(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the credits that wait", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListCredits(cmd.Context(), asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newCreditAllow(path *string) *cobra.Command {
	var reason, by string
	cmd := &cobra.Command{Use: "allow STATEMENT --reason TEXT", Short: "Give a credit that waits", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&reason, "reason", "", "why, without the customer's name: the statement keeps it (required)")
	cmd.Flags().StringVar(&by, "by", app.LocalActor(), "who")
	_ = cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.AllowCredit(cmd.Context(), args[0], reason, by, cmd.OutOrStdout())
		})
	}
	return cmd
}
