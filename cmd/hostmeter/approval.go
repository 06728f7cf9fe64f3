package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newApproval() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approval",
		Short: "Charges that go to billing systems only after a person has approved them",
		Long: `Where the provider of the inventory has "approval: required", a closed charge is handed over (WHMCS, webhooks) only after
somebody has approved it here, on the finance page or by the API. What was closed before the setting was made goes as it did.`,
	}
	path := configFlag(cmd)
	cmd.AddCommand(newApprovalList(path), newApprovalGive(path), newApprovalWaive(path))
	return cmd
}

func newApprovalList(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the charges that wait", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListUnapproved(cmd.Context(), asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newApprovalGive(path *string) *cobra.Command {
	var all bool
	var by string
	cmd := &cobra.Command{
		Use: "give NUMBER… | --all", Short: "Approve charges, all or none of them",
		Example: `  hostmeter approval give 17 18 21
  hostmeter approval give --all`,
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that wait now")
	cmd.Flags().StringVar(&by, "by", app.LocalActor(), "who")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if (len(args) > 0) == all {
			return errors.New("give numbers, or --all")
		}
		_, err := numbersOf(args)
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		numbers, err := numbersOf(args)
		if err != nil {
			return err
		}
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Approve(cmd.Context(), numbers, all, by, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newApprovalWaive(path *string) *cobra.Command {
	var reason, by string
	cmd := &cobra.Command{
		Use: "waive NUMBER… --reason TEXT", Short: "Waive charges, all or none of them",
		Long: `Waive charges that wait: they are never handed over, and a decision takes them out of the books at the next closing. With
revision 1 of a statement the whole charge of its period is waived. With a later revision, which late usage or a correction
has added, exactly that is: what was charged before it stays. A credit is not waived: approve it.`,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, without the customer's name: the statement keeps it (required)")
	cmd.Flags().StringVar(&by, "by", app.LocalActor(), "who")
	_ = cmd.MarkFlagRequired("reason")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := cobra.MinimumNArgs(1)(cmd, args); err != nil {
			return err
		}
		_, err := numbersOf(args)
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		numbers, err := numbersOf(args)
		if err != nil {
			return err
		}
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Waive(cmd.Context(), numbers, reason, by, cmd.OutOrStdout())
		})
	}
	return cmd
}

// numbersOf reads the numbers of statements.
func numbersOf(args []string) ([]int64, error) {
	numbers := make([]int64, len(args))
	for i, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: want a statement's number", arg)
		}
		numbers[i] = n
	}
	return numbers, nil
}
