package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// accountedFrom and accountedTo are the span that the cases ask for, with now in it.
var (
	accountedFrom = now.Add(-10 * 24 * time.Hour)
	accountedTo   = now.Add(10 * 24 * time.Hour)
)

// accounting writes who accounts for a meter in that span, as hours from now: "a -240:240 b 0:240".
func accounting(t testing.TB, inv *inventory.Inventory, meter string) string {
	t.Helper()
	var parts []string
	for _, a := range snapshot(t, inv).ExportersOf(schemas.MeterID(meter), accountedFrom, accountedTo) {
		hours := func(at time.Time) string { return fmt.Sprintf("%g", at.Sub(now).Hours()) }
		parts = append(parts, strings.TrimPrefix(a.Exporter, "192.0.2.")+" "+hours(a.From)+":"+hours(a.Until))
	}
	return strings.Join(parts, " ")
}

// exporterHours and closedTo put into the ledger's tables what an inventory looks up there.
func exporterHours(t testing.TB, db *store.DB, first map[string]time.Time) {
	t.Helper()
	for exporter, at := range first {
		for hour := at.Unix() / 3600; hour < now.Unix()/3600; hour += 24 {
			write(t, db, `INSERT INTO exporter_hour (exporter, hour, protocol, minutes_observed, datagrams, records, option_records, templates, counter_samples,
				reported_octets, reported_packets, octets, packets, octets_once, octets_both, octets_transit, octets_uncounted, clamped_records, unknown_sampling_records, counts)
				VALUES (?, ?, 'ipfix', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}')`, exporter, hour)
		}
	}
}

func closedTo(t testing.TB, db *store.DB, at time.Time) {
	t.Helper()
	write(t, db, `INSERT INTO statement (number, statement, revision, kind, customer, service, period_from, period_to, closed_at, body, previous_hash, hash)
		VALUES (1, 's/1', 1, 'none', 'c', 's', 0, ?, 0, '{}', '', '')`, at.UnixNano())
}

func write(t testing.TB, db *store.DB, query string, args ...any) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// setClock is a clock that another one may be put into the place of, an earlier one too.
type setClock struct{ clock.Clock }

// TestExportersOfAPrefixAreKeptByTime changes the exporters of a prefix again and again.
func TestExportersOfAPrefixAreKeptByTime(t *testing.T) {
	c := &setClock{clock.NewManual(now)}
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		inv := inventory.New(db)
		f := func(hours float64, text, meter, want string) {
			t.Helper()
			c.Clock = clock.NewManual(now.Add(time.Duration(hours * float64(time.Hour))))
			if text != "" {
				mustImport(t, inv, yaml("prefixes: ["+text+"]"))
			}
			if got := accounting(t, inv, meter); got != want {
				t.Errorf("%s: got %q, want %q", text, got, want)
			}
			if got := accounting(t, inventory.New(db), meter); got != want {
				t.Errorf("%s: read again, got %q, want %q", text, got, want)
			}
		}
		const one = "address:10.1.0.1"
		f(0, "", one, "")
		f(0, "{prefix: 10.0.0.0/8, exporters: [192.0.2.1]}", one, "1 -240:240") // nothing was recorded before: always
		f(1, "{prefix: 10.0.0.0/8, exporters: [192.0.2.1, 192.0.2.2]}", one, "1 -240:240 2 1:240")
		f(1.001, "{prefix: 10.0.0.0/8, exporters: [192.0.2.1, 192.0.2.2]}", one, "1 -240:240 2 1:240") // the same again
		f(1.99, "{prefix: 10.0.0.0/8, exporters: [192.0.2.2]}", one, "1 -240:2 2 1:240")               // from the next slot on
		f(3, "{prefix: 10.0.0.0/8, exporters: [192.0.2.1]}", one, "1 -240:2 1 3:240 2 1:3")
		f(3, "{prefix: 10.0.0.0/8, exporters: [192.0.2.2]}", one, "1 -240:2 2 1:240") // at the same instant
		f(4, "{prefix: 10.1.0.0/16, exporters: [192.0.2.3]}", one, "3 4:240 1 -240:2 2 1:4")
		f(4, "", "address:10.2.0.1", "1 -240:2 2 1:240")
		f(4, "", "address:10.1.0.0/17", "3 4:240 1 -240:2 2 1:4")
		f(4, "", "address:10.0.0.0/9", "1 -240:2 2 1:240")
		f(5, "{prefix: 10.1.0.0/16}", one, "3 4:5 1 -240:2 2 1:4") // nobody accounts for it, and not the shorter one either
		f(6, "{prefix: 10.1.0.0/16, exporters: [192.0.2.3]}", one, "3 4:5 3 6:240 1 -240:2 2 1:4")
		f(7, "{prefix: 0.0.0.0/0, exporters: [192.0.2.9]}", "address:11.0.0.1", "9 -240:240") // around what is there: of the rest, always
		f(7, "", one, "3 4:5 3 6:240 1 -240:2 2 1:4")
		f(5, "{prefix: 10.1.0.0/16}", one, "3 4:5 1 -240:2 2 1:4") // the clock was set back
	})
}

// TestFirstRecordOfAPrefixReachesBack has exporters that were heard at other times, or never, and a period that is closed.
func TestFirstRecordOfAPrefixReachesBack(t *testing.T) {
	hours := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	f := func(heard map[string]time.Time, closed time.Time, text, want string) {
		t.Helper()
		db := storetest.SQLite(t, clock.NewManual(now))
		exporterHours(t, db, heard)
		if !closed.IsZero() {
			closedTo(t, db, closed)
		}
		inv := inventory.New(db)
		_, asked, err := inv.PreviewImport(context.Background(), []inventory.File{yaml("prefixes: [" + text + "]")})
		if err != nil {
			t.Fatal(err)
		}
		mustImport(t, inv, yaml("prefixes: ["+text+"]"))
		if got := accounting(t, inv, "address:10.1.0.1"); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
		if a, b := fmt.Sprint(asked.ExportersOf("address:10.1.0.1", accountedFrom, accountedTo)), fmt.Sprint(snapshot(t, inv).ExportersOf("address:10.1.0.1", accountedFrom, accountedTo)); a != b {
			t.Errorf("%s: the preview says %s, then it is %s", text, a, b)
		}
	}
	both := "{prefix: 10.0.0.0/8, exporters: [192.0.2.1, 192.0.2.2]}"
	none := map[string]time.Time{}
	f(none, time.Time{}, both, "1 -240:240 2 -240:240")
	f(map[string]time.Time{"192.0.2.1": hours(-100)}, time.Time{}, both, "1 -240:240 2 0:240")                              // 2 was never heard: from now on
	f(map[string]time.Time{"192.0.2.1": hours(-100), "192.0.2.2": hours(-40)}, time.Time{}, both, "1 -240:240 2 -40:240")   // from when it was heard
	f(map[string]time.Time{"192.0.2.1": hours(-100), "192.0.2.2": hours(-100)}, time.Time{}, both, "1 -240:240 2 -240:240") // together
	f(map[string]time.Time{"192.0.2.1": hours(-100), "192.0.2.2": hours(-60)}, hours(-48), both, "1 -48:240 2 -48:240")     // nothing reaches into what is closed
	f(map[string]time.Time{"192.0.2.1": hours(-100), "192.0.2.2": hours(-40)}, hours(-48), both, "1 -48:240 2 -40:240")     // nor is all of the rest another one's
	f(none, hours(5), both, "1 5:240 2 5:240")                                                                              // closed by a clock that is ahead
	f(none, time.Time{}, both+", {prefix: 10.1.0.0/16, exporters: [192.0.2.3]}", "3 -240:240")                              // both are new
	f(none, hours(-48), both+", {prefix: 10.1.0.0/16, exporters: [192.0.2.3]}", "3 -48:240")
}

// TestChangesDoNotReachIntoClosedPeriods changes a prefix where the last period closed ends later than now.
func TestChangesDoNotReachIntoClosedPeriods(t *testing.T) {
	db := storetest.SQLite(t, clock.NewManual(now))
	inv := inventory.New(db)
	mustImport(t, inv, yaml("prefixes: [{prefix: 10.0.0.0/8, exporters: [192.0.2.1]}]"))
	closedTo(t, db, now.Add(2*time.Hour))
	mustImport(t, inv, yaml("prefixes: [{prefix: 10.0.0.0/8, exporters: [192.0.2.2]}]"))
	mustImport(t, inv, yaml("prefixes: [{prefix: 10.1.0.0/16, exporters: [192.0.2.3]}]"))
	if got := accounting(t, inv, "address:10.1.0.1"); got != "3 2:240 1 -240:2" {
		t.Errorf("got %q", got)
	}
}

// TestExportersFromBeforeTheirTimesWereKept migrates a ledger that has the exporters of its end alone.
func TestExportersFromBeforeTheirTimesWereKept(t *testing.T) {
	f := func(t *testing.T, dsn string) {
		ctx := context.Background()
		db, err := store.Open(ctx, dsn, clock.NewManual(now))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if err := db.MigrateTo(ctx, "0085"); err != nil {
			t.Fatal(err)
		}
		hours := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
		exporterHours(t, db, map[string]time.Time{"192.0.2.1": hours(-100), "192.0.2.2": hours(-40), "libvirt/a_b": hours(-100), "libvirt/a-b": hours(-7)})
		for prefix, exporters := range map[string]string{"10.1.0.0/16": "192.0.2.1 192.0.2.2", "10.2.0.0/16": "192.0.2.2 192.0.2.3", "10.3.0.0/16": "192.0.2.3 192.0.2.4", "10.4.0.0/16": "",
			"10.5.0.0/16": "192.0.2.1", "10.6.0.0/16": "libvirt/a-b libvirt/a_b"} {
			write(t, db, `INSERT INTO prefix (prefix, exporters) VALUES (?, ?)`, prefix, exporters)
		}
		if err := db.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		inv := inventory.New(db)
		for meter, want := range map[string]string{
			"10.1.0.1": "1 -240:240 2 -40:240", // 2 from when it was heard
			"10.2.0.1": "2 -240:240 3 -3:240",  // 3 was never heard: from the end of the ledger on, whose last hour is -4
			"10.3.0.1": "3 -240:240 4 -240:240", "10.4.0.1": "", "10.5.0.1": "1 -240:240", "10.6.0.1": "libvirt/a-b -7:240 libvirt/a_b -240:240",
		} {
			if got := accounting(t, inv, "address:"+meter); got != want {
				t.Errorf("%s: got %q, want %q", meter, got, want)
			}
		}
		mustImport(t, inv, yaml("prefixes: [{prefix: 10.1.0.0/16, exporters: [192.0.2.1]}, {prefix: 10.2.0.0/16, exporters: [192.0.2.2, 192.0.2.3]}]"))
		if got := accounting(t, inv, "address:10.1.0.1"); got != "1 -240:240 2 -40:0" {
			t.Errorf("a change afterwards: %q", got)
		}
	}
	t.Run("sqlite", func(t *testing.T) { f(t, "sqlite:"+t.TempDir()+"/ledger.db") })
	t.Run("postgres", func(t *testing.T) { f(t, storetest.EmptyPostgres(t)) })
}
