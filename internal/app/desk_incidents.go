package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"hostmeter/internal/httpapi"
)

// The commands on incidents use the same types and checks as the API.

// ListIncidents prints incidents, open ones first.
func (d *Desk) ListIncidents(ctx context.Context, state string, limit int, asJSON bool, w io.Writer) error {
	if state != "" && state != "open" && state != "resolved" {
		return wrong(fmt.Errorf("--state %q", state), "want open or resolved")
	}
	list, err := (incidentDesk{d}).Incidents(ctx, httpapi.IncidentFilter{State: state, Limit: limit})
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	rows := [][]string{{"ID", "STATE", "CONDITION", "SEVERITY", "RULE", "METER", "SERVICE", "SINCE", "ACKNOWLEDGED"}}
	for _, i := range list {
		rows = append(rows, []string{i.ID, i.State, i.Condition, i.Severity, i.Rule, i.Meter, i.Service, i.Since.UTC().Format(time.RFC3339), i.AcknowledgedBy})
	}
	return printTable(w, rows)
}

// ShowIncident prints an incident with its evidence.
func (d *Desk) ShowIncident(ctx context.Context, id string, w io.Writer) error {
	detail, err := (incidentDesk{d}).Incident(ctx, id)
	if err != nil {
		return incidentError(id, err)
	}
	return printJSON(w, detail)
}

// Acknowledge says that somebody deals with an incident.
func (d *Desk) Acknowledge(ctx context.Context, id, by, note string, w io.Writer) error {
	i, err := (incidentDesk{d}).Acknowledge(ctx, id, httpapi.Actor(by), note)
	if err != nil {
		return incidentError(id, err)
	}
	_, err = fmt.Fprintf(w, "%s acknowledged by %s\n", i.ID, i.AcknowledgedBy)
	return err
}

// Silence holds back an incident's notifications for a time.
func (d *Desk) Silence(ctx context.Context, id string, length time.Duration, by, reason string, w io.Writer) error {
	until := d.clock.Now().Add(length)
	i, err := (incidentDesk{d}).Silence(ctx, id, until, httpapi.Actor(by), reason)
	if err != nil {
		return incidentError(id, err)
	}
	_, err = fmt.Fprintf(w, "%s is silent until %s\n", i.ID, until.UTC().Format(time.RFC3339))
	return err
}

func incidentError(id string, err error) error {
	return &HintError{Err: fmt.Errorf("incident %s: %w", id, err), Hint: `"hostmeter incidents list" shows the ids of what is open`}
}
