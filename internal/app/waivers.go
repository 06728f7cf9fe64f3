package app

import (
	"errors"
	"fmt"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/internal/inventory"
)

// errCreditWaived is returned where somebody wants to waive what is in the customer's favour.
var errCreditWaived = errors.New("it is a credit, and only a charge can be waived")

// waivers are the decisions that take charges out of the books, without their names and reasons, and the numbers of all
// statements that are then never handed over.
type waivers struct {
	decisions []inventory.Decision
	numbers   []int64
}

// add waives those revisions of a statement that are named; revisions are all of it, in their order.
//
// Where the first one is named, and nothing of the statement was let go, the period's whole charge is waived, and all that
// waits goes with it. Else each one is: as much as it would add to what was charged, or waits to be, before it. A waiting credit that takes back
// what is waived is let go with it.
//
// Errors: errCreditWaived.
func (w *waivers) add(revisions []ledger.Statement, named map[int64]string) error {
	for _, s := range revisions {
		if named[s.Number] != "" && s.Body.Row.AmountExVAT.IsNegative() {
			row := s.Body.Row
			return fmt.Errorf("statement number %d, of %s %s: %w: approve it, or correct what it was computed from", s.Number, statement.Money(row.AmountExVAT, row.Currency), row.Currency, errCreditWaived)
		}
	}
	if named[revisions[0].Number] != "" && !anyCharged(revisions) {
		w.decisions = append(w.decisions, waiver(revisions[0]))
		for _, s := range revisions {
			if s.Approval == ledger.ApprovalWaiting {
				w.numbers = append(w.numbers, s.Number)
			}
		}
		return nil
	}
	var stands decimal.Decimal
	var list []inventory.Decision
	for _, s := range revisions {
		amount := s.Body.Row.AmountExVAT
		last := len(list) - 1
		switch {
		case named[s.Number] != "":
			decided := waiver(s)
			decided.Amount, decided.Beyond = amount, decimal.Max(stands, decimal.Zero)
			list = append(list, decided)
			w.numbers = append(w.numbers, s.Number)
		case last >= 0 && s.Approval == ledger.ApprovalWaiting && amount.IsNegative() && !list[last].Amount.Add(amount).IsNegative():
			list[last].Amount = list[last].Amount.Add(amount)
			if list[last].Amount.IsZero() {
				list = list[:last]
			}
			w.numbers = append(w.numbers, s.Number)
		case s.Approval != ledger.ApprovalRefused:
			stands = stands.Add(amount)
		}
	}
	w.decisions = append(w.decisions, list...)
	return nil
}

// anyCharged says whether a revision's amount has been let go to billing systems.
func anyCharged(revisions []ledger.Statement) bool {
	for _, s := range revisions {
		if !s.Body.Row.AmountExVAT.IsZero() && s.Approval != ledger.ApprovalWaiting && s.Approval != ledger.ApprovalRefused {
			return true
		}
	}
	return false
}

func waiver(s ledger.Statement) inventory.Decision {
	return inventory.Decision{Service: s.Body.Row.Service, Decision: rating.Decision{Kind: rating.DecideWaive, From: s.Body.Period.From}}
}
