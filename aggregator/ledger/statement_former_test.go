package ledger

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// TestStatementsOfAFormerVersion takes from the bodies what version 1 did not write at first, and looks at
// their periods again.
func TestStatementsOfAFormerVersion(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for i, service := range []string{"london", "middle"} { // middle counts internal traffic
			w.own([]string{"address:10.1.0.1", "address:10.1.0.2"}[i], ownedTime{service, 0, farMinute})
		}
		w.seal(10 * 24 * time.Hour)
		for _, meter := range []string{"address:10.1.0.1", "address:10.1.0.2"} {
			w.send(sentTally{meter, schemas.ClassExternal, minutes(3, 0, 0), 1_100_000_000, 1_000_000_000},
				sentTally{meter, schemas.ClassInternal, minutes(3, 0, 0), 700_000_000, 70_000_000})
		}
		w.seal(22 * 24 * time.Hour)
		w.close()
		w.toFormerVersion()
		row := find(t, w.report("2026-10"), "london", 1)
		if row.FreeInOctets != 700_000_000 || row.FreeOutOctets != 70_000_000 || row.EstimatedOctets != 2_100_000_000 {
			t.Fatalf("read: %+v", row)
		}
		if row := find(t, w.report("2026-10"), "middle", 1); row.FreeInOctets != 0 || row.FreeOutOctets != 0 || row.EstimatedOctets != 1_070_000_000 {
			t.Fatalf("read, of a contract that counts internal traffic: %+v", row)
		}
		w.importText(`
decisions:
  - {id: d1, service: london, decision: estimate, from: 2026-10-15T00:00:00Z, by: Jane, reason: looks at it again}
  - {id: d2, service: middle, decision: estimate, from: 2026-10-10T00:00:00Z, by: Jane, reason: looks at it again}
`)
		if closed := w.close(); closed.Adjustments != 0 || len(closed.Problems) != 0 {
			t.Fatalf("nothing has changed, and the closing says %+v", closed)
		}
		w.send(sentTally{"address:10.1.0.1", schemas.ClassInternal, minutes(30, 0, 0), 5, 0})
		if closed := w.close(); closed.Adjustments != 1 {
			t.Fatalf("late: %+v", closed)
		}
		if row := find(t, w.report("2026-10"), "london", 2); row.FreeInOctets != 5 || row.FreeOutOctets != 0 || row.InternalInOctets != 5 || row.EstimatedOctets != 0 {
			t.Fatalf("late: %+v", row)
		}
		if _, err := w.ledger.VerifyStatements(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// toFormerVersion writes the whole chain as a former version did.
func (w *world) toFormerVersion() {
	w.t.Helper()
	ctx := context.Background()
	err := w.ledger.db.Update(ctx, func(tx *store.Tx) error {
		bodies := map[int64]map[string]any{}
		last := int64(0)
		err := readChain(ctx, tx, StatementQuery{}, func(s Statement, text string) error {
			var body map[string]any
			last = s.Number
			err := json.Unmarshal([]byte(text), &body)
			bodies[s.Number] = body
			return err
		})
		if err != nil {
			return err
		}
		hash := ""
		for n := int64(1); n <= last; n++ {
			for _, field := range []string{"estimated_octets", "free_in_octets", "free_out_octets", "excluded_in_octets", "excluded_out_octets"} {
				delete(bodies[n]["row"].(map[string]any), field)
			}
			text, err := json.Marshal(bodies[n])
			if err != nil {
				return err
			}
			next := chainHash(hash, string(text))
			if _, err := tx.Exec(ctx, `UPDATE statement SET body = ?, previous_hash = ?, hash = ? WHERE number = ?`, string(text), hash, next, n); err != nil {
				return err
			}
			hash = next
		}
		_, err = tx.Exec(ctx, `UPDATE statement_head SET hash = ?`, hash)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
