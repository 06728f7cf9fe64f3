package store_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// TestReplyToACommitIsLost is its own outcome: neither done nor not done, until somebody looks.
func TestReplyToACommitIsLost(t *testing.T) {
	lost := errors.New("the disk did not answer")
	t.Run("sqlite", func(t *testing.T) {
		dsn := emptySQLite(t)
		db := openEmpty(t, dsn)
		if err := db.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		db.Inject(store.Faults{AfterCommit: func() error { return lost }})
		if err := putErr(db, "row"); !errors.Is(err, store.ErrUnknownOutcome) || !errors.Is(err, lost) {
			t.Fatalf("got %v, want an unknown outcome", err)
		}
		db.Inject(store.Faults{})
		if err := putErr(db, "row"); !store.IsDuplicate(err) {
			t.Fatalf("again: %v, want a duplicate, for the first took effect", err)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		direct := storetest.EmptyPostgres(t)
		if err := openEmpty(t, direct).Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		fate := storetest.Delivered
		db := openEmpty(t, storetest.Lossy(t, direct, func() storetest.Fate { return fate }))
		for _, c := range []struct {
			name string
			fate storetest.Fate
			rows int
		}{{"request", storetest.RequestLost, 0}, {"reply", storetest.ReplyLost, 1}, {"none", storetest.Delivered, 2}} {
			fate = c.fate
			err := putErr(db, c.name)
			if unknown := errors.Is(err, store.ErrUnknownOutcome); unknown != (c.fate != storetest.Delivered) || !unknown && err != nil {
				t.Fatalf("%s is lost: %v", c.name, err)
			}
			if n := settings(t, direct); n != c.rows {
				t.Fatalf("%s is lost: %d rows, want %d", c.name, n, c.rows)
			}
		}
	})
}

func putErr(db *store.DB, name string) error {
	return db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `INSERT INTO setting (name, value) VALUES (?, '')`, name)
		return err
	})
}

// TestStoreThatIsNotDurableIsRefused opens stores that would lose commits in a power cut.
func TestStoreThatIsNotDurableIsRefused(t *testing.T) {
	ctx := context.Background()
	refused := func(dsn, says string) {
		t.Helper()
		db, err := store.Open(ctx, dsn, clock.Real{})
		if err == nil {
			_ = db.Close()
		}
		if !errors.Is(err, store.ErrUnsafe) || !strings.Contains(err.Error(), says) {
			t.Fatalf("%s: got %v, want a refusal that says %q", dsn, err, says)
		}
	}
	refused("sqlite::memory:", "journal_mode is memory, and has to be wal")
	for setting, says := range map[string]string{
		"journal_mode(WAL)&_pragma=synchronous(NORMAL)":  "synchronous is 1, and has to be 2",
		"journal_mode(DELETE)&_pragma=synchronous(FULL)": "journal_mode is delete, and has to be wal",
		"journal_mode(WAL)&_pragma=synchronous(FULL)":    "foreign_keys is 0",
	} {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "ledger.db")+"?_pragma="+setting)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.ReadBackSQLite(ctx, db); !errors.Is(err, store.ErrUnsafe) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", setting, err, says)
		}
		_ = db.Close()
	}
	t.Run("postgres", func(t *testing.T) {
		dsn := storetest.EmptyPostgres(t)
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, "ALTER DATABASE "+config.Database+" SET synchronous_commit = off"); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(ctx, dsn, clock.Real{})
		if err == nil {
			_ = db.Close()
		}
		if !errors.Is(err, store.ErrUnsafe) || !strings.Contains(err.Error(), "synchronous_commit is off, and has to be on") {
			t.Fatalf("got %v, want a refusal", err)
		}
	})
}
