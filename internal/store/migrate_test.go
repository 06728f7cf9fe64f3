package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// TestNewerLedgerIsRefusedUntouched lacks a migration of ours and has one that we do not know: ours must not be
// applied to it.
func TestNewerLedgerIsRefusedUntouched(t *testing.T) {
	eachEmpty(t, func(t *testing.T, dsn string) {
		ctx := context.Background()
		db := openEmpty(t, dsn)
		newer := withFiles(t, "0060_", map[string]string{"migrations/9999_future.sql": "CREATE TABLE future (id BIGINT NOT NULL);"})
		if err := db.MigrateWith(ctx, newer); err != nil {
			t.Fatal(err)
		}
		before := schemaOf(t, db)
		if err := db.Migrate(ctx); !errors.Is(err, store.ErrNewer) {
			t.Fatalf("got %v, want ErrNewer", err)
		}
		if after := schemaOf(t, db); after != before {
			t.Fatalf("a refused ledger was changed from\n%s\nto\n%s", before, after)
		}
	})
}

// TestMigrationThatFailsChangesNothing fails in the last statement of a migration, and goes on once it is right.
func TestMigrationThatFailsChangesNothing(t *testing.T) {
	eachEmpty(t, func(t *testing.T, dsn string) {
		ctx := context.Background()
		db := openEmpty(t, dsn)
		if err := db.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		before := schemaOf(t, db)
		const good = "CREATE TABLE one (id BIGINT NOT NULL);\nALTER TABLE customer ADD COLUMN more TEXT NOT NULL DEFAULT '';\n"
		bad := withFiles(t, "", map[string]string{"migrations/9000_next.sql": good + "INSERT INTO missing VALUES (1);"})
		if err := db.MigrateWith(ctx, bad); err == nil || !strings.Contains(err.Error(), "migration migrations/9000_next.sql") {
			t.Fatalf("got %v, want an error that names the migration", err)
		}
		if after := schemaOf(t, db); after != before {
			t.Fatalf("half of a migration was left:\n%s", after)
		}
		if err := db.MigrateWith(ctx, withFiles(t, "", map[string]string{"migrations/9000_next.sql": good})); err != nil {
			t.Fatal(err)
		}
	})
}

const (
	envMigrate = "HOSTMETER_TEST_MIGRATE_DSN"
	envStop    = "HOSTMETER_TEST_MIGRATE_STOP"
)

// TestMain lets the test's own program be the process that is killed.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(envMigrate); dsn != "" {
		migrateAndHang(dsn, os.Getenv(envStop))
	}
	os.Exit(m.Run())
}

// migrateAndHang migrates up to a place, says so, and waits to be killed.
func migrateAndHang(dsn, place string) {
	db, err := store.Open(context.Background(), dsn, clock.Real{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	db.InMigration(func(name string, statement int) {
		if fmt.Sprintf("%s#%d", name, statement) == place {
			fmt.Println("there")
			select {}
		}
	})
	fmt.Println(db.Migrate(context.Background()))
	os.Exit(1)
}

// TestKilledMigrationIsRunAgain kills a process behind the first and the last statement of each migration, one
// after the other on the same ledger, and compares the schema with that of an undisturbed one.
func TestKilledMigrationIsRunAgain(t *testing.T) {
	eachEmpty(t, func(t *testing.T, dsn string) {
		for _, place := range placesToDie(t) {
			killIn(t, dsn, place)
		}
		db := openEmpty(t, dsn)
		if err := db.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		undisturbed := openEmpty(t, map[store.Dialect]func(*testing.T) string{
			store.SQLite: emptySQLite, store.PostgreSQL: storetest.EmptyPostgres}[db.Dialect()](t))
		if err := undisturbed.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got, want := schemaOf(t, db), schemaOf(t, undisturbed); got != want {
			t.Fatalf("after %d kills the schema is\n%s\nwant\n%s", len(placesToDie(t)), got, want)
		}
	})
}

// placesToDie are "name#statement", in the order in which a migration meets them.
func placesToDie(t *testing.T) (places []string) {
	t.Helper()
	db := openEmpty(t, emptySQLite(t))
	last, lastStatement := "", 0
	db.InMigration(func(name string, statement int) {
		if name != last {
			if lastStatement > 0 {
				places = append(places, fmt.Sprintf("%s#%d", last, lastStatement))
			}
			places = append(places, name+"#0")
		}
		last, lastStatement = name, statement
	})
	if err := db.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return places
}

func killIn(t *testing.T, dsn, place string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(self, "-test.run=^$")
	process.Env = append(os.Environ(), envMigrate+"="+dsn, envStop+"="+place)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	if line != "there\n" {
		t.Fatalf("%s: the process says %q", place, line)
	}
}

// eachEmpty runs f with a store of each kind that nobody has migrated.
func eachEmpty(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, emptySQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, storetest.EmptyPostgres(t)) })
}

func emptySQLite(t *testing.T) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "ledger.db")
}

func openEmpty(t *testing.T, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), dsn, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// withFiles returns the program's migrations before a name, all where it is empty, and more files.
func withFiles(t *testing.T, before string, more map[string]string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(schemas.Migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if text, err := fs.ReadFile(schemas.Migrations, name); err != nil {
			t.Fatal(err)
		} else if before == "" || filepath.Base(name) < before {
			files[name] = &fstest.MapFile{Data: text}
		}
	}
	for name, text := range more {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// schemaOf describes every table, column and index, and which migrations a ledger remembers.
func schemaOf(t *testing.T, db *store.DB) string {
	t.Helper()
	queries := []string{`SELECT COALESCE(sql, name) FROM sqlite_master ORDER BY type, name`, `SELECT name FROM migration ORDER BY name`}
	if db.Dialect() == store.PostgreSQL {
		queries[0] = `SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || COALESCE(column_default, '')
			FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position`
		queries = append(queries, `SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexdef`)
	}
	var lines []string
	err := db.View(context.Background(), func(tx *store.Tx) error {
		for _, query := range queries {
			rows, err := tx.Query(context.Background(), query)
			if err != nil {
				return err
			}
			for rows.Next() {
				var line string
				if err := rows.Scan(&line); err != nil {
					return err
				}
				lines = append(lines, line)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
