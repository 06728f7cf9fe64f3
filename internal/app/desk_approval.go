package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
)

// approvalDesk joins commands and the API to the approval of charges.
type approvalDesk struct{ *Desk }

// Unapproved returns the charges that wait for a person, by number.
func (d approvalDesk) Unapproved(ctx context.Context) ([]httpapi.Unapproved, error) {
	list := []httpapi.Unapproved{}
	err := d.ledger.Unapproved(ctx, func(s ledger.Statement) error {
		row := s.Body.Row
		list = append(list, httpapi.Unapproved{
			Number: s.Number, Statement: row.Statement, Revision: row.Revision, Customer: row.Customer, Service: row.Service,
			PeriodFrom: row.PeriodFrom, PeriodTo: row.PeriodTo, ClosedAt: s.ClosedAt,
			Amount: statement.Money(row.AmountExVAT, row.Currency), Currency: row.Currency, Reason: s.ApprovalReason,
		})
		return nil
	})
	return list, err
}

// Approve lets charges be handed over, all or none.
func (d approvalDesk) Approve(ctx context.Context, numbers []int64, by httpapi.Actor) error {
	return approvalError(d.ledger.Approve(ctx, numbers, string(by)))
}

// Waive lets charges never be handed over, all or none, by decisions that also take them out of the books at the next
// closing.
func (d approvalDesk) Waive(ctx context.Context, numbers []int64, reason string, by httpapi.Actor) error {
	waived, err := d.waivers(ctx, numbers)
	if err != nil {
		return approvalError(err)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	var rows []inventory.Row
	for i, decided := range waived.decisions {
		decided.ID, decided.By, decided.Reason = fmt.Sprintf("d-%s-%05d", hex.EncodeToString(random[:]), i+1), string(by), reason // in this order they are made
		rows = append(rows, inventory.Row{Section: "decisions", Cells: decided.Cells(), Where: "decision about " + decided.Service})
	}
	// The decisions come first: were we killed between, the charges would still wait.
	if len(rows) > 0 {
		if _, err := d.inventory.PutBy(ctx, string(by), rows); err != nil {
			return inventoryFault(err)
		}
	}
	return approvalError(d.ledger.Waive(ctx, waived.numbers, string(by), reason))
}

// waivers returns what it means to waive the statements with the numbers.
func (d approvalDesk) waivers(ctx context.Context, numbers []int64) (waivers, error) {
	named, services := map[int64]string{}, []string{}
	err := d.ledger.Unapproved(ctx, func(s ledger.Statement) error {
		if slices.Contains(numbers, s.Number) {
			named[s.Number] = s.Body.Row.Statement
			services = append(services, s.Body.Row.Service)
		}
		return nil
	})
	if err != nil {
		return waivers{}, err
	}
	for _, number := range numbers {
		if named[number] == "" {
			return waivers{}, fmt.Errorf("statement number %d: %w", number, ledger.ErrNotWaiting)
		}
	}
	concerned := map[string]bool{}
	for _, statement := range named {
		concerned[statement] = true
	}
	var waived waivers
	slices.Sort(services)
	for _, service := range slices.Compact(services) {
		revisions := map[string][]ledger.Statement{}
		err := d.ledger.Statements(ctx, ledger.StatementQuery{Service: service}, func(s ledger.Statement) error {
			if concerned[s.Body.Row.Statement] {
				revisions[s.Body.Row.Statement] = append(revisions[s.Body.Row.Statement], s)
			}
			return nil
		})
		if err != nil {
			return waivers{}, err
		}
		for _, statement := range slices.Sorted(maps.Keys(revisions)) {
			if err := waived.add(revisions[statement], named); err != nil {
				return waivers{}, err
			}
		}
	}
	return waived, nil
}

func approvalError(err error) error {
	if errors.Is(err, ledger.ErrNotWaiting) || errors.Is(err, ledger.ErrWaitsForAnother) || errors.Is(err, errCreditWaived) {
		return fmt.Errorf("%w: %w", err, httpapi.ErrConflict)
	}
	return err
}

// ListUnapproved prints the charges that wait for a person.
func (d *Desk) ListUnapproved(ctx context.Context, asJSON bool, w io.Writer) error {
	list, err := approvalDesk{d}.Unapproved(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, list)
	}
	rows := [][]string{{"NUMBER", "STATEMENT", "REVISION", "CUSTOMER", "PERIOD", "AMOUNT EX VAT", "CLOSED", "WHY IT WAITS"}}
	for _, u := range list {
		rows = append(rows, []string{strconv.FormatInt(u.Number, 10), u.Statement, strconv.Itoa(u.Revision), u.Customer,
			u.PeriodFrom.Format(time.DateOnly) + " to " + u.PeriodTo.Format(time.DateOnly), u.Amount + " " + u.Currency, u.ClosedAt.Format(time.RFC3339), u.Reason})
	}
	return printTable(w, rows)
}

// Approve lets charges be handed over: those with the numbers, or all that wait now.
func (d *Desk) Approve(ctx context.Context, numbers []int64, all bool, by string, w io.Writer) error {
	if all {
		list, err := approvalDesk{d}.Unapproved(ctx)
		if err != nil {
			return err
		}
		for _, u := range list {
			numbers = append(numbers, u.Number)
		}
	}
	if err := (approvalDesk{d}).Approve(ctx, numbers, httpapi.Actor(by)); err != nil {
		return unapprovedError(err)
	}
	_, err := fmt.Fprintf(w, "%d charges are approved by %s\n", len(numbers), by)
	return err
}

// Waive lets charges never be handed over.
func (d *Desk) Waive(ctx context.Context, numbers []int64, reason, by string, w io.Writer) error {
	if err := (approvalDesk{d}).Waive(ctx, numbers, reason, httpapi.Actor(by)); err != nil {
		return unapprovedError(err)
	}
	_, err := fmt.Fprintf(w, "%d charges are waived by %s: the next closing takes them out of their statements\n", len(numbers), by)
	return err
}

func unapprovedError(err error) error {
	var invalid *httpapi.InvalidError
	if errors.As(err, &invalid) {
		return wrong(fmt.Errorf("%s: %v", invalid.Message, invalid.Lines), "the reason stands on the statement for good: write it without the customer's name")
	}
	return &HintError{Err: err, Hint: `"hostmeter approval list" shows what waits; nothing was changed`}
}
