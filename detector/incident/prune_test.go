package incident_test

import (
	"context"
	"testing"
	"time"

	"hostmeter/detector/incident"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
)

// TestPruneTakesWhatWasResolvedLongAgo has more than one transaction's worth of it.
func TestPruneTakesWhatWasResolvedLongAgo(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		c.Set(start)
		ctx := context.Background()
		s := incident.New(db, "webhook")
		if err := db.Update(ctx, func(tx *store.Tx) error {
			for i := range 1205 {
				began := start.Add(time.Duration(i) * time.Minute)
				if _, err := s.OpenTx(ctx, tx, example("guest:old", began)); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `UPDATE incident SET resolved_at = began_at`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		open(t, db, s, example("guest:open", start))
		last := start.Add(1204 * time.Minute)
		for _, dryRun := range []bool{true, false} {
			if n, err := s.Prune(ctx, last, dryRun); err != nil || n != 1204 {
				t.Fatalf("dry run %t: %d pruned, %v; want all but the last, and the open one", dryRun, n, err)
			}
		}
		if n, err := s.Prune(ctx, last, false); err != nil || n != 0 {
			t.Fatalf("again: %d, %v", n, err)
		}
		for _, table := range []string{"incident", "incident_event", "notification"} {
			var n int
			if err := db.View(ctx, func(tx *store.Tx) error {
				return tx.QueryRow(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n)
			}); err != nil || n != 2 {
				t.Errorf("%d rows left in %s, %v; want 2", n, table, err)
			}
		}
	})
}
