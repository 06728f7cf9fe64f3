package export

import (
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

// keyOf names the charge of a statement for good: by its number, and by the hash of all that was said up
// to it, which no other installation has.
func keyOf(s ledger.Statement) string { return fmt.Sprintf("hm-%d-%.12s", s.Number, s.Hash) }

// chargeOf returns the journal's line for a statement; ok is false where the statement is from before the
// hand-over.
func chargeOf(s ledger.Statement, cfg whmcs.Config) (c Charge, ok bool) {
	row := s.Body.Row
	// A period ends on the day of its last instant: [Oct 1, Nov 1) ends in October, as on the report.
	if rating.DateOf(row.LastDay()).Compare(cfg.Since) < 0 {
		return Charge{}, false
	}
	c = Charge{
		Key: keyOf(s), Number: s.Number, Statement: row.Statement, Revision: row.Revision,
		Customer: row.Customer, Service: row.Service, Amount: statement.Money(row.AmountExVAT, row.Currency), Currency: row.Currency,
		Description: describe(row), PeriodTo: s.Body.Period.To, State: Pending, NextAt: s.ClosedAt.Add(cfg.Delay),
	}
	late := s.ClosedAt.Sub(c.PeriodTo)
	switch {
	case row.AmountExVAT.IsZero(), row.Kind == rating.KindWaived:
		c.State = Empty
	case row.AmountExVAT.IsNegative() && cfg.Credits == whmcs.ParkCredits:
		c.State, c.LastError = Parked, "a credit: a person decides how it is given"
	case row.Revision > 1 && cfg.CorrectionWindow > 0 && late > cfg.CorrectionWindow && !s.Body.Contract.Credited(s.Body.Period):
		c.State, c.LastError = Parked, fmt.Sprintf("a correction %.0f days after its period, beyond the window of %.0f", late.Hours()/24, cfg.CorrectionWindow.Hours()/24)
	}
	if c.State != Pending {
		c.NextAt = time.Time{}
	}
	return c, true
}

// describe says on two lines what is charged, as a client reads it on an invoice.
func describe(row statement.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s - %s, %s)", row.Service, row.Plan,
		row.PeriodFrom.Format(time.DateOnly), row.LastDay().Format(time.DateOnly), row.TimeZone)
	if row.Revision > 1 {
		fmt.Fprintf(&b, ", correction %d of statement %s", row.Revision-1, row.Statement)
	}
	b.WriteString("\n")
	if row.Revision > 1 {
		b.WriteString("difference: ")
	}
	quota := "unlimited"
	if !row.Unlimited {
		quota = row.Quota.String() + " " + string(row.Unit)
	}
	if p := row.Pool; p != nil {
		fmt.Fprintf(&b, "transfer %s %s; share %s %s of what pool %s, %d services, used beyond its quota of %s", row.Used, row.Unit, row.Excess, row.Unit, p.Pool, p.Members, quota)
	} else {
		fmt.Fprintf(&b, "transfer %s %s, quota %s, excess %s %s", row.Used, row.Unit, quota, row.Excess, row.Unit)
	}
	if row.PriceUnit != "" {
		fmt.Fprintf(&b, ", %s %s at %s %s", row.BilledQuantity, row.PriceUnit, statement.UnitPrice(row.UnitPrice, row.Currency), row.Currency)
	}
	return b.String()
}

// forWHMCS returns the charge as WHMCS's client takes it.
func (c Charge) forWHMCS() (whmcs.Charge, error) {
	amount, err := decimal.NewFromString(c.Amount)
	if err != nil {
		return whmcs.Charge{}, fmt.Errorf("charge %s: amount %q: %w", c.Key, c.Amount, err)
	}
	return whmcs.Charge{
		Key: c.Key, Customer: c.Customer, Description: c.Description, Amount: amount, Currency: c.Currency,
		AmountText: strings.TrimPrefix(c.Amount, "-"),
	}, nil
}
