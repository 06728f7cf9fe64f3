package ledger

import (
	"context"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// TestHeldAdjustmentWaitsForADecision moves an address away late, so that what is left lies at the quota.
func TestHeldAdjustmentWaitsForADecision(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`services: [{id: london, customer: c1, plan: month, place: london, opened: 2026-01-12, sampled: hold}]`)
		stays, moves := "address:10.1.0.1", "address:10.1.0.2"
		w.own(stays, ownedTime{"london", 0, farMinute})
		w.own(moves, ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{stays, schemas.ClassExternal, minutes(3, 0, 0), 2_010_000_000, 1},
			sentTally{moves, schemas.ClassExternal, minutes(3, 0, 0), 900_000_000, 1})
		w.seal(22 * 24 * time.Hour)
		w.close()
		if row := find(t, w.report("2026-10"), "london", 1); row.AmountExVAT.String() != "0.5" {
			t.Fatalf("closed: %+v", row)
		}
		w.own(moves, ownedTime{"middle", 0, farMinute})
		for turn, adjustments := range []int{1, 0, 0} { // middle's; london's is named each time
			closed := w.close()
			if closed.Adjustments != adjustments || len(closed.Problems) != 1 || closed.Problems[0].Service != "london" ||
				!strings.Contains(closed.Problems[0].Text, "adjustment of statement london/2026-10-01: service london: the period from 2026-10-01 is held: 2 GB lies in the interval") {
				t.Fatalf("closing %d after the handover: %+v", turn, closed)
			}
			if report := w.report("2026-10"); len(report.Problems) != 1 || report.Problems[0].Service != "london" {
				t.Fatalf("report %d after the handover: %+v", turn, report.Problems)
			}
		}
		w.importText(`decisions: [{id: d1, service: london, decision: lower_bound, from: 2026-10-15T00:00:00Z, by: Jane, reason: the port says less}]`)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("decided: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.Kind != rating.KindAdjustment || row.AmountExVAT.String() != "-0.5" || row.InOctets != -900_000_000 {
			t.Fatalf("decided: %+v", row)
		}
		if again := w.close(); again.Adjustments != 0 || len(again.Problems) != 0 {
			t.Fatalf("closing again: %+v", again)
		}
		if report := w.report("2026-10"); len(report.Problems) != 0 {
			t.Fatalf("report: %+v", report.Problems)
		}
	})
}

// TestAdjustmentWaitsForAPrice closes a period that needs no price, which an owner told late makes need one.
func TestAdjustmentWaitsForAPrice(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 2_500_000_000, 1})
		w.seal(22 * 24 * time.Hour)
		w.place("london", "paris")
		w.close()
		w.place("london", "london") // an import wants a price for what is open
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		for range 2 {
			if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 1 || !strings.Contains(closed.Problems[0].Text, "no price") {
				t.Fatalf("without a price: %+v", closed)
			}
		}
		w.importText(`prices: [{sku: overage, place: paris, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.70"}]`)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("with a price: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.AmountExVAT.String() != "0.7" || row.InOctets != 2_500_000_000 {
			t.Fatalf("with a price: %+v", row)
		}
		if again := w.close(); again.Adjustments != 0 || len(again.Problems) != 0 {
			t.Fatalf("closing again: %+v", again)
		}
	})
}

// place moves a service as no import would.
func (w *world) place(service, place string) {
	w.t.Helper()
	err := w.ledger.db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `UPDATE service SET place = ? WHERE id = ?`, place, service)
		if err == nil {
			_, err = tx.Exec(context.Background(), `UPDATE inventory_state SET version = version + 1`)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
