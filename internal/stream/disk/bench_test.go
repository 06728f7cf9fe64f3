package disk

import (
	"testing"

	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

const benchPayload = 20_000

func benchLog(b *testing.B) *Log {
	b.Helper()
	cfg := DefaultConfig()
	cfg.Path, cfg.MaxSize = b.TempDir(), 0
	l, err := Open(b.Context(), cfg, "c", 16, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// benchGroup is one flush: a batch of 20 kB for each of 16 shards.
func benchGroup() []*schemas.Batch {
	group := make([]*schemas.Batch, 16)
	for shard := range group {
		group[shard] = &schemas.Batch{Shard: uint32(shard), Exporters: []string{"192.0.2.250"}}
		for i := 0; len(group[shard].Tallies) < 250; i++ {
			group[shard].Tallies = append(group[shard].Tallies, &schemas.Tally{
				Meter: "address:192.0.2.123", Minute: 29_000_000,
				In:  &schemas.Traffic{Octets: 1 << 40, Packets: 1 << 30, Flows: 1 << 20},
				Out: &schemas.Traffic{Octets: 1 << 40, Packets: 1 << 30, Flows: 1 << 20, ReportedOctets: 1 << 33},
			})
		}
	}
	return group
}

// BenchmarkAppend writes flushes of 16 batches of about 20 kB, each by one fsync.
func BenchmarkAppend(b *testing.B) {
	l := benchLog(b)
	group := benchGroup()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(b.Context(), group); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(l.size / int64(b.N))
	b.ReportMetric(float64(16*b.N)/b.Elapsed().Seconds(), "batches/s")
}

// BenchmarkAppendConcurrent has single batches from many callers share their fsyncs.
func BenchmarkAppendConcurrent(b *testing.B) {
	l := benchLog(b)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		batch := streamtest.Batch(0, 1, benchPayload)
		for pb.Next() {
			if err := l.Append(b.Context(), []*schemas.Batch{batch}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.SetBytes(benchPayload)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}

// BenchmarkRead reads and decodes batches of about 20 kB.
func BenchmarkRead(b *testing.B) {
	l := benchLog(b)
	group := benchGroup()
	const groups = 200
	for range groups {
		if err := l.Append(b.Context(), group); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.SetBytes(l.size / (16 * groups))
	read := 0
	for b.Loop() {
		if read%(16*groups) == 0 {
			read = 0
		}
		r, err := l.OpenReader(b.Context(), "bench", nil)
		if err != nil {
			b.Fatal(err)
		}
		for read = 0; read < 16*groups; {
			batches, err := r.Next(b.Context(), 64)
			if err != nil {
				b.Fatal(err)
			}
			if len(batches[0].GetTallies()) != 250 {
				b.Fatal("a batch lost its tallies")
			}
			read += len(batches)
		}
		_ = r.Close()
	}
	b.SetBytes(l.size)
	b.ReportMetric(float64(b.N*16*groups)/b.Elapsed().Seconds(), "batches/s")
}
