package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/durable"
	"hostmeter/schemas"
)

var (
	// ErrServer is returned where a file is asked of PostgreSQL, which has its own tools.
	ErrServer = errors.New("the ledger is on a PostgreSQL server")
	// ErrNotBackup is returned for a file that is no ledger, or not a sound one.
	ErrNotBackup = errors.New("not a sound backup of a ledger")
	// ErrInUse is returned where another process has the ledger open.
	ErrInUse = errors.New("another process has the ledger open")
	// ErrExists is returned where a ledger would be replaced and nobody said so.
	ErrExists = errors.New("there is a ledger already")
)

// Backup writes a copy of a SQLite store, as it is at one instant, to a file that appears whole and durable or
// not at all; one of that name is replaced. Others read and write meanwhile.
//
// Errors: ErrServer, ErrNotBackup where the copy is not sound, the file system's.
func (db *DB) Backup(ctx context.Context, path string) (size int64, err error) {
	if db.dialect != SQLite {
		return 0, ErrServer
	}
	begun := path + ".new"
	file, err := os.OpenFile(begun, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) // VACUUM INTO takes an empty file
	if err != nil {
		return 0, err
	}
	defer os.Remove(begun)
	defer file.Close()
	if _, err := db.views.ExecContext(ctx, "VACUUM INTO ?", begun); err != nil {
		return 0, fmt.Errorf("copy the ledger to %s: %w", begun, err)
	}
	if err := check(ctx, begun); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), appear(begun, path)
}

// appear gives a durable file its name, durably.
func appear(begun, path string) error {
	if err := os.Rename(begun, path); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(path))
}

// check reads a whole file as SQLite does, and looks whether it is a ledger.
func check(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer db.Close()
	var said string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrNotBackup, err)
	}
	if said != "ok" {
		return fmt.Errorf("%s: %w: %s", path, ErrNotBackup, strings.ReplaceAll(said, "\n", "; "))
	}
	return checkMigrations(ctx, db, path)
}

// checkMigrations refuses what no ledger is, and one that this program could not open.
func checkMigrations(ctx context.Context, db *sql.DB, path string) error {
	known, err := fs.Glob(schemas.Migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var names string
	if err := db.QueryRowContext(ctx, "SELECT COALESCE(group_concat(name, ' '), '') FROM migration").Scan(&names); err != nil || names == "" {
		return fmt.Errorf("%s: %w: it has no migrations", path, ErrNotBackup)
	}
	for _, name := range strings.Fields(names) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s: %s is not known here: %w", path, name, ErrNewer)
		}
	}
	return nil
}

// Restore makes a SQLite store of a backup. One that is there is kept beside it under the name that is returned;
// without replace it is an error. The store is neither migrated nor opened.
//
// Errors: ErrServer, ErrNotBackup, ErrNewer, ErrExists, ErrInUse, the file system's. After each of them the store is as it
// was, except that where the last step fails it may stand under its new name.
func Restore(ctx context.Context, backup, dsn string, replace bool, c clock.Clock) (kept string, err error) {
	path, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok {
		return "", ErrServer
	}
	if err := check(ctx, backup); err != nil {
		return "", err
	}
	there := true
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		there = false
	} else if err != nil {
		return "", err
	}
	if there && !replace {
		return "", fmt.Errorf("%s: %w", path, ErrExists)
	}
	begun := path + ".restored"
	if err := copyFile(begun, backup); err != nil {
		return "", fmt.Errorf("copy the backup: %w", err)
	}
	defer os.Remove(begun)
	if there {
		kept = path + ".replaced-" + c.Now().UTC().Format("20060102T150405Z")
		if err := setAside(ctx, path, kept); err != nil {
			return "", err
		}
	}
	// What a killed process left beside a ledger that is gone must not be read into this one.
	for _, rest := range []string{"-wal", "-shm"} {
		if kept != "" {
			err = os.Rename(path+rest, kept+rest)
		} else {
			err = os.Remove(path + rest)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return kept, err
		}
	}
	return kept, appear(begun, path)
}

// copyFile writes a durable copy.
func copyFile(to, from string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	copied, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	if _, err := io.Copy(copied, source); err != nil {
		return err
	}
	return copied.Sync()
}

// setAside renames a ledger that nobody has open. Leaving the write-ahead log's mode folds that log in, and
// SQLite does it only for the sole user of a file.
func setAside(ctx context.Context, path, kept string) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout("+fmt.Sprint(inUseWait.Milliseconds())+")")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var mode string
	err = db.QueryRowContext(ctx, "PRAGMA journal_mode=DELETE").Scan(&mode)
	if IsConflict(err) || err == nil && mode != "delete" {
		return fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil && !isNotDatabase(err) { // a ruined one is set aside as it is
		return fmt.Errorf("set %s aside: %w", path, err)
	}
	if err := db.Close(); err != nil {
		return err
	}
	return os.Rename(path, kept)
}

// inUseWait is how long a process that just ends may take to let go of its ledger.
const inUseWait = 3 * time.Second
