package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/httpapi"
	"hostmeter/schemas"
)

// waiverDesk is a moneyDesk whose provider wants approvals: 1.00 GBP waits for October.
func waiverDesk(t *testing.T) (*waiving, *clock.Manual) {
	desk, at := moneyDesk(t, ", approval: required")
	return &waiving{t: t, desk: desk, at: at, next: 3}, at
}

type waiving struct {
	t    *testing.T
	desk *Desk
	at   *clock.Manual
	next uint64
}

// late books octets that came late, in GB, and closes.
func (w *waiving) late(gigabytes uint64) {
	w.t.Helper()
	minute := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC).Unix() / 60
	_, err := w.desk.ledger.Book(w.t.Context(), []*schemas.Batch{{
		Collector: "c", LogId: 7, Index: w.next, Shards: 1, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
		ReceivedFrom: w.at.Now().Add(-time.Hour).UnixNano(), ReceivedTo: w.at.Now().UnixNano(),
		Tallies: []*schemas.Tally{{Meter: "address:10.1.0.1", Minute: minute, In: &schemas.Traffic{Octets: gigabytes * 1_000_000_000, Packets: 1, Flows: 1}}},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.next++
	w.close()
}

func (w *waiving) close() {
	w.t.Helper()
	if err := w.desk.CloseDue(w.t.Context(), &bytes.Buffer{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *waiving) decide(do func(ctx context.Context, numbers []int64) error, revisions ...int) {
	w.t.Helper()
	if err := do(w.t.Context(), w.numbers(revisions...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *waiving) approve(revisions ...int) {
	w.t.Helper()
	w.decide(func(ctx context.Context, numbers []int64) error {
		return approvalDesk{w.desk}.Approve(ctx, numbers, "user:ada")
	}, revisions...)
}

func (w *waiving) waive(revisions ...int) {
	w.t.Helper()
	w.decide(func(ctx context.Context, numbers []int64) error {
		return approvalDesk{w.desk}.Waive(ctx, numbers, "goodwill", "user:ada")
	}, revisions...)
}

func (w *waiving) numbers(revisions ...int) (numbers []int64) {
	w.each(func(s ledger.Statement) {
		if slices.Contains(revisions, s.Body.Row.Revision) {
			numbers = append(numbers, s.Number)
		}
	})
	return numbers
}

func (w *waiving) each(f func(s ledger.Statement)) {
	w.t.Helper()
	err := w.desk.ledger.Statements(w.t.Context(), ledger.StatementQuery{Service: "s1"}, func(s ledger.Statement) error {
		if s.Body.Row.Statement == "s1/2026-10-01" {
			f(s)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// expect compares "amount approval" of each revision, and holds the books to what was handed over: with what waits they
// are the same sum.
func (w *waiving) expect(want ...string) {
	w.t.Helper()
	var got []string
	var books, handed decimal.Decimal
	w.each(func(s ledger.Statement) {
		amount := s.Body.Row.AmountExVAT
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s", amount.StringFixed(2), s.Approval)))
		books = books.Add(amount)
		if s.Approval != ledger.ApprovalRefused {
			handed = handed.Add(amount)
		}
	})
	if !slices.Equal(got, want) {
		w.t.Fatalf("got  %q\nwant %q", got, want)
	}
	if !books.Equal(handed) {
		w.t.Fatalf("the books say %s, and %s is or may be handed over: %q", books, handed, got)
	}
	if findings, err := w.desk.ledger.Verify(w.t.Context(), false); err != nil || len(findings) != 0 {
		w.t.Fatalf("verify: %+v, %v", findings, err)
	}
}

// TestWaivingAnAdjustmentLetsGoOfItAlone waives what late usage added to a charge that was approved.
func TestWaivingAnAdjustmentLetsGoOfItAlone(t *testing.T) {
	w, _ := waiverDesk(t)
	w.approve(1)
	w.late(2)
	w.expect("1.00 approved", "1.00 waiting")
	w.waive(2)
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived")
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived")
	w.late(3) // and what comes later still is charged
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived", "1.50 waiting")
	w.waive(4)
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived", "1.50 waived", "-1.50 waived")
}

// TestAWaivedAdjustmentThatWasWrong gives back nothing of what was not charged, and all of what was.
func TestAWaivedAdjustmentThatWasWrong(t *testing.T) {
	w, _ := waiverDesk(t)
	w.approve(1)
	w.late(2)
	w.waive(2)
	w.close()
	importText(t, w.desk, `decisions: [{id: d1, service: s1, decision: exclude, from: 2026-10-20T00:00:00Z, until: 2026-10-20T00:05:00Z, by: Jane, reason: not theirs}]`)
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived", "0.00")
	importText(t, w.desk, `ownership: [{service: s1, key: "address:10.1.0.2", from: 2026-10-01T00:00:00Z, until: 2026-10-01T00:05:00Z}]`)
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived", "0.00", "-1.00 waiting")
}

func TestWaivingSeveralRevisions(t *testing.T) {
	for name, test := range map[string]struct {
		approve, waive []int
		want           []string
	}{
		"the first, before anything else was charged": {nil, []int{1}, []string{"1.00 waived", "1.00 waived", "1.50 waived", "-3.50 waived"}},
		"one in the middle":                           {nil, []int{2}, []string{"1.00 waiting", "1.00 waived", "1.50 waiting", "-1.00 waived"}},
		"two at once":                                 {[]int{1}, []int{2, 3}, []string{"1.00 approved", "1.00 waived", "1.50 waived", "-2.50 waived"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := waiverDesk(t)
			w.late(2)
			w.late(3)
			w.approve(test.approve...)
			w.waive(test.waive...)
			w.close()
			w.expect(test.want...)
		})
	}
}

// TestACreditIsNotWaived takes back, before anybody has looked, what late usage had added.
func TestACreditIsNotWaived(t *testing.T) {
	w, _ := waiverDesk(t)
	w.approve(1)
	w.late(2)
	importText(t, w.desk, `decisions: [{id: d1, service: s1, decision: exclude, from: 2026-10-20T00:00:00Z, until: 2026-10-20T00:05:00Z, by: Jane, reason: not theirs}]`)
	w.close()
	w.expect("1.00 approved", "1.00 waiting", "-1.00 waiting")
	err := approvalDesk{w.desk}.Waive(t.Context(), w.numbers(2, 3), "goodwill", "user:ada")
	if !errors.Is(err, httpapi.ErrConflict) || !strings.Contains(err.Error(), "of -1.00 GBP: it is a credit, and only a charge can be waived: approve it") {
		t.Fatalf("waived: %v", err)
	}
	w.expect("1.00 approved", "1.00 waiting", "-1.00 waiting")
	w.waive(2) // and its correction goes with it
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived")
	importText(t, w.desk, `decisions: [{id: d2, service: s1, decision: revoke, revokes: d1, by: Jane, reason: theirs}]`)
	w.close()
	w.expect("1.00 approved", "1.00 waived", "-1.00 waived", "1.00 waiting")
}
