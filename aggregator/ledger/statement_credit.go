package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
)

// compared is what of one period is charged now, was told in all, and was told at first.
type compared struct {
	service          string
	now, told, first charged
}

// charged is an amount and the quantity that it is of.
type charged struct{ amount, quantity decimal.Decimal }

func (c charged) plus(other charged) charged {
	return charged{c.amount.Add(other.amount), c.quantity.Add(other.quantity)}
}

func (c charged) minus(other charged) charged {
	return charged{c.amount.Sub(other.amount), c.quantity.Sub(other.quantity)}
}

func chargedOf(row statements.Row) charged { return charged{row.AmountExVAT, row.BilledQuantity} }

func compare(now, told statements.Row, first charged) compared {
	return compared{service: now.Service, now: chargedOf(now), told: chargedOf(told), first: first}
}

// heldBack returns, for each line of what is charged together, the part of its difference that the windows for credits
// are about: what lies below the first charge. What a later revision charged beyond that is given back whenever it
// turns out wrong, and what goes from one member of a pool to another is no credit of the pool. split says that some of the difference
// is given in any case, and some is held. Where there are several lines, what is given is shared by the lines that are lower now,
// in proportion to that.
func heldBack(lines []compared) (held []charged, split bool) {
	held = make([]charged, len(lines))
	var now, told, first charged
	for _, line := range lines {
		now, told, first = now.plus(line.now), told.plus(line.told), first.plus(line.first)
	}
	if !now.amount.LessThan(decimal.Min(told.amount, first.amount)) {
		return held, false
	}
	for i, line := range lines {
		held[i] = line.now.minus(line.told)
	}
	given := charged{decimal.Min(first.amount.Sub(told.amount), decimal.Zero), decimal.Min(first.quantity.Sub(told.quantity), decimal.Zero)}
	if given.amount.IsZero() {
		return held, false
	}
	places := -given.amount.Exponent()
	for _, h := range held {
		places = max(places, -h.amount.Exponent())
	}
	order := make([]int, len(lines))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(lines[a].service, lines[b].service) })
	weights := make([]uint64, len(lines))
	for at, i := range order {
		weights[at] = decimal.Max(held[i].amount.Neg(), decimal.Zero).Shift(places).BigInt().Uint64()
	}
	amounts, quantities := rating.Shares(given.amount, weights, places), rating.Shares(given.quantity, weights, 12)
	for at, i := range order {
		held[i] = held[i].minus(charged{amounts[at], quantities[at]})
	}
	return held, true
}

// credit holds what lies in the customer's favour to the provider's windows. Inside the window for credits it
// is given. After it, it waits for a person's decision; after the window for claims, without one, the usage is
// told and the amount is not given: uncredited says how much, and is zero else.
//
// Errors: what it waits for; the row is then without it.
func (c *closing) credit(t *told, row statements.Row, held charged) (_ statements.Row, uncredited decimal.Decimal, err error) {
	provider, zone := c.owners.Provider, t.contract.Schedule.Zone
	window, claim := provider.CreditWindow.Or(rating.DefaultCreditWindow), provider.ClaimWindow.Or(rating.DefaultClaimWindow)
	if held.amount.IsZero() || !window.Over(t.period, zone, c.now) || t.contract.Credited(t.period) {
		return row, decimal.Zero, nil
	}
	amount := held.amount.Neg()
	if amount.IsPositive() {
		c.withheld = append(c.withheld, t)
	}
	money := statements.Money(amount.Abs(), row.Currency) + " " + row.Currency
	switch {
	case claim.Over(t.period, zone, c.now) && amount.IsNegative():
		return without(row, held, fmt.Sprintf("%s not charged: it was the pool's credit, and no claim after %s", money, claim)), amount, nil
	case claim.Over(t.period, zone, c.now):
		return without(row, held, fmt.Sprintf("%s not given: no claim after %s", money, claim)), amount, nil
	case amount.IsNegative(): // it waits for the credits of its pool beside it
		return without(row, held, fmt.Sprintf("%s not charged yet: it waits with the pool's credits beside it", money)), amount, nil
	}
	ends, ok := claim.Ends(t.period, zone)
	c.credits = append(c.credits, Credit{
		Statement: t.statement, Customer: row.Customer, Service: row.Service, PeriodFrom: t.period.From.In(zone), PeriodTo: t.period.To.In(zone),
		Amount: statements.Money(amount, row.Currency), Currency: row.Currency, Until: ends,
	})
	text := fmt.Sprintf("a credit of %s comes more than %s after its period (provider: credit_window): decide `credit` with a reason to give it", money, window)
	rule := fmt.Sprintf("%s more waits for a decision: it comes after %s", money, window)
	if ok {
		text += fmt.Sprintf(", before %s; from then on it is not given", ends)
		rule += fmt.Sprintf(", and is not given from %s on", ends)
	}
	return without(row, held, rule), amount, errors.New(text)
}

// without takes what is held out of an adjustment, and says so in its rules.
func without(row statements.Row, held charged, why string) statements.Row {
	row.Rules = append(row.Rules[:len(row.Rules):len(row.Rules)], rating.Rule{Name: "credit", Value: why, Level: rating.FromProvider})
	row.BilledQuantity, row.AmountExVAT = row.BilledQuantity.Sub(held.quantity), row.AmountExVAT.Sub(held.amount)
	return row
}

// asWithheld is without for an adjustment that is computed again: with the rule that the statement says it by. uncredited
// is what it says to be held. The first versions held all of a difference, or nothing.
func asWithheld(row statements.Row, held charged, body StatementBody) (_ statements.Row, uncredited decimal.Decimal) {
	if body.Uncredited.IsZero() {
		return row, decimal.Zero
	}
	if row.AmountExVAT.Neg().Equal(body.Uncredited) {
		held = charged{row.AmountExVAT, row.BilledQuantity}
	}
	why := ""
	if n := len(body.Row.Rules); n > 0 {
		why = body.Row.Rules[n-1].Value
	}
	return without(row, held, why), held.amount.Neg()
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
