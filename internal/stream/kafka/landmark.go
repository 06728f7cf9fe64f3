package kafka

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/stream"
)

// landmark is a fact about one incarnation of the topic of batches: what lies before these places is of the sequences that
// stand beside them, and no later batch than they say. A consumer whose watermarks reach that far need not look at it,
// whatever it is and whenever it stopped. Whoever reads the topic comes to know one; the ledger's consumer, who may write,
// leaves it behind every few minutes for all that open a reader later.
type landmark struct {
	// Topic is the topic's id, hexadecimal.
	Topic string `json:"topic"`
	// Next has an offset for each partition; below 0 nothing is known of it.
	Next []int64 `json:"next"`
	// Last names the message before it; "" where that is not known. Where the topic has another one there, it is not
	// what it was.
	Last []string `json:"last"`
	// Passed are the last batches of each sequence in each partition.
	Passed []passed `json:"passed"`
}

type passed struct {
	Key       string `json:"key"` // as in messages
	Partition int    `json:"partition"`
	Index     uint64 `json:"index"`
	Offset    int64  `json:"offset"` // of the last message of it
}

// landmarkEvery is how old the last landmark is before another is left.
const landmarkEvery = 5 * time.Minute

// seen is a sequence in a partition.
type seen struct {
	key       stream.Key
	partition int
}

// sight is what was seen of it last.
type sight struct {
	index  uint64
	offset int64
}

// see notes that a message was looked at, and not dropped to be read again.
func (r *reader) see(key stream.Key, index uint64, m fetched) {
	of := seen{key, m.Partition}
	r.seen[of] = sight{max(r.seen[of].index, index), max(r.seen[of].offset, m.Offset)}
}

// landmark is where the reader is. What was dropped behind a hole is not passed.
func (r *reader) landmark() *landmark {
	l := &landmark{Topic: hex.EncodeToString(r.topic.id[:])}
	for _, at := range r.partitions {
		l.Next, l.Last = append(l.Next, at.next), append(l.Last, at.last)
	}
	for _, h := range r.holes {
		for partition, offset := range h.dropped {
			if offset < l.Next[partition] {
				l.Next[partition], l.Last[partition] = offset, ""
			}
		}
	}
	for of, last := range r.seen {
		l.Passed = append(l.Passed, passed{of.key.String(), of.partition, last.index, last.offset})
	}
	return l
}

// offer tells the source where the reader is, when it is time.
func (r *reader) offer(now time.Time) {
	if now.Sub(r.offered) < r.source.landmarkEvery {
		return
	}
	r.offered = now
	r.source.landmarks.offer(r.landmark())
}

// beginAt reads a topic from a landmark.
func (r *reader) beginAt(found topic, l *landmark) {
	r.topic = found
	for _, p := range l.Passed {
		if key, ok := parseKey(p.Key); ok {
			r.seen[seen{key, p.Partition}] = sight{p.Index, p.Offset}
		}
	}
	for partition := range found.partitions {
		offset, expected := int64(kafkago.FirstOffset), ""
		if partition < len(l.Next) && l.Next[partition] >= 0 {
			offset = l.Next[partition]
		}
		if partition < len(l.Last) && l.Last[partition] != "" && offset > 0 {
			offset, expected = offset-1, l.Last[partition]
		}
		r.partitions = append(r.partitions, place{})
		r.follow(partition, offset)
		r.partitions[partition].expected = expected
	}
}

// nameOf tells a message from others.
func nameOf(m fetched, told header) string { return fmt.Sprintf("%s/%d", m.Key, told.index) }

// behindOf says whether a consumer has all that lies before a landmark.
func (l *landmark) behindOf(watermarks stream.Watermarks) bool {
	return !slices.ContainsFunc(l.Passed, func(p passed) bool {
		key, ok := parseKey(p.Key)
		return !ok || watermarks[key] < p.Index
	})
}

// trim leaves out what the topic no longer holds a message of.
func (l *landmark) trim(extents []extent) {
	l.Passed = slices.DeleteFunc(l.Passed, func(p passed) bool {
		return p.Partition < len(extents) && p.Offset < extents[p.Partition].first
	})
}

// landmarks has the last one that a reader offered, until it is left on Kafka.
type landmarks struct {
	mu      sync.Mutex
	last    *landmark
	failing bool // it could last not be left, and was told of
}

func (l *landmarks) offer(one *landmark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = one
}

func (l *landmarks) take() *landmark {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.last
	l.last = nil
	return one
}

// leaveLandmark publishes what a reader offered. It only spares others time: that it cannot be done is told once, and
// changes nothing.
func (s *Source) leaveLandmark(ctx context.Context) {
	l := s.landmarks.take()
	if l == nil {
		return
	}
	err := s.publishLandmark(ctx, l)
	if err != nil && !s.landmarks.failing {
		s.deps.Logger.Warn("no landmark is left: the next start reads more of the topic", "topic", s.landmarksTopic(), "err", err)
	}
	s.landmarks.failing = err != nil
}

func (s *Source) publishLandmark(ctx context.Context, l *landmark) error {
	extents, err := s.extents(ctx, s.batchesTopic(), len(l.Next))
	if err != nil {
		return err
	}
	l.trim(extents)
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return s.produce(ctx, s.landmarksTopic(), 0, kafkago.Zstd, kafkago.Record{Value: kafkago.NewBytes(text), Time: s.deps.Clock.Now()})
}

// findLandmark returns a late one that a consumer with these watermarks is beyond, or nil. It looks at the last, the one
// before it, and then goes back in steps that double.
func (s *Source) findLandmark(ctx context.Context, in topic, after stream.Watermarks) (*landmark, error) {
	extents, err := s.extents(ctx, s.landmarksTopic(), 1)
	if err != nil {
		return nil, err
	}
	first, end := extents[0].first, extents[0].end
	for back := int64(1); first < end; back *= 2 {
		offset := max(end-back, first)
		l, err := s.readLandmark(ctx, offset)
		if err != nil {
			return nil, err
		}
		if l.Topic == hex.EncodeToString(in.id[:]) && l.behindOf(after) {
			return l, nil
		}
		if offset == first {
			break
		}
	}
	return nil, nil
}

func (s *Source) readLandmark(ctx context.Context, offset int64) (*landmark, error) {
	r, err := s.newReader(s.landmarksTopic(), 0, offset)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := r.FetchMessage(ctx)
	if err != nil {
		return nil, fmt.Errorf("read landmark %d: %w", offset, err)
	}
	l := new(landmark)
	if err := json.Unmarshal(m.Value, l); err != nil {
		return &landmark{}, nil // of no topic: one that is spoiled is passed over
	}
	return l, nil
}
