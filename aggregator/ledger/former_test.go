package ledger

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// writeFormer writes the ledger of this version as a fixture for the versions to come.
var writeFormer = flag.Bool("former", false, "write testdata/former/NUMBER.sql of this version's last migration")

// TestLedgerOfAFormerVersion migrates ledgers that former versions have written, with data in every table,
// checks the books and the statements, and goes on: the same log again, a late batch, the next closing.
//
// testdata/former/NUMBER.sql is such a ledger, after the migration of that number: one INSERT a line.
func TestLedgerOfAFormerVersion(t *testing.T) {
	if *writeFormer {
		writeFixture(t)
	}
	names, err := filepath.Glob("testdata/former/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range names {
		number := strings.TrimSuffix(filepath.Base(name), ".sql")
		f := func(t *testing.T, dsn string) {
			db := loadFormer(t, dsn, number, name)
			if err := db.Migrate(context.Background()); err != nil {
				t.Fatal(err)
			}
			checkFormer(t, db)
		}
		t.Run(number+"/sqlite", func(t *testing.T) { f(t, "sqlite:"+filepath.Join(t.TempDir(), "ledger.db")) })
		t.Run(number+"/postgres", func(t *testing.T) { f(t, storetest.EmptyPostgres(t)) })
	}
}

func checkFormer(t *testing.T, db *store.DB) {
	t.Helper()
	ctx := context.Background()
	l, inv := New(db, DefaultConfig()), inventory.New(db)
	verifyClean(t, l, true)
	if n, err := l.VerifyStatements(ctx); err != nil || n != 4 {
		t.Fatalf("%d statements, %v; want 4", n, err)
	}
	rows, records := allRows(t, l, Query{}), recordsOf(t, l)
	if booked := mustBook(t, l, formerBatches()...); booked.Batches != 0 || booked.Duplicates != len(formerBatches()) {
		t.Fatalf("the same log again: %+v", booked)
	}
	if again := allRows(t, l, Query{}); !slices.Equal(rows, again) || len(rows) != 3 {
		t.Fatalf("%d rows, %d after the same log again", len(rows), len(again))
	}
	next := testBatch("c", 7, formerShard, 4, testTally(formerMeter, 60, 500_000_000, 0))
	if booked := mustBook(t, l, next); booked.Refused != 0 {
		t.Fatalf("booked %+v", booked)
	}
	if _, err := l.EmitUsageRecords(ctx, inv); err != nil {
		t.Fatal(err)
	}
	if more := recordsOf(t, l); more != records+1 {
		t.Fatalf("%d usage records, want one more than %d", more, records)
	}
	closed, err := l.CloseDue(ctx, inv, start.Add(33*24*time.Hour))
	if err != nil || closed.Adjustments != 1 || closed.Statements != 0 || len(closed.Problems) != 0 {
		t.Fatalf("closed %+v, %v", closed, err)
	}
	if n, err := l.VerifyStatements(ctx); err != nil || n != 5 {
		t.Fatalf("%d statements, %v; want 5", n, err)
	}
}

func recordsOf(t *testing.T, l *Ledger) int {
	t.Helper()
	records, err := l.UsageRecords(context.Background(), 0, MaxUsageRecords)
	if err != nil {
		t.Fatal(err)
	}
	return len(records)
}

const formerMeter = "address:10.1.0.1"

var formerShard = schemas.ShardOf(formerMeter, testShards)

// formerBatches are the log of the fixture's ledger; the third comes when its hour is sealed.
func formerBatches() []*schemas.Batch {
	hour := start.Unix() / 3600
	account := func(octets uint64) *schemas.ExporterAccount {
		return &schemas.ExporterAccount{Exporter: "192.0.2.250", Protocol: "netflow9", Hour: hour, MinutesObserved: 1<<60 - 1, Datagrams: 9, Records: 9, OctetsOnce: octets, Octets: octets,
			Lost: []*schemas.Count{{Unit: "datagrams", Count: 2}}}
	}
	first := testBatch("c", 7, formerShard, 1, testTally(formerMeter, 30, 1_000_000_000, 1_700_000_000))
	first.Accounts = []*schemas.ExporterAccount{account(2_700_000_000)}
	first.Guests = []*schemas.GuestUsage{{Guest: "6b0f0c1e-7d53-4c5e-9f61-1f1d1a5c0001", Host: "hv1", Name: "vm1", From: start.UnixNano(), To: start.Add(time.Hour).UnixNano(),
		CpuNanoseconds: 1_800e9, CapacityNanoseconds: 7_200e9, StealNanoseconds: 5e9, Vcpus: 2, State: schemas.GuestState_GUEST_STATE_RUNNING}}
	second := testBatch("c", 7, formerShard, 2, testTally(formerMeter, minutes(14, 3, 7), 7, 900_000_000))
	second.Accounts = []*schemas.ExporterAccount{account(900_000_007)}
	late := testBatch("c", 7, formerShard, 3, testTally(formerMeter, minutes(20, 0, 0), 500_000_000, 0))
	late.Accounts = []*schemas.ExporterAccount{account(500_000_000)}
	for _, b := range []*schemas.Batch{second, late} {
		b.ReceivedTo = time.Unix(b.Tallies[0].Minute*60, 0).Add(time.Hour).UnixNano()
	}
	return []*schemas.Batch{first, second, late}
}

// writeFixture makes a ledger with something in every table and writes it down.
func writeFixture(t *testing.T) {
	ctx := context.Background()
	at := clock.NewManual(start)
	db := storetest.SQLite(t, at)
	w := &world{t: t, ledger: New(db, DefaultConfig()), inv: inventory.New(db), now: start, index: map[uint32]uint64{}, owners: map[string][]ownedTime{}}
	w.importText(worldImport)
	w.own(formerMeter, ownedTime{"london", 0, farMinute})
	batches := formerBatches()
	if booked := mustBook(t, w.ledger, batches[:2]...); booked.Refused != 0 {
		t.Fatalf("booked %+v", booked)
	}
	seal := func(d time.Duration) { at.Advance(d); w.seal(d) }
	seal(33 * 24 * time.Hour)
	w.close()
	mustBook(t, w.ledger, batches[2])
	w.importText("decisions: [{id: d1, service: london, decision: estimate, from: 2026-10-15T00:00:00Z, by: Jane, reason: looked at}]\n")
	w.close()
	w.emit()
	if err := w.ledger.DeclareGap(ctx, &stream.GapError{Key: stream.Key{Collector: "c", LogID: 8, Shard: 1}, From: 1, To: 3}); err != nil {
		t.Fatal(err)
	}
	err := db.Update(ctx, func(tx *store.Tx) error {
		for _, text := range formerOthers {
			if _, err := tx.Exec(ctx, text); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	names, _ := fs.Glob(schemas.Migrations, "migrations/*.sql")
	number, _, _ := strings.Cut(filepath.Base(names[len(names)-1]), "_")
	if err := os.MkdirAll("testdata/former", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/former/"+number+".sql", []byte(dump(t, db)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// formerOthers are rows of the tables that other components own.
var formerOthers = []string{
	`INSERT INTO setting (name, value) VALUES ('k', 'v')`,
	`INSERT INTO contract_change (service, ordered_at, plan, quota) VALUES ('middle', '2026-12-01T00:00:00Z', 'anniversary', '4 GB')`,
	`INSERT INTO incident (id, rule, meter, began_at, severity, condition, opened_at, updated_at, evidence) VALUES ('i1', 'cpu', 'guest:x', 1, 'warning', '{}', 2, 3, '{}')`,
	`INSERT INTO incident_event (incident, at, actor, action, text) VALUES ('i1', 2, 'detector', 'opened', '')`,
	`INSERT INTO notification (id, incident, receiver, event, state, created_at, next_at) VALUES ('n1', 'i1', 'alertmanager', 'opened', 'sent', 2, 2)`,
	`INSERT INTO detector_state (subject, closed, open) VALUES ('guest:x', X'00', X'01')`,
	`INSERT INTO detector_watermark (collector, log_id, shard, batch) VALUES ('c', 7, 0, 2)`,
	`INSERT INTO detector_lease (id, generation, holder, renewed_at, exporters) VALUES (1, 1, 'h', 1, X'')`,
	`INSERT INTO auth_user (name, role, password_hash, created_at, changed_at) VALUES ('ada', 'admin', '$argon2id$', 1, 1)`,
	`INSERT INTO auth_session (token_hash, user_name, created_at, used_at) VALUES ('00', 'ada', 1, 1)`,
	`INSERT INTO auth_token (name, token_hash, role, created_at) VALUES ('t', '01', 'read', 1)`,
	`INSERT INTO series_position (collector, log_id, shard, idx, done, closed, seen) VALUES ('c', '0000000000000007', 0, 1, 1, 1, 1)`,
	`INSERT INTO handover_receiver (receiver, holder, held_until, failures, next_at, last_error) VALUES ('whmcs', '', 0, 0, 0, '')`,
	`INSERT INTO handover_cursor (receiver, feed, seq, moved_at) VALUES ('hook', 'usage-records', 1, 1)`,
	`INSERT INTO handover_charge (receiver, number, charge, statement, revision, customer, service, amount, currency, description, period_to, state, approved, attempts, looks, next_at, request, intended_at, settled_at, remote, last_error)
		VALUES ('whmcs', 1, 'x', 'london/2026-10-01', 1, 'c1', 'london', '1.50', 'GBP', 'd', 1, 'done', 1, 1, 0, 0, '{}', 1, 1, '17', '')`,
	`INSERT INTO handover_event (receiver, subject, at, actor, action, text) VALUES ('whmcs', 'x', 1, 'hostmeter', 'done', '')`,
	`INSERT INTO refused_batch (collector, log_id, shard, idx, refused_at, reason, batch) VALUES ('c', '0000000000000009', 0, 1, 1, 'r', X'0a0163')`,
	`INSERT INTO statement_waiting (service, period_from) VALUES ('middle', 1)`,
}

// dump writes every row as an INSERT of a line, without the keys that number themselves.
func dump(t *testing.T, db *store.DB) string {
	t.Helper()
	ctx := context.Background()
	var out strings.Builder
	err := db.View(ctx, func(tx *store.Tx) error {
		tables, err := column(ctx, tx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'migration' ORDER BY rowid`)
		if err != nil {
			return err
		}
		for _, table := range tables {
			columns, err := column(ctx, tx, `SELECT name FROM pragma_table_info('`+table+`') WHERE NOT (pk = 1 AND type = 'INTEGER') ORDER BY cid`)
			if err != nil {
				return err
			}
			list := strings.Join(columns, ", ")
			values, err := column(ctx, tx, "SELECT quote("+strings.Join(columns, ") || ', ' || quote(")+") FROM "+table+" ORDER BY rowid")
			if err != nil { // a table without row ids
				values, err = column(ctx, tx, "SELECT quote("+strings.Join(columns, ") || ', ' || quote(")+") FROM "+table+" ORDER BY 1")
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "DELETE FROM %s;\n", table)
			for _, v := range values {
				fmt.Fprintf(&out, "INSERT INTO %s (%s) VALUES (%s);\n", table, list, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// column reads a query of one column of text.
func column(ctx context.Context, tx *store.Tx, query string) (list []string, err error) {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}

var blobLiteral = regexp.MustCompile(`\bX'([0-9A-F]*)'`)

// loadFormer makes a store as it was after a migration, and fills it.
func loadFormer(t *testing.T, dsn, number, file string) *store.DB {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, dsn, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	former := fstest.MapFS{}
	names, _ := fs.Glob(schemas.Migrations, "migrations/*.sql")
	for _, name := range names {
		if text, err := fs.ReadFile(schemas.Migrations, name); err != nil {
			t.Fatal(err)
		} else if filepath.Base(name) <= number+"_~" {
			former[name] = &fstest.MapFile{Data: text}
		}
	}
	if err := db.MigrateWith(ctx, former); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(ctx, func(tx *store.Tx) error {
		for line := range strings.Lines(string(text)) {
			if tx.Dialect == store.PostgreSQL {
				line = blobLiteral.ReplaceAllString(line, `'\x$1'`)
			}
			if _, err := tx.Exec(ctx, line); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}
