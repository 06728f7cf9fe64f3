package detector

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/store/storetest"
	"hostmeter/schemas"
)

// BenchmarkFiveMinutes is five minutes of a provider with 20,000 addresses under the shipped rules: a
// batch of every shard a minute, the slots closed, and a checkpoint. It reports the memory of a meter.
func BenchmarkFiveMinutes(b *testing.B) {
	const meters, shards = 20_000, 16
	begin := time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)
	c := clock.NewManual(begin)
	d, err := New(DefaultConfig(), Deps{DB: storetest.SQLite(b, c), Clock: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	names := make([][]string, shards)
	for i := range meters {
		id := fmt.Sprintf("address:10.%d.%d.%d", i>>16, i>>8&255, i&255)
		s := schemas.ShardOf(id, shards)
		names[s] = append(names[s], id)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	at, index := begin, uint64(0)
	for b.Loop() {
		for range 5 {
			at = at.Add(time.Minute)
			c.Set(at)
			index++
			for s := range uint32(shards) {
				if err := d.Process(context.Background(), []*schemas.Batch{minuteOf(names[s], s, index, at)}); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	if len(d.bySubject) != meters {
		b.Fatalf("%d subjects, want %d", len(d.bySubject), meters)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(d)
	b.StopTimer()
	b.ReportMetric((float64(after.HeapAlloc)-float64(before.HeapAlloc))/meters, "B/meter")
}

func minuteOf(names []string, shard uint32, index uint64, to time.Time) *schemas.Batch {
	batch := &schemas.Batch{Collector: "c", LogId: 1, Shard: shard, Shards: 16, Index: index, ReceivedFrom: to.Add(-time.Minute).UnixNano(), ReceivedTo: to.UnixNano(),
		Exporters: []string{"192.0.2.1"}, Classes: []string{schemas.ClassExternal},
		Complete: []*schemas.Completeness{{Exporter: "192.0.2.1", Through: to.Add(-2 * time.Minute).UnixNano()}}}
	for i, name := range names {
		packets := uint64(60 * 100)
		if i%50 == 0 {
			packets *= 300 // 30,000 a second: beyond the floor of the packet rules
		}
		batch.Tallies = append(batch.Tallies, &schemas.Tally{Meter: name, Minute: to.Unix()/60 - 1,
			In: &schemas.Traffic{Octets: 500 * packets, Packets: packets, Flows: 10}, Out: &schemas.Traffic{Octets: 500 * packets, Packets: packets, Flows: 10}})
	}
	return batch
}
