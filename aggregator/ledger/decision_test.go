package ledger

import (
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/schemas"
)

// TestDecisionsAfterTheCloseAreAdjustments excludes an attack from a closed month, takes that back, and waives.
func TestDecisionsAfterTheCloseAreAdjustments(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		w.own(meter, ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.2", ownedTime{"middle", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{meter, schemas.ClassExternal, minutes(3, 0, 0), 1_000_000_000, 0},
			sentTally{meter, schemas.ClassExternal, minutes(3, 0, 5), 2_000_000_000, 500_000_000}, // the attack
			sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 5), 0, 4_000_000_000})
		w.seal(22 * 24 * time.Hour)
		w.close()
		if row := find(t, w.report("2026-10"), "london", 1); row.AmountExVAT.String() != "1" || row.InOctets != 3_000_000_000 {
			t.Fatalf("closed: %+v", row)
		}
		w.emit()
		w.importText(`decisions: [{id: d1, service: london, decision: exclude, from: 2026-10-04T00:05:00Z, until: 2026-10-04T00:10:00Z, direction: in, by: Jane, reason: DDoS}]`)
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("excluded: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 2)
		if row.Kind != rating.KindAdjustment || row.AmountExVAT.String() != "-1" || row.InOctets != -2_000_000_000 || row.OutOctets != 0 || row.ExcludedInOctets != 2_000_000_000 {
			t.Fatalf("excluded: %+v", row)
		}
		if text := w.rules("london", 2); !strings.Contains(text, "exclude=d1 from 2026-10-04T00:05:00Z to 2026-10-04T00:10:00Z, in, by Jane: DDoS (decision)") {
			t.Fatalf("rules: %s", text)
		}
		checkExcluded(w)
		if n, err := w.ledger.EmitUsageRecords(t.Context(), w.inv); n != 0 || err != nil {
			t.Fatalf("what was used has not changed, and the feed told %d, %v", n, err)
		}
		if again := w.close(); again.Adjustments != 0 {
			t.Fatalf("closing again: %+v", again)
		}
		w.importText(`decisions: [{id: d2, service: london, decision: revoke, revokes: d1, by: John, reason: it was a backup}]`)
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("revoked: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 3); row.AmountExVAT.String() != "1" || row.InOctets != 2_000_000_000 || row.ExcludedInOctets != -2_000_000_000 {
			t.Fatalf("revoked: %+v", row)
		}
		w.importText(`decisions: [{id: d3, service: london, decision: waive, from: 2026-10-01T00:00:00Z, by: John, reason: goodwill}]`)
		w.close()
		if row := find(t, w.report("2026-10"), "london", 4); row.AmountExVAT.String() != "-1" || row.InOctets != 0 || row.BilledQuantity.String() != "-2" {
			t.Fatalf("waived: %+v", row)
		}
		if _, err := w.ledger.VerifyStatements(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// checkExcluded holds the evidence to what rows say, with what was excluded apart.
func checkExcluded(w *world) {
	w.t.Helper()
	_, list := w.evidence("2026-10")
	for _, e := range list {
		if e.Rows[0].Service != "london" {
			continue
		}
		in, out := e.Sum()
		var gotIn, gotOut, excluded int64
		for _, u := range e.Days {
			if u.Counted {
				gotIn, gotOut = gotIn+u.InOctets, gotOut+u.OutOctets
			}
			if u.Excluded {
				excluded += u.InOctets
			}
		}
		if gotIn != in || gotOut != out || excluded != 2_000_000_000 || !e.Difference.IsZero() {
			w.t.Errorf("evidence has %d in, %d out, %d excluded, difference %+v; rows have %d, %d", gotIn, gotOut, excluded, e.Difference, in, out)
		}
	}
}

func (w *world) rules(service string, revision int) string {
	var texts []string
	for _, row := range w.report("2026-10").Rows {
		if row.Service == service && row.Revision == revision {
			for _, rule := range row.Rules {
				texts = append(texts, rule.String())
			}
		}
	}
	return strings.Join(texts, "; ")
}

// TestDecisionThatChangesNoAmountIsToldToo: a lower bound that is decided late changes what is held against the quota.
func TestDecisionThatChangesNoAmountIsToldToo(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 1_000_000_000, 1}) // half of the quota
		w.seal(25 * 24 * time.Hour)
		w.close()
		w.importText(`decisions: [{id: d1, service: london, decision: lower_bound, from: 2026-10-15T00:00:00Z, by: Jane, reason: the port agrees}]`)
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("decided: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 2)
		if row.BillableOctets >= 0 || row.EstimatedOctets != 0 || row.InOctets != 0 || !row.AmountExVAT.IsZero() || !row.Used.IsNegative() {
			t.Fatalf("decided: %+v", row)
		}
		if again := w.close(); again.Adjustments != 0 {
			t.Fatalf("closing again: %+v", again)
		}
	})
}

// TestHeldPeriodWaitsForADecision closes nothing of a service behind a period that is held.
func TestHeldPeriodWaitsForADecision(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(`services: [{id: london, customer: c1, plan: month, place: london, opened: 2026-01-12, sampled: hold}]`)
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		// testTally gives a seventh of the octets as variance in KiB squared: a standard error of 17.7 MB
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 2_010_000_000, 1})
		w.seal(25 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(35, 0, 0), 10, 1})
		w.seal(30 * 24 * time.Hour)
		closed := w.close()
		if len(closed.Problems) != 1 || closed.Problems[0].Service != "london" || !strings.Contains(closed.Problems[0].Text, "is held: 2 GB lies in the interval") {
			t.Fatalf("closed %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 0)
		if row.Kind != rating.KindHeld || !row.Provisional || !row.AmountExVAT.IsZero() || row.Hold == "" {
			t.Fatalf("held: %+v", row)
		}
		w.importText(`decisions: [{id: d1, service: london, decision: estimate, from: 2026-10-15T00:00:00Z, by: Jane, reason: the port agrees}]`)
		if closed := w.close(); closed.Statements != 2 || len(closed.Problems) != 0 { // and November
			t.Fatalf("decided: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 1); row.Kind != rating.KindOverage || row.AmountExVAT.String() != "0.5" || row.Provisional {
			t.Fatalf("decided: %+v", row)
		}
	})
}
