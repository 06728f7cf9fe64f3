package store

// InMigration has f called behind each statement of a migration.
func (db *DB) InMigration(f func(name string, statement int)) { db.inMigration = f }
