package export

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

// chargeKey names a charge for good, by what is charged: "hm-STATEMENT-REVISION-AMOUNT". A ledger that was restored and
// closes the same period again gives it the same name, and one with another amount has another. STATEMENT is of the
// installation (handover.source) and the statement, so that all that was ever charged of it can be found.
func chargeKey(source string, row statement.Row) string {
	amount := digest(source, row.Statement, strconv.Itoa(row.Revision), row.Customer, row.PeriodTo.UTC().Format(time.RFC3339), row.AmountExVAT.String(), row.Currency)
	return statementKey(source, row.Statement) + strconv.Itoa(row.Revision) + "-" + amount
}

// statementKey is what the names of all charges of a statement begin with.
func statementKey(source, statement string) string { return "hm-" + digest(source, statement) + "-" }

// digest is short, for a person reads it: two charges of one client have the same one of 281 million million.
func digest(parts ...string) string {
	text, _ := json.Marshal(parts) // of texts
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// chargeOf returns the journal's line for a statement; ok is false where the statement is from before the
// hand-over.
func chargeOf(s ledger.Statement, cfg whmcs.Config, source string) (c Charge, ok bool) {
	row := s.Body.Row
	// A period ends on the day of its last instant: [Oct 1, Nov 1) ends in October, as on the report.
	if rating.DateOf(row.LastDay()).Compare(cfg.Since) < 0 {
		return Charge{}, false
	}
	c = Charge{
		Key: chargeKey(source, row), Number: s.Number, Statement: row.Statement, Revision: row.Revision,
		Customer: row.Customer, Service: row.Service, Amount: statement.Money(row.AmountExVAT, row.Currency), Currency: row.Currency,
		Description: describe(row), periodFrom: s.Body.Period.From, PeriodTo: s.Body.Period.To, State: Pending, NextAt: s.ClosedAt.Add(cfg.Delay),
	}
	late := s.ClosedAt.Sub(c.PeriodTo)
	asked := s.Approval != "" // a person decides about it once
	switch {
	case row.AmountExVAT.IsZero(), row.Kind == rating.KindWaived:
		c.State = Empty
	case row.AmountExVAT.IsNegative() && cfg.Credits == whmcs.ParkCredits:
		c.State, c.LastError = Parked, "a credit: a person decides how it is given"
	case row.Revision > 1 && cfg.CorrectionWindow > 0 && late > cfg.CorrectionWindow && !asked && !s.Body.Contract.Credited(s.Body.Period):
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
