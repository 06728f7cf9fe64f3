package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"hostmeter/schemas"
)

// ErrNewer is returned for a ledger that a newer hostmeter has migrated.
var ErrNewer = errors.New("ledger was written by a newer hostmeter")

// Migrate brings the schema up to date, each migration in a transaction of its own that also
// remembers it: a killed migration is run again from its beginning.
//
// Several processes may call it at once: one migrates, the others wait for it.
//
// Errors: ErrNewer, the driver's.
func (db *DB) Migrate(ctx context.Context) error { return db.MigrateTo(ctx, "") }

// MigrateTo is Migrate up to and including the migrations whose number is not above last, as "0078"; all where it
// is empty. It is for tests of what a migration does to a ledger from before it.
func (db *DB) MigrateTo(ctx context.Context, last string) error {
	unlock, err := db.lockMigrations(ctx)
	if err != nil {
		return fmt.Errorf("wait for other processes' migrations: %w", err)
	}
	defer unlock()
	names, err := migrationNames()
	if err != nil {
		return err
	}
	err = db.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS migration (name TEXT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the table of migrations: %w", err)
	}
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
		if number := path.Base(name)[:4]; last != "" && number > last {
			continue
		}
		if err := db.migrateOne(ctx, name); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return db.refuseNewer(ctx, known)
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

func migrationNames() ([]string, error) {
	names, err := fs.Glob(schemas.Migrations, "migrations/*.sql")
	sort.Strings(names)
	return names, err
}

func (db *DB) migrateOne(ctx context.Context, name string) error {
	text, err := fs.ReadFile(schemas.Migrations, name)
	if err != nil {
		return err
	}
	return db.Update(ctx, func(tx *Tx) error {
		var applied int64
		err := tx.QueryRow(ctx, `SELECT applied_at FROM migration WHERE name = ?`, name).Scan(&applied)
		if err == nil {
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		for _, statement := range statements(tx.dialectText(string(text))) {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", firstLine(statement), err)
			}
		}
		_, err = tx.Exec(ctx, `INSERT INTO migration (name, applied_at) VALUES (?, ?)`, name, tx.Now.UnixNano())
		return err
	})
}

func (db *DB) refuseNewer(ctx context.Context, known map[string]bool) error {
	return db.View(ctx, func(tx *Tx) error {
		rows, err := tx.Query(ctx, `SELECT name FROM migration ORDER BY name`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			if !known[name] {
				return fmt.Errorf("%s is not known here: %w", name, ErrNewer)
			}
		}
		return rows.Err()
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
