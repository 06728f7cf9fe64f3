package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/audit"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// ErrNotWaiting is returned for a statement that waits for no approval.
var ErrNotWaiting = errors.New("waits for no approval")

// ErrWaitsForAnother is returned for a correction of a statement that itself is neither approved nor waived.
var ErrWaitsForAnother = errors.New("corrects what is not decided")

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

// askApproval makes a statement with an amount wait for a person where that is required, for a reason or none, and where something
// of the statement before it was waived, or may be: what then becomes of the rest of it is a person's to say, whatever
// the provider wants by now. What takes back no more than was waived is waived with it.
func askApproval(ctx context.Context, tx *store.Tx, required bool, why string, number int64, body StatementBody) error {
	amount := body.Row.AmountExVAT
	if amount.IsZero() {
		return nil
	}
	before, err := approvalsOf(ctx, tx, body.Row.Statement)
	if err != nil {
		return err
	}
	state, at, by, reason := ApprovalWaiting, int64(0), "", why
	switch {
	case takesBack(amount, before.waived):
		state, at, by, reason = ApprovalRefused, tx.Now.UnixNano(), self, takesBackText
	case !required && !before.open:
		return nil
	}
	_, err = tx.Exec(ctx, `INSERT INTO statement_approval (number, statement, amount, state, decided_at, decided_by, reason) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		number, body.Row.Statement, amount.String(), string(state), at, by, reason)
	if err != nil {
		err = fmt.Errorf("ask for the approval of statement %s: %w", body.Row.Statement, err)
	}
	return err
}

const takesBackText = "it takes back what was waived"

// takesBack says whether an amount takes back no more than was waived.
func takesBack(amount, waived decimal.Decimal) bool {
	return waived.IsPositive() && amount.IsNegative() && !waived.Add(amount).IsNegative()
}

// approvals are what persons have said of the revisions of a statement.
type approvals struct {
	waived  decimal.Decimal // the sum
	open    bool            // some of it was waived, or waits
	waiting []approval      // by number
}

type approval struct {
	number int64
	amount decimal.Decimal
}

func approvalsOf(ctx context.Context, tx *store.Tx, statement string) (a approvals, err error) {
	rows, err := tx.Query(ctx, `SELECT number, amount, state FROM statement_approval WHERE statement = ? AND state <> ? ORDER BY number`, statement, string(ApprovalGiven))
	if err != nil {
		return a, fmt.Errorf("read what was waived of statement %s: %w", statement, err)
	}
	defer rows.Close()
	for rows.Next() {
		var one approval
		var text string
		var state Approval
		if err := rows.Scan(&one.number, &text, &state); err != nil {
			return a, err
		}
		if one.amount, err = decimal.NewFromString(text); err != nil {
			return a, fmt.Errorf("approval of statement %s: %w", statement, ErrCorrupt)
		}
		a.open = true
		if state == ApprovalRefused {
			a.waived = a.waived.Add(one.amount)
		} else {
			a.waiting = append(a.waiting, one)
		}
	}
	return a, rows.Err()
}

// Unapproved calls f with the statements that wait for a person, by number.
func (l *Ledger) Unapproved(ctx context.Context, f func(Statement) error) error {
	return l.Statements(ctx, StatementQuery{Approval: ApprovalWaiting}, f)
}

// Revision names one statement of a period.
type Revision struct {
	Statement string
	Revision  int
}

// Approvals returns what persons have said of the statements of periods that end in [from, to), or have to say. What needs nobody is
// not among them.
func (l *Ledger) Approvals(ctx context.Context, from, to time.Time) (map[Revision]Approval, error) {
	type decided struct {
		revision Revision
		state    Approval
	}
	var list []decided
	err := l.db.View(ctx, func(tx *store.Tx) (err error) {
		list, err = store.List(ctx, tx, func(row store.Row) (d decided, err error) {
			err = row.Scan(&d.revision.Statement, &d.revision.Revision, &d.state)
			return d, err
		}, `SELECT s.statement, s.revision, a.state FROM statement_approval AS a JOIN statement AS s ON s.number = a.number
			WHERE s.period_to >= ? AND s.period_to < ?`, from.UnixNano(), to.UnixNano())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what was approved: %w", err)
	}
	approvals := make(map[Revision]Approval, len(list))
	for _, d := range list {
		approvals[d.revision] = d.state
	}
	return approvals, nil
}

// Approve lets statements be handed over, all or none of them. numbers are the statements' own. A correction is approved
// with what it corrects, or after it.
//
// Errors: ErrNotWaiting, ErrWaitsForAnother.
func (l *Ledger) Approve(ctx context.Context, numbers []int64, by string) error {
	return l.decideApproval(ctx, numbers, ApprovalGiven, by, "")
}

// Waive lets statements never be handed over, all or none of them. What takes back no more than that is waived with
// them, whether it waits already or is found later.
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
			touched := map[string]bool{}
			for _, number := range numbers {
				statement, err := decideOne(ctx, tx, number, state, by, reason)
				if err != nil {
					return err
				}
				touched[statement] = true
			}
			for _, statement := range slices.Sorted(maps.Keys(touched)) {
				if err := waiveWhatTakesBack(ctx, tx, statement); err != nil {
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

func decideOne(ctx context.Context, tx *store.Tx, number int64, state Approval, by, reason string) (statement string, err error) {
	n, err := tx.Exec(ctx, `UPDATE statement_approval SET state = ?, decided_at = ?, decided_by = ?, reason = ? WHERE number = ? AND state = ?`,
		string(state), tx.Now.UnixNano(), by, reason, number, string(ApprovalWaiting))
	if err == nil && n != 1 {
		err = ErrNotWaiting
	}
	if err != nil {
		return "", fmt.Errorf("statement number %d: %w", number, err)
	}
	var amount string
	if err := tx.QueryRow(ctx, `SELECT statement, amount FROM statement_approval WHERE number = ?`, number).Scan(&statement, &amount); err != nil {
		return "", err
	}
	if state == ApprovalGiven {
		before, err := approvalsOf(ctx, tx, statement)
		if err != nil {
			return "", err
		}
		if len(before.waiting) > 0 && before.waiting[0].number < number {
			return "", fmt.Errorf("statement number %d: %w: number %d of statement %s is decided first, or together with it", number, ErrWaitsForAnother, before.waiting[0].number, statement)
		}
	}
	action := map[Approval]string{ApprovalGiven: "approve charge", ApprovalRefused: "waive charge"}[state]
	text := fmt.Sprintf("number %d, %s", number, amount)
	if reason != "" {
		text += ": " + reason
	}
	return statement, audit.Add(ctx, tx, audit.Event{Actor: by, Action: action, Subject: statement, Reason: text})
}

// waiveWhatTakesBack waives the corrections of a statement that wait and take back no more than was waived of it.
func waiveWhatTakesBack(ctx context.Context, tx *store.Tx, statement string) error {
	a, err := approvalsOf(ctx, tx, statement)
	if err != nil {
		return err
	}
	for _, one := range a.waiting {
		if !takesBack(one.amount, a.waived) {
			continue
		}
		if _, err := decideOne(ctx, tx, one.number, ApprovalRefused, self, takesBackText); err != nil {
			return err
		}
		a.waived = a.waived.Add(one.amount)
	}
	return nil
}

// asksApproval says whether a charge that is closed now waits for a person, and why where the provider does not want that of all.
func (c *closing) asksApproval(body StatementBody) (required bool, why string) {
	why, asked := c.asks[body.Row.Statement]
	if !asked {
		why = c.late(body)
	}
	return why != "" || c.owners.Provider.Approval == inventory.ApprovalRequired, why
}

// late says why a charge waits that comes long after its period, as of a service that was imported with a past.
func (c *closing) late(body StatementBody) (why string) {
	window := c.owners.Provider.ChargeWindow.Or(rating.DefaultChargeWindow)
	if !body.Row.AmountExVAT.IsPositive() || !window.Over(body.Period, body.Contract.Schedule.Zone, c.now) {
		return ""
	}
	return fmt.Sprintf("it comes more than %s after its period (provider: charge_window)", window)
}
