package aggregator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// start is the beginning of the tests' usage.
var start = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

const testShards = 4

// memorySource is a log in memory, of one collector, with faults.
type memorySource struct {
	mu        sync.Mutex
	batches   []*schemas.Batch
	lostTo    map[stream.Key]uint64 // read as a gap
	confirmed stream.Watermarks
	changed   chan struct{}
	opened    int
	// failReads and failConfirms are how many calls fail from now on.
	failReads, failConfirms int
}

func newMemorySource() *memorySource {
	return &memorySource{lostTo: map[stream.Key]uint64{}, confirmed: stream.Watermarks{}, changed: make(chan struct{})}
}

// append adds a batch of one tally to a shard, received so long after start.
func (s *memorySource) append(shard uint32, received time.Duration, octets uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meter := ""
	for i := 0; meter == "" || schemas.ShardOf(meter, testShards) != shard; i++ {
		meter = fmt.Sprintf("address:192.0.2.%d", i)
	}
	at := start.Add(received)
	s.batches = append(s.batches, &schemas.Batch{
		Collector: "c", LogId: 1, Shard: shard, Index: s.end()[stream.Key{Collector: "c", LogID: 1, Shard: shard}] + 1, Shards: testShards,
		ReceivedFrom: at.UnixNano(), ReceivedTo: at.UnixNano(),
		Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
		Tallies:  []*schemas.Tally{{Meter: meter, Minute: at.Unix() / 60, In: &schemas.Traffic{Octets: octets, Packets: 1}}},
		Complete: []*schemas.Completeness{{Exporter: "192.0.2.250", Through: at.UnixNano()}},
	})
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *memorySource) end() stream.Watermarks {
	marks := make(stream.Watermarks)
	for _, b := range s.batches {
		marks[stream.KeyOf(b)] = b.GetIndex()
	}
	return marks
}

func (s *memorySource) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *memorySource) OpenReader(_ context.Context, _ string, after stream.Watermarks) (stream.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	last := maps.Clone(after)
	for key := range last {
		last[key]-- // what was booked last is delivered again
	}
	return &memoryReader{source: s, last: last}, nil
}

func (s *memorySource) Confirm(_ context.Context, booked stream.Watermarks) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failConfirms > 0 {
		s.failConfirms--
		return errors.New("the broker is away")
	}
	maps.Copy(s.confirmed, booked)
	return nil
}

type memoryReader struct {
	source *memorySource
	last   stream.Watermarks
}

func (r *memoryReader) Close() error { return nil }

func (r *memoryReader) Next(ctx context.Context, most int) ([]*schemas.Batch, error) {
	for {
		r.source.mu.Lock()
		changed := r.source.changed
		batches, err := r.read(most)
		r.source.mu.Unlock()
		if len(batches) > 0 || err != nil {
			return batches, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *memoryReader) read(most int) (batches []*schemas.Batch, err error) {
	if r.source.failReads > 0 {
		r.source.failReads--
		return nil, errors.New("the disk is away")
	}
	for _, b := range r.source.batches {
		key := stream.KeyOf(b)
		if to := r.source.lostTo[key]; b.GetIndex() <= to && r.last[key] < to {
			if len(batches) > 0 {
				return batches, nil
			}
			gap := &stream.GapError{Key: key, From: r.last[key] + 1, To: to}
			r.last[key] = to
			return nil, gap
		}
		if b.GetIndex() > r.last[key] && len(batches) < most {
			batches = append(batches, b)
			r.last[key] = b.GetIndex()
		}
	}
	return batches, nil
}
