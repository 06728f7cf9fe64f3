package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// eachPoolWorld gives f a world with the pools of poolImport, and the clock of its store.
func eachPoolWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) { f(t, newPoolWorldEmpty(t, db, c)) })
}

// verified holds all that was closed to what it was computed from.
func (w *world) verified(t *testing.T) {
	t.Helper()
	findings, err := w.ledger.Verify(t.Context(), false)
	if err != nil || len(findings) != 0 {
		t.Fatalf("verify: %+v, %v", findings, err)
	}
}

// TestDisputeOfOneMemberHoldsThePool has a member whose vNIC and port have seen more than its address, so that nobody's
// share is known until a person decides, about the member or about its pool.
func TestDisputeOfOneMemberHoldsThePool(t *testing.T) {
	for _, about := range []string{"a", "sum"} {
		eachPoolWorld(t, func(t *testing.T, w *world) {
			w.importText(fmt.Sprintf("ownership:\n  - {service: a, key: \"guest:%s\", from: 2026-09-01T00:00:00Z}\n  - {service: a, key: %q, from: 2026-09-01T00:00:00Z}\n", uuid, port))
			w.now = start.Add(16 * 24 * time.Hour)
			w.observe(0, 24*15, "192.0.2.250")
			w.count(three(minutes(3, 12, 0), schemas.ClassExternal, 0, 4_000_000_000)[1:]...)
			w.count(counter{host, schemas.ClassExternal, minutes(3, 12, 0), 0, 3_000_000_000, 0}, counter{poolMeters["b"], schemas.ClassExternal, minutes(3, 1, 0), 0, 4_000_000_000, 0})
			w.count(three(minutes(5, 12, 0), schemas.ClassExternal, 0, 1_000_000_000)...)
			w.seal(8 * 24 * time.Hour)
			closed := w.close()
			if len(closed.Problems) != 1 || closed.Problems[0].Service != "sum" || !strings.Contains(closed.Problems[0].Text, "pool sum: the period from 2026-09-15 is held: pool sum: service a: 1 of 2 days compared are outside") {
				t.Fatalf("closed %+v", closed)
			}
			a, b := find(t, w.report("2026-10"), "a", 0), find(t, w.report("2026-10"), "b", 0)
			if a.Kind != rating.KindHeld || b.Kind != rating.KindHeld || a.Disputed == "" || b.Disputed != "" || !a.AmountExVAT.IsZero() || !b.AmountExVAT.IsZero() {
				t.Fatalf("held:\n%+v\n%+v", a, b)
			}
			w.importText(fmt.Sprintf(`decisions: [{id: d1, service: %s, decision: release, from: 2026-10-02T00:00:00Z, by: Jane, reason: the backup VLAN has no exporter}]`, about))
			if closed := w.close(); closed.Statements == 0 || len(closed.Problems) != 0 {
				t.Fatalf("released: %+v", closed)
			}
			a, b = find(t, w.report("2026-10"), "a", 1), find(t, w.report("2026-10"), "b", 1)
			if a.Kind != rating.KindOverage || a.AmountExVAT.String() != "1" || b.AmountExVAT.String() != "1" || !strings.Contains(a.Disputed, "1 of 2 days") || a.Hold != "" {
				t.Fatalf("released:\n%+v\n%+v", a, b)
			}
			w.verified(t)
			// What a witness tells late changes nothing; what the other member tells late adjusts both.
			w.count(counter{vnic, schemas.ClassPort, minutes(9, 12, 0), 0, 9_000_000_000, 0})
			if again := w.close(); again.Adjustments != 0 || len(again.Problems) != 0 {
				t.Fatalf("a late witness: %+v", again)
			}
			w.count(counter{poolMeters["b"], schemas.ClassExternal, minutes(4, 1, 0), 0, 2_000_000_000, 0})
			if again := w.close(); again.Adjustments != 2 || len(again.Problems) != 0 {
				t.Fatalf("late flows: %+v", again)
			}
			w.sums()
			w.verified(t)
		})
	}
}

// lowered closes a pool's period in which a and b were charged 0.50 GBP each, and excludes the usage of a at some later time.
func (w *world) lowered(t *testing.T, at time.Time) {
	t.Helper()
	w.now = start.Add(16 * 24 * time.Hour)
	w.send(sentTally{poolMeters["a"], schemas.ClassExternal, minutes(3, 0, 0), 3_000_000_000, 0}, sentTally{poolMeters["b"], schemas.ClassExternal, minutes(3, 1, 0), 3_000_000_000, 0})
	w.seal(8 * 24 * time.Hour)
	w.close()
	if row := find(t, w.report("2026-10"), "b", 1); row.AmountExVAT.String() != "0.5" {
		t.Fatalf("closed: %+v", row)
	}
	w.now = at
	w.clock.Set(at)
	w.importText(`decisions: [{id: x1, service: a, decision: exclude, from: 2026-10-04T00:00:00Z, until: 2026-10-04T00:05:00Z, by: Jane, reason: DDoS}]`)
}

// TestCreditsOfAPoolWaitTogether lets nobody's share change before all of them may.
func TestCreditsOfAPoolWaitTogether(t *testing.T) {
	for _, about := range [][]string{{"a", "b"}, {"sum"}} {
		eachPoolWorld(t, func(t *testing.T, w *world) {
			w.lowered(t, date(2026, 11, 20))
			for i, service := range about {
				closed := w.close()
				if closed.Adjustments != 0 || len(closed.Problems) != 1 || closed.Problems[0].Service != "sum" || !strings.Contains(closed.Problems[0].Text, "a credit of 0.50 GBP comes more than 1 month after its period") {
					t.Fatalf("closed: %+v", closed)
				}
				waiting, err := w.ledger.Credits(t.Context(), w.inv, w.now)
				if err != nil || len(waiting) != 2-i || waiting[len(waiting)-1].Statement != "b/2026-09-15" {
					t.Fatalf("waiting: %+v, %v", waiting, err)
				}
				w.importText(fmt.Sprintf(`decisions: [{id: k%d, service: %s, decision: credit, from: 2026-10-02T00:00:00Z, by: Jane, reason: told late}]`, i, service))
			}
			if closed := w.close(); closed.Adjustments != 2 || len(closed.Problems) != 0 {
				t.Fatalf("decided: %+v", closed)
			}
			for _, service := range []string{"a", "b"} {
				if row := find(t, w.report("2026-10"), service, 2); row.AmountExVAT.String() != "-0.5" || !strings.Contains(w.rules(service, 2), "credit=k") {
					t.Fatalf("decided: %+v", row)
				}
			}
			w.verified(t)
		})
	}
}

func TestNoClaimOfAPoolAfterItsWindow(t *testing.T) {
	eachPoolWorld(t, func(t *testing.T, w *world) {
		w.lowered(t, date(2026, 12, 20))
		for _, service := range []string{"a", "sum"} {
			err := w.tryImport(fmt.Sprintf(`decisions: [{id: k1, service: %s, decision: credit, from: 2026-10-02T00:00:00Z, by: Jane, reason: kindness}]`, service))
			if err == nil || !strings.Contains(err.Error(), "could be credited until 2026-12-15: no claim is made 2 months after a period") {
				t.Fatalf("decided too late: %v", err)
			}
		}
		if closed := w.close(); closed.Adjustments != 2 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		a, b := find(t, w.report("2026-10"), "a", 2), find(t, w.report("2026-10"), "b", 2)
		if a.InOctets != -3_000_000_000 || !a.AmountExVAT.IsZero() || !b.AmountExVAT.IsZero() || b.Excess.String() != "-1" || !strings.Contains(w.rules("b", 2), "credit=0.50 GBP not given") {
			t.Fatalf("not given:\n%+v\n%+v", a, b)
		}
		w.verified(t)
		if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 0 {
			t.Fatalf("closing again: %+v", closed)
		}
	})
}

// TestOrderForAPoolInAClosedPeriodIsRefused: the closed periods of a pool are those of its members.
func TestOrderForAPoolInAClosedPeriodIsRefused(t *testing.T) {
	eachPoolWorld(t, func(t *testing.T, w *world) {
		w.lowered(t, date(2026, 10, 28))
		err := w.tryImport(`changes: [{service: sum, at: 2026-10-01T00:00:00Z, quota: 9 TB}]`)
		if err == nil || !strings.Contains(err.Error(), "at: the periods of pool sum are closed to 2026-10-14T23:00:00Z") {
			t.Fatalf("ordered: %v", err)
		}
		if err := w.tryImport(`changes: [{service: sum, at: 2026-10-20T00:00:00Z, quota: 9 TB}]`); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSharesMoveAfterTheWindows: usage that is found, after all windows, to be another member's moves a part of the pool's
// charge from one to the other, and the pool owes what it did.
func TestSharesMoveAfterTheWindows(t *testing.T) {
	eachPoolWorld(t, func(t *testing.T, w *world) {
		w.now = start.Add(16 * 24 * time.Hour)
		w.send(sentTally{poolMeters["a"], schemas.ClassExternal, minutes(3, 0, 0), 3_000_000_000, 0}, sentTally{poolMeters["b"], schemas.ClassExternal, minutes(3, 1, 0), 3_000_000_000, 0})
		w.seal(8 * 24 * time.Hour)
		w.close()
		w.now = date(2026, 12, 20)
		w.clock.Set(w.now)
		w.own(poolMeters["a"], ownedTime{"b", 0, farMinute})
		if closed := w.close(); closed.Adjustments != 2 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		a, b := find(t, w.report("2026-10"), "a", 2), find(t, w.report("2026-10"), "b", 2)
		if a.AmountExVAT.String() != "-0.5" || b.AmountExVAT.String() != "0.5" {
			t.Fatalf("moved:\n%+v\n%+v", a, b)
		}
		w.verified(t)
	})
}
