package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/notice"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
)

// reporter joins the API to the month's report.
type reporter struct{ *Desk }

// report computes a month's report. Errors: httpapi.ErrNotFound for a month in which no period ends.
func (d *Desk) report(ctx context.Context, month string) (statement.Report, error) {
	report, err := d.ledger.Report(ctx, d.inventory, month, d.clock.Now())
	if errors.Is(err, ledger.ErrMonth) {
		return report, &httpapi.InvalidError{Message: err.Error(), Hint: "for example 2026-10"}
	}
	if err == nil && len(report.Rows) == 0 && len(report.Unowned) == 0 && len(report.Problems) == 0 {
		return report, fmt.Errorf("no period ends in %s: %w", month, httpapi.ErrNotFound)
	}
	return report, err
}

// Statements returns the closed lines of a month.
func (d reporter) Statements(ctx context.Context, month httpapi.Month) ([]httpapi.Statement, error) {
	report, err := d.report(ctx, string(month))
	if errors.Is(err, httpapi.ErrNotFound) {
		return []httpapi.Statement{}, nil
	}
	if err != nil {
		return nil, err
	}
	approvals, err := d.approvals(ctx, report.Rows)
	out := []httpapi.Statement{}
	for _, row := range report.Rows {
		if !row.Provisional {
			s := rowToAPI(row)
			s.Approval = string(approvals[ledger.Revision{Statement: row.Statement, Revision: row.Revision}])
			out = append(out, s)
		}
	}
	return out, err
}

// approvals are those of the periods of a report's rows.
func (d reporter) approvals(ctx context.Context, rows []statement.Row) (map[ledger.Revision]ledger.Approval, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	byEnd := func(a, b statement.Row) int { return a.PeriodTo.Compare(b.PeriodTo) }
	return d.ledger.Approvals(ctx, slices.MinFunc(rows, byEnd).PeriodTo, slices.MaxFunc(rows, byEnd).PeriodTo.Add(1))
}

func rowToAPI(r statement.Row) httpapi.Statement {
	return httpapi.Statement{
		Statement: r.Statement, Revision: int64(r.Revision), Customer: r.Customer, Service: r.Service, Plan: r.Plan,
		PeriodFrom: r.PeriodFrom, PeriodTo: r.PeriodTo, TimeZone: r.TimeZone, Direction: string(r.Direction),
		InOctets: r.InOctets, OutOctets: r.OutOctets, BillableOctets: r.BillableOctets,
		StandardErrorOctets: uint64(max(r.StandardErrorOctets, 0)), Coverage: knownShare(r.Coverage), Quota: quotaOf(r),
		Unit: string(r.Unit), Used: r.Used, Excess: r.Excess, BilledQuantity: r.BilledQuantity, UnitPrice: r.UnitPrice,
		Currency: r.Currency, AmountExVAT: r.AmountExVAT, Kind: string(r.Kind), RuleFrom: string(r.RuleFrom), Pool: poolToAPI(r.Pool),
		PriceUnit: string(r.PriceUnit), Grace: r.Grace, BitsPerSecond: r.BitsPerSecond, Rules: statementRules(r.Rules),
	}
}

func statementRules(rules []rating.Rule) []httpapi.StatementRule {
	out := make([]httpapi.StatementRule, len(rules))
	for i, r := range rules {
		out[i] = httpapi.StatementRule{Name: r.Name, Value: r.Value, Level: string(r.Level)}
	}
	return out
}

func poolToAPI(p *rating.PoolShare) *httpapi.PoolShare {
	if p == nil {
		return nil
	}
	out := &httpapi.PoolShare{Pool: p.Pool, Customer: p.Customer, Members: p.Members, Octets: p.Octets, OfOctets: p.OfOctets,
		Used: p.Used, Excess: p.Excess, BilledQuantity: p.BilledQuantity, AmountExVAT: p.AmountExVAT}
	if !p.Unlimited {
		out.Quota = &p.Quota
	}
	return out
}

// knownShare returns nil for -1, which is "not known".
func knownShare(share float64) *float64 {
	if share < 0 {
		return nil
	}
	return &share
}

func quotaOf(r statement.Row) *decimal.Decimal {
	if r.Unlimited {
		return nil
	}
	quota := r.Quota
	return &quota
}

// summarizer joins finance's page to the same report that finance downloads: the page, the file and
// the statement show one number.
type summarizer struct{ *Desk }

// Months lists the months that have something to show, the newest first.
func (d summarizer) Months(ctx context.Context, now time.Time) ([]httpapi.Month, error) {
	list, err := d.ledger.Months(ctx, d.inventory, now)
	out := make([]httpapi.Month, len(list))
	for i, m := range list {
		out[i] = httpapi.Month(m)
	}
	return out, err
}

// Summary tells each service's period that ends in a month.
func (d summarizer) Summary(ctx context.Context, month httpapi.Month, now time.Time) (httpapi.Summary, error) {
	report, err := d.report(ctx, string(month))
	if err != nil && !errors.Is(err, httpapi.ErrNotFound) {
		return httpapi.Summary{}, err
	}
	snapshot, err := d.inventory.Snapshot(ctx)
	if err != nil {
		return httpapi.Summary{}, err
	}
	forecasts, err := d.notices.Forecasts(ctx)
	if err != nil {
		return httpapi.Summary{}, err
	}
	out := httpapi.Summary{Month: month, At: now, TimeZone: report.TimeZone}
	for _, row := range report.Rows {
		if row.Kind == rating.KindAdjustment {
			continue // it stands in the report; the page shows the period as it was billed
		}
		out.Services = append(out.Services, summaryOfRow(snapshot, forecasts, row, now))
	}
	meters := map[string]bool{}
	for _, u := range report.Unowned {
		out.Unowned.InOctets += uint64(max(u.InOctets, 0))
		out.Unowned.OutOctets += uint64(max(u.OutOctets, 0))
		meters[u.Meter] = true
	}
	out.Unowned.Meters = len(meters)
	return out, nil
}

func summaryOfRow(snapshot *inventory.Snapshot, forecasts map[notice.PeriodKey]notice.Forecast, row statement.Row, now time.Time) httpapi.ServiceSummary {
	out := httpapi.ServiceSummary{
		Service: row.Service, Customer: row.Customer, Plan: row.Plan, PeriodFrom: row.PeriodFrom, PeriodTo: row.PeriodTo,
		TimeZone: row.TimeZone, State: string(row.State), Direction: string(row.Direction),
		InOctets: uint64(max(row.InOctets, 0)), OutOctets: uint64(max(row.OutOctets, 0)), Billable: uint64(max(row.BillableOctets, 0)),
		Quota: quotaOf(row), Unit: string(row.Unit), Used: row.Used, Currency: row.Currency, Coverage: knownShare(row.Coverage),
		StandardErrorOctets: uint64(max(row.StandardErrorOctets, 0)), RuleFrom: string(row.RuleFrom), Hold: row.Hold,
	}
	if row.Pool != nil {
		out.Pool = row.Pool.Pool
	}
	if customer, ok := snapshot.CustomerByID(row.Customer); ok {
		out.CustomerName = customer.Name
	}
	used, amount := row.Used, row.AmountExVAT
	if !row.Provisional || !now.Before(row.PeriodTo) { // nothing is to be forecast any more
		out.Forecast, out.Overage = &used, &amount
		return out
	}
	if !row.Unlimited && used.GreaterThan(row.Quota.Add(row.Grace)) { // certain, with a forecast or without
		certain := 1.0
		out.Exceeds, out.Overage = &certain, &amount
	}
	if f, ok := forecasts[notice.PeriodKey{Service: row.Service, From: row.PeriodFrom.UnixNano()}]; ok {
		out.Forecast, out.ForecastLow, out.ForecastHigh, out.ForecastAt = &f.Expected, &f.Low, &f.High, &f.MadeAt
		out.Exceeds, out.Overage = &f.Probability, f.ExpectedAmount
	}
	return out
}
