package ledger

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

func TestBookAddsTalliesToTheirHourAndSlot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l := New(db, DefaultConfig())
		meter := meterIn(1, 0)
		internal := testTally(meter, 7, 5, 0)
		internal.Class = 1
		b := mustBook(t, l,
			testBatch("c", 1, 1, 1, testTally(meter, 0, 1000, 10), testTally(meter, 4, 1, 0), testTally(meter, 5, 100, 0)),
			testBatch("c", 1, 1, 2, testTally(meter, 59, 7, 70), testTally(meter, 60, 9, 0), internal))
		if b.Batches != 2 || b.Tallies != 6 || b.Octets != 1202 || !b.ReceivedTo.Equal(start.Add(time.Hour)) {
			t.Fatalf("booked %+v", b)
		}
		want := []UsageRow{
			{Meter: schemas.MeterID(meter), Hour: start, Class: schemas.ClassExternal,
				In:  Usage{Octets: 1108, Packets: 5, Flows: 4, VarianceKiB2: 142 + 0 + 14 + 1, Slots: [12]uint64{0: 1001, 1: 100, 11: 7}},
				Out: Usage{Octets: 80, Packets: 2, Flows: 2, Slots: [12]uint64{0: 10, 11: 70}}},
			{Meter: schemas.MeterID(meter), Hour: start, Class: schemas.ClassInternal,
				In: Usage{Octets: 5, Packets: 1, Flows: 1, Slots: [12]uint64{1: 5}}},
			{Meter: schemas.MeterID(meter), Hour: start.Add(time.Hour), Class: schemas.ClassExternal,
				In: Usage{Octets: 9, Packets: 1, Flows: 1, VarianceKiB2: 1, Slots: [12]uint64{0: 9}}},
		}
		if got := allRows(t, l, Query{}); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		// The same through the look-up of one meter, by kind, and cut by time.
		if got := allRows(t, l, Query{Meter: schemas.MeterID(meter), From: start, To: start.Add(2 * time.Hour)}); !reflect.DeepEqual(got, want) {
			t.Fatalf("of the meter: got %+v", got)
		}
		if got := allRows(t, l, Query{From: start.Add(time.Minute), Kind: schemas.KindAddress}); !reflect.DeepEqual(got, want[2:]) {
			t.Fatalf("after the hour: got %+v", got)
		}
		if got := allRows(t, l, Query{Kind: schemas.KindPort}); len(got) != 0 {
			t.Fatalf("ports: got %+v", got)
		}
		verifyClean(t, l, false)

		// Another owner goes on with the rows that are there.
		second := New(db, DefaultConfig())
		mustBook(t, second, testBatch("c", 1, 1, 3, testTally(meter, 61, 0, 3)))
		if got := allRows(t, l, Query{})[2].Out.Slots[0]; got != 3 {
			t.Fatalf("the second owner's octets: got %d, want 3", got)
		}
	})
}

func TestBookRefusesHolesAndPassesOverDuplicates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l := New(db, DefaultConfig())
		meter := meterIn(0, 0)
		one, two, three := testBatch("c", math.MaxUint64, 0, 1, testTally(meter, 0, 1, 0)), testBatch("c", math.MaxUint64, 0, 2, testTally(meter, 0, 10, 0)), testBatch("c", math.MaxUint64, 0, 3, testTally(meter, 0, 100, 0))
		mustBook(t, l, one)
		_, err := l.Book(context.Background(), []*schemas.Batch{three})
		var hole *HoleError
		if !errors.As(err, &hole) || hole.Booked != 1 || hole.Index != 3 {
			t.Fatalf("got %v, want a hole behind 1", err)
		}
		b := mustBook(t, l, one, two, two, one, three)
		if b.Batches != 2 || b.Duplicates != 3 {
			t.Fatalf("booked %+v", b)
		}
		if got := allRows(t, l, Query{})[0].In.Octets; got != 111 {
			t.Fatalf("got %d octets, want 111", got)
		}
		marks, err := l.Watermarks(context.Background())
		want := stream.Watermarks{stream.KeyOf(one): 3}
		if err != nil || !reflect.DeepEqual(marks, want) {
			t.Fatalf("watermarks %v, %v; want %v", marks, err, want)
		}
	})
}

func TestOvertakenOwnerWritesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		old, young := New(db, DefaultConfig()), New(db, DefaultConfig())
		meter := meterIn(2, 0)
		batch := func(collector string, index, octets uint64) *schemas.Batch {
			return testBatch(collector, 1, 2, index, testTally(meter, 0, octets, 0))
		}
		mustBook(t, old, batch("c", 1, 1))
		mustBook(t, young, batch("c", 2, 10), batch("d", 1, 100))
		before := canonical(t, db)
		_, err := old.Book(context.Background(), []*schemas.Batch{batch("c", 2, 10), batch("c", 3, 1000)})
		if !errors.Is(err, ErrOvertaken) {
			t.Fatalf("got %v, want ErrOvertaken", err)
		}
		if after := canonical(t, db); !reflect.DeepEqual(before, after) {
			t.Fatal("an owner that was overtaken wrote")
		}
		// It knows now: the same batches again are right.
		if b := mustBook(t, old, batch("c", 2, 10), batch("c", 3, 1000)); b.Batches != 1 || b.Duplicates != 1 {
			t.Fatalf("booked %+v", b)
		}
		// The young one has rows in memory that another has changed, under a sequence it knows.
		mustBook(t, young, batch("d", 2, 10_000))
		if got := allRows(t, old, Query{})[0].In.Octets; got != 11_111 {
			t.Fatalf("got %d octets, want 11111", got)
		}
	})
}

func TestBatchThatBreaksAnInvariantIsParkedWhole(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		meter, other := meterIn(0, 0), meterIn(0, 1)
		sound := func() *schemas.Batch {
			b := testBatch("c", 1, 0, 2, testTally(meter, 0, 5, 5), testTally(other, 0, 5, 5))
			b.Accounts = []*schemas.ExporterAccount{{Exporter: "192.0.2.250", Protocol: "ipfix", Hour: start.Unix() / 3600, Records: 2}}
			b.Guests = []*schemas.GuestUsage{{Guest: "g1", From: start.UnixNano(), To: start.Add(time.Minute).UnixNano(), CpuNanoseconds: 1}}
			return b
		}
		f := func(reason string, spoil func(*schemas.Batch)) {
			t.Helper()
			truncate(t, db)
			l := New(db, DefaultConfig())
			mustBook(t, l, testBatch("c", 1, 0, 1, testTally(meter, 0, 1, 0)))
			bad := sound()
			spoil(bad)
			last := testBatch("c", 1, 0, 3, testTally(meter, 1, 100, 0))
			if b := mustBook(t, l, bad, last); b.Refused != 1 || b.Batches != 1 {
				t.Fatalf("booked %+v", b)
			}
			got := allRows(t, l, Query{})
			if len(got) != 1 || got[0].In.Octets != 101 || got[0].In.Slots[0] != 101 || got[0].Out.Octets != 0 {
				t.Fatalf("rows %+v", got)
			}
			refused, err := l.RefusedBatches(context.Background())
			if err != nil || len(refused) != 1 || refused[0].Index != 2 || !strings.Contains(refused[0].Reason, reason) || refused[0].Size == 0 {
				t.Fatalf("refused %+v, %v; want one for %q", refused, err, reason)
			}
			if err := l.Accounts(context.Background(), time.Time{}, time.Time{}, func(a Account) error {
				t.Errorf("account %+v of a refused batch", a)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if guests, err := l.Guests(context.Background()); err != nil || len(guests) != 0 {
				t.Fatalf("guests %v, %v", guests, err)
			}
			verifyClean(t, l, false)
		}
		f("shard 0 of 0 shards", func(b *schemas.Batch) { b.Shards = 0 })
		f("class 2 of 2", func(b *schemas.Batch) { b.Tallies[1].Class = 2 })
		f("exporter 1 of 1", func(b *schemas.Batch) { b.Tallies[1].Exporter = 1 })
		f("not a meter id", func(b *schemas.Batch) { b.Tallies[1].Meter = "address:here" })
		f("is written", func(b *schemas.Batch) { b.Tallies[1].Meter = "address:2001:db8:0::1" })
		f("in a tally", func(b *schemas.Batch) { b.Tallies[1].Meter = "guest:g1" })
		f("meter", func(b *schemas.Batch) { b.Tallies[1].Meter = "vnic:a\x00b/c" })
		f("class", func(b *schemas.Batch) { b.Classes[1] = "inter\x00nal" })
		f("no year", func(b *schemas.Batch) { b.Tallies[1].Minute = -1 })
		f("two days after", func(b *schemas.Batch) { b.Tallies[1].Minute += 3 * 24 * 60 })
		f("more than a minute can hold", func(b *schemas.Batch) { b.Tallies[1].Out.Octets = 1 << 56 })
		f("minutes observed", func(b *schemas.Batch) { b.Accounts[0].MinutesObserved = 1 << 60 })
		f("records is", func(b *schemas.Batch) { b.Accounts[0].Records = 1 << 60 })
		f("hour 0", func(b *schemas.Batch) { b.Accounts[0].Hour = 0 })
		f("unit", func(b *schemas.Batch) { b.Accounts[0].Lost = []*schemas.Count{{Unit: "a/b"}} })
		f("lower case", func(b *schemas.Batch) { b.Guests[0].Guest = "G1" })
		f("from", func(b *schemas.Batch) { b.Guests[0].To = b.Guests[0].From - 1 })
		f("more than a guest", func(b *schemas.Batch) { b.Guests[0].StealNanoseconds = 1 << 62 })
		// A sum that would not fit shows only when it is added: what was added before is taken back.
		f("does not fit", func(b *schemas.Batch) {
			for range 130 {
				b.Tallies = append(b.Tallies, testTally(other, 3, 1<<56-1, 0))
			}
		})
	})
}

func TestBatchWithoutANameIsLeftOut(t *testing.T) {
	l := New(storetest.SQLite(t, clock.Real{}), DefaultConfig())
	b := mustBook(t, l, testBatch("", 1, 0, 1), testBatch("c", 1, 0, 0), testBatch("c\x00", 1, 0, 1), testBatch("c", 1, 0, 1, testTally(meterIn(0, 0), 0, 1, 0)))
	if b.Refused != 3 || b.Batches != 1 {
		t.Fatalf("booked %+v", b)
	}
}

func TestGapMovesTheWatermark(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		l := New(db, DefaultConfig())
		meter := meterIn(0, 0)
		one := testBatch("c", 1, 0, 1, testTally(meter, 0, 1, 0))
		mustBook(t, l, one)
		gap := &stream.GapError{Key: stream.KeyOf(one), From: 2, To: 5}
		for range 2 { // the second time it is behind the watermark
			if err := l.DeclareGap(ctx, gap); err != nil {
				t.Fatal(err)
			}
		}
		var hole *HoleError
		if err := l.DeclareGap(ctx, &stream.GapError{Key: stream.KeyOf(one), From: 8, To: 9}); !errors.As(err, &hole) {
			t.Fatalf("got %v, want a hole", err)
		}
		mustBook(t, l, testBatch("c", 1, 0, 6, testTally(meter, 0, 10, 0)))
		gaps, err := l.Gaps(ctx)
		if err != nil || len(gaps) != 1 || gaps[0].GapError != *gap {
			t.Fatalf("gaps %+v, %v", gaps, err)
		}
		if got := allRows(t, l, Query{})[0].In.Octets; got != 11 {
			t.Fatalf("got %d octets, want 11", got)
		}
	})
}

func TestGuestsAreDividedAmongSlots(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		l := New(db, DefaultConfig())
		b := testBatch("c", 1, 0, 1)
		from := start.Add(58 * time.Minute)
		b.Guests = []*schemas.GuestUsage{
			{Guest: "g1", Host: "hv1", Name: "web", From: from.UnixNano(), To: from.Add(9 * time.Minute).UnixNano(), Vcpus: 2, CpuNanoseconds: 90, CapacityNanoseconds: 181, StealNanoseconds: 9},
			{Guest: "g1", Host: "hv2", Name: "web", From: from.Add(9 * time.Minute).UnixNano(), To: from.Add(9 * time.Minute).UnixNano(), State: schemas.GuestState_GUEST_STATE_OFF},
		}
		mustBook(t, l, b)
		var got []GuestRow
		if err := l.GuestRows(ctx, "g1", time.Time{}, time.Time{}, func(r GuestRow) error { got = append(got, r); return nil }); err != nil {
			t.Fatal(err)
		}
		want := []GuestRow{
			{Guest: "g1", Hour: start, CPU: 20, Capacity: 40, Steal: 2, CPUSlots: [12]uint64{11: 20}, CapacitySlots: [12]uint64{11: 40}},
			{Guest: "g1", Hour: start.Add(time.Hour), CPU: 70, Capacity: 141, Steal: 7, CPUSlots: [12]uint64{0: 50, 1: 20}, CapacitySlots: [12]uint64{0: 100, 1: 41}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		guests, err := l.Guests(ctx)
		if err != nil || len(guests) != 1 || guests[0].Host != "hv2" || guests[0].State != schemas.GuestState_GUEST_STATE_OFF {
			t.Fatalf("guests %+v, %v", guests, err)
		}
	})
}
