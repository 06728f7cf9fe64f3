// Package restores keeps when a ledger was restored from a backup, and what it knew then.
//
// It owns the table ledger_restore. Who tells others of something asks it whether the ledger that was lost may have
// told the same: what that one did after the backup is in no table.
package restores

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"hostmeter/internal/store"
)

// Replay is for how long after a restore what comes up is taken for a possible repeat, where nothing else tells: the
// logs hold three days, and are read again at several times the speed at which they were written.
const Replay = 24 * time.Hour

// Restore is one restore of the ledger.
type Restore struct {
	At time.Time
	// UsageRecords, Statements and Notices are the last numbers of those feeds in the backup.
	UsageRecords, Statements, Notices int64
}

// Add notes, in a transaction, that the ledger was restored now.
func Add(ctx context.Context, tx *store.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO ledger_restore (at, usage_records, statements, notices)
		SELECT CAST(? AS BIGINT), (SELECT last_seq FROM usage_record_head WHERE id = 1), (SELECT number FROM statement_head WHERE id = 1),
			(SELECT number FROM notice_head WHERE id = 1)`, tx.Now.UnixNano())
	if err != nil {
		err = fmt.Errorf("note the restore: %w", err)
	}
	return err
}

// All returns the restores, the oldest first.
func All(ctx context.Context, tx *store.Tx) ([]Restore, error) {
	list, err := store.List(ctx, tx, readRestore, `SELECT at, usage_records, statements, notices FROM ledger_restore ORDER BY at`)
	if err != nil {
		err = fmt.Errorf("read the restores: %w", err)
	}
	return list, err
}

func readRestore(row store.Row) (r Restore, err error) {
	var at int64
	err = row.Scan(&at, &r.UsageRecords, &r.Statements, &r.Notices)
	r.At = time.Unix(0, at).UTC()
	return r, err
}

// Last returns when the ledger was last restored; the zero time where it never was.
func Last(ctx context.Context, tx *store.Tx) (time.Time, error) {
	var at sql.NullInt64
	if err := tx.QueryRow(ctx, `SELECT MAX(at) FROM ledger_restore`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("read the last restore: %w", err)
	}
	if !at.Valid {
		return time.Time{}, nil
	}
	return time.Unix(0, at.Int64).UTC(), nil
}
