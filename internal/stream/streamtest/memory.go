package streamtest

import (
	"context"
	"maps"
	"sync"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Memory is a log in memory: its readers get what was added, in that order.
type Memory struct {
	mu      sync.Mutex
	batches []*schemas.Batch
	more    chan struct{} // closed and made anew when something is added
}

var _ stream.Source = (*Memory)(nil)

// NewMemory returns an empty one.
func NewMemory() *Memory { return &Memory{more: make(chan struct{})} }

// Add gives batches to all readers.
func (m *Memory) Add(batches ...*schemas.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, batches...)
	close(m.more)
	m.more = make(chan struct{})
}

// Confirm implements stream.Source: nothing is deleted.
func (m *Memory) Confirm(context.Context, stream.Watermarks) error { return nil }

// OpenReader implements stream.Source.
func (m *Memory) OpenReader(_ context.Context, _ string, after stream.Watermarks) (stream.Reader, error) {
	return &memoryReader{log: m, after: maps.Clone(after)}, nil
}

type memoryReader struct {
	log   *Memory
	after stream.Watermarks
	next  int
}

func (r *memoryReader) Close() error { return nil }

func (r *memoryReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	for {
		r.log.mu.Lock()
		var out []*schemas.Batch
		for ; r.next < len(r.log.batches) && len(out) < most; r.next++ {
			if b := r.log.batches[r.next]; b.GetIndex() > r.after[stream.KeyOf(b)] {
				out = append(out, b)
			}
		}
		more := r.log.more
		r.log.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
