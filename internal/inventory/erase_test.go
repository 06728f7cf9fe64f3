package inventory_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hostmeter/internal/audit"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

const (
	erasedName  = "Wilhelmina Quackenbush"
	erasedEmail = "wilhelmina@quackenbush.example"
)

// eachFile is each, with what is in the store's files or tables.
func eachFile(t *testing.T, f func(t *testing.T, db *store.DB, content func() []byte)) {
	t.Helper()
	c := clock.NewManual(now)
	t.Run("sqlite", func(t *testing.T) {
		folder := t.TempDir()
		f(t, open(t, "sqlite:"+filepath.Join(folder, "ledger.db"), c), func() []byte { return files(t, folder) })
	})
	t.Run("postgres", func(t *testing.T) {
		db := open(t, storetest.EmptyPostgres(t), c)
		f(t, db, func() []byte { return tables(t, db) })
	})
}

func open(t *testing.T, dsn string, c clock.Clock) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), dsn, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// files returns the octets of all files of a folder: the database's, its write-ahead log's, its index's.
func files(t *testing.T, folder string) []byte {
	t.Helper()
	list, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range list {
		text, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// tables returns all rows of all tables of a PostgreSQL database as text.
func tables(t *testing.T, db *store.DB) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, name := range query(t, db, `SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name`) {
		for _, row := range query(t, db, `SELECT CAST(r AS TEXT) FROM `+name+` AS r`) {
			fmt.Fprintln(&all, name, row)
		}
	}
	return all.Bytes()
}

func query(t *testing.T, db *store.DB, text string, args ...any) (cells []string) {
	t.Helper()
	ctx := context.Background()
	err := db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var cell string
			if err := rows.Scan(&cell); err != nil {
				return err
			}
			cells = append(cells, cell)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return cells
}

func exec(t *testing.T, db *store.DB, text string, args ...any) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), text, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func wantAbsent(t *testing.T, content []byte, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if i := bytes.Index(content, []byte(text)); i >= 0 {
			t.Errorf("%q is in the store: …%q…", text, content[max(0, i-60):min(len(content), i+60)])
		}
	}
}

var erasure = inventory.Erasure{Customer: "c1", By: "user:ada", Reason: "letter of 2 November"}

// named is the example, whose customer c1 has the name that is looked for.
func named(t *testing.T) inventory.File {
	text := string(example(t)[0].Text)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "Ada Ltd", erasedName), "ops@example.net", erasedEmail)
	if strings.Count(text, erasedName) != 1 || strings.Count(text, erasedEmail) != 1 {
		t.Fatal("the example has another customer")
	}
	return inventory.File{Name: "example.yaml", Text: []byte(text)}
}

func TestErasureLeavesNoName(t *testing.T) {
	eachFile(t, func(t *testing.T, db *store.DB, content func() []byte) {
		ctx := context.Background()
		if err := db.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		inv := inventory.New(db)
		mustImport(t, inv, named(t))
		if c, _ := snapshot(t, inv).CustomerByID("c1"); c.Name != erasedName || c.Email != erasedEmail {
			t.Fatalf("before: %+v", c)
		}
		wantAbsent(t, content(), erasedName, erasedEmail) // names are sealed from the first
		var secret []byte
		_ = db.View(ctx, func(tx *store.Tx) error {
			return tx.QueryRow(ctx, `SELECT secret FROM customer_key WHERE customer = 'c1'`).Scan(&secret)
		})
		if len(secret) != 32 {
			t.Fatalf("key of %d octets", len(secret))
		}
		exec(t, db, `INSERT INTO incident_event (incident, at, actor, action, text) VALUES ('i1', 1, 'user:bob', 'note', ?)`,
			"called "+strings.ToUpper(erasedName)+", wrote to "+erasedEmail+".")
		exec(t, db, `INSERT INTO address_notice (service, prefix, given_on, given_by, reason, recorded_at) VALUES ('s1', '192.0.2.0/28', '2026-10-01', 'user:bob', ?, 1)`,
			erasedName+" answered")
		exec(t, db, `INSERT INTO statement_approval (number, statement, amount, state, decided_at, decided_by, reason) VALUES (1, 's1/2026-10-01', '60', 'waived', 1, 'user:bob', ?)`,
			"goodwill to "+erasedName)
		exec(t, db, `INSERT INTO handover_receiver (receiver, holder, held_until, failures, next_at, last_error) VALUES ('whmcs', '', 0, 1, 0, ?)`,
			"client "+erasedEmail+" not found")

		done, err := inv.Erase(ctx, erasure)
		if err != nil || done.Already || !done.Scrubbed || done.Rewritten != 4 || len(done.Remaining) != 0 || !slices.Contains(done.Running, "s1") {
			t.Fatalf("erased: %+v, %v", done, err)
		}
		after := content()
		wantAbsent(t, after, erasedName, strings.ToUpper(erasedName), erasedEmail, string(secret), fmt.Sprintf("%x", secret))
		if note := query(t, db, `SELECT text FROM incident_event`); note[0] != "called c1, wrote to c1." {
			t.Errorf("note: %q", note)
		}
		c, ok := snapshot(t, inv).CustomerByID("c1")
		if !ok || c.Name != "" || c.Email != "" || !c.Erased.Equal(now) {
			t.Errorf("after: %+v", c)
		}
		if other, _ := snapshot(t, inv).CustomerByID("c0"); other.Name != "Böhm & Söhne" {
			t.Errorf("another customer: %+v", other)
		}
		events, err := audit.Events(ctx, db, "c1", 0, 10)
		if err != nil || len(events) != 1 || events[0].Actor != "user:ada" || events[0].Action != "erase customer" || events[0].Reason != erasure.Reason || !events[0].At.Equal(now) {
			t.Errorf("audit: %+v, %v", events, err)
		}

		version := snapshot(t, inv).Version
		again, err := inv.Erase(ctx, erasure)
		if err != nil || !again.Already || !again.Scrubbed || snapshot(t, inv).Version != version {
			t.Errorf("again: %+v, %v", again, err)
		}

		difference := mustImport(t, inv, named(t)) // as each night
		if difference.Added+difference.Changed != 0 || !slices.Equal(difference.Nameless, []string{"c1"}) || !strings.Contains(difference.Lines()[0], "c1: was erased") {
			t.Errorf("imported again: %+v", difference)
		}
		mustImport(t, inv, yaml(`customers: [{id: c1, reseller: c0}]`))
		if c, _ := snapshot(t, inv).CustomerByID("c1"); c.Name != "" || c.Reseller != "c0" || c.Erased.IsZero() {
			t.Errorf("changed after the erasure: %+v", c)
		}
		wantAbsent(t, content(), erasedName, erasedEmail)
	})
}

func TestErasureSaysWhatIsWrong(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		ctx := context.Background()
		mustImport(t, inv, named(t))
		if _, err := inv.Erase(ctx, inventory.Erasure{Customer: "c9", By: "a", Reason: "b"}); !errors.Is(err, inventory.ErrUnknown) {
			t.Errorf("unknown: %v", err)
		}
		f := func(by, reason, want string) {
			t.Helper()
			var invalid *inventory.InvalidError
			_, err := inv.Erase(ctx, inventory.Erasure{Customer: "c1", By: by, Reason: reason})
			if !errors.As(err, &invalid) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		f("", " ", "by: missing\nreason: missing")
		f("ada", "asked by "+erasedName+" by letter", "reason: it names the customer, and is kept: write c1 instead")
		if c, _ := snapshot(t, inv).CustomerByID("c1"); c.Name != erasedName {
			t.Errorf("a refused erasure changed the customer: %+v", c)
		}
	})
}

func TestWhatStatementsKeepNamesNobody(t *testing.T) {
	each(t, func(t *testing.T, inv *inventory.Inventory) {
		mustImport(t, inv, named(t))
		f := func(text, want string) {
			t.Helper()
			_, err := inv.Import(context.Background(), []inventory.File{yaml(text)}, false)
			if err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		f(`decisions: [{id: d1, service: s1, decision: waive, from: 2026-10-15T00:00:00Z, by: Jane, reason: wilhelmina quackenbush called}]`,
			"more.yaml:1: reason: it names the customer, and statements keep it for good: write c1 instead")
		f(`customers: [{id: ada@example.net, name: Ada}]`,
			`more.yaml:1: id: "ada@example.net" is an e-mail address: statements keep it for good, so write a number or a word that names nobody`)
		f(`customers: [{id: c7}]`, "more.yaml:1: name: missing")
	})
}

// TestNamesOfOldLedgersAreSealed migrates a ledger that has names in clear, and copies of some in free space.
func TestNamesOfOldLedgersAreSealed(t *testing.T) {
	fill := func(exec func(text string, args ...any)) {
		for i := range 300 {
			exec(`INSERT INTO customer (id, name, email, reseller) VALUES ($1, $2, $3, '')`, fmt.Sprint("c", i), fmt.Sprint(erasedName, " ", i), erasedEmail)
		}
		exec(`UPDATE customer SET name = 'Renamed'`)
		exec(`DELETE FROM customer WHERE id <> 'c1'`)
		exec(`UPDATE customer SET name = $1 WHERE id = 'c1'`, erasedName)
	}
	ctx := context.Background()
	check := func(t *testing.T, db *store.DB, content func() []byte) {
		t.Helper()
		if !bytes.Contains(content(), []byte(erasedName)) {
			t.Fatal("the name is not in clear before")
		}
		if err := db.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := inventory.SealNames(ctx, db); err != nil {
				t.Fatal(err)
			}
		}
		wantAbsent(t, content(), erasedName, erasedEmail)
		inv := inventory.New(db)
		if c, _ := snapshot(t, inv).CustomerByID("c1"); c.Name != erasedName || c.Email != erasedEmail {
			t.Fatalf("sealed: %+v", c)
		}
		if _, err := inv.Erase(ctx, erasure); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, content(), erasedName, erasedEmail)
	}
	t.Run("sqlite", func(t *testing.T) {
		folder := t.TempDir()
		path := filepath.Join(folder, "ledger.db")
		db := open(t, "sqlite:"+path, clock.NewManual(now))
		if err := db.MigrateTo(ctx, "0078"); err != nil {
			t.Fatal(err)
		}
		old, err := sql.Open("sqlite", path) // as it was opened before: what is deleted stays
		if err != nil {
			t.Fatal(err)
		}
		fill(func(text string, args ...any) {
			if _, err := old.ExecContext(ctx, text, args...); err != nil {
				t.Fatal(err)
			}
		})
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(files(t, folder), []byte(erasedName)); n < 20 {
			t.Fatalf("%d copies of the name, want some in free space", n)
		}
		check(t, db, func() []byte { return files(t, folder) })
	})
	t.Run("postgres", func(t *testing.T) {
		db := open(t, storetest.EmptyPostgres(t), clock.NewManual(now))
		if err := db.MigrateTo(ctx, "0078"); err != nil {
			t.Fatal(err)
		}
		fill(func(text string, args ...any) { exec(t, db, text, args...) })
		check(t, db, func() []byte { return tables(t, db) })
	})
}
