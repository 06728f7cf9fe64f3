package ledger

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	statements "hostmeter/aggregator/statement"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// TestResellersAddUpTheirCustomers sends at a steady rate from two customers at different times of a month, so that
// only their sum is always there, and holds it against the rate bought.
func TestResellersAddUpTheirCustomers(t *testing.T) {
	c := clock.NewManual(start)
	storetest.EachWithClock(t, c, func(t *testing.T, db *store.DB) {
		w := newPoolWorld(t, db, c)
		w.importText(`customers: [{id: r1, name: Resale Ltd, rate_bought: 0.1 Mbit/s}]`)
		var list []sentTally
		for slot := range int64(30 * 24 * 12) {
			meter := poolMeters["a"] // of c3, which r1 sells to
			if slot%2 == 0 {
				meter = poolMeters["b"] // of c4, which c3 sells to
			}
			list = append(list, sentTally{meter, schemas.ClassExternal, slot * 5, 0, 7_500_000}) // 0.2 Mbit/s
		}
		list = append(list, sentTally{poolMeters["a"], schemas.ClassInternal, 0, 0, 1 << 40}) // does not count
		w.sendAtOnce(list)
		w.account()
		w.seal(40 * 24 * time.Hour)
		w.close()
		got, err := w.ledger.Resellers(context.Background(), w.inv, "2026-10", w.now)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Resellers) != 2 || got.Resellers[0].Reseller != "c3" || got.Resellers[1].Reseller != "r1" || got.Provisional {
			t.Fatalf("resellers: %+v", got)
		}
		c3, r1 := got.Resellers[0], got.Resellers[1]
		if r1.Used.String() != "0.2" || !r1.Over || r1.Excess.String() != "0.1" || r1.OutOctets != 8640*7_500_000 || len(r1.Services) != 4 || r1.Percentile.Slots < 8900 || r1.Percentile.Side != "out" {
			t.Fatalf("r1: %+v", r1)
		}
		if c3.RateBought != nil || c3.Over || c3.Used.String() != "0.2" || len(c3.Services) != 2 || len(c3.Customers()) != 2 {
			t.Fatalf("c3: %+v", c3)
		}
		var csv, json bytes.Buffer
		if err := errors.Join(statements.WriteResellersCSV(&csv, got), statements.WriteResellersJSON(&json, got)); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(csv.String()), "\n")
		if len(lines) != 1+(1+2+2)+(1+3+4) || !strings.Contains(lines[6], "reseller,r1,,,,2026-10-01T00:00:00+01:00,2026-11-01T00:00:00Z,Europe/London,0,64800000000,0.1,0.2,Mbit/s,0.1,true,200000,out,") {
			t.Fatalf("CSV:\n%s", csv.String())
		}
		if strings.Contains(json.String(), "null,") && !strings.Contains(json.String(), `"rate_bought": null`) {
			t.Fatalf("JSON:\n%s", json.String())
		}
	})
}

// sendAtOnce books tallies in one batch for each shard.
func (w *world) sendAtOnce(list []sentTally) {
	w.t.Helper()
	batches := map[uint32]*schemas.Batch{}
	for _, s := range list {
		shard := schemas.ShardOf(s.meter, testShards)
		if batches[shard] == nil {
			w.index[shard]++
			batches[shard] = testBatch("c", 7, shard, w.index[shard])
		}
		tally := testTally(s.meter, s.minute, s.in, s.out)
		if s.class == schemas.ClassInternal {
			tally.Class = 1
		}
		batches[shard].Tallies = append(batches[shard].Tallies, tally)
	}
	for _, b := range batches {
		b.ReceivedFrom, b.ReceivedTo = start.Add(31*24*time.Hour).UnixNano(), start.Add(32*24*time.Hour).UnixNano()
		if booked := mustBook(w.t, w.ledger, b); booked.Refused != 0 {
			w.t.Errorf("booked %+v", booked)
		}
	}
}

// account books what the exporter says of each hour: that it was observed whole.
func (w *world) account() {
	w.t.Helper()
	w.index[0]++
	b := testBatch("c", 7, 0, w.index[0])
	for hour := start.Add(-2 * time.Hour); hour.Before(start.Add(34 * 24 * time.Hour)); hour = hour.Add(time.Hour) {
		b.Accounts = append(b.Accounts, &schemas.ExporterAccount{Exporter: "192.0.2.250", Protocol: "netflow9", Hour: hour.Unix() / 3600, MinutesObserved: 1<<60 - 1, Datagrams: 1})
	}
	b.ReceivedFrom, b.ReceivedTo = start.Add(33*24*time.Hour).UnixNano(), start.Add(34*24*time.Hour).UnixNano()
	if booked := mustBook(w.t, w.ledger, b); booked.Refused != 0 {
		w.t.Errorf("booked %+v", booked)
	}
}
