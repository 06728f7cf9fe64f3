package app

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/internal/store"
)

// TestAggregatorPrunesEachDay resolves incidents of three years ago, one after the other.
func TestAggregatorPrunesEachDay(t *testing.T) {
	a, at, log := appWithDesk(t, "retention: {incidents: 3 years}\n")
	desk := a.desk
	old := func(began time.Time) {
		t.Helper()
		if err := desk.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := desk.incidents.OpenTx(t.Context(), tx, incident.Incident{Rule: "r", Meter: "m", BeganAt: began, Severity: "warning", Condition: "firing"})
			if err == nil {
				_, err = tx.Exec(t.Context(), `UPDATE incident SET resolved_at = ?`, began.UnixNano())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(want int) {
		t.Helper()
		if err := a.afterSeal(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := desk.incidents.List(context.Background(), incident.Filter{})
		if err != nil || len(list) != want {
			t.Fatalf("%d incidents are left, %v; want %d", len(list), err, want)
		}
	}
	old(at.Now().AddDate(-3, 0, -1))
	left(0)
	old(at.Now().AddDate(-3, 0, -2))
	left(1)
	at.Advance(24 * time.Hour)
	left(0)
	if n := strings.Count(log.String(), "pruned what has reached its age"); n != 2 {
		t.Fatalf("logged %d times:\n%s", n, log.String())
	}
	var out bytes.Buffer
	if err := desk.Prune(t.Context(), true, false, &out); err != nil || !strings.Contains(out.String(), "no day is sealed yet") || !strings.Contains(out.String(), "3 years") {
		t.Fatalf("%v\n%s", err, out.String())
	}
}
