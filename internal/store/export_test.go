package store

import (
	"context"
	"database/sql"
)

// InMigration has f called behind each statement of a migration.
func (db *DB) InMigration(f func(name string, statement int)) { db.inMigration = f }

// ReadBackSQLite is what Open does with each of its pools.
func ReadBackSQLite(ctx context.Context, db *sql.DB) error { return readBack(ctx, db, durableSQLite) }
