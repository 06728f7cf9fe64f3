package ledger

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"hostmeter/schemas"
)

// feed returns the records behind after as "seq kind service from-to octets", without the year and day.
func (w *world) feed(after int64) []string {
	w.t.Helper()
	records, err := w.ledger.UsageRecords(context.Background(), after, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	lines := make([]string, len(records))
	for i, r := range records {
		lines[i] = fmt.Sprintf("%d %s %s %s %s-%s %d", r.Seq, r.Kind, r.Service, r.Direction, r.From.Format("02T15:04"), r.To.Format("02T15:04"), r.Octets)
	}
	return lines
}

// TestFeedByExample follows one address that is handed over at 03:17 on the second day.
func TestFeedByExample(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		change := minutes(1, 3, 17)
		w.own("address:10.1.0.2", ownedTime{"nepal", 0, farMinute})
		w.own(meter, ownedTime{"middle", 0, change}, ownedTime{"nepal", change, farMinute})
		w.now = start.Add(28 * time.Hour)
		w.send(
			sentTally{meter, schemas.ClassExternal, minutes(0, 9, 0), 100, 0},
			sentTally{meter, schemas.ClassExternal, minutes(1, 3, 0), 10, 0},
			sentTally{meter, schemas.ClassExternal, minutes(1, 3, 30), 1, 0})
		seq := int64(0)
		step := func(what string, want ...string) {
			t.Helper()
			w.emit()
			got := w.feed(seq)
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			seq += int64(len(got))
		}
		step("nothing is sealed")
		w.seal(19 * time.Hour) // 23:00 of the first day is sealed
		step("the first day is not sealed to its end")
		w.seal(time.Hour)
		step("the first day", "1 usage middle in 01T00:00-02T00:00 100")
		w.seal(3 * time.Hour)
		step("sealed to 03:00, the span ends at 03:20")
		w.seal(time.Hour)
		step("sealed to 04:00", "2 usage middle in 02T00:00-02T03:20 10")
		w.seal(20 * time.Hour)
		step("the second day", "3 usage nepal in 02T03:20-03T00:00 1")
		w.send(sentTally{meter, schemas.ClassExternal, minutes(0, 10, 0), 7, 0}, sentTally{meter, schemas.ClassExternal, minutes(0, 11, 0), 0, 5},
			sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(0, 11, 0), 3, 0})
		step("late, of two meters", "4 correction middle in 01T00:00-02T00:00 7", "5 usage middle out 01T00:00-02T00:00 5", "6 usage nepal in 01T00:00-02T00:00 3")
		w.send(sentTally{meter, schemas.ClassExternal, minutes(0, 10, 0), 1, 0})
		step("late again", "7 correction middle in 01T00:00-02T00:00 1")
		w.own(meter, ownedTime{"middle", 0, minutes(1, 0, 0)}, ownedTime{"nepal", minutes(1, 0, 0), farMinute})
		step("it was handed over at midnight", "8 correction middle in 02T00:00-02T03:20 -10", "9 usage nepal in 02T00:00-03T00:00 11", "10 correction nepal in 02T03:20-03T00:00 -1")
		step("nothing more")

		records, err := w.ledger.UsageRecords(context.Background(), 6, 1)
		if err != nil || len(records) != 1 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		r := records[0]
		first := "middle|address:10.1.0.1|external|in|2026-10-01T00:00:00Z|2026-10-02T00:00:00Z"
		if r.ID != first+"#2" || r.Corrects == nil || *r.Corrects != first || r.Customer != "c2" || r.Packets != 1 || r.Coverage == nil ||
			!r.PeriodFrom.Equal(time.Date(2026, 9, 15, 0, 0, 0, 0, time.UTC)) || !r.PeriodTo.Equal(time.Date(2026, 10, 15, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("got %+v", r)
		}
	})
}

// TestOwnerOfWhatCameBeforeTheFirstHourIsTold: usage that came late, of hours before the first that the ledger
// had when it sealed, is told and billed when its owner is recorded after that.
func TestOwnerOfWhatCameBeforeTheFirstHourIsTold(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		meter := "address:10.1.0.1"
		w.now = start.Add(60 * time.Hour)
		w.send(sentTally{"address:10.2.0.1", schemas.ClassExternal, minutes(1, 21, 0), 1, 0})
		w.seal(24 * time.Hour)
		w.send(sentTally{meter, schemas.ClassExternal, minutes(0, 1, 0), 7, 0})
		w.seal(24 * time.Hour)
		w.emit()
		w.own(meter, ownedTime{"nepal", 0, minutes(0, 2, 0)})
		w.emit()
		w.checkFeed()
		if got, want := strings.Join(w.feed(0), "\n"), "1 usage nepal in 01T00:00-01T02:00 7"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		w.seal(70 * 24 * time.Hour)
		w.close()
		w.checkStatements(nil)
	})
}
