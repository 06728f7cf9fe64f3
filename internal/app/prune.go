package app

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"hostmeter/aggregator/ledger"
)

// pruned is what `hostmeter prune` prints.
type pruned struct {
	DryRun bool `json:"dry_run"`
	ledger.PrunedBooks
	Incidents ledger.Pruned `json:"incidents"`
}

// Prune takes from the ledger what has reached its age (see retention in the configuration), and prints it.
func (d *Desk) Prune(ctx context.Context, dryRun, asJSON bool, w io.Writer) error {
	done, err := d.prune(ctx, dryRun)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, done)
	}
	r := d.config.Retention
	rows := [][]string{{"WHAT", "KEPT FOR", "GONE BEFORE", "ROWS NOW", "STAYS LONGER, BECAUSE"}}
	for _, kind := range []struct {
		name, age string
		ledger.Pruned
	}{
		{"slots of five minutes", r.Slots.String(), done.Slots},
		{"hours, days, accounts", r.Hours.String(), done.Hours},
		{"statements, usage records", r.Statements.String(), done.Statements},
		{"resolved incidents", r.Incidents.String(), done.Incidents},
	} {
		before := "-"
		if !kind.Before.IsZero() {
			before = kind.Before.UTC().Format(time.DateOnly)
		}
		rows = append(rows, []string{kind.name, kind.age, before, strconv.FormatInt(kind.Rows, 10), kind.Held})
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	if dryRun {
		_, err = fmt.Fprintln(w, "\nnothing was changed: this is what \"hostmeter prune\" would take, and the aggregator each day")
	}
	return err
}

func (d *Desk) prune(ctx context.Context, dryRun bool) (done pruned, err error) {
	done.DryRun = dryRun
	now := d.clock.Now()
	if done.PrunedBooks, err = d.ledger.Prune(ctx, d.inventory, d.config.Retention.Retention, now, dryRun); err != nil {
		return done, err
	}
	before, ends := d.config.Retention.Incidents.Before(now)
	if !ends {
		return done, nil
	}
	done.Incidents.Rows, err = d.incidents.Prune(ctx, before, dryRun)
	if done.Incidents.Rows > 0 {
		done.Incidents.Before = before
	}
	return done, err
}

// pruneEvery is how often what has reached its age is taken.
const pruneEvery = 24 * time.Hour

// pruneIfDue prunes at the start and each day.
func (a *App) pruneIfDue(ctx context.Context) error {
	now := a.clock.Now()
	if now.Sub(a.prunedAt) < pruneEvery {
		return nil
	}
	done, err := a.desk.prune(ctx, false)
	if err != nil {
		return err
	}
	a.prunedAt = now
	if rows := done.Slots.Rows + done.Hours.Rows + done.Statements.Rows + done.Incidents.Rows; rows > 0 {
		a.logger.Info("pruned what has reached its age", "rows", rows, "slots_before", done.Slots.Before, "hours_before", done.Hours.Before)
	}
	return nil
}
