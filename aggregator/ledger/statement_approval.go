package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shopspring/decimal"

	"hostmeter/internal/audit"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// ErrNotWaiting is returned for a statement that waits for no approval.
var ErrNotWaiting = errors.New("waits for no approval")

// Approval is what a person has said of a statement's amount. It is empty where nobody has to say anything: there is
// no amount, or the provider wanted no approvals when the statement was closed.
type Approval string

// The approvals.
const (
	ApprovalWaiting Approval = "waiting"
	ApprovalGiven   Approval = "approved"
	ApprovalRefused Approval = "waived" // it is not handed over
)

// self is who decides what follows from what a person has decided.
const self = "hostmeter"

// askApproval makes a statement with an amount wait for a person where the provider wants that. What takes back no
// more than was waived is waived with it.
func askApproval(ctx context.Context, tx *store.Tx, required bool, number int64, body StatementBody) error {
	amount := body.Row.AmountExVAT
	if amount.IsZero() {
		return nil
	}
	waived, err := waivedSum(ctx, tx, body.Row.Statement)
	if err != nil {
		return err
	}
	state, at, by, reason := ApprovalWaiting, int64(0), "", ""
	switch {
	case waived.IsPositive() && amount.IsNegative() && !waived.Add(amount).IsNegative():
		state, at, by, reason = ApprovalRefused, tx.Now.UnixNano(), self, "it takes back what was waived"
	case !required:
		return nil
	}
	_, err = tx.Exec(ctx, `INSERT INTO statement_approval (number, statement, amount, state, decided_at, decided_by, reason) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		number, body.Row.Statement, amount.String(), string(state), at, by, reason)
	if err != nil {
		err = fmt.Errorf("ask for the approval of statement %s: %w", body.Row.Statement, err)
	}
	return err
}

// waivedSum adds up what was waived of a statement.
func waivedSum(ctx context.Context, tx *store.Tx, statement string) (sum decimal.Decimal, err error) {
	rows, err := tx.Query(ctx, `SELECT amount FROM statement_approval WHERE statement = ? AND state = ?`, statement, string(ApprovalRefused))
	if err != nil {
		return sum, fmt.Errorf("read what was waived of statement %s: %w", statement, err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return sum, err
		}
		amount, err := decimal.NewFromString(text)
		if err != nil {
			return sum, fmt.Errorf("approval of statement %s: %w", statement, ErrCorrupt)
		}
		sum = sum.Add(amount)
	}
	return sum, rows.Err()
}

// Unapproved calls f with the statements that wait for a person, by number.
func (l *Ledger) Unapproved(ctx context.Context, f func(Statement) error) error {
	return l.Statements(ctx, StatementQuery{Approval: ApprovalWaiting}, f)
}

// Approve lets statements be handed over, all or none of them. numbers are the statements' own.
//
// Errors: ErrNotWaiting.
func (l *Ledger) Approve(ctx context.Context, numbers []int64, by string) error {
	return l.decideApproval(ctx, numbers, ApprovalGiven, by, "")
}

// Waive lets statements never be handed over, all or none of them. What is then adjusted by as much is waived with them.
//
// Errors: ErrNotWaiting.
func (l *Ledger) Waive(ctx context.Context, numbers []int64, by, reason string) error {
	if reason == "" {
		return errors.New("to waive a charge needs a reason")
	}
	return l.decideApproval(ctx, numbers, ApprovalRefused, by, reason)
}

func (l *Ledger) decideApproval(ctx context.Context, numbers []int64, state Approval, by, reason string) error {
	if by == "" {
		return errors.New("an approval needs a name")
	}
	numbers = slices.Compact(slices.Sorted(slices.Values(numbers)))
	const attempts = 5
	for i := 1; ; i++ {
		err := l.db.Update(ctx, func(tx *store.Tx) error {
			for _, number := range numbers {
				if err := decideOne(ctx, tx, number, state, by, reason); err != nil {
					return err
				}
			}
			return nil
		})
		if !store.IsConflict(err) || i == attempts {
			return err
		}
	}
}

func decideOne(ctx context.Context, tx *store.Tx, number int64, state Approval, by, reason string) error {
	n, err := tx.Exec(ctx, `UPDATE statement_approval SET state = ?, decided_at = ?, decided_by = ?, reason = ? WHERE number = ? AND state = ?`,
		string(state), tx.Now.UnixNano(), by, reason, number, string(ApprovalWaiting))
	if err == nil && n != 1 {
		err = ErrNotWaiting
	}
	if err != nil {
		return fmt.Errorf("statement number %d: %w", number, err)
	}
	var statement, amount string
	if err := tx.QueryRow(ctx, `SELECT statement, amount FROM statement_approval WHERE number = ?`, number).Scan(&statement, &amount); err != nil {
		return err
	}
	action := map[Approval]string{ApprovalGiven: "approve charge", ApprovalRefused: "waive charge"}[state]
	text := fmt.Sprintf("number %d, %s", number, amount)
	if reason != "" {
		text += ": " + reason
	}
	return audit.Add(ctx, tx, audit.Event{Actor: by, Action: action, Subject: statement, Reason: text})
}

// approvalRequired says whether what is closed now waits for a person.
func approvalRequired(owners *inventory.Snapshot) bool {
	return owners.Provider.Approval == inventory.ApprovalRequired
}
