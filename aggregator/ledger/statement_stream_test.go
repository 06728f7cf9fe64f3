package ledger

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// TestAClosingHoldsOneStatementAtATime draws the statements of a month one by one: each is rated when it is asked for, none is
// left behind, and what was drawn is what a closing writes.
func TestAClosingHoldsOneStatementAtATime(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const services = 40
		var text strings.Builder
		text.WriteString("services:\n")
		for i := range services {
			fmt.Fprintf(&text, "  - {id: m%02d, customer: c1, plan: month, place: london, opened: 2026-01-01}\n", i)
		}
		w.importText(text.String())
		w.now = start.Add(5 * 24 * time.Hour)
		for i := range services {
			meter := fmt.Sprintf("address:10.4.0.%d", i)
			w.own(meter, ownedTime{fmt.Sprintf("m%02d", i), 0, farMinute})
			w.send(sentTally{meter, schemas.ClassExternal, minutes(3, 0, 0), uint64(i) * 100_000_000, 7})
		}
		w.seal(40 * 24 * time.Hour)
		owners, err := w.inv.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := closing{owners: owners, now: w.now, reconcile: w.ledger.cfg.Reconcile}
		if err := w.ledger.db.View(t.Context(), func(tx *store.Tx) error { return c.gather(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
		next, stop := iter.Pull(c.bodies())
		defer stop()
		var drawn []string
		for body, found := next(); found; body, found = next() {
			drawn = append(drawn, body.Row.Statement)
			if c.closed.Statements != len(drawn) {
				t.Fatalf("%d statements are rated when %d were asked for", c.closed.Statements, len(drawn))
			}
		}
		if closed := w.close(); closed.Statements != len(drawn) || closed.Statements < services {
			t.Fatalf("closed %+v, drew %d", closed, len(drawn))
		}
		var written []string
		err = w.ledger.Statements(context.Background(), StatementQuery{}, func(s Statement) error {
			written = append(written, s.Body.Row.Statement)
			return nil
		})
		if err != nil || strings.Join(written, " ") != strings.Join(drawn, " ") {
			t.Fatalf("%v, wrote\n%v\ndrew\n%v", err, written, drawn)
		}
	})
}
