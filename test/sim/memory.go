package sim

import (
	"context"

	"google.golang.org/protobuf/proto"

	"hostmeter/schemas"
)

// memoryLog keeps batches: the log of a run in which nothing goes wrong.
type memoryLog struct {
	batches []*schemas.Batch
	next    [shards]uint64
}

// Append implements stream.Log.
func (l *memoryLog) Append(_ context.Context, batches []*schemas.Batch) error {
	for _, b := range batches {
		l.next[b.GetShard()]++
		b.LogId, b.Index = 1, l.next[b.GetShard()]
		value, err := b.MarshalVT()
		must(err)
		kept := new(schemas.Batch)
		must(proto.Unmarshal(value, kept))
		l.batches = append(l.batches, kept)
	}
	return nil
}

// Close implements stream.Log.
func (l *memoryLog) Close() error { return nil }
