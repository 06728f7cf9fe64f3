package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hostmeter/internal/clock"
)

// ErrNotScrubbed says that something deleted may still be in the store's files.
var ErrNotScrubbed = errors.New("what was deleted may still be in the files of the store")

// Scrub takes what was deleted from tables out of the store's files, which a deletion alone does not do. On
// SQLite the pages are overwritten as they are deleted from, and the write-ahead log is emptied; on
// PostgreSQL the tables are written anew. Replicas, archives of the log, backups and the disk's own
// blocks are not reached.
//
// Errors: ErrNotScrubbed where somebody else's transaction needs the old rows: it may be called again.
func (db *DB) Scrub(ctx context.Context, tables ...string) error {
	if db.dialect == PostgreSQL {
		return db.rewrite(ctx, tables)
	}
	return db.emptyLog(ctx)
}

// Rebuild is Scrub for what was deleted before deletions overwrote: on SQLite the whole file is written anew.
func (db *DB) Rebuild(ctx context.Context, tables ...string) error {
	if db.dialect == SQLite {
		if _, err := db.writer.ExecContext(ctx, "VACUUM"); err != nil {
			return fmt.Errorf("write the ledger anew: %w", err)
		}
	}
	return db.Scrub(ctx, tables...)
}

func (db *DB) emptyLog(ctx context.Context) error {
	var busy, pages, written int64
	if err := db.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &written); err != nil {
		return fmt.Errorf("empty the write-ahead log: %w", err)
	}
	if busy != 0 {
		return fmt.Errorf("the write-ahead log is in use: %w", ErrNotScrubbed)
	}
	return nil
}

// Waiting for transactions that are older than a deletion: they are short.
const (
	olderLooks = 100
	olderWait  = 100 * time.Millisecond
)

func (db *DB) rewrite(ctx context.Context, tables []string) error {
	var began time.Time
	if err := db.writer.QueryRowContext(ctx, `SELECT clock_timestamp()`).Scan(&began); err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	for look := 0; ; look++ {
		var older int64
		err := db.writer.QueryRowContext(ctx, `SELECT COUNT(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < $1`, began).Scan(&older)
		if err != nil {
			return fmt.Errorf("look for transactions that are open: %w", err)
		}
		if older == 0 {
			break
		}
		if look == olderLooks {
			return fmt.Errorf("%d older transactions are open: %w", older, ErrNotScrubbed)
		}
		if err := (clock.Real{}).Sleep(ctx, olderWait); err != nil {
			return err
		}
	}
	if _, err := db.writer.ExecContext(ctx, "VACUUM (FULL) "+strings.Join(tables, ", ")); err != nil {
		return fmt.Errorf("write tables anew: %w", err)
	}
	return nil
}
