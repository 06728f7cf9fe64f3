package disk

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// TestShardsAreReadInTheOrderOfAppends: a collector goes on from the last positions that it appended, whatever shards
// they are in, and over segments and openings.
func TestShardsAreReadInTheOrderOfAppends(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHarness(t)
		var last uint64
		for range rapid.IntRange(1, 30).Draw(t, "appends") {
			var group []*schemas.Batch
			for _, shard := range rapid.SliceOfN(rapid.Uint32Range(0, testShards-1), 1, 4).Draw(t, "shards") {
				last++
				group = append(group, streamtest.Batch(shard, last, rapid.SampledFrom([]int{10, 1500}).Draw(t, "size")))
			}
			if err := h.log.Append(context.Background(), group); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 5).Draw(t, "reopen") == 0 {
				h.reopen()
			}
		}
		r, err := h.log.OpenReader(context.Background(), "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		for want := uint64(1); want <= last; {
			batches, err := r.Next(context.Background(), 5)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range batches {
				if got := streamtest.Number(b); got != want {
					t.Fatalf("batch %d is read where %d should be", got, want)
				}
				want++
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
