package export

import (
	"context"
	"fmt"

	"hostmeter/internal/store"
)

// passed are the numbers of statements that a receiver was passed over, for somebody to decide about, and that wait for
// nobody any more. A correction waits until what it corrects is told.
func (j journal) passed(ctx context.Context, receiver string, most int) (numbers []int64, err error) {
	err = j.db.View(ctx, func(tx *store.Tx) (err error) {
		numbers, err = store.List(ctx, tx, func(row store.Row) (number int64, err error) {
			err = row.Scan(&number)
			return number, err
		}, `SELECT p.number FROM handover_passed AS p WHERE p.receiver = ?
			AND NOT EXISTS (SELECT 1 FROM statement_approval AS a WHERE a.number = p.number AND a.state = 'waiting')
			AND NOT EXISTS (SELECT 1 FROM handover_passed AS before WHERE before.receiver = p.receiver AND before.statement = p.statement AND before.number < p.number)
			ORDER BY p.number LIMIT ?`, receiver, most)
		return err
	})
	if err != nil {
		err = fmt.Errorf("read what %s was passed over: %w", receiver, err)
	}
	return numbers, err
}

// isPassed says whether a receiver was passed over a statement or an adjustment of it.
func (j journal) isPassed(ctx context.Context, receiver, statement string) (is bool, err error) {
	err = j.db.View(ctx, func(tx *store.Tx) error {
		var n int64
		err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM handover_passed WHERE receiver = ? AND statement = ?`, receiver, statement).Scan(&n)
		is = n > 0
		return err
	})
	if err != nil {
		err = fmt.Errorf("read what %s was passed over: %w", receiver, err)
	}
	return is, err
}

// took notes what has become of messages of a feed, in their order: the cursor stands behind the last one then, and
// what was passed over is kept.
//
// Errors: errMoved where another process has moved the cursor.
func took(ctx context.Context, tx *store.Tx, receiver string, feed Feed, from int64, messages []message) error {
	to := from
	for _, m := range messages {
		var err error
		switch {
		case m.passed:
			_, err = tx.Exec(ctx, `DELETE FROM handover_passed WHERE receiver = ? AND number = ?`, receiver, m.seq)
		case m.action == pass:
			_, err = tx.Exec(ctx, `INSERT INTO handover_passed (receiver, number, statement) VALUES (?, ?, ?)`, receiver, m.seq, m.statement)
		}
		if err != nil {
			return fmt.Errorf("note that %s took %s: %w", receiver, subjectOf(feed, m.seq), err)
		}
		if !m.passed {
			to = m.seq
		}
	}
	if to == from {
		return nil
	}
	return moveCursor(ctx, tx, receiver, feed, from, to)
}
