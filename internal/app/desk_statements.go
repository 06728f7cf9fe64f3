package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
)

// month returns the month that a person named, or the last one that is over in the provider's zone.
func (d *Desk) month(ctx context.Context, text string) (httpapi.Month, error) {
	if text != "" {
		month, err := httpapi.ParseMonth(text)
		if err != nil {
			return "", wrong(err, "for example --month 2026-10")
		}
		return month, nil
	}
	zone, err := d.zone(ctx)
	if err != nil {
		return "", err
	}
	now := d.clock.Now().In(zone)
	return httpapi.MonthOf(now.AddDate(0, 0, -now.Day()), zone), nil
}

// ExportOptions are the flags of `hostmeter statement export` and `statement evidence`.
type ExportOptions struct {
	Month    string // empty is the last one that is over
	Format   string
	Customer string
	Reseller string // with everybody that it sells to
	Service  string
	Part     string // of the report: charges, unowned, completeness or reconciliation
	Output   string
}

// Folder says that the export is a folder with a file for each customer: PDFs of all, to something that
// is neither a ZIP nor standard output.
func (o ExportOptions) Folder() bool {
	return o.Format == "pdf" && o.Customer == "" && o.Service == "" && o.Output != "" && !strings.EqualFold(filepath.Ext(o.Output), ".zip")
}

// ExportReport writes a month's report as csv, xlsx, pdf or json.
func (d *Desk) ExportReport(ctx context.Context, o ExportOptions, w io.Writer) error {
	month, err := d.month(ctx, o.Month)
	if err != nil {
		return err
	}
	return exportError(reporter{d}.WriteReport(ctx, httpapi.ReportQuery{Month: month, Format: o.Format, Customer: o.Customer, Reseller: o.Reseller, Part: o.Part}, w))
}

// ExportFolder writes a PDF for each customer into the folder o.Output.
func (d *Desk) ExportFolder(ctx context.Context, o ExportOptions) error {
	month, err := d.month(ctx, o.Month)
	if err != nil {
		return err
	}
	return exportError(d.exportFolder(ctx, httpapi.ReportQuery{Month: month, Reseller: o.Reseller}, o.Output))
}

// ExportEvidence writes what stands behind a service's charges as json, xlsx or pdf.
func (d *Desk) ExportEvidence(ctx context.Context, o ExportOptions, w io.Writer) error {
	month, err := d.month(ctx, o.Month)
	if err != nil {
		return err
	}
	return exportError(reporter{d}.WriteEvidence(ctx, httpapi.EvidenceQuery{Month: month, Service: o.Service, Format: o.Format}, w))
}

// exportError says what to do next.
func exportError(err error) error {
	var invalid *httpapi.InvalidError
	if errors.As(err, &invalid) {
		return wrong(err, invalid.Hint)
	}
	if errors.Is(err, httpapi.ErrNotFound) {
		return &HintError{Err: err, Hint: `a month holds the periods that end in it; "hostmeter statement list" shows the last one`}
	}
	return err
}

// ListStatements prints a month's lines.
func (d *Desk) ListStatements(ctx context.Context, text string, asJSON bool, w io.Writer) error {
	month, err := d.month(ctx, text)
	if err != nil {
		return err
	}
	report, err := d.report(ctx, string(month))
	if err != nil && !errors.Is(err, httpapi.ErrNotFound) {
		return err
	}
	if asJSON {
		return printJSON(w, report.Rows)
	}
	rows := [][]string{{"CUSTOMER", "SERVICE", "PLAN", "PERIOD", "USED", "QUOTA", "EXCESS", "BILLED", "AMOUNT EX VAT", "COVERAGE", "STATE", "STATEMENT"}}
	for _, r := range report.Rows {
		quota, coverage, name := "unlimited", "?", r.Statement
		if !r.Unlimited {
			quota = r.Quota.String() + " " + string(r.Unit)
		}
		if r.Coverage >= 0 {
			coverage = fmt.Sprintf("%.3f %%", 100*r.Coverage)
		}
		switch {
		case r.Provisional:
			name = "-"
		case r.Revision > 1:
			name += fmt.Sprintf(" (revision %d)", r.Revision)
		}
		if r.Hold != "" {
			name = "(held)"
		}
		rows = append(rows, []string{
			r.Customer, r.Service, r.Plan, r.PeriodFrom.Format(time.DateOnly) + " to " + r.PeriodTo.Format(time.DateOnly),
			r.Used.StringFixed(3) + " " + string(r.Unit), quota, r.Excess.StringFixed(3), r.BilledQuantity.String(),
			statement.Money(r.AmountExVAT, r.Currency) + " " + r.Currency, coverage, string(r.State), name,
		})
	}
	return printTable(w, rows)
}

// ShowStatement prints one closed statement, as it was closed.
func (d *Desk) ShowStatement(ctx context.Context, name string, w io.Writer) error {
	found := false
	err := d.ledger.Statements(ctx, ledger.StatementQuery{}, func(s ledger.Statement) error {
		if s.Body.Row.Statement != name {
			return nil
		}
		found = true
		return printJSON(w, s.Body)
	})
	if err == nil && !found {
		return &HintError{Err: fmt.Errorf("no statement %s", name), Hint: `"hostmeter statement list" shows their names`}
	}
	return err
}

// PreviewClosing prints what a closing would do now, and does nothing.
func (d *Desk) PreviewClosing(ctx context.Context, asJSON bool, w io.Writer) error {
	preview, err := d.ledger.Preview(ctx, d.inventory, d.clock.Now())
	if err != nil {
		return err
	}
	return printPreview(w, preview, asJSON)
}

func printPreview(w io.Writer, preview ledger.Preview, asJSON bool) error {
	if asJSON {
		return printJSON(w, preview)
	}
	rows := [][]string{{"WHAT", "CUSTOMER", "STATEMENT", "PERIOD", "IN", "OUT", "AMOUNT EX VAT"}}
	for _, list := range []struct {
		what string
		rows []statement.Row
	}{{"would close", preview.Statements}, {"would adjust", preview.Adjustments}} {
		for _, r := range list.rows {
			rows = append(rows, []string{list.what, r.Customer, r.Statement, r.PeriodFrom.Format(time.DateOnly) + " to " + r.PeriodTo.Format(time.DateOnly),
				strconv.FormatInt(r.InOctets, 10), strconv.FormatInt(r.OutOctets, 10), statement.Money(r.AmountExVAT, r.Currency) + " " + r.Currency})
		}
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	for _, p := range preview.Problems {
		fmt.Fprintf(w, "would wait: %s: %s\n", p.Service, p.Text)
	}
	_, err := fmt.Fprintln(w, "nothing was written")
	return err
}

// earlierText says of statements why they come now.
const earlierText = "periods before the first closed one of their service had usage, which was told late, and are closed too"

// CloseDue closes the periods that are due now.
func (d *Desk) CloseDue(ctx context.Context, w io.Writer) error {
	if _, err := d.ledger.Seal(ctx, d.clock.Now()); err != nil {
		return err
	}
	if _, err := d.ledger.EmitUsageRecords(ctx, d.inventory); err != nil {
		return err
	}
	if err := d.notices.Settle(ctx); err != nil {
		return err
	}
	closed, err := d.ledger.CloseDue(ctx, d.inventory, d.clock.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d statements and %d adjustments were written\n", closed.Statements, closed.Adjustments)
	if len(closed.Earlier) > 0 {
		fmt.Fprintf(w, "%s: %s\n", earlierText, strings.Join(closed.Earlier, ", "))
	}
	var names []string
	for _, p := range closed.Problems {
		names = append(names, p.Service+": "+p.Text)
	}
	if len(names) > 0 {
		return &HintError{Err: &kindError{error: fmt.Errorf("not closed or not adjusted: %s", strings.Join(names, "; ")), kind: ErrInputRefused}, Hint: "correct the inventory, or import a decision, and close again"}
	}
	return nil
}

// VerifyStatements checks the chain of closed statements.
func (d *Desk) VerifyStatements(ctx context.Context, w io.Writer) error {
	n, err := d.ledger.VerifyStatements(ctx)
	if err != nil {
		return err
	}
	notices, err := d.notices.Verify(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d statements and %d notices are as they were written\n", n, notices)
	return err
}

// writeUsageRecords writes the whole feed as JSON lines.
func (d *Desk) writeUsageRecords(ctx context.Context, w io.Writer) error {
	encoder := json.NewEncoder(w)
	for after := int64(0); ; {
		records, err := d.ledger.UsageRecords(ctx, after, ledger.MaxUsageRecords)
		if err != nil || len(records) == 0 {
			return err
		}
		for _, r := range records {
			if err := encoder.Encode(r); err != nil {
				return err
			}
			after = r.Seq
		}
	}
}
