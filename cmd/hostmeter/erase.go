package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newErase() *cobra.Command {
	var o app.EraseOptions
	cmd := &cobra.Command{
		Use:   "erase CUSTOMER --reason TEXT",
		Short: "Destroy a customer's name and e-mail address",
		Long: `Destroy the key under which a customer's name and e-mail address are kept. Everything shows the identifier from then on,
also in a process that runs. Usage, statements, amounts and evidence stay as they are, and "verify" still holds: they have
the identifier only. It cannot be taken back, and an import that still names the customer is taken without the name.

Services of the customer go on until they are closed. Backups and files that were exported are not reached:
docs/how-to/finance.md says what to do with them.`,
		Example: `  hostmeter erase c1042 --reason "letter of 2 November" -c h.yaml
  hostmeter erase c1042 --reason "letter of 2 November" --confirm c1042 -c h.yaml`,
		Args: cobra.ExactArgs(1),
	}
	path := configFlag(cmd)
	cmd.Flags().StringVar(&o.Reason, "reason", "", "why, without the name: the audit log keeps it (required)")
	cmd.Flags().StringVar(&o.By, "by", app.LocalActor(), "who")
	cmd.Flags().StringVar(&o.Confirm, "confirm", "", "the identifier again; asked for where it is not given")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	_ = cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Erase(cmd.Context(), args[0], o, cmd.InOrStdin(), cmd.OutOrStdout())
		})
	}
	return cmd
}

func newAudit() *cobra.Command {
	var subject string
	var asJSON bool
	cmd := &cobra.Command{Use: "audit", Short: "List who has erased, overridden or approved what, and why", Args: cobra.NoArgs,
		Example: `  hostmeter audit --of s1
  hostmeter audit --json >audit.json`}
	path := configFlag(cmd)
	cmd.Flags().StringVar(&subject, "of", "", "of one customer, service or statement")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListAudit(cmd.Context(), subject, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}
