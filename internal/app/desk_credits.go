package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
)

// errNoCredit says that no credit waits for a statement.
var errNoCredit = errors.New("no credit waits")

// allowCredit decides that a credit which comes after its window is given. Errors: errNoCredit, *inventory.InvalidError.
func (d *Desk) allowCredit(ctx context.Context, statement, reason, by string) (inventory.Decision, error) {
	waiting, err := d.ledger.Credits(ctx, d.inventory, d.clock.Now())
	if err != nil {
		return inventory.Decision{}, err
	}
	i := slices.IndexFunc(waiting, func(c ledger.Credit) bool { return c.Statement == statement })
	if i < 0 {
		return inventory.Decision{}, fmt.Errorf("statement %s: %w", statement, errNoCredit)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	decision := inventory.Decision{Service: waiting[i].Service, Decision: rating.Decision{
		ID: "d-" + hex.EncodeToString(random[:]), Kind: rating.DecideCredit, From: waiting[i].PeriodFrom, By: by, Reason: reason,
	}}
	_, err = d.inventory.PutBy(ctx, by, []inventory.Row{{Section: "decisions", Cells: decision.Cells(), Where: "decision"}})
	return decision, err
}

// ListCredits prints the credits that wait for a person.
func (d *Desk) ListCredits(ctx context.Context, asJSON bool, w io.Writer) error {
	waiting, err := d.ledger.Credits(ctx, d.inventory, d.clock.Now())
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, waiting)
	}
	rows := [][]string{{"STATEMENT", "CUSTOMER", "PERIOD", "CREDIT EX VAT", "LAPSES"}}
	for _, c := range waiting {
		rows = append(rows, []string{c.Statement, c.Customer, c.PeriodFrom.Format(time.DateOnly) + " to " + c.PeriodTo.Format(time.DateOnly),
			c.Amount + " " + c.Currency, lapses(c.Until)})
	}
	return printTable(w, rows)
}

func lapses(day rating.Date) string {
	if day.IsZero() {
		return "never"
	}
	return day.String()
}

// AllowCredit decides that a credit which waits is given.
func (d *Desk) AllowCredit(ctx context.Context, statement, reason, by string, w io.Writer) error {
	decision, err := d.allowCredit(ctx, statement, reason, by)
	var invalid *inventory.InvalidError
	switch {
	case errors.Is(err, errNoCredit):
		return &HintError{Err: err, Hint: `"hostmeter credit list" shows what waits`}
	case errors.As(err, &invalid):
		return wrong(err, "give --by and --reason, without the customer's name: the statement keeps both")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(w, "the credit of %s is allowed by %s (decision %s): the next closing gives it; \"hostmeter statement close\" closes now\n", statement, by, decision.ID)
	return err
}

// creditDesk joins the API to credits.
type creditDesk struct{ *Desk }

// Credits returns those that wait for a person.
func (d creditDesk) Credits(ctx context.Context) ([]httpapi.Credit, error) {
	waiting, err := d.ledger.Credits(ctx, d.inventory, d.clock.Now())
	out := make([]httpapi.Credit, len(waiting))
	for i, c := range waiting {
		out[i] = httpapi.Credit{Statement: c.Statement, Customer: c.Customer, Service: c.Service, PeriodFrom: c.PeriodFrom, PeriodTo: c.PeriodTo,
			Amount: c.Amount, Currency: c.Currency, Until: optionalText(dateText(c.Until))}
	}
	return out, err
}

// AllowCredit decides that one is given.
func (d creditDesk) AllowCredit(ctx context.Context, statement, reason string, by httpapi.Actor) (httpapi.Decision, error) {
	decision, err := d.allowCredit(ctx, statement, reason, string(by))
	if errors.Is(err, errNoCredit) {
		return httpapi.Decision{}, fmt.Errorf("statement %s: no credit waits: %w", statement, httpapi.ErrNotFound)
	}
	return decisionToAPI(decision), inventoryFault(err)
}
