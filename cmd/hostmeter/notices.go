package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newNotices() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notices",
		Short: "What customers were told about their quotas, and what they chose",
		Long: `"run" and "aggregate" look at the open periods every ten minutes. A customer is told once at 50, 75, 90 and 100 % of the
quota, and asked what to do where it is exceeded or will be: upgrade, throttle, disconnect or nothing, within 48 hours; no answer means
that what goes beyond the quota is charged. The choice stands on the period's statement. Contracts set all of it
(notice_at, notice_forecast, notice_spike, decide_within).

Of a pool its owner is told, and no member. Of a percentile, each hour, that of the slots until now, when a week of them is known or
nothing can change it any more. A reseller is told how far the rate that it has bought is used.`,
	}
	path := configFlag(cmd)
	cmd.AddCommand(newNoticesList(path), newNoticesDecisions(path), newNoticesChoose(path))
	return cmd
}

func newNoticesList(path *string) *cobra.Command {
	var limit int
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List what was told, the newest first, and what became of the mail", Args: cobra.NoArgs}
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListNotices(cmd.Context(), limit, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newNoticesDecisions(path *string) *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{Use: "decisions", Short: "List the requests for decisions that are open", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&all, "all", false, "those that are decided too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListDecisions(cmd.Context(), all, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newNoticesChoose(path *string) *cobra.Command {
	var c app.Chosen
	cmd := &cobra.Command{
		Use:   "choose NUMBER upgrade|throttle|disconnect|nothing",
		Short: "Record what a customer has told you",
		Long: `Record what a customer has told you in answer to a request for a decision. It is recorded once, before the deadline, and
stands on the statement with who and how. Nothing is throttled or disconnected by it: webhooks of the feed
"notices" tell the systems that do.`,
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&c.By, "by", app.LocalActor(), "who")
	cmd.Flags().StringVar(&c.Note, "note", "", "how you know: by telephone, a ticket's number")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.Request, c.Choice = args[0], args[1]
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Choose(cmd.Context(), c, cmd.OutOrStdout())
		})
	}
	return cmd
}
