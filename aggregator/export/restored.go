package export

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hostmeter/internal/store"
)

// settingRestored holds when the ledger was last restored from a backup, in nanoseconds since the Unix epoch.
const settingRestored = "handover.restored_at"

const doubtText = "the ledger was restored from a backup: this may have been charged by the one before it. Look for it at the receiver"

// Restored parks what the ledger that was lost may have charged already: now the charges that are pending, and
// later those of statements whose periods ended before the restore, for that ledger may have closed them too. A
// person settles each; what a receiver shows of it, by another number, is in its description.
//
// It is called once for each restore, before the hand-over runs again.
func Restored(ctx context.Context, db *store.DB) (parked int, err error) {
	err = journal{db}.update(ctx, func(tx *store.Tx) error {
		parked = 0
		_, err := tx.Exec(ctx, `INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			settingRestored, strconv.FormatInt(tx.Now.UnixNano(), 10))
		if err != nil {
			return err
		}
		pending, err := pendingCharges(ctx, tx)
		if err != nil {
			return err
		}
		for _, c := range pending {
			if _, err := tx.Exec(ctx, `UPDATE handover_charge SET state = ?, next_at = 0, last_error = ? WHERE receiver = ? AND number = ?`,
				string(Parked), doubtText, c.Receiver, c.Number); err != nil {
				return err
			}
			if err := addEvent(ctx, tx, Event{Receiver: c.Receiver, Subject: c.Key, Actor: self, Action: "parked", Text: doubtText}); err != nil {
				return err
			}
			parked++
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("park the charges that may have been made: %w", err)
	}
	return parked, err
}

func pendingCharges(ctx context.Context, tx *store.Tx) ([]Charge, error) {
	return store.List(ctx, tx, func(row store.Row) (c Charge, err error) {
		err = row.Scan(&c.Receiver, &c.Number, &c.Key)
		return c, err
	}, `SELECT receiver, number, charge FROM handover_charge WHERE state = ? ORDER BY receiver, number`, string(Pending))
}

// restoredAt returns when the ledger was restored; the zero time where it never was.
func restoredAt(ctx context.Context, tx *store.Tx) (time.Time, error) {
	var text string
	err := tx.QueryRow(ctx, `SELECT value FROM setting WHERE name = ?`, settingRestored).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("setting %s: %w", settingRestored, err)
	}
	return time.Unix(0, n), nil
}

// doubtAfter parks a charge whose period was over when the ledger was restored.
func (c *Charge) doubtAfter(restored time.Time) {
	if c.State == Pending && c.PeriodTo.Before(restored) {
		c.State, c.NextAt, c.LastError = Parked, time.Time{}, doubtText
	}
}
