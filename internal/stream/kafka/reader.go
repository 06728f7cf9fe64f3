package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// reader is one consumer's place in the topic of batches.
//
// Batches of a key come from one partition in the order of their indexes, but for two things: what is
// sent again, which is dropped, and what is missing. A batch behind a missing one is dropped too, and
// its offset kept: if the missing ones come within Config.Patience, so does it again; if not, the gap
// is told and the partition is read again from that offset.
type reader struct {
	source   *Source
	consumer string
	last     stream.Watermarks
	holes    map[stream.Key]hole

	messages   chan fetched
	grown      chan int        // the topic has more partitions than are read
	ctx        context.Context // of the partitions' goroutines
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	partitions []place
}

// place is where the reading of a partition is.
type place struct {
	// next is the offset behind the last message that was taken.
	next int64
	// turn counts how often the partition was read anew; what an earlier turn fetched is dropped.
	turn int
	stop context.CancelFunc
}

type fetched struct {
	kafkago.Message
	turn int
}

type hole struct {
	partition int
	offset    int64
	index     uint64
	until     time.Time
	// ends, where it is not nil, are the ends of the partitions that had not been read when the patience was over: the
	// missing batches may lie before them, as where a key has moved to another partition.
	ends map[int]int64
}

// OpenReader implements stream.Source. It waits for the brokers until ctx is done.
func (s *Source) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	partitions, err := s.untilReady(ctx)
	if err != nil {
		return nil, fmt.Errorf("open reader %q of kafka: %w", consumer, err)
	}
	r := &reader{
		source: s, consumer: consumer, last: maps.Clone(after),
		holes:      make(map[stream.Key]hole),
		messages:   make(chan fetched, 64),
		grown:      make(chan int),
		partitions: make([]place, partitions),
	}
	if r.last == nil {
		r.last = make(stream.Watermarks)
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for partition := range partitions {
		r.follow(partition, kafkago.FirstOffset)
	}
	r.wg.Go(func() { r.watchPartitions(partitions) })
	return r, nil
}

// Close implements stream.Reader.
func (r *reader) Close() error {
	r.cancel()
	r.wg.Wait()
	return nil
}

// Next implements stream.Reader.
func (r *reader) Next(ctx context.Context, most int) (batches []*schemas.Batch, err error) {
	for {
		if gap := r.expired(ctx, time.Now()); gap != nil {
			return nil, gap
		}
		wake, stop := r.wake()
		select {
		case m := <-r.messages:
			stop()
			batches = r.take(batches, m)
			for len(batches) < most && len(r.messages) > 0 {
				batches = r.take(batches, <-r.messages)
			}
			if len(batches) > 0 {
				r.source.metrics.read.WithLabelValues(r.consumer).Add(float64(len(batches)))
				return batches, nil
			}
		case <-wake:
		case n := <-r.grown:
			stop()
			for partition := len(r.partitions); partition < n; partition++ {
				r.partitions = append(r.partitions, place{})
				r.follow(partition, kafkago.FirstOffset)
			}
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		case <-r.ctx.Done():
			stop()
			return nil, errClosed
		}
	}
}

// take appends the batch of a message if it is the next one of its key.
func (r *reader) take(batches []*schemas.Batch, m fetched) []*schemas.Batch {
	place := &r.partitions[m.Partition]
	if m.turn != place.turn {
		return batches
	}
	place.next = m.Offset + 1
	if r.known(m.Message) {
		return batches
	}
	b, err := schemas.DecodeBatch(m.Value)
	if err != nil || b.GetIndex() == 0 {
		r.source.metrics.malformed.Inc()
		r.source.deps.Logger.Error("message is no batch", "topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "err", err)
		return batches // if it was one, its index is missing
	}
	key := stream.KeyOf(b)
	switch last := r.last[key]; {
	case b.GetIndex() <= last:
		return batches
	case b.GetIndex() == last+1:
		r.last[key] = b.GetIndex()
		r.fill(key, m.Partition)
		return append(batches, b)
	default:
		if _, waiting := r.holes[key]; !waiting {
			r.holes[key] = hole{partition: m.Partition, offset: m.Offset, index: b.GetIndex(), until: time.Now().Add(r.source.config.Patience)}
			r.source.deps.Logger.Warn("batches are missing on kafka, waiting for them to be sent again", "key", key.String(), "from", last+1, "to", b.GetIndex()-1)
		}
		return batches
	}
}

// fill is called when a batch has come that was waited for, in a partition. What came behind the hole was dropped. It
// comes again where it was sent to the same partition, for then it is sent again in order; else the key has moved to
// another partition, and that one is read again from there once it is its turn.
func (r *reader) fill(key stream.Key, partition int) {
	h, waiting := r.holes[key]
	switch {
	case !waiting:
	case h.partition == partition:
		delete(r.holes, key)
	case r.last[key]+1 < h.index:
		h.until, h.ends = time.Now().Add(r.source.config.Patience), nil
		r.holes[key] = h
	default:
		delete(r.holes, key)
		r.follow(h.partition, min(h.offset, r.partitions[h.partition].next))
	}
}

// known says whether key and header of a message tell that it was read already.
func (r *reader) known(m kafkago.Message) bool {
	key, ok := parseKey(string(m.Key))
	if !ok {
		return false
	}
	for _, h := range m.Headers {
		if h.Key == indexHeader {
			index, err := strconv.ParseUint(string(h.Value), 10, 64)
			return err == nil && index <= r.last[key]
		}
	}
	return false
}

// expired returns a gap that nobody filled in time, and begins to read again what came behind it. Before it does,
// what lay unread in any partition when the patience was over has to have been read.
func (r *reader) expired(ctx context.Context, now time.Time) error {
	for key, h := range r.holes {
		if now.Before(h.until) {
			continue
		}
		if r.behind(ctx, &h) {
			h.until = now.Add(min(max(r.source.config.Patience, time.Millisecond), time.Second))
			r.holes[key] = h
			continue
		}
		delete(r.holes, key)
		gap := &stream.GapError{Key: key, From: r.last[key] + 1, To: h.index - 1}
		r.last[key] = h.index - 1
		r.source.metrics.gaps.WithLabelValues(r.consumer).Add(float64(gap.To - gap.From + 1))
		r.follow(h.partition, min(h.offset, r.partitions[h.partition].next))
		return gap
	}
	return nil
}

// behind says whether a missing batch may still be among what has not been read.
func (r *reader) behind(ctx context.Context, h *hole) bool {
	if h.ends == nil {
		next := make([]int64, len(r.partitions))
		for i := range r.partitions {
			next[i] = r.partitions[i].next
		}
		ends, err := r.source.unread(ctx, next)
		if err != nil {
			r.source.deps.Logger.Warn("it is not known yet whether batches are missing in kafka", "err", err)
			return true
		}
		h.ends = ends
	}
	for partition, end := range h.ends {
		if r.partitions[partition].next < end {
			return true
		}
	}
	return false
}

// lookAtPartitions is how often it is looked whether the topic has got more partitions.
const lookAtPartitions = 10 * time.Second

// watchPartitions tells Next where there are more partitions than known.
func (r *reader) watchPartitions(known int) {
	for r.source.deps.Clock.Sleep(r.ctx, r.source.lookAtPartitions) == nil {
		n, err := r.source.partitions(r.ctx)
		if err != nil || n <= known {
			continue // the readers of the partitions tell what is wrong
		}
		select {
		case r.grown <- n:
			r.source.deps.Logger.Info("the topic has more partitions", "topic", r.source.batchesTopic(), "partitions", n, "before", known)
			known = n
		case <-r.ctx.Done():
			return
		}
	}
}

// wake returns a channel that speaks when the next hole is due; stop must be called.
func (r *reader) wake() (<-chan time.Time, func()) {
	if len(r.holes) == 0 {
		return nil, func() {}
	}
	var first time.Time
	for _, h := range r.holes {
		if first.IsZero() || h.until.Before(first) {
			first = h.until
		}
	}
	timer := time.NewTimer(time.Until(first))
	return timer.C, func() { timer.Stop() }
}

// follow reads a partition from offset on, in place of the goroutine that read it before.
func (r *reader) follow(partition int, offset int64) {
	place := &r.partitions[partition]
	if place.stop != nil {
		place.stop()
	}
	ctx, stop := context.WithCancel(r.ctx)
	place.stop, place.next = stop, offset
	place.turn++
	turn := place.turn
	r.wg.Go(func() {
		for wait := retryFirst; ctx.Err() == nil; wait = min(2*wait, retryMax) {
			before := offset
			err := r.read(ctx, partition, turn, &offset)
			if ctx.Err() != nil {
				return
			}
			if offset != before {
				wait = retryFirst
			}
			if errors.Is(err, kafkago.OffsetOutOfRange) {
				// The topic is another one, or has lost its tail: indexes tell what is new in it.
				offset = kafkago.FirstOffset
			}
			r.source.metrics.retries.Inc()
			r.source.deps.Logger.Warn("cannot read kafka, trying again", "topic", r.source.batchesTopic(), "partition", partition, "wait", wait, "err", err)
			if r.source.deps.Clock.Sleep(ctx, wait) != nil {
				return
			}
		}
	})
}

// read hands over messages from offset on, which it moves, until something fails.
func (r *reader) read(ctx context.Context, partition, turn int, offset *int64) error {
	from, err := r.source.newReader(r.source.batchesTopic(), partition, *offset)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	for {
		m, err := from.FetchMessage(ctx)
		if err != nil {
			return err
		}
		if *offset >= 0 && m.Offset > *offset {
			r.source.metrics.jumps.Add(float64(m.Offset - *offset))
			r.source.deps.Logger.Warn("kafka no longer has some messages", "topic", m.Topic, "partition", m.Partition, "from", *offset, "to", m.Offset-1)
		}
		*offset = m.Offset + 1
		select {
		case r.messages <- fetched{m, turn}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
