package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"hostmeter/internal/failpoint"
	"hostmeter/schemas"
)

// ErrNewer is returned for a ledger that a newer hostmeter has migrated.
var ErrNewer = errors.New("ledger was written by a newer hostmeter")

// Migrate brings the schema up to date, each migration in a transaction of its own that also
// remembers it: a killed migration is run again from its beginning. A newer ledger is refused before
// anything is changed.
//
// Several processes may call it at once: one migrates, the others wait for it.
//
// Errors: ErrNewer, the driver's.
func (db *DB) Migrate(ctx context.Context) error { return db.migrate(ctx, schemas.Migrations, "") }

// MigrateTo is Migrate up to and including the migrations whose number is not above last, as "0078"; all where it
// is empty. It is for tests of what a migration does to a ledger from before it.
func (db *DB) MigrateTo(ctx context.Context, last string) error {
	return db.migrate(ctx, schemas.Migrations, last)
}

// MigrateWith is Migrate with the files migrations/*.sql of a folder instead of the program's own: those of an
// earlier version, where the way from it is tested.
func (db *DB) MigrateWith(ctx context.Context, migrations fs.FS) error {
	return db.migrate(ctx, migrations, "")
}

func (db *DB) migrate(ctx context.Context, migrations fs.FS, last string) error {
	unlock, err := db.lockMigrations(ctx)
	if err != nil {
		return fmt.Errorf("wait for other processes' migrations: %w", err)
	}
	defer unlock()
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	if err := db.refuseNewer(ctx, names); err != nil {
		return err
	}
	err = db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS migration (name TEXT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the table of migrations: %w", err)
	}
	for _, name := range names {
		if number := path.Base(name)[:4]; last != "" && number > last {
			continue
		}
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return err
		}
		if err := db.migrateOne(ctx, name, string(text), names); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
		failpoint.Hit(failpoint.StoreMigrated)
	}
	return nil
}

// refuseNewer looks at a ledger that may have no table of migrations yet, and changes nothing.
func (db *DB) refuseNewer(ctx context.Context, known []string) error {
	return db.View(ctx, func(tx *Tx) error {
		there := `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'migration'`
		if db.dialect == PostgreSQL {
			there = `SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'migration'`
		}
		var n int64
		if err := tx.QueryRow(ctx, there).Scan(&n); err != nil || n == 0 {
			return err
		}
		_, err := applied(ctx, tx, known)
		return err
	})
}

// applied returns the names of the migrations that a ledger has. Errors: ErrNewer where one is not known.
func applied(ctx context.Context, tx *Tx, known []string) (map[string]bool, error) {
	rows, err := tx.Query(ctx, `SELECT name FROM migration ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	has := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s is not known here: %w", name, ErrNewer)
		}
		has[name] = true
	}
	return has, rows.Err()
}

// migrationLock is the key of PostgreSQL's advisory lock, "hostmete" in ASCII.
const migrationLock = 0x686f73746d657465

// lockMigrations keeps other processes from migrating until unlock is called. On SQLite the one writer
// is lock enough. The lock belongs to a connection of its own, and ends with it.
func (db *DB) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if db.dialect != PostgreSQL {
		return func() {}, nil
	}
	conn, err := db.writer.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock)) // else it ends with the connection
		_ = conn.Close()
	}, nil
}

// migrateOne runs a migration where it has not been. A newer process may have migrated since it was looked
// for, so it is looked for again.
func (db *DB) migrateOne(ctx context.Context, name, text string, known []string) error {
	return db.Update(ctx, func(tx *Tx) error {
		has, err := applied(ctx, tx, known)
		if err != nil || has[name] {
			return err
		}
		for i, statement := range statements(tx.dialectText(text)) {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", firstLine(statement), err)
			}
			if db.inMigration != nil {
				db.inMigration(name, i)
			}
		}
		failpoint.Hit(failpoint.StoreMigrating)
		_, err = tx.Exec(ctx, `INSERT INTO migration (name, applied_at) VALUES (?, ?)`, name, tx.Now.UnixNano())
		return err
	})
}

func (tx *Tx) dialectText(text string) string {
	blob, serial := "BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"
	if tx.Dialect == PostgreSQL {
		blob, serial = "BYTEA", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	}
	return strings.NewReplacer("{{blob}}", blob, "{{serial}}", serial).Replace(text)
}

// statements cuts a migration at the semicolons that end a line; comment lines are left out.
func statements(text string) []string {
	var out []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") || strings.TrimSpace(line) == "" {
			continue
		}
		b.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			out = append(out, strings.TrimSpace(b.String()))
			b.Reset()
		}
	}
	if rest := strings.TrimSpace(b.String()); rest != "" {
		out = append(out, rest)
	}
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
