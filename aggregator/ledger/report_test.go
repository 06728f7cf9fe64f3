package ledger

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

func eachWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.EachWithClock(t, clock.NewManual(start), func(t *testing.T, db *store.DB) { f(t, newWorld(t, db)) })
}

func (w *world) report(month string) statements.Report {
	w.t.Helper()
	report, err := w.ledger.Report(context.Background(), w.inv, month, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func minutes(day, hour, minute int64) int64 { return (day*24+hour)*60 + minute }

const farMinute = 400 * 24 * 60

// TestAddressThatChangedHandsAt0317 books traffic on both sides of the slot boundary that follows.
func TestAddressThatChangedHandsAt0317(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		change := minutes(11, 3, 17)
		w.own(meter, ownedTime{"london", 0, change}, ownedTime{"middle", change, farMinute})
		w.seal(12 * 24 * time.Hour)
		w.send(
			sentTally{meter, schemas.ClassExternal, minutes(11, 3, 16), 1, 10},
			sentTally{meter, schemas.ClassExternal, minutes(11, 3, 19), 2, 20}, // still the old owner's slot
			sentTally{meter, schemas.ClassExternal, minutes(11, 3, 20), 4, 40},
			sentTally{meter, schemas.ClassInternal, minutes(11, 3, 59), 8, 80},
			sentTally{"address:10.9.9.9", schemas.ClassExternal, minutes(11, 3, 0), 16, 160})
		report := w.report("2026-10")
		got := map[string]statements.Row{}
		for _, row := range report.Rows {
			got[row.Service] = row
		}
		if row := got["london"]; row.InOctets != 3 || row.OutOctets != 30 || row.BillableOctets != 33 || !row.Provisional {
			t.Errorf("london: %+v", row)
		}
		if row := got["middle"]; row.InOctets != 12 || row.OutOctets != 120 || row.BillableOctets != 120 || row.InternalInOctets != 8 {
			t.Errorf("middle, whose contract counts internal traffic, and out alone: %+v", row)
		}
		if len(report.Unowned) != 1 || report.Unowned[0] != (statements.Unowned{Meter: "address:10.9.9.9", Class: "external", InOctets: 16, OutOctets: 160}) {
			t.Errorf("unowned: %+v", report.Unowned)
		}
		if !report.Provisional || len(report.Rows) != 3 {
			t.Errorf("report: %+v", report)
		}
	})
}

// TestCloseAdjustAndReport follows one service from an open month to a closed one and a correction.
func TestCloseAdjustAndReport(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		w.own(meter, ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{meter, schemas.ClassExternal, minutes(3, 0, 0), 1_000_000_000, 1_500_000_000})
		if row := find(t, w.report("2026-10"), "london", 0); row.AmountExVAT.String() != "0.5" || row.Statement != "" || !row.Provisional {
			t.Fatalf("open: %+v", row)
		}
		w.seal(21 * 24 * time.Hour) // Nov 1, 06:00: the month is over, its last hours are not sealed
		if closed := w.close(); closed.Statements != 2 {
			t.Fatalf("closed %+v, want middle's period to Oct 15 and nepal's to Oct 31", closed)
		}
		w.seal(24 * time.Hour)
		if closed := w.close(); closed.Statements != 1 { // london's October
			t.Fatalf("closed %+v", closed)
		}
		first := find(t, w.report("2026-10"), "london", 1)
		if first.AmountExVAT.String() != "0.5" || first.BilledQuantity.String() != "1" || first.Kind != rating.KindOverage || first.Statement != "london/2026-10-01" || first.Provisional {
			t.Fatalf("closed: %+v", first)
		}

		w.send(sentTally{meter, schemas.ClassExternal, minutes(30, 23, 0), 600_000_000, 0}) // late: over the next GB
		if closed := w.close(); closed.Adjustments != 1 || closed.Statements != 0 {
			t.Fatalf("late entry: %+v", closed)
		}
		if again := find(t, w.report("2026-10"), "london", 1); again.AmountExVAT.String() != "0.5" || again.InOctets != first.InOctets {
			t.Fatalf("the closed statement has changed: %+v", again)
		}
		second := find(t, w.report("2026-10"), "london", 2)
		if second.Kind != rating.KindAdjustment || second.InOctets != 600_000_000 || second.AmountExVAT.String() != "0.5" || second.BilledQuantity.String() != "1" {
			t.Fatalf("adjustment: %+v", second)
		}

		w.own(meter, ownedTime{"middle", 0, farMinute}) // and it was never london's
		if closed := w.close(); closed.Adjustments != 2 {
			t.Fatalf("owner told late: %+v", closed)
		}
		third := find(t, w.report("2026-10"), "london", 3)
		if third.InOctets != -1_600_000_000 || third.AmountExVAT.String() != "-1" || third.Used.String() != "-3.1" {
			t.Fatalf("adjustment to nothing: %+v", third)
		}
		if report := w.report("2026-10"); report.Totals[0].Currency != "GBP" || report.Problems == nil || len(report.Problems) != 0 {
			t.Fatalf("report: %+v", report)
		}
		checkVerifyFindsTampering(t, w)
	})
}

func checkVerifyFindsTampering(t *testing.T, w *world) {
	t.Helper()
	ctx := context.Background()
	if n, err := w.ledger.VerifyStatements(ctx); n != 6 || err != nil {
		t.Fatalf("verify: %d, %v", n, err)
	}
	for _, text := range []string{
		`UPDATE statement SET body = REPLACE(body, '"0.50"', '"9.50"') WHERE number = 2`,
		`DELETE FROM statement WHERE number = 6`,
	} {
		err := w.ledger.db.Update(ctx, func(tx *store.Tx) error {
			if n, err := tx.Exec(ctx, text); err != nil || n != 1 {
				t.Fatalf("%s: %d rows, %v", text, n, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ledger.VerifyStatements(ctx); !errors.Is(err, ErrChain) {
			t.Fatalf("after %s: %v, want ErrChain", text, err)
		}
	}
}

func find(t *testing.T, report statements.Report, service string, revision int) statements.Row {
	t.Helper()
	for _, row := range report.Rows {
		if row.Service == service && row.Revision == revision {
			return row
		}
	}
	t.Fatalf("no row of %s, revision %d, in %+v", service, revision, report.Rows)
	return statements.Row{}
}

// TestBillsByItsVNIC counts the virtual interface of a guest, and its address not. Interfaces that nobody owns are listed then,
// ports not.
func TestBillsByItsVNIC(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`
services: [{id: guest, customer: c1, plan: month, place: london, opened: 2026-01-12, bills: vnic}]
ownership:
  - {service: guest, key: "guest:7f3a", from: 2026-01-12T00:00:00Z}
  - {service: guest, key: "address:10.3.0.1", from: 2026-01-12T00:00:00Z}
`)
		w.now = w.now.Add(24 * time.Hour)
		vnic := testBatch("c", 7, schemas.ShardOf("vnic:7f3a/52:54:00:00:00:01", testShards), 1, testTally("vnic:7f3a/52:54:00:00:00:01", 5, 7, 70))
		vnic.Classes = []string{schemas.ClassPort}
		address := testBatch("d", 7, schemas.ShardOf("address:10.3.0.1", testShards), 1, testTally("address:10.3.0.1", 5, 6, 60))
		spare := testBatch("e", 7, schemas.ShardOf("vnic:8888/52:54:00:00:00:02", testShards), 1, testTally("vnic:8888/52:54:00:00:00:02", 5, 8, 80))
		port := testBatch("f", 7, schemas.ShardOf("port:192.0.2.250/1", testShards), 1, testTally("port:192.0.2.250/1", 5, 9, 90))
		spare.Classes, port.Classes = vnic.Classes, vnic.Classes
		mustBook(t, w.ledger, vnic, address, spare, port)
		report := w.report("2026-10")
		if len(report.Unowned) != 1 || report.Unowned[0] != (statements.Unowned{Meter: "vnic:8888/52:54:00:00:00:02", Class: schemas.ClassPort, InOctets: 8, OutOctets: 80}) {
			t.Errorf("unowned: %+v", report.Unowned)
		}
		row := find(t, report, "guest", 0)
		if row.InOctets != 7 || row.OutOctets != 70 || row.Coverage != unknownCoverage {
			t.Fatalf("got %+v", row)
		}
	})
}

func TestMissingPriceHoldsOneServiceAlone(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.2", ownedTime{"middle", 0, farMinute})
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, 60, 9e9, 0}, sentTally{"address:10.1.0.2", schemas.ClassExternal, 60, 0, 9e9})
		err := w.ledger.db.Update(context.Background(), func(tx *store.Tx) error { // as after a faulty restore
			_, err := tx.Exec(context.Background(), `UPDATE service SET place = 'paris' WHERE id = 'london'`)
			if err == nil {
				_, err = tx.Exec(context.Background(), `UPDATE inventory_state SET version = version + 1`)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.seal(40 * 24 * time.Hour)
		closed := w.close()
		if closed.Statements != 2 || len(closed.Problems) != 1 || closed.Problems[0].Service != "london" || !strings.Contains(closed.Problems[0].Text, "no price") {
			t.Fatalf("got %+v", closed)
		}
		if report := w.report("2026-10"); len(report.Problems) != 1 || len(report.Rows) != 2 {
			t.Fatalf("report: %+v", report)
		}
	})
}

// TestManyClosersAndTellers run at once over one store, each with a ledger of its own.
func TestManyClosersAndTellers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.0/24", ownedTime{"london", 0, minutes(20, 0, 2)}, ownedTime{"nepal", minutes(20, 0, 2), farMinute})
		for day := range int64(8) {
			w.now = start.Add(time.Duration(day+1) * 24 * time.Hour)
			w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(day, 5, 0), 1e9, 2e9}, sentTally{"address:10.1.0.2", schemas.ClassInternal, minutes(day, 7, 0), 5, 6})
		}
		w.seal(60 * 24 * time.Hour)
		var wait sync.WaitGroup
		failed := make(chan error, 8)
		for range 4 {
			wait.Go(func() {
				other := New(w.ledger.db, DefaultConfig())
				inv := inventory.New(w.ledger.db)
				_, err := other.EmitUsageRecords(context.Background(), inv)
				failed <- err
				_, err = other.CloseDue(context.Background(), inv, w.now)
				failed <- err
			})
		}
		wait.Wait()
		close(failed)
		for err := range failed {
			if err != nil && !store.IsConflict(err) && !errors.Is(err, errClosedMeanwhile) {
				t.Error(err)
			}
		}
		w.emit()
		w.close()
		w.checkFeed()
		w.checkStatements(nil)
	})
}

func TestReportRefusesWhatIsNoMonth(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t, clock.NewManual(start)))
	for _, month := range []string{"", "2026", "2026-13", "2026-1", "2026-10-01", "october"} {
		if _, err := w.ledger.Report(context.Background(), w.inv, month, w.now); !errors.Is(err, ErrMonth) {
			t.Errorf("%q: %v", month, err)
		}
	}
	months, err := w.ledger.Months(context.Background(), w.inv, w.now)
	if err != nil || len(months) != 0 {
		t.Errorf("months of an empty ledger: %v, %v", months, err)
	}
	w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
	w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, 60, 1, 0})
	w.seal(40 * 24 * time.Hour)
	w.close()
	months, err = w.ledger.Months(context.Background(), w.inv, w.now)
	if err != nil || strings.Join(months, " ") != "2026-11 2026-10" {
		t.Errorf("months: %v, %v", months, err)
	}
	var first, second bytes.Buffer
	if err := statements.WriteCSV(&first, w.report("2026-10")); err != nil {
		t.Fatal(err)
	}
	if err := statements.WriteCSV(&second, w.report("2026-10")); err != nil || first.String() != second.String() || first.Len() == 0 {
		t.Fatalf("two reports of one month differ: %v\n%s\n%s", err, first.String(), second.String())
	}
}

// TestClosedPeriodsKeepTheirPriceAndPlan changes both behind a closed month.
func TestClosedPeriodsKeepTheirPriceAndPlan(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		w.own(meter, ownedTime{"london", 0, farMinute})
		w.send(sentTally{meter, schemas.ClassExternal, 60, 2_000_000_001, 0})
		w.seal(35 * 24 * time.Hour) // Nov 5
		w.close()
		err := w.ledger.db.Update(context.Background(), func(tx *store.Tx) error { // what an import would refuse
			if _, err := tx.Exec(context.Background(), `UPDATE price SET amount = '7'`); err != nil {
				return err
			}
			_, err := tx.Exec(context.Background(), `UPDATE inventory_state SET version = version + 1`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.importText(`services: [{id: london, customer: c2, plan: anniversary, place: london, opened: 2026-01-20}]`)
		w.send(sentTally{meter, schemas.ClassExternal, 90, 1_000_000_000, 0})
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("closed %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 2)
		if row.AmountExVAT.String() != "0.5" || row.UnitPrice.String() != "0.5" || row.Customer != "c1" || row.Plan != "month" || row.BillableOctets != 1_000_000_000 {
			t.Fatalf("adjustment: %+v", row)
		}
		// The new schedule's period is [Oct 20, Nov 20): what was closed already is cut off.
		next := find(t, w.report("2026-11"), "london", 0)
		if next.PeriodFrom.Format(time.RFC3339) != "2026-11-01T00:00:00Z" || next.PeriodTo.Format(time.RFC3339) != "2026-11-20T00:00:00Z" || next.Customer != "c2" {
			t.Fatalf("next period: %+v", next)
		}
	})
}
