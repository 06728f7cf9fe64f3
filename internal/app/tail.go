package app

import (
	"context"
	"maps"
	"sync"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/schemas"
)

// tail is the collector's log, and knows what was appended to it last.
type tail struct {
	*disk.Log

	mu  sync.Mutex
	end stream.Watermarks
}

// Append appends, and remembers the indexes that the batches got.
func (t *tail) Append(ctx context.Context, batches []*schemas.Batch) error {
	if err := t.Log.Append(ctx, batches); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range batches {
		key := stream.KeyOf(b)
		t.end[key] = max(t.end[key], b.GetIndex())
	}
	return nil
}

// End returns the last index of each sequence that was appended to by this process.
func (t *tail) End() stream.Watermarks {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.end)
}
