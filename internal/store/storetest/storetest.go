// Package storetest gives tests a migrated, empty store of each kind.
//
// SQLite is always there. PostgreSQL is used where HOSTMETER_TEST_POSTGRES holds the DSN of a server
// on which databases can be made; `make test-real` starts one and sets it. Without it a test says so,
// and fails where CI=true.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// EnvPostgres names the variable that holds the DSN of a PostgreSQL server for tests.
const EnvPostgres = "HOSTMETER_TEST_POSTGRES"

// Each runs f as a subtest on every kind of store that this machine has.
func Each(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	EachWithClock(t, clock.Real{}, f)
}

// EachWithClock is Each with transactions that take their time from c.
func EachWithClock(t *testing.T, c clock.Clock, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		f(t, open(t, "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), c))
	})
	t.Run("postgres", func(t *testing.T) {
		f(t, open(t, postgres(t), c))
	})
}

// SQLite returns a migrated, empty SQLite store that is closed with the test.
func SQLite(t testing.TB, c clock.Clock) *store.DB {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), c)
}

func open(t testing.TB, dsn string, c clock.Clock) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), dsn, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return db
}

// EmptyPostgres returns the DSN of a database that nobody has migrated yet, or skips the test.
func EmptyPostgres(t *testing.T) string {
	t.Helper()
	return postgres(t)
}

// postgres makes a database for one test and returns its DSN.
func postgres(t *testing.T) string {
	t.Helper()
	server := os.Getenv(EnvPostgres)
	if server == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not set: CI runs the tests by `make test`, which starts PostgreSQL", EnvPostgres)
		}
		t.Skipf("NOT TESTED ON POSTGRESQL: %s is not set; `make test-real` starts a server and sets it", EnvPostgres)
	}
	return Database(t, server)
}

// Database makes a database for one test on a server, whose DSN is given, and returns its DSN.
func Database(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	name := "test_" + hex.EncodeToString(random[:])
	admin(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { drop(t, server, name) })
	u.Path = "/" + name
	return u.String()
}
