package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newUser() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "People who may log in: add, list, passwd, remove"}
	path := configFlag(cmd)
	var role string
	add := &cobra.Command{
		Use: "add NAME --role admin", Short: "Add a user; the password is read from standard input", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error {
				return desk.AddUser(cmd.Context(), args[0], role, cmd.InOrStdin(), cmd.ErrOrStderr())
			})
		},
	}
	add.Flags().StringVar(&role, "role", "", "finance, noc or admin (required)")
	_ = add.MarkFlagRequired("role")
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List users", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error { return desk.ListUsers(cmd.Context(), asJSON, cmd.OutOrStdout()) })
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	passwd := &cobra.Command{
		Use: "passwd NAME", Short: "Change a password, read from standard input; ends the user's sessions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error {
				return desk.SetPassword(cmd.Context(), args[0], cmd.InOrStdin(), cmd.ErrOrStderr())
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Remove a user and end the user's sessions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error { return desk.RemoveUser(cmd.Context(), args[0]) })
		},
	}
	cmd.AddCommand(add, list, passwd, remove)
	return cmd
}
