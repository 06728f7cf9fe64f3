package main

import (
	"time"

	"github.com/spf13/cobra"

	"hostmeter/internal/app"
)

func newIncidents() *cobra.Command {
	cmd := &cobra.Command{Use: "incidents", Short: "List, show, acknowledge and silence incidents"}
	path := configFlag(cmd)
	cmd.AddCommand(newIncidentsList(path), newIncidentsShow(path), newIncidentsAck(path), newIncidentsSilence(path))
	return cmd
}

func newIncidentsList(path *string) *cobra.Command {
	var state string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List incidents, open ones first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&state, "state", "", "open or resolved (default: both)")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ListIncidents(cmd.Context(), state, limit, asJSON, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newIncidentsShow(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show ID", Short: "Print an incident with its evidence", Args: cobra.ExactArgs(1)}
	cmd.Flags().BoolVar(&asJSON, "json", true, "print JSON (the only form)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.ShowIncident(cmd.Context(), args[0], cmd.OutOrStdout())
		})
	}
	return cmd
}

func newIncidentsAck(path *string) *cobra.Command {
	var note, by string
	cmd := &cobra.Command{Use: "ack ID", Short: "Acknowledge an incident: somebody deals with it", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&note, "note", "", "what is being done")
	cmd.Flags().StringVar(&by, "by", app.LocalActor(), "who")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Acknowledge(cmd.Context(), args[0], by, note, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newIncidentsSilence(path *string) *cobra.Command {
	var reason, by string
	var length time.Duration
	cmd := &cobra.Command{Use: "silence ID --for 4h", Short: "Send no notification of an incident for a time", Args: cobra.ExactArgs(1)}
	cmd.Flags().DurationVar(&length, "for", 4*time.Hour, "how long")
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	cmd.Flags().StringVar(&by, "by", app.LocalActor(), "who")
	_ = cmd.MarkFlagRequired("reason")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withDesk(cmd, *path, func(desk *app.Desk) error {
			return desk.Silence(cmd.Context(), args[0], length, by, reason, cmd.OutOrStdout())
		})
	}
	return cmd
}
