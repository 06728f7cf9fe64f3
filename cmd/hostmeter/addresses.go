package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
	"hostmeter/internal/httpapi"
)

func newAddresses() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "addresses",
		Short: "How the addresses that services were given are used, and notices about them",
		Long: `An IPv4 address is used when it has sent since it was assigned; receiving does not count. What a service was given at one
time is judged together: 80 % of it has to be used 10 days later, else notice is due, and 5 days after the notice it may be taken
back. The figures are those of "addresses" in the configuration. IPv6 prefixes are not counted.`,
	}
	path := configFlag(cmd)
	cmd.AddCommand(newAddressesList(path), newAddressesNotice(path))
	return cmd
}

func newAddressesList(path *string) *cobra.Command {
	var format string
	var all bool
	cmd := &cobra.Command{Use: "list [--all] [--format table|csv|json]", Short: "List the prefixes that services have now", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&format, "format", "table", "table, csv or json")
	cmd.Flags().BoolVar(&all, "all", false, "in the table also those that are used as they should be")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListAddresses(cmd.Context(), format, all, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newAddressesNotice(path *string) *cobra.Command {
	var notice httpapi.AddressNotice
	var by string
	cmd := &cobra.Command{
		Use:   "notice SERVICE PREFIX --reason TEXT [--on DATE]",
		Short: "Record that a customer was told that addresses are not used enough",
		Long: `Record that a customer was told, which hostmeter does not do. The notice is about all that the service was given together
with the prefix. It is refused where none is due, and cannot be taken back.`,
		Example: `  hostmeter addresses notice s1 192.0.2.0/28 --on 2026-10-20 --reason "mail of that day"`,
		Args:    cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&notice.On, "on", "", "the day on which they were told, in the provider's zone (default: today)")
	cmd.Flags().StringVar(&notice.Reason, "reason", "", "how they were told (required)")
	cmd.Flags().StringVar(&by, "by", app.LocalActor(), "who")
	_ = cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		notice.Service, notice.Prefix = args[0], args[1]
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.GiveNotice(cmd.Context(), notice, by, cmd.OutOrStdout())
		})
	}
	return cmd
}
