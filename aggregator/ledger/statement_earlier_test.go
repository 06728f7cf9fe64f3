package ledger

import (
	"slices"
	"testing"
	"time"

	statements "hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// TestUsageBeforeTheFirstClosedPeriodIsBilled: the ledger began in November and closed it; then October's usage comes, as
// from a collector whose log could not be read before. It is in the feed, and on a statement of its own.
func TestUsageBeforeTheFirstClosedPeriodIsBilled(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.seal(35 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(34, 0, 0), 1_500_000_000, 0})
		w.seal(30 * 24 * time.Hour)
		w.emit()
		if closed := w.close(); closed.Statements == 0 || len(closed.Earlier) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		if _, found := w.line("2026-10", "london"); found {
			t.Fatal("October has a line before it has usage")
		}
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 7, 30), 2_500_000_000, 0})
		w.seal(time.Hour)
		w.emit()
		if row, found := w.line("2026-10", "london"); !found || !row.Provisional || row.InOctets != 2_500_000_000 {
			t.Fatalf("open: %+v, %v", row, found)
		}
		closed := w.close()
		if !slices.Equal(closed.Earlier, []string{"london/2026-10-01"}) || closed.Statements != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 1)
		if row.InOctets != 2_500_000_000 || !row.AmountExVAT.IsPositive() || row.Provisional {
			t.Fatalf("closed as %+v", row)
		}
		if closed := w.close(); closed.Statements+closed.Adjustments != 0 {
			t.Fatalf("closed again: %+v", closed)
		}
		// What comes later still is an adjustment of it.
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 8, 0), 1, 0})
		w.seal(time.Hour)
		w.emit()
		if closed := w.close(); closed.Adjustments != 1 || closed.Statements != 0 {
			t.Fatalf("adjusted: %+v", closed)
		}
		if findings, err := w.ledger.Verify(t.Context(), false); err != nil || len(findings) != 0 {
			t.Fatalf("verify: %+v, %v", findings, err)
		}
	})
}

// TestUsageOfAPoolBeforeItsFirstClosedPeriod is charged for all members together, also one that used nothing.
func TestUsageOfAPoolBeforeItsFirstClosedPeriod(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		w := newPoolWorld(t, db, c)
		w.seal(50 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(49, 0, 0), 9_500_000_000, 0})
		w.seal(40 * 24 * time.Hour)
		w.emit()
		w.close()
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 7, 30), 9_500_000_000, 0})
		w.seal(time.Hour)
		w.emit()
		closed := w.close()
		slices.Sort(closed.Earlier)
		if !slices.Equal(closed.Earlier, []string{"a/2026-09-15", "b/2026-09-15"}) || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		w.sums() // holds them to their pool
		if findings, err := w.ledger.Verify(t.Context(), false); err != nil || len(findings) != 0 {
			t.Fatalf("verify: %+v, %v", findings, err)
		}
	})
}

// line returns the first line of a service in a month's report.
func (w *world) line(month, service string) (row statements.Row, found bool) {
	w.t.Helper()
	for _, row := range w.report(month).Rows {
		if row.Service == service {
			return row, true
		}
	}
	return row, false
}
