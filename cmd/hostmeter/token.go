package main

import (
	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Tokens for programs that use the API: create, list, revoke"}
	path := configFlag(cmd)
	var role string
	create := &cobra.Command{
		Use: "create NAME --role finance", Short: "Create a token and print it, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error {
				return desk.CreateToken(cmd.Context(), args[0], role, cmd.OutOrStdout())
			})
		},
	}
	create.Flags().StringVar(&role, "role", "", "finance, noc or admin (required)")
	_ = create.MarkFlagRequired("role")
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List tokens", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error { return desk.ListTokens(cmd.Context(), asJSON, cmd.OutOrStdout()) })
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	revoke := &cobra.Command{
		Use: "revoke NAME", Short: "Revoke a token", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDesk(cmd, *path, func(desk *app.Desk) error { return desk.RevokeToken(cmd.Context(), args[0]) })
		},
	}
	cmd.AddCommand(create, list, revoke)
	return cmd
}
