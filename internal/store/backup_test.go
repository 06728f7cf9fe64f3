package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// put writes a setting; settings reads how many there are.
func put(t *testing.T, db *store.DB, name string) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `INSERT INTO setting (name, value) VALUES (?, '')`, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func settings(t *testing.T, dsn string) (n int) {
	t.Helper()
	db := openEmpty(t, dsn)
	defer db.Close()
	err := db.View(context.Background(), func(tx *store.Tx) error {
		return tx.QueryRow(context.Background(), `SELECT COUNT(*) FROM setting`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBackupIsOfOneInstant copies a ledger while another goroutine writes pairs: no copy has half a pair.
func TestBackupIsOfOneInstant(t *testing.T) {
	db := storetest.SQLite(t, clock.Real{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil && ctx.Err() == nil; i++ {
			err = db.Update(context.Background(), func(tx *store.Tx) error {
				for _, half := range []string{"a", "b"} {
					if _, err := tx.Exec(context.Background(), `INSERT INTO setting (name, value) VALUES (?, '')`, fmt.Sprint(i, half)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		ended <- err
	}()
	path := filepath.Join(t.TempDir(), "it's a backup?.db")
	for range 10 {
		size, err := db.Backup(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != size || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v; want %d octets for the owner alone", info, err, size)
		}
		to := "sqlite:" + filepath.Join(t.TempDir(), "data", "ledger.db")
		if _, err := store.Restore(t.Context(), path, to, false, clock.Real{}); err != nil {
			t.Fatal(err)
		}
		if n := settings(t, to); n%2 != 0 {
			t.Fatalf("the copy has half a transaction: %d rows", n)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestRestore(t *testing.T) {
	ctx := context.Background()
	folder := t.TempDir()
	path, backup := filepath.Join(folder, "ledger.db"), filepath.Join(folder, "backup.db")
	dsn := "sqlite:" + path
	now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	db := openEmpty(t, dsn)
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, db, "before")
	if _, err := db.Backup(ctx, backup); err != nil {
		t.Fatal(err)
	}
	put(t, db, "after")
	refused := func(want error, from string, replace bool) {
		t.Helper()
		if _, err := store.Restore(ctx, from, dsn, replace, now); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if n := settings(t, dsn); n != 2 {
			t.Fatalf("%d rows after a restore that was refused, want 2", n)
		}
		if entries, _ := filepath.Glob(filepath.Join(folder, "*.re*")); len(entries) != 0 {
			t.Fatalf("left behind: %v", entries)
		}
	}
	refused(store.ErrExists, backup, false)
	refused(store.ErrInUse, backup, true)
	whole, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := filepath.Join(folder, "spoilt.db")
	spoil := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(spoilt, data, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(store.ErrNotBackup, spoilt, true)
	}
	spoil(whole[:len(whole)/2])
	spoil([]byte("name,amount\n"))
	spoil(nil)
	torn := append([]byte{}, whole...)
	copy(torn[4096*3:], make([]byte, 4096))
	spoil(torn)
	newer := filepath.Join(folder, "newer.db")
	future := openEmpty(t, "sqlite:"+newer)
	if err := future.MigrateWith(ctx, withFiles(t, "", map[string]string{"migrations/9999_future.sql": "CREATE TABLE future (id BIGINT NOT NULL);"})); err != nil {
		t.Fatal(err)
	}
	if err := future.Close(); err != nil {
		t.Fatal(err)
	}
	refused(store.ErrNewer, newer, true)
	refused(os.ErrNotExist, filepath.Join(folder, "nowhere.db"), true)

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := store.Restore(ctx, backup, dsn, true, now)
	if err != nil || kept != path+".replaced-20261001T000000Z" {
		t.Fatalf("kept %q, %v", kept, err)
	}
	if n := settings(t, dsn); n != 1 {
		t.Fatalf("%d rows restored, want 1", n)
	}
	if n := settings(t, "sqlite:"+kept); n != 2 {
		t.Fatalf("%d rows in the ledger that was replaced, want 2", n)
	}
}

// TestRestoreOverARuinedLedger is what a restore is for.
func TestRestoreOverARuinedLedger(t *testing.T) {
	folder := t.TempDir()
	path, backup := filepath.Join(folder, "ledger.db"), filepath.Join(folder, "backup.db")
	db := storetest.SQLite(t, clock.Real{})
	put(t, db, "kept")
	if _, err := db.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{path: "not a database, but longer than a header of one hundred octets would be, so that it is looked at ......", path + "-wal": "a log", path + "-shm": "an index"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Restore(t.Context(), backup, "sqlite:"+path, true, clock.Real{}); err != nil {
		t.Fatal(err)
	}
	if n := settings(t, "sqlite:"+path); n != 1 {
		t.Fatalf("%d rows restored, want 1", n)
	}
}

// TestBackupThatCannotBeWrittenLeavesTheLastOne has no room: a folder of the name it would be begun under.
func TestBackupThatCannotBeWrittenLeavesTheLastOne(t *testing.T) {
	db := storetest.SQLite(t, clock.Real{})
	path := filepath.Join(t.TempDir(), "backup.db")
	if _, err := db.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path+".new", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Backup(t.Context(), path); err == nil {
		t.Fatal("a backup over a folder")
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Fatalf("the last backup was touched: %v", err)
	}
}
