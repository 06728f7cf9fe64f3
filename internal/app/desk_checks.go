package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/reconcile"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
)

// ReconcileOptions are the flags of `hostmeter statement reconcile`.
type ReconcileOptions struct {
	Month   string // empty is the last one that is over
	Service string
	All     bool // days that agree, or were not compared, too
	JSON    bool
}

// Reconcile prints the days of a month on which what bills and its witnesses do not agree, and how many did.
func (d *Desk) Reconcile(ctx context.Context, o ReconcileOptions, w io.Writer) error {
	month, err := d.month(ctx, o.Month)
	if err != nil {
		return err
	}
	all, err := d.reconciliation(ctx, month)
	if err != nil {
		return err
	}
	var shown []statement.Reconciled
	counts := map[reconcile.Verdict]int{}
	for _, r := range all {
		if o.Service != "" && r.Service != o.Service {
			continue
		}
		counts[r.Verdict]++
		if o.All || r.Verdict == reconcile.Outside || r.Verdict == reconcile.WitnessesDiffer {
			shown = append(shown, r)
		}
	}
	if o.JSON {
		return statement.WritePartJSON(w, shown)
	}
	if len(shown) > 0 {
		rows := [][]string{{"SERVICE", "DAY", "BILLS", "", "ADDRESS", "VNIC", "PORT", "BAND", "VERDICT", "RELEASED"}}
		for _, r := range shown {
			rows = append(rows, append(append([]string{r.Service, r.Day.Format(time.DateOnly), string(r.Bills), "in"}, comparedColumns(r.In)...), string(r.Verdict), r.Released))
			rows = append(rows, append(append([]string{"", "", "", "out"}, comparedColumns(r.Out)...), "", ""))
		}
		if err := printTable(w, rows); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "%s: %d days are outside, on %d witnesses differ, %d agree, %d were not compared\n", month,
		counts[reconcile.Outside], counts[reconcile.WitnessesDiffer], counts[reconcile.Agrees], counts[reconcile.NotCompared])
	return err
}

// comparedColumns are the octets of the three kinds, and the band.
func comparedColumns(c statement.Compared) []string {
	known := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return strconv.FormatInt(*n, 10)
	}
	band := "-"
	if c.Band != nil {
		band = fmt.Sprintf("%d to %d", c.Band.Low, c.Band.High)
	}
	return []string{known(c.Address), known(c.VNIC), known(c.Port), band}
}

// ListAddresses prints how the addresses are used that services have now: as a table, csv or json.
func (d *Desk) ListAddresses(ctx context.Context, format string, all bool, w io.Writer) error {
	rows, err := d.utilisation(ctx)
	if err != nil {
		return err
	}
	switch format {
	case "csv":
		return statement.WriteUtilisedCSV(w, rows)
	case "json":
		return statement.WritePartJSON(w, rows)
	case "table":
	default:
		return wrong(fmt.Errorf("--format %q", format), "want table, csv or json")
	}
	table, satisfied := [][]string{{"CUSTOMER", "SERVICE", "PREFIX", "ASSIGNED", "USED", "NEEDED", "DEADLINE", "STATE"}}, 0
	for _, r := range rows {
		if r.State == "satisfied" && !all {
			satisfied++
			continue
		}
		state := strings.ReplaceAll(string(r.State), "_", " ")
		if n := r.Notice; n != nil {
			state += fmt.Sprintf(" (notice on %s by %s, revocable from %s)", n.On, n.By, n.RevocableFrom.Format(time.DateOnly))
		}
		table = append(table, []string{r.Customer, r.Service, r.Prefix.String(), r.AssignedAt.Format(time.DateOnly), fmt.Sprintf("%d of %d", r.Used, r.Addresses),
			fmt.Sprintf("%d of %d", r.AssignmentUsed, r.Needed), r.Deadline.Format("2006-01-02 15:04 MST"), state})
	}
	if len(table) > 1 {
		if err := printTable(w, table); err != nil {
			return err
		}
	}
	if !all {
		_, err = fmt.Fprintf(w, "%d prefixes are used as they should be (--all lists them)\n", satisfied)
	}
	return err
}

// GiveNotice records that a customer was told.
func (d *Desk) GiveNotice(ctx context.Context, notice httpapi.AddressNotice, by string, w io.Writer) error {
	row, err := d.giveNotice(ctx, notice, by)
	var invalid *httpapi.InvalidError
	switch {
	case errors.As(err, &invalid):
		return wrong(err, invalid.Hint)
	case errors.Is(err, ledger.ErrNotAssigned), errors.Is(err, ledger.ErrNoticeNotDue):
		return &HintError{Err: &kindError{error: err, kind: ErrInputRefused}, Hint: `"hostmeter addresses list" shows which notices are due`}
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(w, "notice about %s of service %s on %s is recorded: it may be taken back from %s on\n", row.Prefix, row.Service, row.Notice.On, row.Notice.RevocableFrom.Format("2006-01-02 15:04 MST"))
	return err
}
