package ledger

import (
	"context"
	"reflect"
	"testing"
	"time"

	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// complete says that an exporter is complete to so many minutes after start.
func complete(exporter string, minutes int, silent bool) *schemas.Completeness {
	return &schemas.Completeness{Exporter: exporter, Through: start.Add(time.Duration(minutes) * time.Minute).UnixNano(), Silent: silent}
}

func TestHoursAreSealedWhenTheyAreDue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		l := New(db, Config{Settle: 2 * time.Hour, Grace: 10 * time.Hour})
		// seal expects the first open hour, in hours after start; -1 is none.
		seal := func(at time.Duration, through int, waiting ...string) {
			t.Helper()
			sealed, err := l.Seal(ctx, start.Add(at))
			want := time.Time{}
			if through >= 0 {
				want = start.Add(time.Duration(through) * time.Hour)
			}
			if err != nil || !sealed.Through.Equal(want) || !reflect.DeepEqual(sealed.Waiting, waiting) {
				t.Fatalf("sealed through %s, waiting for %q, %v; want %s, %q", sealed.Through, sealed.Waiting, err, want, waiting)
			}
		}
		seal(1000*time.Hour, -1) // nothing is booked: nothing is sealed, whatever the time
		meter := meterIn(0, 0)
		one := testBatch("c", 1, 0, 1, testTally(meter, 0, 1, 0), testTally(meter, 60, 10, 0), testTally(meter, 60*30, 100, 0))
		one.Complete = []*schemas.Completeness{complete("a", 119, false), complete("b", 3000, false), complete("s", 0, true)}
		one.ReceivedTo = start.Add(40 * time.Hour).UnixNano()
		other := testBatch("c", 1, 1, 1)
		other.Complete = []*schemas.Completeness{complete("a", 5000, false), complete("b", 59, false), complete("s", 0, true)}
		other.ReceivedTo = one.ReceivedTo
		mustBook(t, l, one, other)
		seal(3*time.Hour-1, -1)
		seal(3*time.Hour, -1, "b") // of shard 1, b is not complete past the first hour
		other.Index, other.Complete[1] = 2, complete("b", 60, false)
		mustBook(t, l, other)
		seal(3*time.Hour, 1)
		seal(3*time.Hour, 1) // again
		seal(8*time.Hour, 1, "a", "b")
		seal(13*time.Hour, 3, "a", "b") // the grace of hours 1 and 2 is over, wherever they are complete
		through, last, err := l.SealedThrough(ctx)
		if err != nil || !through.Equal(start.Add(3*time.Hour)) || last != 0 {
			t.Fatalf("sealed through %s, %d, %v", through, last, err)
		}
		list, err := l.Completeness(ctx)
		if err != nil || len(list) != 3 || list[0].Exporter != "a" || !list[0].Through.Equal(start.Add(119*time.Minute)) || list[2].Silent != true {
			t.Fatalf("completeness %+v, %v", list, err)
		}
		// What comes now for a sealed hour is a late entry; for an open one it is a row.
		b := mustBook(t, l, testBatch("c", 1, 0, 2, testTally(meter, 1, 1000, 0), testTally(meter, 2, 1000, 0), testTally(meter, 61, 500, 0), testTally(meter, 179, 7, 0), testTally(meter, 180, 8, 0), testTally(meter, 60*30, 10, 0)))
		if b.LateEntries != 3 {
			t.Fatalf("%d late entries, want one for each hour", b.LateEntries)
		}
		checkLate(t, l, meter)
		verifyClean(t, l, false)
	})
}

// checkLate expects what TestHoursAreSealedWhenTheyAreDue booked late.
func checkLate(t *testing.T, l *Ledger, meter string) {
	t.Helper()
	var late []LateEntry
	if err := l.LateEntries(context.Background(), 0, func(e LateEntry) error { late = append(late, e); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(late) != 3 || late[0].Booking != 1 || late[1].Booking != 2 || late[0].In.Octets != 2000 || late[0].In.Slots[0] != 2000 ||
		!late[1].Hour.Equal(start.Add(time.Hour)) || late[1].Collector != "c" || late[1].Index != 2 || late[1].Meter != schemas.MeterID(meter) ||
		!late[2].Hour.Equal(start.Add(2*time.Hour)) || late[2].In.Octets != 7 {
		t.Fatalf("late entries %+v", late)
	}
	octets := func(through *Booking) (sums []schemas.Octets) {
		for _, r := range allRows(t, l, Query{Through: through}) {
			sums = append(sums, r.In.Octets)
		}
		return sums
	}
	for _, c := range []struct {
		through *Booking
		want    []schemas.Octets
	}{
		{nil, []schemas.Octets{2001, 510, 7, 8, 110}},
		{new(Booking), []schemas.Octets{1, 10, 8, 110}},
		{&late[0].Booking, []schemas.Octets{2001, 10, 8, 110}},
		{&late[1].Booking, []schemas.Octets{2001, 510, 8, 110}},
	} {
		if got := octets(c.through); !reflect.DeepEqual(got, c.want) {
			t.Fatalf("octets through %v: got %v, want %v", c.through, got, c.want)
		}
	}
}

func TestDaysAreTheSumsOfTheirHours(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		l := New(db, DefaultConfig())
		var index uint64
		book := func(minute int64, in, out uint64) {
			for shard := range uint32(testShards) {
				index++
				b := testBatch("c", index, shard, 1, testTally(meterIn(shard, 0), minute, in, out))
				b.ReceivedTo = 0
				mustBook(t, l, b)
			}
		}
		const day = 24 * 60
		book(0, 1, 2)
		book(day-1, 10, 20)
		book(day, 100, 200)
		book(5*day, 1000, 2000) // three days without anything
		before := allDays(t, l, Query{})
		sealed, err := l.Seal(ctx, start.Add(7*24*time.Hour))
		if err != nil || sealed.Days != 3 || sealed.Hours != 4 || !sealed.DaysThrough.Equal(start.Add(6*24*time.Hour)) {
			t.Fatalf("sealed %+v, %v", sealed, err)
		}
		if again, err := l.Seal(ctx, start.Add(7*24*time.Hour)); err != nil || again.Days != 0 || !again.DaysThrough.Equal(sealed.DaysThrough) {
			t.Fatalf("sealed again %+v, %v", again, err)
		}
		after := allDays(t, l, Query{})
		if len(after) != 3*testShards || !after[0].Sealed || before[0].Sealed {
			t.Fatalf("days %+v", after)
		}
		for i := range before {
			before[i].Sealed = true
		}
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("before sealing %+v, after it %+v", before, after)
		}
		verifyClean(t, l, false)
		book(1, 5, 0) // late
		got := allDays(t, l, Query{Meter: schemas.MeterID(meterIn(2, 0)), From: start, To: start.Add(48 * time.Hour)})
		if len(got) != 2 || got[0].In.Octets != 16 || got[0].Out.Octets != 22 || got[1].In.Octets != 100 {
			t.Fatalf("days of one meter %+v", got)
		}
		if got := allDays(t, l, Query{From: start.Add(time.Hour), To: start.Add(25 * time.Hour), Through: new(Booking)}); len(got) != testShards || got[0].In.Octets != 100 {
			t.Fatalf("days that begin in a span %+v", got)
		}
		verifyClean(t, l, false)
	})
}

func TestVerifyFindsWhatDoesNotAddUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		f := func(law, spoil string) {
			t.Helper()
			truncate(t, db)
			l := New(db, DefaultConfig())
			b := testBatch("c", 1, 0, 1, testTally(meterIn(0, 0), 0, 500, 40))
			b.Accounts = []*schemas.ExporterAccount{{Exporter: "e", Protocol: "ipfix", Hour: start.Unix() / 3600, Octets: 475, OctetsOnce: 400, OctetsBoth: 75}}
			mustBook(t, l, b)
			if _, err := l.Seal(ctx, start.Add(60*24*time.Hour)); err != nil {
				t.Fatal(err)
			}
			late := testBatch("c", 1, 0, 2, testTally(meterIn(0, 0), 0, 10, 0))
			mustBook(t, l, late)
			verifyClean(t, l, true)
			err := db.Update(ctx, func(tx *store.Tx) error {
				_, err := tx.Exec(ctx, spoil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			findings, err := l.Verify(ctx, true)
			if err != nil {
				t.Fatal(err)
			}
			for _, finding := range findings {
				if finding.Law == law {
					return
				}
			}
			t.Fatalf("%s: found %+v, want a breach of %s", spoil, findings, law)
		}
		f("slots", `UPDATE usage_hour SET out_octets = out_octets + 1`)
		f("slots", `UPDATE late_entry SET in_octets = 11`)
		f("days", `UPDATE usage_day SET in_packets = in_packets + 1`)
		f("days", `DELETE FROM usage_day`)
		f("bookings", `UPDATE late_entry SET booking = 7`)
		f("bookings", `DELETE FROM late_entry`)
		f("bookings", `UPDATE late_entry SET hour = hour + 100000`)
		f("accounts", `UPDATE exporter_hour SET octets_once = octets_once - 1`)
		f("accounts", `UPDATE exporter_hour SET protocol = 'libvirt'`)
		f("exporters", `UPDATE exporter_hour SET octets_transit = octets_transit + 1`)
		f("exporters", `UPDATE exporter_hour SET counts = '{"held/records/sampling": -1}'`)
	})
}

func TestCoverage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		l := New(db, DefaultConfig())
		hour := start.Unix() / 3600
		b := testBatch("c", 1, 0, 1)
		b.Accounts = []*schemas.ExporterAccount{
			{Exporter: "a", Protocol: "netflow9", Hour: hour, MinutesObserved: 1<<60 - 1, Datagrams: 75, Records: 150, Octets: 3000,
				Lost: []*schemas.Count{{Unit: "datagrams", Reason: "sequence", Count: 20}, {Unit: "datagrams", Reason: "restart", Count: 5}}},
			{Exporter: "a", Protocol: "netflow9", Hour: hour + 1, MinutesObserved: 1<<30 - 1, Datagrams: 1},
			{Exporter: "b", Protocol: "ipfix", Hour: hour, MinutesObserved: 1 << 59, Records: 5, OptionRecords: 5,
				Lost: []*schemas.Count{{Unit: "records", Count: 10}}},
			{Exporter: "d", Protocol: "netflow5", Hour: hour, MinutesObserved: 1<<60 - 1, Datagrams: 100, Records: 60, Octets: 600,
				Dropped: []*schemas.Count{{Unit: "datagrams", Reason: "datagram_budget", Count: 40}, {Unit: "datagrams", Reason: "short", Count: 7}}},
		}
		mustBook(t, l, b)
		f := func(exporters []string, from, to time.Duration, share float64, lost schemas.Octets, missing ...Missing) {
			t.Helper()
			got, err := l.Coverage(ctx, exporters, start.Add(from), start.Add(to))
			if err != nil || got.Share < share-1e-9 || got.Share > share+1e-9 || got.LostOctets != lost || !reflect.DeepEqual(got.Missing, missing) {
				t.Fatalf("coverage %+v, %v; want %v, %d, %+v", got, err, share, lost, missing)
			}
		}
		at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
		f([]string{"a"}, 0, time.Hour, 0.75, 1000)
		f([]string{"a"}, time.Hour, 90*time.Minute, 1, 0)
		f([]string{"a", "a"}, 0, 2*time.Hour, (60*0.75+30)/120, 1000, Missing{"a", at(90), at(120)})
		f([]string{"b", "a"}, 30*time.Minute, time.Hour, (30*0.75+1*0.5)/60, 1000, Missing{"b", at(30), at(59)})
		f([]string{"d"}, 0, time.Hour, 0.6, 400)                                               // what its budget refused was not seen
		f([]string{"x"}, 30*time.Minute, 150*time.Minute, 0, 0, Missing{"x", at(30), at(150)}) // one span over three hours
		f(nil, 0, time.Hour, 1, 0)
	})
}

func TestSlicesTileTheHour(t *testing.T) {
	u := Usage{Octets: 100, Packets: 7, Flows: 3, VarianceKiB2: 1 << 60, Slots: [12]uint64{0: 33, 5: 1, 11: 66}}
	for i := range SlotsPerHour + 1 {
		for j := i; j <= SlotsPerHour; j++ {
			sum := u.Slice(0, i).Add(u.Slice(i, j)).Add(u.Slice(j, SlotsPerHour))
			if sum != u {
				t.Fatalf("slices at %d and %d add up to %+v", i, j, sum)
			}
		}
	}
	if got := u.Slice(0, 1); got.Octets != 33 || got.Packets != 2 || got.Slots[0] != 33 {
		t.Fatalf("first slot %+v", got)
	}
	none := Usage{Packets: 4, Flows: 1}
	if sum := none.Slice(0, 3).Add(none.Slice(3, 12)); sum != none {
		t.Fatalf("packets without octets: %+v", sum)
	}
}
