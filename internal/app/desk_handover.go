package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/export"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/doctor"
)

// handover returns the hand-over of the configuration.
func (d *Desk) handover() (*export.Handover, error) {
	if !d.config.Handover.Enabled() {
		return nil, wrong(errors.New("nothing is handed over: handover.whmcs.url and handover.webhooks are not set"), "docs/how-to/billing.md says how")
	}
	return export.New(d.config.Handover, export.Deps{DB: d.db, Ledger: d.ledger, Clock: d.clock, OpenPeriods: d.openPeriods, Notices: d.notices})
}

// openPeriods returns the lines of the periods that are open now: they end in this month or the next.
func (d *Desk) openPeriods(ctx context.Context) (open []statement.Row, err error) {
	zone, err := d.zone(ctx)
	if err != nil {
		return nil, err
	}
	now := d.clock.Now()
	first := time.Date(now.In(zone).Year(), now.In(zone).Month(), 1, 0, 0, 0, 0, time.UTC)
	for _, month := range []time.Time{first, first.AddDate(0, 1, 0)} {
		report, err := d.ledger.Report(ctx, d.inventory, month.Format("2006-01"), now)
		if err != nil {
			return nil, err
		}
		for _, row := range report.Rows {
			if row.Provisional && !now.Before(row.PeriodFrom) && now.Before(row.PeriodTo) {
				open = append(open, row)
			}
		}
	}
	return open, nil
}

// ListHandover prints the charges that are not settled, or all of them, and how far the feeds are.
func (d *Desk) ListHandover(ctx context.Context, all, asJSON bool, w io.Writer) error {
	h, err := d.handover()
	if err != nil {
		return err
	}
	states := []export.State{export.Pending, export.Intended, export.Parked}
	if all {
		states = nil
	}
	charges, err := h.Charges(ctx, states...)
	if err != nil {
		return err
	}
	feeds, err := h.Positions(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, struct {
			Charges []export.Charge   `json:"charges"`
			Feeds   []export.Position `json:"feeds"`
		}{append([]export.Charge{}, charges...), append([]export.Position{}, feeds...)})
	}
	rows := [][]string{{"RECEIVER", "CHARGE", "STATE", "STATEMENT", "REVISION", "CUSTOMER", "AMOUNT EX VAT", "REMOTE", "NOTE"}}
	for _, c := range charges {
		note := oneLine(c.LastError)
		switch c.Approval {
		case ledger.ApprovalWaiting:
			note = strings.TrimPrefix(note+"; waits for approval", "; ")
		case ledger.ApprovalRefused:
			note = strings.TrimPrefix(note+"; its approval was refused", "; ")
		}
		rows = append(rows, []string{c.Receiver, c.Key, string(c.State), c.Statement, strconv.Itoa(c.Revision), c.Customer, c.Amount + " " + c.Currency, c.Remote, note})
	}
	if err := printTable(w, rows); err != nil || len(feeds) == 0 {
		return err
	}
	rows = [][]string{{"RECEIVER", "FEED", "TOLD", "WAITING", "NOTE"}}
	for _, f := range feeds {
		rows = append(rows, []string{f.Receiver, string(f.Feed), strconv.FormatInt(f.Seq, 10), strconv.Itoa(f.Behind), oneLine(f.Error)})
	}
	return printTable(w, rows)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// ShowHandover prints a charge with its last request and what became of it.
func (d *Desk) ShowHandover(ctx context.Context, receiver, charge string, w io.Writer) error {
	h, err := d.handover()
	if err != nil {
		return err
	}
	c, events, err := h.Charge(ctx, receiver, charge)
	if err != nil {
		return handoverError(err)
	}
	return printJSON(w, struct {
		export.Charge
		Events []export.Event `json:"events"`
	}{c, events})
}

// PlanHandover prints what would be sent, and sends nothing.
func (d *Desk) PlanHandover(ctx context.Context, events int, asJSON bool, w io.Writer) error {
	h, err := d.handover()
	if err != nil {
		return err
	}
	plan, err := h.Plan(ctx, events)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, append([]export.Planned{}, plan...))
	}
	rows := [][]string{{"RECEIVER", "WHAT", "CALL", "FOR", "AMOUNT", "NOTE"}}
	for _, p := range plan {
		row := []string{p.Receiver, p.Subject, "none", "", "", oneLine(p.Note)}
		switch {
		case p.Event != nil:
			row[2], row[3] = p.Event.Type, p.Event.Subject
		case p.Request != nil:
			row[2], row[3], row[4] = p.Request.Action, "client "+p.Request.Fields["clientid"], p.Request.Fields["amount"]+" "+p.Charge.Currency
		default:
			row[3], row[4] = p.Charge.Customer, p.Charge.Amount+" "+p.Charge.Currency
		}
		rows = append(rows, row)
	}
	return printTable(w, rows)
}

// HandOver does one round for each receiver now.
func (d *Desk) HandOver(ctx context.Context, w io.Writer) error {
	h, err := d.handover()
	if err != nil {
		return err
	}
	failure := h.Now(ctx)
	if err := d.ListHandover(ctx, false, false, w); err != nil {
		return errors.Join(failure, err)
	}
	if failure != nil {
		return &HintError{Err: failure, Hint: `what was not taken is tried again; "hostmeter handover list" shows what waits, and what is parked for you`}
	}
	return nil
}

// Settlement is what a person has decided about a charge.
type Settlement struct {
	As                 string // there, again or waived
	Remote, Reason, By string
}

// SettleHandover writes what a person has decided about a charge.
func (d *Desk) SettleHandover(ctx context.Context, receiver, charge string, s Settlement, w io.Writer) error {
	h, err := d.handover()
	if err != nil {
		return err
	}
	settlement := export.Settlement{Decision: export.Decision(s.As), Remote: s.Remote, By: s.By, Reason: s.Reason}
	if err := h.Settle(ctx, receiver, charge, settlement); err != nil {
		return handoverError(err)
	}
	_, err = fmt.Fprintf(w, "%s of %s is settled by %s: %s\n", charge, receiver, s.By, s.As)
	return err
}

func handoverError(err error) error {
	switch {
	case errors.Is(err, export.ErrUnknown), errors.Is(err, export.ErrNotOpen):
		return &HintError{Err: err, Hint: `"hostmeter handover list" shows what is open`}
	}
	return wrong(err, `"hostmeter handover settle --help" shows the form`)
}

// checkHandover names what waits for a person.
func (d *Desk) checkHandover(ctx context.Context) []doctor.Finding {
	if !d.config.Handover.Enabled() {
		return nil
	}
	h, err := d.handover()
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	var out []doctor.Finding
	parked, err := h.Charges(ctx, export.Parked)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	if len(parked) > 0 {
		out = append(out, doctor.Finding{Level: doctor.Warning, Text: fmt.Sprintf("%d charges are parked: a person decides", len(parked)),
			Hint: `"hostmeter handover list" shows them, "hostmeter handover settle" settles one`})
	}
	waiting, err := approvalDesk{d}.Unapproved(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	if len(waiting) > 0 {
		out = append(out, doctor.Finding{Level: doctor.Warning, Text: fmt.Sprintf("%d charges wait for approval, and webhooks' statements behind the first of them", len(waiting)),
			Hint: `"hostmeter approval list" shows them, "hostmeter approval give" and "waive" decide`})
	}
	receivers, err := h.Receivers(ctx)
	if err != nil {
		return []doctor.Finding{{Level: doctor.Fault, Text: err.Error()}}
	}
	for _, r := range receivers {
		if r.Failures > 0 {
			out = append(out, doctor.Finding{Level: doctor.Warning, Text: fmt.Sprintf("%s did not take everything %d times running: %s", r.Name, r.Failures, oneLine(r.LastError)),
				Hint: "check its address and credentials, and that it answers"})
			continue
		}
		out = append(out, doctor.Finding{Level: doctor.Good, Text: r.Name + " takes what it is told"})
	}
	return out
}
