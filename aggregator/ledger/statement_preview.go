package ledger

import (
	"context"
	"fmt"
	"time"

	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// Preview is what a closing would do. Nothing of it is written.
type Preview struct {
	// Statements are the periods that would close, Adjustments the differences to closed ones.
	Statements  []statements.Row `json:"statements"`
	Adjustments []statements.Row `json:"adjustments"`
	// Problems are what would wait, Credits those among them that wait for a decision to be given.
	Problems []statements.Problem `json:"problems"`
	Credits  []Credit             `json:"credits"`
}

// Preview returns what CloseDue would do now, with the inventory as it is.
func (l *Ledger) Preview(ctx context.Context, inv *inventory.Inventory, now time.Time) (Preview, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return Preview{}, err
	}
	return l.preview(ctx, &closing{owners: owners, now: now, reconcile: l.cfg.Reconcile})
}

// PreviewChange returns what CloseDue would do if before were what asked makes of it: a change of ownership
// or a decision that is not stored yet is seen as the difference that it makes to closed periods.
func (l *Ledger) PreviewChange(ctx context.Context, before, asked *inventory.Snapshot, now time.Time) (Preview, error) {
	return l.preview(ctx, &closing{owners: asked, now: now, reconcile: l.cfg.Reconcile, changes: inventory.ChangesBetween(before, asked), decided: inventory.DecidedBetween(before, asked)})
}

func (l *Ledger) preview(ctx context.Context, c *closing) (Preview, error) {
	p := Preview{Statements: []statements.Row{}, Adjustments: []statements.Row{}, Problems: []statements.Problem{}, Credits: []Credit{}}
	if err := l.db.View(ctx, func(tx *store.Tx) error { return c.gather(ctx, tx) }); err != nil {
		return p, fmt.Errorf("preview a closing: %w", err)
	}
	for body := range c.bodies() {
		if body.Row.Revision == 1 {
			p.Statements = append(p.Statements, body.Row)
		} else {
			p.Adjustments = append(p.Adjustments, body.Row)
		}
	}
	p.Problems = append(p.Problems, c.closed.Problems...)
	p.Credits = append(p.Credits, c.credits...)
	return p, nil
}

// Credits returns the amounts in customers' favour that a closing has found to come after the window for credits,
// and that wait for a person.
func (l *Ledger) Credits(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]Credit, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	c := closing{owners: owners, now: now, reconcile: l.cfg.Reconcile, credits: []Credit{}}
	err = l.db.View(ctx, func(tx *store.Tx) (err error) {
		if err := c.readBooks(ctx, tx); err != nil {
			return err
		}
		spans, err := c.waitingSpans(ctx, tx)
		if err != nil {
			return err
		}
		return c.gatherTold(ctx, tx, spans)
	})
	if err != nil {
		return nil, fmt.Errorf("look for credits: %w", err)
	}
	c.adjust(func(StatementBody) bool { return true })
	return c.credits, nil
}
