package store

import (
	"context"
	"database/sql"
)

// InMigration has f called behind each statement of a migration.
func (db *DB) InMigration(f func(name string, statement int)) { db.inMigration = f }

// Committed has f called when a commit has taken effect; its error stands for a lost reply.
func (db *DB) Committed(f func() error) { db.committed = f }

// ReadBackSQLite is what Open does with each of its pools.
func ReadBackSQLite(ctx context.Context, db *sql.DB) error { return readBack(ctx, db, durableSQLite) }
