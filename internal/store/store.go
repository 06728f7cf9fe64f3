// Package store opens the SQL store, SQLite or PostgreSQL, brings its schema up to date and runs
// transactions, each of which has one time.
//
// One SQL text serves both: placeholders are `?`, types are BIGINT, TEXT and {{blob}}, upserts are
// INSERT … ON CONFLICT … DO UPDATE, times are BIGINT nanoseconds since the Unix epoch, UTC.
// It promises that a transaction which returned without error is durable: SQLite runs with
// synchronous=FULL in WAL mode, and PostgreSQL with fsync and synchronous_commit, read back at start. It does not retry: a caller whose transaction
// failed, or ended with ErrUnknownOutcome, decides what that means.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver of database/sql
	_ "modernc.org/sqlite"             // the "sqlite" driver of database/sql

	"hostmeter/internal/clock"
	"hostmeter/internal/failpoint"
)

// Dialect is which kind of store this is.
type Dialect string

// The stores.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// ErrUnknownOutcome is returned when the reply to a commit was lost: it may have happened.
var ErrUnknownOutcome = errors.New("commit may or may not have taken effect")

// ErrUnsafe is returned when a store does not run with the durability that money needs.
var ErrUnsafe = errors.New("store is not durable")

// DB is an open store. It is safe for concurrent use.
type DB struct {
	dialect       Dialect
	writer, views *sql.DB
	clock         clock.Clock
	faults        Faults
	// inMigration is called by tests' wish behind each statement of a migration; nil otherwise.
	inMigration func(name string, statement int)
}

// Open opens dsn: "sqlite:PATH" (folders are made) or "postgres://…". It does not migrate.
//
// Errors: ErrUnsafe, what the driver says.
func Open(ctx context.Context, dsn string, c clock.Clock) (*DB, error) {
	db := &DB{clock: c}
	var err error
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		err = db.openSQLite(ctx, strings.TrimPrefix(dsn, "sqlite:"))
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		err = db.openPostgreSQL(ctx, dsn)
	default:
		err = fmt.Errorf("store %q: want sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE", redact(dsn))
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) openSQLite(ctx context.Context, path string) error {
	db.dialect = SQLite
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("make the folder of the ledger: %w", err)
	}
	// secure_delete: what is deleted is overwritten, so that an erased customer's key is not left in the file.
	const pragmas = "_pragma=busy_timeout(15000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)&_pragma=secure_delete(ON)"
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas
	var err error
	if db.writer, err = sql.Open("sqlite", name+"&_txlock=immediate"); err != nil {
		return err
	}
	db.writer.SetMaxOpenConns(1) // SQLite has one writer; waiting in Go is cheaper than in its busy loop
	if db.views, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	db.views.SetMaxOpenConns(4)
	for _, pool := range []*sql.DB{db.writer, db.views} {
		if err := readBack(ctx, pool, durableSQLite); err != nil {
			return fmt.Errorf("open ledger %s: %w", path, err)
		}
	}
	return nil
}

// durability is a setting that a store is asked for when it is opened, and the answers that are good.
type durability struct {
	name, query string
	want        []string
}

// With less, a commit that returned may be gone after a power cut: SQLite's NORMAL in WAL mode, and PostgreSQL's
// synchronous_commit=off. What was handed to a billing system by then would be handed over again.
var (
	durableSQLite = []durability{
		{"journal_mode", "PRAGMA journal_mode", []string{"wal"}},
		{"synchronous", "PRAGMA synchronous", []string{"2", "3"}}, // FULL, EXTRA
		{"foreign_keys", "PRAGMA foreign_keys", []string{"1"}},
	}
	durablePostgreSQL = []durability{
		{"fsync", "SHOW fsync", []string{"on"}},
		{"full_page_writes", "SHOW full_page_writes", []string{"on"}},
		{"synchronous_commit", "SHOW synchronous_commit", []string{"on", "local", "remote_write", "remote_apply"}},
	}
)

// busyAttempts and busyPause are how often, and how long after each other, a locked file is asked again.
const (
	busyAttempts = 500
	busyPause    = 10 * time.Millisecond
)

// readBack asks for settings, and refuses a store that runs with another one.
func readBack(ctx context.Context, pool *sql.DB, settings []durability) error {
	for _, s := range settings {
		var got string
		err := pool.QueryRowContext(ctx, s.query).Scan(&got)
		for i := 0; i < busyAttempts && IsConflict(err); i++ { // another process makes the file's WAL just now, for which SQLite does not wait
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(busyPause):
			}
			err = pool.QueryRowContext(ctx, s.query).Scan(&got)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
		if !slices.Contains(s.want, got) {
			return fmt.Errorf("%w: %s is %s, and has to be %s", ErrUnsafe, s.name, got, s.want[0])
		}
	}
	return nil
}

func (db *DB) openPostgreSQL(ctx context.Context, dsn string) error {
	db.dialect = PostgreSQL
	var err error
	if db.writer, err = sql.Open("pgx", dsn); err != nil {
		return err
	}
	db.writer.SetMaxOpenConns(16)
	db.views = db.writer
	if err := db.writer.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", redact(dsn), err)
	}
	if err := readBack(ctx, db.writer, durablePostgreSQL); err != nil {
		return fmt.Errorf("%s: %w", redact(dsn), err)
	}
	return nil
}

// Close closes the store. It may be called twice.
func (db *DB) Close() error {
	var first error
	for _, pool := range []*sql.DB{db.writer, db.views} {
		if pool == nil {
			continue
		}
		if err := pool.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Dialect tells which kind of store this is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Tx is one transaction.
type Tx struct {
	// Now is the one time of this transaction.
	Now     time.Time
	Dialect Dialect
	tx      *sql.Tx
}

// Update runs f in a transaction that may write, and commits it when f returns nil.
//
// On PostgreSQL it is REPEATABLE READ: a concurrent change of a row that f wrote makes it fail
// (IsConflict). Errors: f's, ErrUnknownOutcome, the driver's.
func (db *DB) Update(ctx context.Context, f func(tx *Tx) error) error {
	return db.run(ctx, db.writer, &sql.TxOptions{Isolation: db.isolation()}, db.faults.around(f), db.faults.AfterCommit)
}

// View runs f in a transaction that only reads, on one snapshot.
func (db *DB) View(ctx context.Context, f func(tx *Tx) error) error {
	return db.run(ctx, db.views, &sql.TxOptions{Isolation: db.isolation(), ReadOnly: true}, f, nil)
}

// Answers says why the store, which is migrated, cannot be read, by reading one row.
func (db *DB) Answers(ctx context.Context) error {
	return db.View(ctx, func(tx *Tx) error {
		var name string
		return tx.QueryRow(ctx, `SELECT name FROM migration ORDER BY name LIMIT 1`).Scan(&name)
	})
}

func (db *DB) isolation() sql.IsolationLevel {
	if db.dialect == PostgreSQL {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault // SQLite has one level, and it is the strictest
}

// limitPause ends a writing transaction whose process says nothing for so long: one that is paused or hangs
// would keep others from the rows that it has written for as long as it is there. Closing a month computes for a
// while between what it reads and what it writes.
const limitPause = `SET LOCAL idle_in_transaction_session_timeout = '2min'`

func (db *DB) run(ctx context.Context, pool *sql.DB, options *sql.TxOptions, f func(tx *Tx) error, replied func() error) error {
	tx, err := pool.BeginTx(ctx, options)
	if isInterrupted(err) && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if db.dialect == PostgreSQL && !options.ReadOnly {
		if _, err := tx.ExecContext(ctx, limitPause); err != nil {
			return fmt.Errorf("begin transaction: %w", err)
		}
	}
	if err := f(&Tx{Now: db.clock.Now(), Dialect: db.dialect, tx: tx}); err != nil {
		return err
	}
	if !options.ReadOnly {
		failpoint.Hit(failpoint.StoreCommitting)
	}
	err = tx.Commit()
	if !options.ReadOnly {
		failpoint.Hit(failpoint.StoreCommitted)
		if failpoint.Fault(failpoint.StoreReply) {
			err = errors.Join(err, errors.New("reply lost"))
		}
	}
	if err != nil && !IsConflict(err) && !options.ReadOnly { // of what only reads, nothing was to take effect
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	if err != nil || replied == nil {
		return err
	}
	return replied()
}

// Exec runs a statement and returns the number of rows that it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := tx.tx.ExecContext(ctx, tx.text(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Query runs a query. The caller closes the rows and reads rows.Err.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.tx.QueryContext(ctx, tx.text(query), args...)
}

// Row is one row of an answer.
type Row interface{ Scan(dest ...any) error }

// List returns the rows of a query in their order, each as read makes it of its columns; an empty list where there are
// none. What read refuses ends it.
func List[T any](ctx context.Context, tx *Tx, read func(Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells of it
	list := []T{}
	for rows.Next() {
		one, err := read(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// QueryRow runs a query for at most one row; Scan gives sql.ErrNoRows where there is none.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, tx.text(query), args...)
}

// Prepare prepares a statement for the length of the transaction. The caller closes it.
func (tx *Tx) Prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	return tx.tx.PrepareContext(ctx, tx.text(query))
}

func (tx *Tx) text(query string) string {
	if tx.Dialect == PostgreSQL {
		return numbered(query)
	}
	return query
}

// numbered turns the placeholders `?` into $1, $2 …, leaving string literals alone.
func numbered(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	quoted, n := false, 0
	for _, r := range query {
		switch {
		case r == '\'':
			quoted = !quoted
			b.WriteRune(r)
		case r == '?' && !quoted:
			n++
			b.WriteString("$" + strconv.Itoa(n))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func redact(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil {
		return dsn
	}
	return u.Redacted()
}
