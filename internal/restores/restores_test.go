package restores_test

import (
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/restores"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// TestRestoresAreKept: one that an earlier version noted as a setting is taken over, and others come behind it, each with
// what the backup had.
func TestRestoresAreKept(t *testing.T) {
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	c := clock.NewManual(at)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		text, err := schemas.Migrations.ReadFile("migrations/0089_restores.sql")
		if err != nil {
			t.Fatal(err)
		}
		steps := strings.Split(string(text), ";\n")
		first, second := at.Add(-time.Hour), c.Now()
		err = db.Update(ctx, func(tx *store.Tx) error {
			if last, err := restores.Last(ctx, tx); err != nil || !last.IsZero() {
				t.Errorf("a new ledger was restored at %s, %v", last, err)
			}
			for _, query := range []string{`INSERT INTO setting (name, value) VALUES ('handover.restored_at', '1793606400000000000')`, steps[1], steps[2],
				`UPDATE usage_record_head SET last_seq = 17`, `UPDATE statement_head SET number = 5`, `UPDATE notice_head SET number = 3`} {
				if _, err := tx.Exec(ctx, query); err != nil {
					return err
				}
			}
			return restores.Add(ctx, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(ctx, func(tx *store.Tx) error {
			list, err := restores.All(ctx, tx)
			if err != nil {
				return err
			}
			want := restores.Restore{At: second, UsageRecords: 17, Statements: 5, Notices: 3}
			if len(list) != 2 || !list[0].At.Equal(first) || list[0].Statements != 0 || list[1] != want {
				t.Errorf("restores %+v, want one at %s and %+v", list, first, want)
			}
			last, err := restores.Last(ctx, tx)
			if !last.Equal(second) {
				t.Errorf("last at %s, want %s", last, second)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
