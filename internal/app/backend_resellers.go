package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
)

// resellers rolls a month up, for one reseller or, where id is empty, for all of them. Errors:
// httpapi.ErrNotFound for one that is none.
func (d *Desk) resellers(ctx context.Context, month httpapi.Month, id string, now time.Time) (statement.Resellers, error) {
	out, err := d.ledger.Resellers(ctx, d.inventory, string(month), now)
	if errors.Is(err, ledger.ErrMonth) {
		return out, &httpapi.InvalidError{Message: err.Error(), Hint: "for example 2026-10"}
	}
	if err != nil || id == "" {
		return out, err
	}
	out.Resellers = slices.DeleteFunc(out.Resellers, func(r statement.Reseller) bool { return r.Reseller != id })
	if len(out.Resellers) == 0 {
		err = fmt.Errorf("customer %s is no reseller: %w", id, httpapi.ErrNotFound)
	}
	return out, err
}

// WriteResellers writes a month's roll-up as json or csv.
func (d reporter) WriteResellers(ctx context.Context, q httpapi.ResellersQuery, w io.Writer) error {
	resellers, err := d.resellers(ctx, q.Month, q.Reseller, d.clock.Now())
	if err != nil {
		return err
	}
	switch q.Format {
	case "json":
		return statement.WriteResellersJSON(w, resellers)
	case "csv":
		return statement.WriteResellersCSV(w, resellers)
	}
	return &httpapi.InvalidError{Message: fmt.Sprintf("format %q", q.Format), Hint: "want csv or json"}
}

// Resellers rolls a month up for the page.
func (d summarizer) Resellers(ctx context.Context, month httpapi.Month, now time.Time) (httpapi.Resellers, error) {
	found, err := d.resellers(ctx, month, "", now)
	if err != nil {
		return httpapi.Resellers{}, err
	}
	names, err := d.customerNames(ctx)
	out := httpapi.Resellers{Provisional: found.Provisional, Names: names}
	for _, r := range found.Resellers {
		one := httpapi.Reseller{Reseller: r.Reseller, RateBought: r.RateBought, Unit: string(r.Unit), Used: r.Used, Excess: r.Excess, Over: r.Over,
			Slots: r.Percentile.Slots, SlotsMissing: r.Percentile.Missing, InOctets: uint64(max(r.InOctets, 0)), OutOctets: uint64(max(r.OutOctets, 0)), Totals: totalTexts(r.Totals)}
		for _, s := range r.Services {
			one.Services = append(one.Services, httpapi.ResoldService{Customer: s.Customer, Service: s.Service, Plan: s.Plan,
				InOctets: uint64(max(s.InOctets, 0)), OutOctets: uint64(max(s.OutOctets, 0)), Totals: totalTexts(s.Totals)})
		}
		out.Resellers = append(out.Resellers, one)
	}
	return out, err
}

func totalTexts(totals []statement.Total) []string {
	var texts []string
	for _, t := range totals {
		texts = append(texts, statement.Money(t.AmountExVAT, t.Currency)+" "+t.Currency)
	}
	return texts
}

// chosen says which rows of a report a query is about.
func (d *Desk) chosen(ctx context.Context, q httpapi.ReportQuery) (func(statement.Row) bool, error) {
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return func(row statement.Row) bool {
		return (q.Customer == "" || row.Customer == q.Customer) && (q.Reseller == "" || snapshot.SellsTo(q.Reseller, row.Customer))
	}, nil
}

// ListResellers prints a month's roll-up.
func (d *Desk) ListResellers(ctx context.Context, o ExportOptions, w io.Writer) error {
	month, err := d.month(ctx, o.Month)
	if err != nil {
		return err
	}
	if o.Format != "table" {
		return resellersError(reporter{d}.WriteResellers(ctx, httpapi.ResellersQuery{Month: month, Reseller: o.Reseller, Format: o.Format}, w))
	}
	found, err := d.resellers(ctx, month, o.Reseller, d.clock.Now())
	if err != nil {
		return resellersError(err)
	}
	rows := [][]string{{"RESELLER", "CUSTOMER", "SERVICE", "IN OCTETS", "OUT OCTETS", "95TH", "BOUGHT", "OVER", "AMOUNT EX VAT"}}
	for _, r := range found.Resellers {
		bought, over := "none", "-"
		if r.RateBought != nil {
			bought, over = r.RateBought.String()+" "+string(r.Unit), "no"
		}
		if r.Over {
			over = r.Excess.StringFixed(3) + " " + string(r.Unit)
		}
		rows = append(rows, []string{r.Reseller, "", "", fmt.Sprint(r.InOctets), fmt.Sprint(r.OutOctets), r.Used.StringFixed(3) + " " + string(r.Unit), bought, over, joinTotals(r.Totals)})
		for _, s := range r.Services {
			rows = append(rows, []string{"", s.Customer, s.Service, fmt.Sprint(s.InOctets), fmt.Sprint(s.OutOctets), "", "", "", joinTotals(s.Totals)})
		}
	}
	return printTable(w, rows)
}

func resellersError(err error) error {
	if errors.Is(err, httpapi.ErrNotFound) {
		return &HintError{Err: err, Hint: "a customer is a reseller when another names it as its reseller, or when it has a rate_bought"}
	}
	return exportError(err)
}

func joinTotals(totals []statement.Total) string {
	return strings.Join(totalTexts(totals), ", ")
}
