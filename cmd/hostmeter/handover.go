package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newHandover() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "handover",
		Short: "The hand-over of statements and usage records to billing systems",
		Long: `Closed statements go to WHMCS as billable items and credits, usage records and statements to webhooks as
CloudEvents. "run" and "aggregate" do it by themselves. A charge whose answer was lost is looked for, and parked where it
cannot be told whether it is there: it is never sent again blindly, and a person settles it here.`,
	}
	path := configFlag(cmd)
	cmd.AddCommand(newHandoverList(path), newHandoverShow(path), newHandoverDryRun(path), newHandoverRun(path), newHandoverSettle(path))
	return cmd
}

func newHandoverList(path *string) *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the charges that are not settled, and how far the feeds are", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&all, "all", false, "settled charges too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListHandover(cmd.Context(), all, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newHandoverShow(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show RECEIVER CHARGE", Short: "Print a charge with its request and what became of it", Args: cobra.ExactArgs(2)}
	cmd.Flags().BoolVar(&asJSON, "json", true, "print JSON (the only form)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ShowHandover(cmd.Context(), args[0], args[1], cmd.OutOrStdout())
		})
	}
	return cmd
}

func newHandoverDryRun(path *string) *cobra.Command {
	var events int
	var asJSON bool
	cmd := &cobra.Command{Use: "dry-run", Short: "Print what would be sent, and send nothing", Args: cobra.NoArgs}
	cmd.Flags().IntVar(&events, "events", 20, "at most so many events of each feed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the calls and events as they would be sent")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.PlanHandover(cmd.Context(), events, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newHandoverRun(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Hand over what is due now, without waiting for the next round", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error {
				return desk.HandOver(cmd.Context(), cmd.OutOrStdout())
			})
		},
	}
}

func newHandoverSettle(path *string) *cobra.Command {
	var s app.Settlement
	cmd := &cobra.Command{
		Use:   "settle RECEIVER CHARGE --as there|again|waived --reason TEXT",
		Short: "Decide what becomes of a charge that is parked",
		Long: `Decide what becomes of a charge that is parked. Look for its name at the receiver first: it stands in brackets in the
description of the billable item or credit.

  there    it is at the receiver: nothing is sent
  again    it is not: it is sent
  waived   it is not charged; also for the next event of a feed ("usage-records/17") that a receiver refuses

A charge that is pending can be settled too, as there or waived.`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&s.As, "as", "", "there, again or waived (required)")
	cmd.Flags().StringVar(&s.Remote, "remote", "", "what the receiver calls it, where it is there")
	cmd.Flags().StringVar(&s.Reason, "reason", "", "why (required)")
	cmd.Flags().StringVar(&s.By, "by", app.LocalActor(), "who")
	_ = cmd.MarkFlagRequired("as")
	_ = cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.SettleHandover(cmd.Context(), args[0], args[1], s, cmd.OutOrStdout())
		})
	}
	return cmd
}
