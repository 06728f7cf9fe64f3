package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Copy the ledger to a file while everything runs", Args: cobra.ExactArgs(1),
		Long: `Copy the ledger to a file while everything runs. The copy is of one instant, is read back whole, and appears
under its name when it is durable; the file of that name is then replaced. Of a ledger on PostgreSQL it says which command of
PostgreSQL's does it.

What arrives after a backup is read again from the collectors' logs, which keep confirmed batches for log.retain
(3 days): back up at least once a day, to another machine. Copy the configuration, the rules and the secrets too.`,
		Example: `  hostmeter backup /backup/ledger-$(date +%F).db
  hostmeter restore /backup/ledger-2026-10-01.db`,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Backup(cmd.Context(), args[0], cmd.OutOrStdout())
		})
	}
	return cmd
}

func newRestore() *cobra.Command {
	var o app.RestoreOptions
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make the ledger of a backup, check it, and say what comes next", Args: cobra.MaximumNArgs(1),
		Long: `Make the ledger of a backup while nothing of hostmeter runs: the backup is checked, brought up to date, and added
up again. With --replace the ledger that is there is kept beside it under another name.

Start hostmeter then: it books again what the logs hold since the backup, and declares what they no longer hold as a gap.
What the ledger before may have sent is not sent again blindly: charges are parked and looked for at the billing system, and
a person settles with "hostmeter handover settle" what it does not show; mails go out once, marked as possible repeats; alarms
of before wait until the logs have been read again.

Where the ledger was brought back by other means (pg_restore, a snapshot of the machine), run it with --restored.`,
		Example: `  hostmeter restore /backup/ledger-2026-10-01.db
  hostmeter restore --restored`,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&o.Replace, "replace", false, "set aside the ledger that is there")
	cmd.Flags().BoolVar(&o.Restored, "restored", false, "it was brought back by other means: check it, and park what may have been sent")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			o.File = args[0]
		}
		return app.Restore(cmd.Context(), *path, o, cmd.OutOrStdout())
	}
	return cmd
}
