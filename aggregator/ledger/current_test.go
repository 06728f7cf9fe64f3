package ledger

import (
	"testing"
	"time"

	"hostmeter/schemas"
)

// TestCurrentHasThePeriodAndTheDaysBefore: the row is the report's, the days are whole and end with yesterday,
// the slots are today's; free traffic and what was excluded is in none of them.
func TestCurrentHasThePeriodAndTheDaysBefore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.own("address:10.1.0.1", ownedTime{"london", 0, farMinute})
		w.own("address:10.1.0.2", ownedTime{"middle", minutes(2, 12, 0), farMinute})
		for day := int64(0); day < 8; day++ { // 1 to 8 October
			w.now = start.Add(time.Duration(day)*24*time.Hour + 23*time.Hour)
			w.send(sentTally{"address:10.1.0.1", schemas.ClassExternal, minutes(day, 10, 2), uint64(day+1) * 1000, 7},
				sentTally{"address:10.1.0.1", schemas.ClassInternal, minutes(day, 10, 7), 5, 5},
				sentTally{"address:10.1.0.2", schemas.ClassExternal, minutes(day, 13, 0), 1, 10})
		}
		w.importText(`decisions: [{id: d1, service: london, decision: exclude, from: 2026-10-03T10:00:00Z, until: 2026-10-03T10:05:00Z, direction: in, by: Jane, reason: DDoS}]`)
		list, problems, err := w.ledger.Current(t.Context(), w.inv, w.now)
		if err != nil || len(problems) != 0 {
			t.Fatal(problems, err)
		}
		var london, middle *Current
		for i, c := range list {
			switch c.Contract.Service {
			case "london":
				london = &list[i]
			case "middle":
				middle = &list[i]
			}
		}
		if london == nil || middle == nil || len(list) != 3 {
			t.Fatalf("%d periods", len(list))
		}
		if want := find(t, w.report("2026-10"), "london", 0); london.Row.InOctets != want.InOctets || !london.Row.Used.Equal(want.Used) || !london.Row.Provisional {
			t.Fatalf("%+v is not the report's %+v", london.Row, want)
		}
		// The ledger begins with 1 October, 10:02, so that the first full day is the second.
		if len(london.Days) != 6 || london.Days[0] != (DayUsage{2000, 7}) || london.Days[1] != (DayUsage{0, 7}) || london.Days[5] != (DayUsage{7000, 7}) {
			t.Fatalf("days %+v", london.Days)
		}
		if len(middle.Days) != 4 || middle.Days[3] != (DayUsage{1, 10}) { // owned from 3 October at noon: 4 to 7
			t.Fatalf("days of what was owned from an afternoon on %+v", middle.Days)
		}
		if len(london.Recent) != 1 || !london.Recent[0].Day.Equal(start.AddDate(0, 0, 7)) || london.Recent[0].In[10*SlotsPerHour] != 8000 || london.Recent[0].Out[10*SlotsPerHour] != 7 {
			t.Fatalf("slots of %v", london.Recent[0].Day)
		}
		sum := uint64(0)
		for _, octets := range london.Recent[0].In {
			sum += octets
		}
		if sum != 8000 {
			t.Fatalf("%d octets in today's slots, want 8000", sum)
		}
		// A quarter past midnight yesterday's slots are there as well; in the next month the last period is told for a day.
		if list, _, _ = w.ledger.Current(t.Context(), w.inv, start.AddDate(0, 0, 8).Add(15*time.Minute)); len(list[0].Recent) != 2 {
			t.Fatalf("%d days of slots", len(list[0].Recent))
		}
		ends := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) // in London as well
		for at, want := range map[time.Duration]int{23 * time.Hour: 2, 24 * time.Hour: 1} {
			list, _, err = w.ledger.Current(t.Context(), w.inv, ends.Add(at))
			n := 0
			for _, c := range list {
				if c.Contract.Service == "london" {
					n++
				}
			}
			if n != want || err != nil {
				t.Fatalf("%s behind the end: %d periods, %v, want %d", at, n, err, want)
			}
		}
	})
}
