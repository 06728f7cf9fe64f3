package ledger

import (
	"context"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// TestVerifyOwnedFindsWhatWasToldWrong spoils one thing after the other in a ledger with closed and adjusted
// periods, a feed with corrections, unowned traffic, and hours that are cut in the middle.
func TestVerifyOwnedFindsWhatWasToldWrong(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		story := func() {
			emptyWorld(t, w.ledger.db)
			*w = *newWorld(t, w.ledger.db)
			w.own("address:10.1.0.1", ownedTime{"london", 0, minutes(9, 3, 17)}, ownedTime{"nepal", minutes(9, 3, 17), farMinute})
			w.own("address:10.1.0.2", ownedTime{"middle", minutes(4, 0, 0), farMinute})
			w.seal(20 * 24 * time.Hour)
			for _, minute := range []int64{minutes(1, 0, 1), minutes(9, 3, 14), minutes(9, 3, 44), minutes(17, 18, 16)} {
				w.now = start.Add(time.Duration(minute+60) * time.Minute)
				w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minute, 1_000_000_001, 2_000_000_003},
					sentTally{"address:10.1.0.2", schemas.ClassInternal, minute, 5, 1_000_000_001}, sentTally{"address:10.9.0.9", schemas.ClassExternal, minute, 7, 11})
			}
			w.now = start.Add(35 * 24 * time.Hour)
			w.seal(0)
			w.emit()
			w.close()
			w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(34, 0, 0), 1, 2})
			w.sendLate(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(10, 0, 0), 300_000_000, 400_000_000})
			w.emit()
			w.close()
		}
		findings := func(since time.Time) (laws []string) {
			t.Helper()
			list, err := w.ledger.VerifyOwned(context.Background(), w.inv, since, w.now)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range list {
				laws = append(laws, f.Law+": "+f.Text)
			}
			return laws
		}
		story()
		if found := findings(time.Time{}); len(found) != 0 {
			t.Fatalf("nothing is wrong, and verify says\n%s", strings.Join(found, "\n"))
		}
		// What came since is no finding until it is told.
		w.sendLate(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(11, 0, 0), 9, 9})
		w.own("address:10.1.0.2", ownedTime{"london", minutes(4, 0, 0), farMinute})
		if found := findings(time.Time{}); len(found) != 0 {
			t.Fatalf("before it is told, verify says\n%s", strings.Join(found, "\n"))
		}
		w.emit()
		w.close()
		if found := findings(time.Time{}); len(found) != 0 {
			t.Fatalf("after it is told, verify says\n%s", strings.Join(found, "\n"))
		}
		spoil := func(law, text string) {
			t.Helper()
			story()
			if err := w.ledger.db.Update(context.Background(), func(tx *store.Tx) error {
				_, err := tx.Exec(context.Background(), text)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if found := findings(time.Time{}); !strings.Contains("\n"+strings.Join(found, "\n"), "\n"+law+": ") {
				t.Fatalf("%s: verify says %q, want a breach of %s", text, found, law)
			}
			if found := findings(w.now.Add(-24 * time.Hour)); len(found) != 0 {
				t.Fatalf("%s: verify of the last day alone says %q", text, found)
			}
		}
		spoil("feed", `UPDATE usage_record SET octets = octets + 1 WHERE seq = 1`)
		spoil("feed", `DELETE FROM usage_record WHERE seq = 2`)
		spoil("periods", `UPDATE usage_day SET in_octets = in_octets + 1`)
		spoil("periods", `DELETE FROM late_entry`)
		spoil("feed", `UPDATE usage_hour SET in_octets = in_octets + 5 WHERE hour = 497667`) // in which an address changes hands
		spoil("services", `UPDATE usage_day SET in_octets = in_octets + 1`)                  // but not the hours of the day that is cut
	})
}

// sendLate is send for a sealed hour, received soon after its minute.
func (w *world) sendLate(s sentTally) {
	w.t.Helper()
	now := w.now
	w.now = start.Add(time.Duration(s.minute+60) * time.Minute)
	w.send(s)
	w.now = now
}
