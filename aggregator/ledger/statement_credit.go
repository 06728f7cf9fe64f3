package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
)

// credit holds an adjustment in the customer's favour to the provider's windows. Inside the window for credits it
// is given. After it, it waits for a person's decision; after the window for claims, without one, the usage is
// told and the amount is not given: uncredited says how much, and is zero else.
//
// Errors: what it waits for.
func (c *closing) credit(t *told, row statements.Row) (_ statements.Row, uncredited decimal.Decimal, err error) {
	provider, zone := c.owners.Provider, t.contract.Schedule.Zone
	window, claim := provider.CreditWindow.Or(rating.DefaultCreditWindow), provider.ClaimWindow.Or(rating.DefaultClaimWindow)
	if row.AmountExVAT.IsZero() || !window.Over(t.period, zone, c.now) || t.contract.Credited(t.period) {
		return row, decimal.Zero, nil
	}
	amount := row.AmountExVAT.Neg()
	switch {
	case claim.Over(t.period, zone, c.now):
		return ungiven(row, claim), amount, nil
	case amount.IsNegative(): // it waits for the credits of its pool beside it
		return row, decimal.Zero, nil
	}
	ends, ok := claim.Ends(t.period, zone)
	c.credits = append(c.credits, Credit{
		Statement: t.statement, Customer: row.Customer, Service: row.Service, PeriodFrom: t.period.From.In(zone), PeriodTo: t.period.To.In(zone),
		Amount: statements.Money(amount, row.Currency), Currency: row.Currency, Until: ends,
	})
	text := fmt.Sprintf("a credit of %s %s comes more than %s after its period (provider: credit_window): decide `credit` with a reason to give it",
		statements.Money(amount, row.Currency), row.Currency, window)
	if ok {
		text += fmt.Sprintf(", before %s; from then on it is not given", ends)
	}
	return row, decimal.Zero, errors.New(text)
}

// ungiven takes the amount out of an adjustment, and says so in its rules.
func ungiven(row statements.Row, claim rating.Window) statements.Row {
	value := fmt.Sprintf("%s %s not given: no claim after %s", statements.Money(row.AmountExVAT.Neg(), row.Currency), row.Currency, claim)
	if row.AmountExVAT.IsPositive() {
		value = fmt.Sprintf("%s %s not charged: it was the pool's credit, and no claim after %s", statements.Money(row.AmountExVAT, row.Currency), row.Currency, claim)
	}
	row.Rules = append(row.Rules[:len(row.Rules):len(row.Rules)], rating.Rule{Name: "credit", Value: value, Level: rating.FromProvider})
	row.BilledQuantity, row.AmountExVAT = decimal.Zero, decimal.Zero
	return row
}

// Credit is an amount in a customer's favour that comes after the window for credits, and waits for a person.
type Credit struct {
	Statement  string      `json:"statement"`
	Customer   string      `json:"customer"`
	Service    string      `json:"service"`
	PeriodFrom time.Time   `json:"period_from"`
	PeriodTo   time.Time   `json:"period_to"`
	Amount     string      `json:"amount_ex_vat"` // above zero
	Currency   string      `json:"currency"`
	Until      rating.Date `json:"until"` // the day from which on it is not given; zero where it waits for ever
}
