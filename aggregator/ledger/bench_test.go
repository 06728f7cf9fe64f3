package ledger

import (
	"context"
	"fmt"
	"testing"

	"hostmeter/internal/clock"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// BenchmarkBook books minutes of many meters, as in a replay: an hour's tallies of a shard in a batch,
// sixteen shards in a transaction. It reports tallies a second of wall clock; on a machine with
// nothing else to do, that is nearly CPU time.
func BenchmarkBook(b *testing.B) {
	for _, meters := range []int{128, 100_000} {
		for _, minutes := range []int64{60, 1} {
			b.Run(fmt.Sprintf("meters=%d/minutes=%d", meters, minutes), func(b *testing.B) { benchmarkBook(b, meters, minutes) })
		}
	}
}

func benchmarkBook(b *testing.B, meters int, minutes int64) {
	const shards = 16
	names := make([][]string, shards)
	for i := range meters {
		name := fmt.Sprintf("address:10.%d.%d.%d", i>>16, i>>8&255, i&255)
		shard := schemas.ShardOf(name, shards)
		names[shard] = append(names[shard], name)
	}
	l := New(storetest.SQLite(b, clock.Real{}), DefaultConfig())
	batches := make([]*schemas.Batch, shards)
	for shard := range batches {
		batches[shard] = testBatch("c", 1, uint32(shard), 0)
		batches[shard].Shards = shards
		for minute := range minutes {
			for _, name := range names[shard] {
				batches[shard].Tallies = append(batches[shard].Tallies, testTally(name, minute, 123_456, 7_890_123))
			}
		}
	}
	b.ReportAllocs()
	tallies, round := 0, int64(0)
	for b.Loop() {
		for _, batch := range batches {
			batch.Index++
			batch.ReceivedTo = start.UnixNano() + (round*minutes+60)*nanosPerMinute
			if round > 0 {
				for _, t := range batch.Tallies {
					t.Minute += minutes
				}
			}
		}
		round++
		booked, err := l.Book(context.Background(), batches)
		if err != nil || booked.Tallies != meters*int(minutes) {
			b.Fatalf("booked %+v, %v", booked, err)
		}
		tallies += booked.Tallies
	}
	b.ReportMetric(float64(tallies)/b.Elapsed().Seconds(), "tallies/s")
}
