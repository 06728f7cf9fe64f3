package export

import (
	"context"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// TestRestoredLedgerChargesNothingTwice charges two statements, one of them pending when the backup was made and
// one closed after it, loses the ledger, restores that backup and closes the second again.
func TestRestoredLedgerChargesNothingTwice(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		ctx := context.Background()
		l := newLab(t, db, c)
		l.cfg.WHMCS.Delay = time.Hour
		pending := l.books.close("s1", "c1", "60", 1, c.Now())
		round := func() {
			t.Helper()
			if err := l.process().biller.round(ctx, false); err != nil {
				t.Fatal(err)
			}
		}
		round()
		l.want(pending, Pending, 0, "")
		l.books.close("s2", "c1", "60", 1, c.Now())
		c.Advance(2 * time.Hour)
		round()
		c.Advance(2 * time.Hour)
		round()
		if n := len(l.server.Items()); n != 2 {
			t.Fatalf("%d items at the receiver, want 2", n)
		}

		// The journal as it was in the backup.
		emptyHandover(t, db)
		l.books.statements = l.books.statements[:1]
		if err := l.process().biller.enter(ctx); err != nil {
			t.Fatal(err)
		}
		if n, err := Restored(ctx, db); err != nil || n != 1 {
			t.Fatalf("%d parked, %v; want 1", n, err)
		}
		again := l.books.close("s2", "c1", "60", 1, c.Now())
		next := l.books.close("s3", "c1", "60", 1, c.Now())
		next.Body.Period.To = c.Now().Add(time.Hour) // it was not over when the ledger was restored
		l.books.statements[2] = next
		c.Advance(3 * time.Hour)
		round()
		c.Advance(3 * time.Hour)
		round()
		l.want(pending, Parked, 1, "restored from a backup")
		l.want(again, Parked, 1, "restored from a backup")
		l.want(next, Done, 1, "")
		if err := l.process().Settle(ctx, receiverWHMCS, keyOf(pending), Settlement{Decision: There, By: "Jane", Reason: "item 1"}); err != nil {
			t.Fatal(err)
		}
		l.want(pending, Done, 1, "")
	})
}
