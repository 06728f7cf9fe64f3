package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/audit"
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// eachCredit gives f a world in which October is closed, 0.50 GBP were charged to london, and an address is found, at
// some time, never to have been its. york is just below its quota.
func eachCredit(t *testing.T, at time.Time, f func(t *testing.T, w *world, db *store.DB)) {
	t.Helper()
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		w := newWorld(t, db)
		w.importText(`services: [{id: york, customer: c2, plan: month, place: london, opened: 2026-01-12}]`)
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.2", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.3", ownedTime{"york", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 1_500_000_000, 0},
			sentTally{"address:10.1.0.3", schemas.ClassExternal, minutes(3, 0, 0), 1_900_000_000, 0},
			sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 0), 900_000_000, 0})
		w.seal(25 * 24 * time.Hour)
		w.close()
		if row := find(t, w.report("2026-10"), "london", 1); row.AmountExVAT.String() != "0.5" {
			t.Fatalf("closed: %+v", row)
		}
		c.Set(at)
		w.now = at
		w.own("address:10.1.0.2")
		f(t, w, db)
	})
}

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func TestCreditInsideItsWindowIsGiven(t *testing.T) {
	eachCredit(t, date(2026, 12, 1).Add(-time.Second), func(t *testing.T, w *world, _ *store.DB) {
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.AmountExVAT.String() != "-0.5" || row.InOctets != -900_000_000 {
			t.Fatalf("adjusted: %+v", row)
		}
	})
}

func TestCreditAfterItsWindowWaitsForADecision(t *testing.T) {
	eachCredit(t, date(2026, 12, 1), func(t *testing.T, w *world, db *store.DB) {
		for range 2 {
			closed := w.close()
			want := "adjustment of statement london/2026-10-01: a credit of 0.50 GBP comes more than 1 month after its period (provider: credit_window): " +
				"decide `credit` with a reason to give it, before 2027-01-01; from then on it is not given"
			if closed.Adjustments != 0 || len(closed.Problems) != 1 || closed.Problems[0].Text != want {
				t.Fatalf("closed: %+v", closed)
			}
		}
		waiting, err := w.ledger.Credits(t.Context(), w.inv, w.now)
		if err != nil || len(waiting) != 1 || waiting[0].Statement != "london/2026-10-01" || waiting[0].Amount != "0.50" || waiting[0].Currency != "GBP" ||
			waiting[0].Service != "london" || waiting[0].Until.String() != "2027-01-01" || !waiting[0].PeriodFrom.Equal(date(2026, 9, 30).Add(23*time.Hour)) {
			t.Fatalf("waiting: %+v, %v", waiting, err)
		}
		w.importText(`decisions: [{id: k1, service: london, decision: credit, from: 2026-10-15T00:00:00Z, by: Jane, reason: we were told late}]`)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("decided: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.AmountExVAT.String() != "-0.5" {
			t.Fatalf("decided: %+v", row)
		}
		if text := w.rules("london", 2); !strings.Contains(text, "credit=k1, by Jane: we were told late (decision)") {
			t.Fatalf("rules: %s", text)
		}
		events, err := audit.Events(t.Context(), db, "london", 0, 10)
		if err != nil || len(events) != 1 || events[0].Actor != "Jane" || events[0].Action != "decide credit" || events[0].Reason != "k1: we were told late" {
			t.Fatalf("audit: %+v, %v", events, err)
		}
		if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 0 {
			t.Fatalf("closing again: %+v", closed)
		}
	})
}

func TestNoClaimAfterItsWindow(t *testing.T) {
	eachCredit(t, date(2027, 1, 1), func(t *testing.T, w *world, _ *store.DB) {
		decision := `decisions: [{id: k1, service: london, decision: credit, from: 2026-10-15T00:00:00Z, by: Jane, reason: kindness}]`
		_, err := w.inv.Import(context.Background(), []inventory.File{{Name: "d.yaml", Text: []byte(decision)}}, false)
		if err == nil || !strings.Contains(err.Error(), "d.yaml:1: from: the period that contains it could be credited until 2027-01-01: no claim is made 2 months after a period") {
			t.Fatalf("decided too late: %v", err)
		}
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 2)
		if !row.AmountExVAT.IsZero() || !row.BilledQuantity.IsZero() || row.InOctets != -900_000_000 {
			t.Fatalf("adjusted: %+v", row)
		}
		if text := w.rules("london", 2); !strings.Contains(text, "credit=0.50 GBP not given: no claim after 2 months (provider)") {
			t.Fatalf("rules: %s", text)
		}
		w.own("address:10.1.0.1") // and another time: only what is new is told
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("closed: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 3); !row.AmountExVAT.IsZero() || row.InOctets != -1_500_000_000 {
			t.Fatalf("adjusted: %+v", row)
		}
		if closed := w.close(); closed.Adjustments != 0 {
			t.Fatalf("closing again: %+v", closed)
		}
	})
}

func TestWaitingCreditIsOverWithTheClaim(t *testing.T) {
	eachCredit(t, date(2026, 12, 20), func(t *testing.T, w *world, _ *store.DB) {
		if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 1 {
			t.Fatalf("closed: %+v", closed)
		}
		w.now = date(2027, 1, 2)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
	})
}

func TestWindowsAreTheProviders(t *testing.T) {
	eachCredit(t, date(2027, 3, 1), func(t *testing.T, w *world, _ *store.DB) {
		w.importText(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, credit_window: unlimited}`)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.Kind != rating.KindAdjustment || row.AmountExVAT.String() != "-0.5" {
			t.Fatalf("adjusted: %+v", row)
		}
	})
}

// TestMoreToPayHasNoWindow finds late that more was used.
func TestMoreToPayHasNoWindow(t *testing.T) {
	eachCredit(t, date(2027, 3, 1), func(t *testing.T, w *world, _ *store.DB) {
		w.own("address:10.1.0.2", ownedTime{"london", 0, farMinute})
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 1_000_000_000, 0})
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.AmountExVAT.String() != "0.5" {
			t.Fatalf("adjusted: %+v", row)
		}
	})
}

// An address is found, late, to have been another customer's: what that one is charged waits for a person as long as what
// the first one paid for the same octets is not given back, and goes by itself where it is.
func TestAChargeBesideACreditThatIsNotGivenWaits(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    time.Time
		waits bool
	}{
		{"inside the window for credits", date(2026, 12, 1).Add(-time.Second), false},
		{"the credit waits", date(2026, 12, 1), true},
		{"the claim is over", date(2027, 1, 10), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachCredit(t, c.at, func(t *testing.T, w *world, _ *store.DB) {
				w.own("address:10.1.0.2", ownedTime{"york", 0, farMinute})
				w.close()
				charge := find(t, w.report("2026-10"), "york", 2)
				if !charge.AmountExVAT.IsPositive() {
					t.Fatalf("the new owner is charged %+v: this test proves nothing", charge)
				}
				var waiting []string
				err := w.ledger.Unapproved(t.Context(), func(s Statement) error {
					waiting = append(waiting, fmt.Sprintf("%s revision %d: %s", s.Body.Row.Statement, s.Body.Row.Revision, s.ApprovalReason))
					return nil
				})
				var want []string
				if c.waits {
					want = []string{charge.Statement + " revision 2: an owner was told late, and what statement london/2026-10-01 was charged too much is not given back"}
				}
				if err != nil || !slices.Equal(waiting, want) {
					t.Errorf("waiting: %q, %v, want %q", waiting, err, want)
				}
				// What is charged later, and has nothing to do with owners, waits for nobody.
				w.send(sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 0), 5_000_000_000, 0})
				w.close()
				if more := find(t, w.report("2026-10"), "york", 3); !more.AmountExVAT.IsPositive() {
					t.Fatalf("charged later: %+v", more)
				}
				if numbers, _ := w.waiting(); !c.waits && len(numbers) != 0 {
					t.Errorf("waiting: %v", numbers)
				}
				if findings, err := w.ledger.Verify(t.Context(), false); err != nil || len(findings) != 0 {
					t.Errorf("verify: %+v, %v", findings, err)
				}
			})
		})
	}
}

// TestALateChargeThatWasWrongIsGivenBack charges a customer, after all windows, for an address that is then found not to be
// its: that is no claim about what was charged at first, and needs nobody's decision.
func TestALateChargeThatWasWrongIsGivenBack(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		w := newWorld(t, db)
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 1_500_000_000, 0},
			sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 0), 900_000_000, 0})
		w.seal(25 * 24 * time.Hour)
		w.close()
		c.Set(date(2027, 1, 10))
		w.now = date(2027, 1, 10)
		w.own("address:10.1.0.2", ownedTime{"london", 0, farMinute})
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("charged: %+v", closed)
		}
		charged := find(t, w.report("2026-10"), "london", 2)
		w.own("address:10.1.0.2")
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("given back: %+v", closed)
		}
		back := find(t, w.report("2026-10"), "london", 3)
		if !charged.AmountExVAT.IsPositive() || !back.AmountExVAT.Equal(charged.AmountExVAT.Neg()) || back.InOctets != -charged.InOctets {
			t.Fatalf("charged %+v\ngiven back %+v", charged, back)
		}
		if findings, err := w.ledger.Verify(t.Context(), false); err != nil || len(findings) != 0 {
			t.Fatalf("verify: %+v, %v", findings, err)
		}
	})
}

// storeClock begins anew on each store: a manual clock does not run backwards.
type storeClock struct{ *clock.Manual }

// TestCreditOfAPeriodThatIsCut: c enters a pool on 15 October, so its own period ends there, and the windows with it.
func TestCreditOfAPeriodThatIsCut(t *testing.T) {
	of := &storeClock{clock.NewManual(start)}
	storetest.EachWithClock(t, of, func(t *testing.T, db *store.DB) {
		c := clock.NewManual(start)
		of.Manual = c
		w := newPoolWorld(t, db, c)
		f := func(now time.Time, from, want string) {
			t.Helper()
			c.Set(now)
			err := w.tryImport(`decisions: [{id: k1, service: c, decision: credit, from: ` + from + `, by: Jane, reason: kindness}]`)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("at %s: %v, want %q", now, err, want)
			}
		}
		f(date(2026, 10, 14), "2026-10-05T00:00:00Z", "the period that contains it ends on 2026-10-15: there is nothing to credit yet")
		f(date(2026, 10, 20), "2026-10-16T00:00:00Z", "the period that contains it ends on 2026-11-15: there is nothing to credit yet")
		w.importText(`decisions: [{id: k0, service: c, decision: credit, from: 2026-10-05T00:00:00Z, by: Jane, reason: kindness}]`) // its own is over
		f(date(2026, 12, 20), "2026-10-05T00:00:00Z", "the period that contains it could be credited until 2026-12-15: no claim is made 2 months after a period")
		f(date(2026, 12, 20), "2025-12-05T00:00:00Z", "no period of c contains it: it was opened on 2026-01-12")
	})
}

// eachOvercharged gives f a world in which, at some time, october of london was charged 0.50 GBP at first and 0.50 more
// later, and both turn out wrong: all that was used was 0.9 GB of 1 GB.
func eachOvercharged(t *testing.T, at time.Time, f func(t *testing.T, w *world)) {
	t.Helper()
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		w := newWorld(t, db)
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.3", ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 1_500_000_000, 0},
			sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 0), 900_000_000, 0},
			sentTally{"address:10.1.0.3", schemas.ClassExternal, minutes(3, 0, 0), 900_000_000, 0})
		w.seal(25 * 24 * time.Hour)
		w.close()
		w.own("address:10.1.0.2", ownedTime{"london", 0, farMinute})
		w.close()
		report := w.report("2026-10")
		first, second := find(t, report, "london", 1), find(t, report, "london", 2)
		if !first.AmountExVAT.IsPositive() || !second.AmountExVAT.IsPositive() {
			t.Fatalf("charged %s and %s", first.AmountExVAT, second.AmountExVAT)
		}
		c.Set(at)
		w.now = at
		w.own("address:10.1.0.1")
		w.own("address:10.1.0.2")
		f(t, w)
		if closed := w.close(); closed.Adjustments != 0 {
			t.Fatalf("closing again: %+v", closed)
		}
		if findings, err := w.ledger.Verify(t.Context(), false); err != nil || len(findings) != 0 {
			t.Fatalf("verify: %+v, %v", findings, err)
		}
	})
}

// TestWhatWasChargedOnTopIsGivenBackAfterTheClaim gives the later charge, and not the first one.
func TestWhatWasChargedOnTopIsGivenBackAfterTheClaim(t *testing.T) {
	eachOvercharged(t, date(2027, 1, 10), func(t *testing.T, w *world) {
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("closed: %+v", closed)
		}
		report := w.report("2026-10")
		first, second, back := find(t, report, "london", 1), find(t, report, "london", 2), find(t, report, "london", 3)
		if !back.AmountExVAT.Equal(second.AmountExVAT.Neg()) || !back.BilledQuantity.Equal(second.BilledQuantity.Neg()) {
			t.Fatalf("charged %s (%s) and %s (%s), given %s (%s)", first.AmountExVAT, first.BilledQuantity, second.AmountExVAT, second.BilledQuantity, back.AmountExVAT, back.BilledQuantity)
		}
		want := "credit=" + first.AmountExVAT.StringFixed(2) + " GBP not given: no claim after 2 months (provider)"
		if text := w.rules("london", 3); !strings.Contains(text, want) {
			t.Fatalf("rules: %s", text)
		}
	})
}

// TestWhatWasChargedOnTopDoesNotWait gives the later charge at once; the first one waits for a decision.
func TestWhatWasChargedOnTopDoesNotWait(t *testing.T) {
	eachOvercharged(t, date(2026, 12, 5), func(t *testing.T, w *world) {
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 1 {
			t.Fatalf("closed: %+v", closed)
		}
		report := w.report("2026-10")
		first, second, back := find(t, report, "london", 1), find(t, report, "london", 2), find(t, report, "london", 3)
		if !back.AmountExVAT.Equal(second.AmountExVAT.Neg()) {
			t.Fatalf("charged %s and %s, given %s", first.AmountExVAT, second.AmountExVAT, back.AmountExVAT)
		}
		if text := w.rules("london", 3); !strings.Contains(text, "credit=0.50 GBP more waits for a decision: it comes after 1 month, and is not given from 2027-01-01 on (provider)") {
			t.Fatalf("rules: %s", text)
		}
		if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 1 {
			t.Fatalf("closed again: %+v", closed)
		}
		waiting, err := w.ledger.Credits(t.Context(), w.inv, w.now)
		if err != nil || len(waiting) != 1 || waiting[0].Amount != first.AmountExVAT.StringFixed(2) {
			t.Fatalf("waiting: %+v, %v", waiting, err)
		}
		w.importText(`decisions: [{id: k1, service: london, decision: credit, from: 2026-10-15T00:00:00Z, by: Jane, reason: we were told late}]`)
		if closed := w.close(); closed.Adjustments != 1 || len(closed.Problems) != 0 {
			t.Fatalf("decided: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 4)
		if !row.AmountExVAT.Equal(first.AmountExVAT.Neg()) || !row.BilledQuantity.Equal(first.BilledQuantity.Neg()) || row.InOctets != 0 {
			t.Fatalf("decided: %+v", row)
		}
	})
}

// TestHeldBackAddsUp holds, for any pool, what is given and what is held to the difference and to the first charge.
func TestHeldBackAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pence := func(name string) charged {
			n := rapid.Int64Range(0, 400).Draw(t, name)
			return charged{decimal.New(n, -2), decimal.New(n, -3)}
		}
		lines := make([]compared, rapid.IntRange(1, 4).Draw(t, "members"))
		var now, told, first charged
		for i := range lines {
			lines[i] = compared{service: string(rune('a' + i)), now: pence("now"), told: pence("told"), first: pence("first")}
			now, told, first = now.plus(lines[i].now), told.plus(lines[i].told), first.plus(lines[i].first)
		}
		held, split := heldBack(lines)
		var sum charged
		for i, h := range held {
			sum = sum.plus(h)
			difference := lines[i].now.minus(lines[i].told).amount
			if given := difference.Sub(h.amount); split && (given.IsPositive() || given.LessThan(decimal.Min(difference, decimal.Zero))) {
				t.Fatalf("member %d: %s of %s is given", i, given, difference)
			}
		}
		want := decimal.Min(decimal.Zero, now.amount.Sub(decimal.Min(told.amount, first.amount)))
		if !sum.amount.Equal(want) || !sum.quantity.Equal(want.Shift(-1)) {
			t.Fatalf("held %s of %s, want %s", sum.amount, sum.quantity, want)
		}
	})
}
