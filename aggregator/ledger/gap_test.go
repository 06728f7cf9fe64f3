package ledger

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Batches that a log lost stand in the accounts of the exporters that the collector told of, in the hour before they
// are missed, once; neither those of another collector nor one that was silent are said to have lost them.
func TestGapStandsInTheAccounts(t *testing.T) {
	storetest.EachWithClock(t, clock.NewManual(start.Add(40*24*time.Hour)), func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		l := New(db, DefaultConfig())
		account := func(name string) *schemas.ExporterAccount {
			return &schemas.ExporterAccount{Exporter: name, Protocol: "ipfix", Hour: start.Unix() / 3600, Records: 100, Datagrams: 10}
		}
		ours := testBatch("c", 1, 0, 1)
		ours.Accounts = []*schemas.ExporterAccount{account("192.0.2.1"), account("192.0.2.2"), account("192.0.2.3")}
		ours.Complete = []*schemas.Completeness{{Exporter: "192.0.2.1"}, {Exporter: "192.0.2.2", Silent: true}, {Exporter: "192.0.2.9"}}
		others := testBatch("d", 1, 0, 1)
		others.Accounts, others.Complete = []*schemas.ExporterAccount{account("192.0.2.4")}, []*schemas.Completeness{{Exporter: "192.0.2.4"}}
		mustBook(t, l, ours, others)
		before, err := l.Completeness(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is behind the watermark
			if err := l.DeclareGap(ctx, &stream.GapError{Key: stream.KeyOf(ours), From: 2, To: 5}); err != nil {
				t.Fatal(err)
			}
		}
		// A log of which nothing was booked: it was lost from its beginning.
		if err := l.DeclareGap(ctx, &stream.GapError{Key: stream.Key{Collector: "c", LogID: 2, Shard: 1}, From: 1, To: 3}); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		if err := l.Accounts(ctx, time.Time{}, time.Time{}, func(a Account) error {
			got[a.Exporter] += fmt.Sprintf("%s %d %v", a.Hour.Format("15:04"), a.Records, a.Lost)
			if share, octets := a.receivedShare(); share != 1 || octets != 0 {
				t.Errorf("%s: the share received is %v, and %d octets are lost: what batches held is not known", a.Exporter, share, octets)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		hour := start.UTC().Format("15:04")
		want := map[string]string{
			"192.0.2.1": hour + " 100 [{batches log 7}]", "192.0.2.2": hour + " 100 []", "192.0.2.3": hour + " 100 []", "192.0.2.4": hour + " 100 []",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		after, err := l.Completeness(ctx)
		if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Fatalf("completeness is %v after the gap, was %v (%v)", after, before, err)
		}
		verifyClean(t, l, false)
	})
}
