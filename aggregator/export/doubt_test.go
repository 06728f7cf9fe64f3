package export

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// round is one round of a process that has just started, which has to go well.
func (l *lab) round() {
	l.t.Helper()
	if err := l.process().biller.round(context.Background(), false); err != nil {
		l.t.Fatal(err)
	}
}

// restore is what `hostmeter restore` does to the journal; it returns how many charges wait for a person.
func (l *lab) restore() (parked int) {
	l.t.Helper()
	err := l.db.Update(context.Background(), func(tx *store.Tx) (err error) {
		if err := restores.Add(context.Background(), tx); err != nil {
			return err
		}
		parked, err = Restored(context.Background(), tx)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return parked
}

// lose takes the ledger back to the first so many statements, and the journal to what a process that has only entered
// them had.
func (l *lab) lose(statements int) {
	l.t.Helper()
	emptyHandover(l.t, l.db)
	l.books.statements = l.books.statements[:statements]
	if err := l.process().biller.enter(context.Background()); err != nil {
		l.t.Fatal(err)
	}
}

// anotherLife makes a statement what a ledger closes that was restored: under another number, hash and time.
func (l *lab) anotherLife(s ledger.Statement) ledger.Statement {
	s.Number = int64(len(l.books.statements) + 1)
	s.ClosedAt, s.Hash, s.Previous = l.clock.Now(), hashOf(s.Number+1000), hashOf(s.Number+999)
	l.books.statements = append(l.books.statements, s)
	return s
}

// eachRestored gives f a lab in which two statements were charged, one of them pending when the backup was made and one
// closed after it; the ledger was lost, and that backup restored.
func eachRestored(t *testing.T, f func(l *lab, pending, lost ledger.Statement)) {
	t.Helper()
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		l := newLab(t, db, c)
		l.cfg.WHMCS.Delay = time.Hour
		pending := l.books.close("s1", "c1", "60", 1, c.Now())
		l.round()
		l.want(pending, Pending, 0, "")
		lost := l.books.close("s2", "c1", "60", 1, c.Now())
		for range 2 {
			c.Advance(2 * time.Hour)
			l.round()
		}
		if n := len(l.server.Items()); n != 2 {
			t.Fatalf("%d items at the receiver, want 2", n)
		}
		l.lose(1)
		if n := l.restore(); n != 1 {
			t.Fatalf("%d parked, want 1", n)
		}
		f(l, pending, lost)
	})
}

// TestRestoredLedgerChargesNothingTwice closes again what was lost, and a period that was open when the ledger was
// restored.
func TestRestoredLedgerChargesNothingTwice(t *testing.T) {
	eachRestored(t, func(l *lab, pending, lost ledger.Statement) {
		again := l.anotherLife(lost)
		if plan, err := l.process().Plan(context.Background(), 0); err != nil || len(plan) != 2 || plan[1].Request != nil || !strings.Contains(plan[1].Note, "restored from a backup") {
			l.t.Fatalf("plan %+v, %v", plan, err)
		}
		next := l.books.close("s3", "c1", "60", 1, l.clock.Now())
		next.Body.Period.From, next.Body.Period.To = l.clock.Now().Add(-time.Hour), l.clock.Now().Add(time.Hour)
		l.books.statements[2] = next
		for range 2 {
			l.clock.Advance(3 * time.Hour)
			l.round()
		}
		l.want(pending, Parked, 1, "restored from a backup")
		l.want(pending, Parked, 1, "no invoice or credit shows it so far")
		l.want(again, Parked, 1, "restored from a backup")
		l.want(next, Done, 1, "")
		if err := l.process().Settle(context.Background(), receiverWHMCS, keyOf(pending), Settlement{Decision: There, By: "Jane", Reason: "item 1"}); err != nil {
			l.t.Fatal(err)
		}
		l.want(pending, Done, 1, "")
	})
}

// TestWhatAnInvoiceShowsIsFoundAfterARestore: the receiver has it under the name that the ledger gives it again.
func TestWhatAnInvoiceShowsIsFoundAfterARestore(t *testing.T) {
	eachRestored(t, func(l *lab, pending, lost ledger.Statement) {
		l.server.InvoiceAll()
		again := l.anotherLife(lost)
		l.clock.Advance(time.Hour)
		l.round()
		if c := l.want(pending, Done, 1, ""); c.Remote != "1 on invoice 1" || c.Attempts != 0 {
			l.t.Fatalf("found as %+v", c)
		}
		l.want(again, Done, 1, "")
		if n := len(l.server.Items()); n != 2 {
			l.t.Fatalf("%d items at the receiver, want 2", n)
		}
	})
}

// TestAgainLooksFirst: whatever a person says of a charge in doubt, what the receiver shows of it is not sent.
func TestAgainLooksFirst(t *testing.T) {
	eachRestored(t, func(l *lab, pending, lost ledger.Statement) {
		again := l.anotherLife(lost)
		l.round()
		l.want(again, Parked, 1, "restored from a backup")
		l.settle(again, Again)
		l.server.InvoiceAll()
		l.clock.Advance(time.Hour)
		l.round()
		l.want(again, Done, 1, "")
		if n := len(l.server.Items()); n != 2 {
			l.t.Fatalf("%d items at the receiver, want 2", n)
		}
		_ = pending
	})
}

// TestAgainSendsWhatIsNotThere: the ledger that was lost had not sent it.
func TestAgainSendsWhatIsNotThere(t *testing.T) {
	eachRestored(t, func(l *lab, _, _ ledger.Statement) {
		fresh := l.books.close("s9", "c1", "60", 1, l.clock.Now())
		l.round()
		l.want(fresh, Parked, 0, "restored from a backup")
		l.settle(fresh, Again)
		l.clock.Advance(time.Hour)
		l.round()
		l.want(fresh, Done, 1, "")
	})
}

// TestAnotherAmountOfAStatementIsCompared: late usage is in the first statement now, and was an adjustment in the ledger
// that was lost. The receiver has both amounts, under other names, and one of them in a name of an earlier version.
func TestAnotherAmountOfAStatementIsCompared(t *testing.T) {
	eachRestored(t, func(l *lab, _, lost ledger.Statement) {
		l.server.InvoiceAll()
		whole := lost
		whole.Body.Row.AmountExVAT = whole.Body.Row.AmountExVAT.Add(whole.Body.Row.AmountExVAT)
		whole = l.anotherLife(whole)
		l.clock.Advance(time.Hour)
		l.round()
		c := l.want(whole, Parked, 0, "charged this statement otherwise (60.00: 2 on invoice 1)")
		if c.Remote != "60.00: 2 on invoice 1" {
			l.t.Fatalf("parked as %+v", c)
		}
		// Who has read that, and says so, may send it beside.
		l.settle(whole, Again)
		l.clock.Advance(time.Hour)
		l.round()
		l.want(whole, Done, 1, "")
	})
	l := sqliteLab(t)
	match := l.process().biller.ofStatement("s2/2026-10-01")
	for text, want := range map[string]bool{
		"s2 dedicated-10 (2026-10-01 - 2026-11-01, UTC)\ntransfer 10 TB [hm-2-6b86b273ff34]":      true,
		"s2 dedicated-10 (2026-10-01 - 2026-11-01, UTC), correction 1 of statement s2/2026-10-01": true,
		"traffic of October [" + statementKey("/hostmeter", "s2/2026-10-01") + "1-0123456789ab]":  true,
		"s20 dedicated-10 (2026-10-01 - 2026-11-01, UTC)":                                         false,
		"s2 dedicated-10 (2026-11-01 - 2026-12-01, UTC)":                                          false,
		"support on s2": false,
	} {
		if match(text) != want {
			t.Errorf("%q is of the statement: %v, want %v", text, !want, want)
		}
	}
}

// TestAWordAboutDoubtIsAskedForAgain: who said to send it had not seen what the receiver shows by now.
func TestAWordAboutDoubtIsAskedForAgain(t *testing.T) {
	eachRestored(t, func(l *lab, _, lost ledger.Statement) {
		whole := lost
		whole.Body.Row.AmountExVAT = whole.Body.Row.AmountExVAT.Add(whole.Body.Row.AmountExVAT)
		whole = l.anotherLife(whole)
		l.round()
		l.want(whole, Parked, 0, "no invoice or credit shows it so far")
		l.settle(whole, Again)
		l.server.InvoiceAll()
		l.clock.Advance(time.Hour)
		l.round()
		l.want(whole, Parked, 0, "compare")
	})
}

// TestOwnCorrectionsAreNoDoubt: what the journal itself has of a statement is nothing that a lost ledger sent.
func TestOwnCorrectionsAreNoDoubt(t *testing.T) {
	eachRestored(t, func(l *lab, pending, lost ledger.Statement) {
		l.server.InvoiceAll()
		again := l.anotherLife(lost)
		more := l.books.close("s2", "c1", "30", 2, l.clock.Now())
		l.clock.Advance(3 * time.Hour)
		l.round()
		l.want(again, Done, 1, "")
		l.want(more, Parked, 0, "no invoice or credit shows it so far")
		_ = pending
	})
}

// TestAParkedCreditIsInDoubtToo: in the ledger that was lost a person may have let it go.
func TestAParkedCreditIsInDoubtToo(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Credits = "park"
	l.books.close("s1", "c1", "60", 1, start)
	credit := l.books.close("s1", "c1", "-20", 2, start)
	l.round()
	l.want(credit, Parked, 0, "a credit")
	if n := l.restore(); n != 1 {
		t.Fatalf("%d are parked, want 1", n)
	}
	l.clock.Advance(time.Hour)
	l.round()
	l.want(credit, Parked, 0, "before that: a credit: a person decides")
	l.cfg.WHMCS.Credits = "credit"
	l.settle(credit, Again)
	l.clock.Advance(time.Hour)
	l.round()
	l.want(credit, Done, 1, "")
}

// TestEventsOfAnotherLife: what a restored ledger says again has the id that it had, and what it says otherwise has
// another; and what has a number that was given before says so.
func TestEventsOfAnotherLife(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		l := newLab(t, db, c)
		l.cfg.Webhooks = []WebhookConfig{{Name: "billing", Feeds: []Feed{Statements}}}
		p := &pusher{cfg: l.cfg.Webhooks[0], source: "/hostmeter", journal: journal{db}, ledger: l.books}
		read := func() (ids []string, restored []bool) {
			t.Helper()
			list, err := p.read(t.Context(), Statements, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				ids, restored = append(ids, m.event.ID), append(restored, !m.event.Restored.IsZero())
			}
			return ids, restored
		}
		l.books.close("s1", "c1", "60", 1, c.Now())
		two := l.books.close("s2", "c1", "60", 1, c.Now())
		three := l.books.close("s3", "c1", "60", 1, c.Now())
		before, marked := read()
		if slices.Contains(marked, true) {
			t.Fatalf("marked %v", marked)
		}
		l.books.statements = l.books.statements[:1]
		mustUpdate(t, db, `UPDATE statement_head SET number = 1 WHERE id = 1`)
		l.restore()
		l.anotherLife(three)
		two.Body.Row.InOctets++
		l.anotherLife(two)
		after, marked := read()
		if !slices.Equal(marked, []bool{false, true, true}) {
			t.Fatalf("marked %v", marked)
		}
		if after[0] != before[0] || after[1] != before[2] || slices.Contains(before, after[2]) {
			t.Fatalf("ids %s, before %s", strings.Join(after, " "), strings.Join(before, " "))
		}
	})
}

func mustUpdate(t *testing.T, db *store.DB, query string) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), query)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
