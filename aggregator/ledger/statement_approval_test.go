package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/audit"
	"hostmeter/schemas"
)

const withApproval = `provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, approval: required}`

// closeTwoCharges closes October with a charge of london and one of middle's September, and services without any.
func closeTwoCharges(w *world) {
	w.t.Helper()
	w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
	w.own("address:10.1.0.2", ownedTime{"middle", 0, farMinute})
	w.seal(10 * 24 * time.Hour)
	w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 2_500_000_000, 0},
		sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 0), 0, 4_000_000_000})
	w.seal(25 * 24 * time.Hour)
	w.close()
}

func (w *world) waiting() (numbers []int64, names []string) {
	w.t.Helper()
	err := w.ledger.Unapproved(w.t.(*testing.T).Context(), func(s Statement) error {
		numbers, names = append(numbers, s.Number), append(names, s.Body.Row.Statement)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return numbers, names
}

func (w *world) approvals() map[int64]Approval {
	w.t.Helper()
	states := map[int64]Approval{}
	err := w.ledger.Statements(w.t.(*testing.T).Context(), StatementQuery{}, func(s Statement) error {
		states[s.Number] = s.Approval
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return states
}

func TestChargesWaitForApproval(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.importText(withApproval)
		closeTwoCharges(w)
		numbers, names := w.waiting()
		if len(numbers) != 2 || !slices.Contains(names, "london/2026-10-01") {
			t.Fatalf("waiting: %v %v", numbers, names)
		}
		err := w.ledger.Approve(ctx, []int64{numbers[0], 99}, "user:ada")
		if !errors.Is(err, ErrNotWaiting) {
			t.Fatalf("one that is not there: %v", err)
		}
		if again, _ := w.waiting(); len(again) != 2 {
			t.Fatalf("a refused batch approved some: %v", again)
		}
		if err := w.ledger.Approve(ctx, []int64{numbers[1], numbers[0], numbers[1]}, "user:ada"); err != nil {
			t.Fatal(err)
		}
		if again, _ := w.waiting(); len(again) != 0 {
			t.Fatalf("still waiting: %v", again)
		}
		for _, number := range numbers {
			if err := w.ledger.Approve(ctx, []int64{number}, "user:bob"); !errors.Is(err, ErrNotWaiting) {
				t.Errorf("approved twice: %v", err)
			}
			if err := w.ledger.Waive(ctx, []int64{number}, "user:bob", "too late"); !errors.Is(err, ErrNotWaiting) {
				t.Errorf("waived after the approval: %v", err)
			}
		}
		events, err := audit.Events(ctx, w.ledger.DB(), "london/2026-10-01", 0, 10)
		if err != nil || len(events) != 1 || events[0].Actor != "user:ada" || events[0].Action != "approve charge" {
			t.Errorf("audit: %+v, %v", events, err)
		}
		if _, err := w.ledger.VerifyStatements(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestWaivedChargeTakesItsReversalAlong waives a charge, by a decision that adjusts it to nothing.
func TestWaivedChargeTakesItsReversalAlong(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.importText(withApproval)
		closeTwoCharges(w)
		numbers, names := w.waiting()
		london := numbers[slices.Index(names, "london/2026-10-01")]
		if err := w.ledger.Waive(ctx, []int64{london}, "user:ada", ""); err == nil {
			t.Fatal("waived without a reason")
		}
		w.importText(`decisions: [{id: d1, service: london, decision: waive, from: 2026-10-01T00:00:00Z, by: "user:ada", reason: goodwill}]`)
		if err := w.ledger.Waive(ctx, []int64{london}, "user:ada", "goodwill"); err != nil {
			t.Fatal(err)
		}
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("closed: %+v", closed)
		}
		row := find(t, w.report("2026-10"), "london", 2)
		if row.AmountExVAT.String() != "-0.5" {
			t.Fatalf("adjusted: %+v", row)
		}
		states := w.approvals()
		last := int64(len(states))
		if states[london] != ApprovalRefused || states[last] != ApprovalRefused {
			t.Fatalf("approvals: %v", states)
		}
		if again, _ := w.waiting(); len(again) != 1 {
			t.Fatalf("waiting: %v", again)
		}
		w.importText(`decisions: [{id: d2, service: london, decision: revoke, revokes: d1, by: "user:ada", reason: they did not pay}]`)
		w.close()
		if states := w.approvals(); states[last+1] != ApprovalWaiting {
			t.Fatalf("charged again: %v", states)
		}
	})
}

func TestNoApprovalWhereNoneIsWanted(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closeTwoCharges(w)
		w.importText(withApproval) // what is closed already goes as it did
		for number, state := range w.approvals() {
			if state != "" {
				t.Errorf("number %d is %s", number, state)
			}
		}
	})
}

const withoutApproval = `provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}`

// eachCorrected gives f a world in which london's charge of 1 GBP waits for a person, approvals are switched off, and a
// correction of some octets is closed: first is the number of the charge, and the last one that of the correction.
func eachCorrected(t *testing.T, waive bool, octets int64, f func(t *testing.T, w *world, first, last int64)) {
	t.Helper()
	eachWorld(t, func(t *testing.T, w *world) {
		w.importText(withApproval)
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.2", ownedTime{"london", 0, farMinute})
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), 2_500_000_000, 0},
			sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(3, 0, 0), 500_000_001, 0})
		w.seal(25 * 24 * time.Hour)
		w.close()
		if row := find(t, w.report("2026-10"), "london", 1); row.AmountExVAT.String() != "1" {
			t.Fatalf("closed: %+v", row)
		}
		numbers, names := w.waiting()
		first := numbers[slices.Index(names, "london/2026-10-01")]
		if waive {
			if err := w.ledger.Waive(t.Context(), []int64{first}, "user:ada", "goodwill"); err != nil {
				t.Fatal(err)
			}
		}
		w.importText(withoutApproval)
		if octets < 0 {
			w.own("address:10.1.0.2") // it was never london's
		} else {
			w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(3, 0, 0), uint64(octets), 0})
		}
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("closed: %+v", closed)
		}
		f(t, w, first, int64(len(w.approvals())))
	})
}

// TestCorrectionOfAWaivedChargeIsNotToldByItself, whatever the provider wants by now: it would give back what was not
// paid, or charge what was let go.
func TestCorrectionOfAWaivedChargeIsNotToldByItself(t *testing.T) {
	eachCorrected(t, true, -1, func(t *testing.T, w *world, first, last int64) {
		if row := find(t, w.report("2026-10"), "london", 2); row.AmountExVAT.String() != "-0.5" {
			t.Fatalf("adjusted: %+v", row)
		}
		if states := w.approvals(); states[last] != ApprovalRefused {
			t.Fatalf("less than was waived: %v", states)
		}
	})
	eachCorrected(t, true, 1_000_000_000, func(t *testing.T, w *world, first, last int64) {
		if states := w.approvals(); states[last] != ApprovalWaiting {
			t.Fatalf("more than was waived: %v", states)
		}
	})
}

// TestCorrectionOfAnUndecidedChargeWaitsWithIt: approvals were switched off while the charge waited.
func TestCorrectionOfAnUndecidedChargeWaitsWithIt(t *testing.T) {
	eachCorrected(t, false, -1, func(t *testing.T, w *world, first, last int64) {
		if states := w.approvals(); states[last] != ApprovalWaiting {
			t.Fatalf("found: %v", states)
		}
		if err := w.ledger.Approve(t.Context(), []int64{last}, "user:ada"); !errors.Is(err, ErrWaitsForAnother) {
			t.Fatalf("a correction alone: %v", err)
		}
		if err := w.ledger.Waive(t.Context(), []int64{first}, "user:ada", "goodwill"); err != nil {
			t.Fatal(err)
		}
		if states := w.approvals(); states[first] != ApprovalRefused || states[last] != ApprovalRefused {
			t.Fatalf("waived: %v", states)
		}
	})
	for _, together := range []bool{false, true} {
		eachCorrected(t, false, -1, func(t *testing.T, w *world, first, last int64) {
			batches := [][]int64{{first}, {last}}
			if together {
				batches = [][]int64{{last, first}}
			}
			for _, numbers := range batches {
				if err := w.ledger.Approve(t.Context(), numbers, "user:ada"); err != nil {
					t.Fatal(err)
				}
			}
			if states := w.approvals(); states[first] != ApprovalGiven || states[last] != ApprovalGiven {
				t.Fatalf("approved: %v", states)
			}
		})
		eachCorrected(t, false, -1, func(t *testing.T, w *world, first, last int64) {
			numbers := []int64{first}
			if together {
				numbers = []int64{first, last}
			}
			if err := w.ledger.Waive(t.Context(), numbers, "user:ada", "goodwill"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestChargesThatComeLateWait closes two months at once, as of a service that is imported with a past: what is older than the
// window waits for a person, though the provider wants no approvals.
func TestChargesThatComeLateWait(t *testing.T) {
	f := func(provider string, want ...string) {
		eachWorld(t, func(t *testing.T, w *world) {
			w.importText(provider)
			w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
			w.now = w.now.Add(41 * 24 * time.Hour)
			w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(7, 12, 0), 5e9, 0},
				sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(40, 12, 0), 6e9, 0})
			w.seal(39 * 24 * time.Hour) // 20 December
			if closed := w.close(); closed.Statements < 2 {
				t.Fatalf("closed: %+v", closed)
			}
			_, names := w.waiting()
			if !slices.Equal(names, want) {
				t.Errorf("%v wait, want %v", names, want)
			}
			err := w.ledger.Unapproved(t.Context(), func(s Statement) error {
				if !strings.Contains(s.ApprovalReason, "more than 1 month after its period") {
					t.Errorf("%s waits for %q", s.Body.Row.Statement, s.ApprovalReason)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	f(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP}`, "london/2026-10-01")
	f(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, charge_window: 2 months}`)
	f(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, charge_window: unlimited}`)
}
