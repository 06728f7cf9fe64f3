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
	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// poolImport adds two pools to a world: one adds up its members' quotas, the other counts a rate. Member c
// bills a calendar month of its own before it enters.
const poolImport = `
prices:
  - {sku: burst, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: Mbit/s, begun: true, amount: "10.00"}
customers: [{id: r1, name: Resale Ltd}, {id: c3, name: Eve Ltd, reseller: r1}, {id: c4, name: Mallory Ltd, reseller: c3}]
services:
  - {id: a, customer: c3, plan: month, place: london, opened: 2026-01-12}
  - {id: b, customer: c4, plan: month, place: london, opened: 2026-01-12}
  - {id: c, customer: r1, plan: month, place: london, opened: 2026-01-12}
  - {id: d, customer: r1, plan: month, place: london, opened: 2026-01-12}
pools:
  - {pool: sum, customer: r1, place: london, opened: 2026-08-15, period: anniversary}
  - {pool: rate, customer: r1, place: london, opened: 2026-09-01, quota: 1 Mbit/s, direction: p95, sku: burst, missing: zero}
pool_members:
  - {service: a, pool: sum, from: 2026-08-15}
  - {service: b, pool: sum, from: 2026-08-15}
  - {service: c, pool: sum, from: 2026-10-15}
  - {service: d, pool: rate, from: 2026-10-01}
`

var poolMeters = map[string]string{"a": "address:10.1.0.1", "b": "address:10.1.0.2", "c": "address:10.2.0.1", "d": "address:10.2.0.2"}

func newPoolWorld(t failer, db *store.DB, c *clock.Manual) *world {
	c.Set(start)
	w := newWorld(t, db)
	w.clock = c
	w.importText(poolImport)
	for _, service := range []string{"a", "b", "c", "d"} {
		w.own(poolMeters[service], ownedTime{service, 0, farMinute})
	}
	return w
}

// sums adds up all revisions of each closed period, and holds them to what the last of them says of its pool.
func (w *world) sums() map[string]rating.Charge {
	w.t.Helper()
	sums, last := map[string]rating.Charge{}, map[string]Statement{}
	err := w.ledger.Statements(context.Background(), StatementQuery{}, func(s Statement) error {
		row := s.Body.Row
		sum := sums[row.Statement]
		sum.InOctets += row.InOctets
		sum.OutOctets += row.OutOctets
		sum.Excess, sum.BilledQuantity, sum.AmountExVAT = sum.Excess.Add(row.Excess), sum.BilledQuantity.Add(row.BilledQuantity), sum.AmountExVAT.Add(row.AmountExVAT)
		sums[row.Statement], last[row.Statement] = sum, s
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.ledger.VerifyStatements(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	if findings, err := w.ledger.Verify(context.Background(), false); err != nil || len(findings) > 0 {
		w.t.Errorf("verify: %+v, %v", findings, err)
	}
	w.checkPools(sums, last)
	return sums
}

// checkPools adds up the members of each pool's period: the newest statement among them says what they make.
func (w *world) checkPools(sums map[string]rating.Charge, last map[string]Statement) {
	w.t.Helper()
	amounts, newest := map[string]decimal.Decimal{}, map[string]Statement{}
	for name, s := range last {
		if s.Body.Contract.Pool == nil {
			continue
		}
		key := fmt.Sprint(s.Body.Contract.Pool.Service, s.Body.Period.From)
		amounts[key] = amounts[key].Add(sums[name].AmountExVAT)
		if s.Number > newest[key].Number {
			newest[key] = s
		}
	}
	for key, s := range newest {
		if share := s.Body.Row.Pool; share == nil || !share.AmountExVAT.Equal(amounts[key]) {
			w.t.Errorf("members of %s are charged %s together, their pool %+v", key, amounts[key], share)
		}
	}
}

func equalSums(a, b map[string]rating.Charge) bool {
	if len(a) != len(b) {
		return false
	}
	for name, x := range a {
		y := b[name]
		if x.InOctets != y.InOctets || x.OutOctets != y.OutOctets || !x.Excess.Equal(y.Excess) || !x.BilledQuantity.Equal(y.BilledQuantity) || !x.AmountExVAT.Equal(y.AmountExVAT) {
			return false
		}
	}
	return true
}

// TestLateUsageOfOneMemberAdjustsAll closes a pool within its quota, and then hears of more.
func TestLateUsageOfOneMemberAdjustsAll(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		w := newPoolWorld(t, db, c)
		w.seal(10 * 24 * time.Hour)
		w.send(sentTally{poolMeters["a"], schemas.ClassExternal, minutes(3, 0, 0), 3_000_000_000, 0}, sentTally{poolMeters["b"], schemas.ClassExternal, minutes(3, 0, 0), 1_000_000_000, 0})
		w.seal(32 * 24 * time.Hour)
		w.close()
		a := find(t, w.report("2026-10"), "a", 1)
		if a.Kind != rating.KindNone || a.Pool == nil || a.Pool.Members != 2 || a.Pool.Used.String() != "4" || a.Pool.Quota.String() != "4" || a.Statement != "a/2026-09-15" && a.Statement != "a/2026-10-01" {
			t.Fatalf("within the quota: %+v", a)
		}
		w.send(sentTally{poolMeters["b"], schemas.ClassExternal, minutes(3, 1, 0), 2_000_000_000, 0}) // late: 6 of 4 GB, 3 each
		if closed := w.close(); closed.Adjustments != 2 {
			t.Fatalf("late: %+v", closed)
		}
		a, b := find(t, w.report("2026-10"), "a", 2), find(t, w.report("2026-10"), "b", 2)
		if a.Kind != rating.KindAdjustment || a.InOctets != 0 || a.AmountExVAT.String() != "0.5" || a.Excess.String() != "1" || a.Pool.AmountExVAT.String() != "1" ||
			b.InOctets != 2_000_000_000 || b.AmountExVAT.String() != "0.5" {
			t.Fatalf("late:\n%+v\n%+v", a, b)
		}
		_, list := w.evidence("2026-10")
		for _, e := range list {
			if in, out := e.Sum(); in+out == 0 && e.Rows[0].Service == "b" || !e.Difference.IsZero() {
				t.Errorf("evidence of %s: %+v", e.Rows[0].Service, e.Difference)
			}
		}
		if again := w.close(); again.Adjustments+again.Statements != 0 {
			t.Fatalf("closing again: %+v", again)
		}
		w.importText(`decisions: [{id: d1, service: sum, decision: waive, from: 2026-09-20T00:00:00Z, by: Jane, reason: goodwill}, {id: d2, service: sum, decision: waive, from: 2026-10-02T00:00:00Z, by: Jane, reason: goodwill}]`)
		if closed := w.close(); closed.Adjustments != 2 {
			t.Fatalf("waived: %+v", closed)
		}
		if a := find(t, w.report("2026-10"), "a", 3); a.AmountExVAT.String() != "-0.5" || !strings.Contains(w.rules("a", 3), "waive=") {
			t.Fatalf("waived: %+v", a)
		}
		w.sums()
		// Another share than what was computed is found, whatever its hash.
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE statement SET body = REPLACE(body, '"amount_ex_vat":"0.50"', '"amount_ex_vat":"0.51"') WHERE service = 'b' AND revision = 2`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if findings, err := w.ledger.Verify(t.Context(), false); err != nil || !slices.ContainsFunc(findings, func(f Finding) bool { return f.Law == "pools" && strings.Contains(f.Text, "0.51 GBP") }) {
			t.Fatalf("tampered: %+v, %v", findings, err)
		}
	})
}

// TestCorrectionBetweenTwoPools gives traffic of a member of one pool to a member of another: what that one is charged is
// written last, behind the statement of who loses it, and verify takes the pool's statements together all the same.
func TestCorrectionBetweenTwoPools(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		w := newPoolWorld(t, db, c)
		w.importText(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, credit_window: unlimited}`)
		w.now = start.Add(61 * 24 * time.Hour)
		w.send(sentTally{poolMeters["a"], schemas.ClassExternal, 0, 7, 15}, sentTally{poolMeters["b"], schemas.ClassExternal, 6, 2_800_000_000, 10},
			sentTally{poolMeters["d"], schemas.ClassExternal, 100, 700, 2_600_000_000})
		w.seal(3 * 24 * time.Hour)
		w.close()
		before := w.sums()
		w.own(poolMeters["d"], ownedTime{"d", 0, 11}, ownedTime{"b", 11, farMinute})
		w.close()
		var order []string
		err := w.ledger.Statements(t.Context(), StatementQuery{}, func(s Statement) error {
			if s.Body.Row.Revision == 2 {
				order = append(order, s.Body.Row.Service)
			}
			return nil
		})
		if err != nil || !slices.Equal(order, []string{"a", "d", "b"}) {
			t.Fatalf("adjusted %v, %v, want a, d, b", order, err)
		}
		w.sums() // which verifies
		w.own(poolMeters["d"], ownedTime{"d", 0, farMinute})
		w.close()
		if after := w.sums(); !equalSums(before, after) {
			t.Fatalf("before %+v\nafter %+v", before, after)
		}
	})
}

// TestMembershipInAClosedPeriodIsRefused holds what closed pools were closed with.
func TestMembershipInAClosedPeriodIsRefused(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		w := newPoolWorld(t, db, c)
		w.send(sentTally{poolMeters["a"], schemas.ClassExternal, minutes(0, 1, 0), 3_000_000_000, 0})
		w.seal(62 * 24 * time.Hour)
		w.close()
		f := func(text, want string) {
			t.Helper()
			if err := w.tryImport(text); err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%s\ngot %v, want %q", text, err, want)
			}
		}
		f("pool_members: [{service: a, pool: sum, from: 2026-08-15, until: 2026-09-15}]", "the periods of service a are closed to")
		f("services: [{id: new, customer: r1, plan: month, place: london, opened: 2026-10-12}]\npool_members: [{service: new, pool: sum, from: 2026-10-15}]", "the periods of pool sum are closed to")
		if err := w.tryImport("pool_members: [{service: a, pool: sum, from: 2026-08-15, until: 2027-01-15}]"); err != nil {
			t.Fatal(err)
		}
	})
}

// drawPoolSends draws usage of all services.
func (w *world) drawPoolSends(t *rapid.T, n int) []sentTally {
	var list []sentTally
	for range n {
		list = append(list, sentTally{
			meter:  rapid.SampledFrom([]string{poolMeters["a"], poolMeters["b"], poolMeters["c"], poolMeters["d"]}).Draw(t, "meter"),
			class:  schemas.ClassExternal,
			minute: rapid.Int64Range(0, 60*24*60).Draw(t, "minute"),
			in:     7 * rapid.Uint64Range(0, 4e8).Draw(t, "in sevenths"), // a test tally's variance is a seventh: it splits too
			out:    rapid.Uint64Range(1, 3e9).Draw(t, "out"),
		})
	}
	return list
}

// TestCorrectionAndItsReversalCancel closes, corrects what is closed in one way or another, and takes that back:
// what all revisions add up to is as before, and closing once more changes nothing.
func TestCorrectionAndItsReversalCancel(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		runs := 0
		rapid.Check(t, func(t *rapid.T) {
			if runs++; runs > worldsAtMost() {
				return
			}
			w := newPoolWorldEmpty(t, db, c)
			w.importText(`provider: {name: Example Hosting, time_zone: Europe/London, currency: GBP, credit_window: unlimited}`)
			w.now = start.Add(61 * 24 * time.Hour)
			w.send(w.drawPoolSends(t, rapid.IntRange(1, 12).Draw(t, "tallies"))...)
			w.seal(3 * 24 * time.Hour)
			w.close()
			before := w.sums()
			var correct, reverse func()
			switch rapid.SampledFrom([]string{"owner", "exclude", "waive", "waive pool"}).Draw(t, "correction") {
			case "owner":
				meter, to := poolMeters[rapid.SampledFrom([]string{"a", "c", "d"}).Draw(t, "from")], rapid.SampledFrom([]string{"b", "london"}).Draw(t, "to")
				was, at := w.owners[meter], rapid.Int64Range(1, 50*24*60).Draw(t, "at")
				correct = func() { w.own(meter, ownedTime{was[0].service, 0, at}, ownedTime{to, at, farMinute}) }
				reverse = func() { w.own(meter, was...) }
			case "exclude":
				from := start.Add(time.Duration(rapid.IntRange(0, 55*24).Draw(t, "from")) * time.Hour)
				correct, reverse = w.decision("exclude", rapid.SampledFrom([]string{"a", "sum", "rate"}).Draw(t, "of"), from, from.Add(48*time.Hour))
			case "waive":
				correct, reverse = w.decision("waive", rapid.SampledFrom([]string{"a", "b"}).Draw(t, "of"), start.Add(24*time.Hour), time.Time{})
			case "waive pool":
				correct, reverse = w.decision("waive", "sum", start.Add(24*time.Hour), time.Time{})
			}
			correct()
			w.close()
			reverse()
			w.close()
			if after := w.sums(); !equalSums(before, after) {
				t.Errorf("before %+v\nafter %+v", before, after)
			}
			if again := w.close(); again.Statements+again.Adjustments != 0 {
				t.Errorf("closing again closed %+v", again)
			}
		})
	})
}

// TestPermutedInputGivesIdenticalStatements books the same usage in another order, and split, and compares the
// statements to the octet.
func TestPermutedInputGivesIdenticalStatements(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		runs := 0
		rapid.Check(t, func(t *rapid.T) {
			if runs++; runs > worldsAtMost() {
				return
			}
			w := newPoolWorldEmpty(t, db, c)
			sends := w.drawPoolSends(t, rapid.IntRange(1, 12).Draw(t, "tallies"))
			want := w.bodies(sends)
			var pieces []sentTally
			for _, s := range rapid.Permutation(sends).Draw(t, "permuted") {
				first, rest := s, s
				first.in = 7 * rapid.Uint64Range(0, s.in/7).Draw(t, "split in")
				rest.in, rest.out = s.in-first.in, 0
				rest.minute = s.minute/5*5 + rapid.Int64Range(0, 4).Draw(t, "minute of the slot")
				pieces = append(pieces, rest, first)
			}
			got := newPoolWorldEmpty(t, db, c).bodies(pieces)
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%d and %d statements; the first that differs is\n%s\nwant\n%s", len(got), len(want), got[i:], want[i:])
				}
			}
		})
	})
}

func newPoolWorldEmpty(t failer, db *store.DB, c *clock.Manual) *world {
	emptyWorld(t, db)
	return newPoolWorld(t, db, c)
}

// bodies books usage, seals, closes, and returns what the chain keeps of each statement.
func (w *world) bodies(sends []sentTally) []string {
	w.t.Helper()
	w.now = start.Add(61 * 24 * time.Hour)
	w.send(sends...)
	w.seal(3 * 24 * time.Hour)
	w.close()
	var list []string
	err := w.ledger.db.View(context.Background(), func(tx *store.Tx) error {
		return readChain(context.Background(), tx, StatementQuery{}, func(_ Statement, body string) error {
			list = append(list, body)
			return nil
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// tryImport is importText for what may be refused.
func (w *world) tryImport(text string) error {
	_, err := w.inv.Import(context.Background(), []inventory.File{{Name: "world.yaml", Text: []byte(text)}}, false)
	return err
}

// decision returns what makes a decision, and what revokes it.
func (w *world) decision(kind, about string, from, until time.Time) (correct, reverse func()) {
	end := ""
	if !until.IsZero() {
		end = "until: " + until.Format(time.RFC3339) + ", "
	}
	return func() {
			w.importText(fmt.Sprintf("decisions: [{id: d1, service: %s, decision: %s, from: %s, %sby: Jane, reason: x}]", about, kind, from.Format(time.RFC3339), end))
		}, func() {
			w.importText(fmt.Sprintf("decisions: [{id: d2, service: %s, decision: revoke, revokes: d1, by: Jane, reason: x}]", about))
		}
}
