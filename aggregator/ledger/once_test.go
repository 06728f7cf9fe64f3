package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// history is the log of an installation: the batches of each sequence, in order.
type history map[stream.Key][]*schemas.Batch

// drawHistory draws sequences of two collectors, one of which opened its log twice, over three hours
// and few meters, so that rows are shared.
func drawHistory(t *rapid.T) history {
	h := make(history)
	for _, log := range []struct {
		collector string
		id        uint64
	}{{"c", 1 << 63}, {"c", 2}, {"d", 3}} {
		for shard := range uint32(testShards) {
			key := stream.Key{Collector: log.collector, LogID: log.id, Shard: shard}
			for index := range rapid.Uint64Range(0, 5).Draw(t, key.String()) {
				h[key] = append(h[key], drawBatch(t, key, index+1))
			}
		}
	}
	return h
}

func drawBatch(t *rapid.T, key stream.Key, index uint64) *schemas.Batch {
	b := testBatch(key.Collector, key.LogID, key.Shard, index)
	b.ReceivedTo += int64(index) * int64(time.Minute)
	for range rapid.IntRange(0, 6).Draw(t, "tallies") {
		tally := testTally(meterIn(key.Shard, rapid.IntRange(0, 2).Draw(t, "meter")), rapid.Int64Range(0, 179).Draw(t, "minute"),
			rapid.Uint64Range(0, 1e9).Draw(t, "in"), rapid.Uint64Range(0, 1e9).Draw(t, "out"))
		tally.Class = rapid.Uint32Range(0, 1).Draw(t, "class")
		b.Tallies = append(b.Tallies, tally)
	}
	for range rapid.IntRange(0, 1).Draw(t, "guests") {
		from := start.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "from")))
		// Two readings of one guest that end at the same time do not happen: the collector is in it.
		length := time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "length"))
		b.Guests = append(b.Guests, &schemas.GuestUsage{
			Guest: fmt.Sprintf("%s-%d-%d", key.Collector, key.LogID, key.Shard), Host: "hv", Name: "web",
			From: from.UnixNano(), To: from.Add(length).UnixNano(), Vcpus: 2,
			CpuNanoseconds: rapid.Uint64Range(0, 1e12).Draw(t, "cpu"), CapacityNanoseconds: 2 * uint64(length),
		})
	}
	for range rapid.IntRange(0, 1).Draw(t, "accounts") {
		octets := rapid.Uint64Range(0, 1e12).Draw(t, "octets") // counted, and at no meter
		b.Accounts = append(b.Accounts, &schemas.ExporterAccount{
			Exporter: fmt.Sprintf("192.0.2.%d", key.Shard), Protocol: "netflow9", Hour: start.Unix()/3600 + rapid.Int64Range(0, 1).Draw(t, "hour"),
			MinutesObserved: 1 << rapid.IntRange(0, 59).Draw(t, "observed"),
			Datagrams:       rapid.Uint64Range(0, 100).Draw(t, "datagrams"), Octets: octets, OctetsTransit: octets,
			Held: []*schemas.Count{{Unit: "records", Reason: "no_template", Count: rapid.Int64Range(0, 1).Draw(t, "held")}},
			Lost: []*schemas.Count{{Unit: "datagrams", Count: rapid.Int64Range(0, 3).Draw(t, "lost")}},
		})
	}
	if rapid.IntRange(0, 9).Draw(t, "poison") == 0 {
		b.Tallies = append(b.Tallies, testTally("address:nowhere", 3, 1, 1))
	}
	return b
}

// keys are the sequences in one order.
func (h history) keys() []stream.Key { return sortedKeys(h) }

// end is how far everything is booked in the end.
func (h history) end() stream.Watermarks {
	marks := make(stream.Watermarks)
	for key, batches := range h {
		marks[key] = uint64(len(batches))
	}
	return marks
}

var (
	errKilled = errors.New("killed")
	// errLost stands for a commit of which the reply was lost.
	errLost = fmt.Errorf("%w: reply lost", store.ErrUnknownOutcome)
)

// owner is an aggregator that believes to own everything, and reads from where it believes to be.
type owner struct {
	ledger *Ledger
	next   stream.Watermarks // nil: to be read from the ledger
}

// open reads the watermarks, and begins somewhere at or before them: logs deliver again.
func (o *owner) open(t *rapid.T, h history) {
	marks, err := o.ledger.Watermarks(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	o.next = make(stream.Watermarks)
	for _, key := range h.keys() {
		o.next[key] = marks[key]
		if marks[key] > 0 && rapid.Bool().Draw(t, "again") {
			o.next[key] = rapid.Uint64Range(0, marks[key]).Draw(t, "from")
		}
	}
}

// read takes some batches, of any sequences in any order, each sequence in its own.
func (o *owner) read(t *rapid.T, h history) []*schemas.Batch {
	var batches []*schemas.Batch
	for range rapid.IntRange(1, 8).Draw(t, "batches") {
		var open []stream.Key
		for _, key := range h.keys() {
			if o.next[key] < uint64(len(h[key])) {
				open = append(open, key)
			}
		}
		if len(open) == 0 {
			break
		}
		key := rapid.SampledFrom(open).Draw(t, "sequence")
		batch := h[key][o.next[key]]
		batches = append(batches, batch)
		if rapid.IntRange(0, 5).Draw(t, "twice") == 0 {
			batches = append(batches, batch)
		}
		o.next[key]++
	}
	return batches
}

// step lets an owner book something, in a transaction that may fail at any place. An owner that was
// asleep meanwhile goes on as if nothing had happened.
func (o *owner) step(t *rapid.T, h history) {
	if o.next == nil {
		o.open(t, h)
	}
	batches := o.read(t, h)
	fault := rapid.SampledFrom([]string{"", "", "", "begin", "merged", "watermarks", "rows", "late entries", "accounts", "refused batches", "committed"}).Draw(t, "fault")
	o.ledger.inject = func(step string) error {
		switch {
		case step != fault:
			return nil
		case step == "committed":
			return errLost
		}
		return errKilled
	}
	_, err := o.ledger.Book(context.Background(), batches)
	o.ledger.inject = nil
	switch {
	case err == nil:
	case errors.Is(err, errKilled), errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, ErrOvertaken), store.IsConflict(err):
		o.next = nil
	default:
		t.Fatal(err)
	}
}

// undisturbed books a history in order, a sequence after the other.
func undisturbed(t *rapid.T, db *store.DB, h history) *Ledger {
	truncate(t, db)
	l := New(db, DefaultConfig())
	for _, key := range h.keys() {
		mustBook(t, l, h[key]...)
	}
	return l
}

// disturbed books a history through owners that take turns, with faults. between is called now and then.
func disturbed(t *rapid.T, db *store.DB, h history, between func(*Ledger)) *Ledger {
	truncate(t, db)
	cfg := DefaultConfig()
	cfg.RowsInMemory = rapid.SampledFrom([]int{1, 4, 1000}).Draw(t, "rows in memory")
	owners := []*owner{{ledger: New(db, cfg)}, {ledger: New(db, cfg)}}
	for {
		marks, err := owners[0].ledger.ReadWatermarks(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(marks, h.end()) {
			return owners[0].ledger
		}
		o := rapid.SampledFrom(owners).Draw(t, "owner")
		if o.next != nil && reflect.DeepEqual(o.next, h.end()) {
			o.next = nil // it has read everything that it believes to be missing
		}
		o.step(t, h)
		if rapid.IntRange(0, 3).Draw(t, "between") == 0 {
			between(o.ledger)
		}
	}
}

// checkHistories is rapid.Check, with fewer histories on PostgreSQL, where each costs more, unless a
// number was asked for.
func checkHistories(t *testing.T, db *store.DB, f func(t *rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if before := checks.Value.String(); before == checks.DefValue && db.Dialect() == store.PostgreSQL {
		_ = checks.Value.Set("25")
		defer func() { _ = checks.Value.Set(before) }()
	}
	rapid.Check(t, f)
}

func TestEveryHistoryIsBookedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		checkHistories(t, db, func(t *rapid.T) {
			h := drawHistory(t)
			verifyClean(t, undisturbed(t, db, h), false)
			want := canonical(t, db)
			verifyClean(t, disturbed(t, db, h, func(*Ledger) {}), false)
			if got := canonical(t, db); !slices.Equal(got, want) {
				t.Fatalf("got\n%q\nwant\n%q", got, want)
			}
		})
	})
}

// TestSealingMovesNothing seals at any time: rows and late entries together are as if it never had.
func TestSealingMovesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		checkHistories(t, db, func(t *rapid.T) {
			h := drawHistory(t)
			l := undisturbed(t, db, h)
			wantRows, wantDays := allRows(t, l, Query{}), allDays(t, l, Query{})
			wantGuests := allGuests(t, l)
			l = disturbed(t, db, h, func(l *Ledger) {
				hours := time.Duration(rapid.IntRange(0, 26).Draw(t, "sealed hours"))
				if _, err := l.Seal(context.Background(), start.Add(DefaultConfig().Settle+hours*time.Hour)); err != nil {
					t.Fatal(err)
				}
			})
			verifyClean(t, l, false)
			equalButSealed(t, allRows(t, l, Query{}), wantRows)
			equalButSealed(t, allDays(t, l, Query{}), wantDays)
			guests := allGuests(t, l)
			for i := range guests {
				guests[i].Sealed = false
			}
			if !reflect.DeepEqual(guests, wantGuests) {
				t.Fatalf("guests %+v, want %+v", guests, wantGuests)
			}
		})
	})
}

func equalButSealed(t *rapid.T, got, want []UsageRow) {
	t.Helper()
	for i := range got {
		got[i].Sealed = false
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v\nwant\n%+v", got, want)
	}
}

func allGuests(t failer, l *Ledger) (list []GuestRow) {
	t.Helper()
	err := l.GuestRows(context.Background(), "", time.Time{}, time.Time{}, func(r GuestRow) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
