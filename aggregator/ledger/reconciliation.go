package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// Reconciliation compares, of each period that ends in a month, every day whose hours are sealed: what the
// address meters, the vNICs and the switch ports of the service counted. Closed periods are compared again with all
// that is known now. Rows are by customer, service, period and day. Errors: ErrMonth.
func (l *Ledger) Reconciliation(ctx context.Context, inv *inventory.Inventory, month string, now time.Time) ([]statements.Reconciled, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.newReporting(owners, month, now)
	if err != nil {
		return nil, err
	}
	rows := []statements.Reconciled{}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		targets, err := r.targets(ctx, tx)
		if err != nil {
			return err
		}
		found, err := gather(ctx, tx, gathering{owners: owners, targets: targets, now: now, reconcile: &r.reconcile, listed: true})
		if err != nil {
			return err
		}
		for _, a := range found.accounts {
			rows = append(rows, a.reconciled(a.compared)...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reconciliation of %s: %w", month, err)
	}
	slices.SortStableFunc(rows, func(a, b statements.Reconciled) int {
		return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.Service, b.Service), a.PeriodFrom.Compare(b.PeriodFrom), a.Day.Compare(b.Day))
	})
	return rows, nil
}

// targets are all periods that end in the month, closed and open.
func (r *reporting) targets(ctx context.Context, tx *store.Tx) ([]*target, error) {
	var targets []*target
	q := StatementQuery{EndFrom: r.first.In(time.UTC).Add(-maxOffset), EndTo: r.next().In(time.UTC).Add(maxOffset)}
	err := readStatements(ctx, tx, q, func(s Statement) error {
		contract, err := thaw(s.Body.Contract)
		if err == nil && s.Body.Row.Revision == 1 && r.in(s.Body.Period, contract.Schedule.Zone) {
			targets = append(targets, &target{contract: decidedNow(r.owners, contract), period: s.Body.Period})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	open, err := r.openTargets(ctx, tx)
	return append(targets, open...), err
}

// reconciled writes down the days that were compared.
func (t *target) reconciled(days []comparedDay) []statements.Reconciled {
	released := ""
	for _, d := range t.contract.AllDecisions() {
		if d.Kind == rating.DecideRelease && t.period.Contains(d.From) {
			released = d.ID + ", by " + d.By + ": " + d.Reason
		}
	}
	rows := make([]statements.Reconciled, len(days))
	for i, d := range days {
		row := statements.NewReconciled(d.day, d.Day, d.Result)
		row.Customer, row.Service, row.Released = t.contract.Customer, t.contract.Service, released
		row.PeriodFrom = t.period.From.In(t.contract.Schedule.Zone)
		rows[i] = row
	}
	return rows
}
