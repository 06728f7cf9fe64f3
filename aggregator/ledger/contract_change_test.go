package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// TestChangeInAClosedPeriodIsRefused orders quotas before and after the end of the last closed period.
func TestChangeInAClosedPeriodIsRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`changes: [{service: london, at: 2026-10-20T00:00:00Z, quota: 2.5 GB}]`)
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, 60, 1, 1})
		w.seal(40 * 24 * time.Hour)
		w.close() // London's October ends on Nov 1, 00:00 UTC
		f := func(text, says string) {
			t.Helper()
			for _, dryRun := range []bool{true, false} {
				_, err := w.inv.Import(t.Context(), []inventory.File{{Name: "c.yaml", Text: []byte(text)}}, dryRun)
				var invalid *inventory.InvalidError
				if says == "" && err != nil || says != "" && !errors.As(err, &invalid) {
					t.Fatalf("dry run %v: %v, want %q", dryRun, err, says)
				}
				if says != "" && (len(invalid.Faults) != 1 || invalid.Faults[0].Where != "c.yaml:1" || !strings.Contains(invalid.Faults[0].Text, says)) {
					t.Fatalf("dry run %v: %+v, want %q", dryRun, invalid.Faults, says)
				}
			}
		}
		refused := "at: the periods of service london are closed to 2026-11-01T00:00:00Z: give that time or a later one, and settle the closed period by a decision or a credit"
		f(`changes: [{service: london, at: 2026-10-12T00:00:00Z, quota: 3 GB}]`, refused)
		f(`changes: [{service: london, at: 2026-10-31T23:59:59Z, quota: 1 GB}]`, refused) // a downgrade too
		f(`changes: [{service: london, at: 2026-10-20T00:00:00Z, quota: 9 GB}]`, refused) // another quota than was closed with
		f(`changes: [{service: london, at: 2026-10-20T00:00:00Z, quota: 2.5 GB}]`, "")    // the same
		f(`changes: [{service: london, at: 2026-11-01T00:00:00Z, quota: 3 GB}]`, "")
		f(`changes: [{service: london, at: 2026-11-05T00:00:00Z, quota: 4 GB}]`, "")
		f(`changes: [{service: nepal, at: 2026-11-05T00:00:00Z, quota: 4 GB}]`, "") // closed to Oct 30, 18:15
	})
}

// TestChangeDuringAClosing is ordered after the closing has read the contract and before it writes.
func TestChangeDuringAClosing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, 60, 2_100_000_000, 0})
		w.seal(40 * 24 * time.Hour)
		owners, err := w.inv.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := closing{owners: owners, now: w.now}
		if err := w.ledger.db.View(t.Context(), func(tx *store.Tx) error { return c.gather(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
		w.importText(`changes: [{service: london, at: 2026-09-30T23:00:00Z, quota: 9 GB}]`)
		err = w.ledger.db.Update(context.Background(), func(tx *store.Tx) error { return c.write(t.Context(), tx, true, c.bodies()) })
		if !errors.Is(err, errClosedMeanwhile) {
			t.Fatalf("got %v, want errClosedMeanwhile", err)
		}
		w.close()
		if row := find(t, w.report("2026-10"), "london", 1); !row.AmountExVAT.IsZero() || row.Quota.String() != "9" {
			t.Fatalf("closed: %+v", row)
		}
	})
}

// TestImportThatBeganBeforeAClosing has read which periods are closed before one more is, and writes after it.
func TestImportThatBeganBeforeAClosing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.ledger.db.Dialect() != store.PostgreSQL {
			return // SQLite has one writer at a time
		}
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, 60, 1, 1})
		w.seal(40 * 24 * time.Hour)
		err := w.ledger.db.Update(t.Context(), func(tx *store.Tx) error {
			if _, err := inventory.Version(t.Context(), tx); err != nil {
				return err
			}
			if closed := w.close(); closed.Statements == 0 {
				t.Fatalf("closed %+v", closed)
			}
			_, err := tx.Exec(t.Context(), `UPDATE inventory_state SET version = version + 1 WHERE id = 1`) // as each import does
			return err
		})
		if !store.IsConflict(err) {
			t.Fatalf("got %v, want a conflict", err)
		}
	})
}
