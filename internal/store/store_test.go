package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

func TestMigrateTwiceAndTransactions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		if err := db.Migrate(ctx); err != nil {
			t.Fatalf("second migration: %v", err)
		}
		refused := errors.New("refused")
		err := db.Update(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO setting (name, value) VALUES (?, 'a?b')`, "kept"); err != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) {
			t.Fatalf("got %v, want the function's own error", err)
		}
		count := func() (n int) {
			t.Helper()
			if err := db.View(ctx, func(tx *store.Tx) error {
				return tx.QueryRow(ctx, `SELECT count(*) FROM setting WHERE value = 'a?b'`).Scan(&n)
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := count(); n != 0 {
			t.Fatalf("%d rows of a transaction that was rolled back", n)
		}
		insert := func() error {
			return db.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO setting (name, value) VALUES (?, 'a?b')`, "kept")
				return err
			})
		}
		if err := insert(); err != nil {
			t.Fatal(err)
		}
		if err := insert(); !store.IsDuplicate(err) {
			t.Fatalf("second insert of one key: got %v, want a duplicate", err)
		}
		if n := count(); n != 1 {
			t.Fatalf("got %d rows, want 1", n)
		}
	})
}

func TestNewerLedgerIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		err := db.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO migration (name, applied_at) VALUES ('migrations/9999_future.sql', 1)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(ctx); !errors.Is(err, store.ErrNewer) {
			t.Fatalf("got %v, want ErrNewer", err)
		}
	})
}

func TestOpenRefusesUnknownKind(t *testing.T) {
	_, err := store.Open(context.Background(), "mysql://x", clock.Real{})
	if err == nil {
		t.Fatal("opened a store that does not exist")
	}
}

func TestTransactionHasOneTime(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	db, err := store.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "sub", "ledger.db"), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(context.Background(), func(tx *store.Tx) error {
		c.Advance(time.Hour)
		if want := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC); !tx.Now.Equal(want) {
			t.Errorf("time of the transaction is %s, want %s", tx.Now, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestProcessesThatStartTogetherMigrateOnce opens one new database as several processes do at once.
func TestProcessesThatStartTogetherMigrateOnce(t *testing.T) {
	for name, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "ledger.db") },
		"postgres": storetest.EmptyPostgres,
	} {
		t.Run(name, func(t *testing.T) {
			shared := dsn(t)
			ended := make(chan error)
			const processes = 6
			for range processes {
				go func() {
					db, err := store.Open(context.Background(), shared, clock.Real{})
					if err == nil {
						err = errors.Join(db.Migrate(context.Background()), db.Close())
					}
					ended <- err
				}()
			}
			for range processes {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		refused := errors.New("refused")
		read := func(row store.Row) (name string, err error) {
			if err = row.Scan(&name); name == "c" {
				err = refused
			}
			return name, err
		}
		list := func(below string) (names []string, err error) {
			err = db.View(t.Context(), func(tx *store.Tx) (err error) {
				names, err = store.List(t.Context(), tx, read, `SELECT name FROM setting WHERE value = 'listed' AND name < ? ORDER BY name`, below)
				return err
			})
			return names, err
		}
		if names, err := list("z"); err != nil || names == nil || len(names) != 0 {
			t.Fatalf("of nothing: %#v, %v", names, err)
		}
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO setting (name, value) VALUES ('c', 'listed'), ('b', 'listed'), ('a', 'listed')`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if names, err := list("c"); err != nil || !slices.Equal(names, []string{"a", "b"}) {
			t.Fatalf("%q, %v", names, err)
		}
		if names, err := list("z"); !errors.Is(err, refused) || names != nil {
			t.Fatalf("%q, %v, want what read refused", names, err)
		}
	})
}
