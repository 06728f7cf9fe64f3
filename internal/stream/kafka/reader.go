package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// reader is one consumer's place in the topic of batches.
//
// Batches of a key come from one partition in the order of their indexes, but for two things: what is
// sent again, which is dropped, and what is missing (see hole).
type reader struct {
	source   *Source
	consumer string
	last     stream.Watermarks
	holes    map[stream.Key]*hole
	seen     map[seen]sight // in the topic, up to where it was looked at
	offered  time.Time      // when a landmark last was

	messages   chan fetched
	changed    chan topic      // the topic was made anew, or has more partitions
	ctx        context.Context // of the partitions' goroutines
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	topic      topic // the one in which the partitions were begun to read
	partitions []place
}

// place is where the reading of a partition is.
type place struct {
	// next is the offset behind the last message that was taken.
	next int64
	// last names the message before next, where it was taken.
	last string
	// expected names the message at next, where a landmark says what it was: else the partition has lost its end
	// since, and has grown again.
	expected string
	// turn counts how often the partition was read anew; what an earlier turn fetched is dropped.
	turn int
	stop context.CancelFunc
}

type fetched struct {
	kafkago.Message
	turn int
}

// OpenReader implements stream.Source. It waits for the brokers until ctx is done.
func (s *Source) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	found, err := s.untilReady(ctx, s.batchesTopic())
	if err != nil {
		return nil, fmt.Errorf("open reader %q of kafka: %w", consumer, err)
	}
	r := &reader{
		source: s, consumer: consumer, last: maps.Clone(after),
		holes: make(map[stream.Key]*hole), seen: make(map[seen]sight), offered: time.Now(),
		messages: make(chan fetched, 64),
		changed:  make(chan topic),
	}
	if r.last == nil {
		r.last = make(stream.Watermarks)
	}
	at, err := s.findLandmark(ctx, found, r.last)
	if err != nil {
		s.deps.Logger.Info("from where to read kafka is not known, reading all of it", "consumer", consumer, "err", err)
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if at != nil {
		r.beginAt(found, at)
	} else {
		r.begin(found)
	}
	r.wg.Go(r.watch)
	return r, nil
}

// watch tells Next what the topic is like.
func (r *reader) watch() {
	var told topic
	_ = r.source.watch(r.ctx, r.source.batchesTopic(), func(found topic) error {
		if found == told || found == (topic{}) {
			return nil
		}
		told = found
		select {
		case r.changed <- found:
			return nil
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	})
}

// change is called with the topic as it is now.
func (r *reader) change(found topic) {
	log := r.source.deps.Logger.With("topic", r.source.batchesTopic(), "partitions", found.partitions, "before", r.topic.partitions)
	switch {
	case found.id != r.topic.id:
		log.Warn("the topic was made anew, reading it from its start")
		r.begin(found)
		for _, h := range r.holes {
			h.wait(r.source.config.Patience)
		}
	case found.partitions > r.topic.partitions:
		log.Info("the topic has more partitions")
		r.topic = found
		r.grow()
	}
}

// begin reads a topic from its start. Places in what was read before mean nothing any more.
func (r *reader) begin(found topic) {
	for _, place := range r.partitions {
		if place.stop != nil {
			place.stop()
		}
	}
	if found.id != r.topic.id {
		clear(r.seen)
	}
	r.topic = found
	r.partitions = r.partitions[:min(len(r.partitions), found.partitions)]
	for partition := range r.partitions {
		r.follow(partition, kafkago.FirstOffset)
	}
	r.grow()
	for _, h := range r.holes {
		h.forget()
	}
}

// grow reads the partitions that are not read yet.
func (r *reader) grow() {
	for partition := len(r.partitions); partition < r.topic.partitions; partition++ {
		r.partitions = append(r.partitions, place{})
		r.follow(partition, kafkago.FirstOffset)
	}
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
		r.source.metrics.missing.WithLabelValues(r.consumer).Set(float64(r.missing()))
		wake, stop := r.wake()
		select {
		case m := <-r.messages:
			stop()
			batches = r.take(batches, m)
			for len(batches) < most && len(r.messages) > 0 {
				batches = r.take(batches, <-r.messages)
			}
			r.offer(time.Now())
			if len(batches) > 0 {
				r.source.metrics.read.WithLabelValues(r.consumer).Add(float64(len(batches)))
				return batches, nil
			}
		case <-wake:
		case found := <-r.changed:
			stop()
			r.change(found)
		case <-ctx.Done():
			stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && r.behind() {
				return nil, fmt.Errorf("%w: %w", stream.ErrBehind, ctx.Err())
			}
			return nil, ctx.Err()
		case <-r.ctx.Done():
			stop()
			return nil, errClosed
		}
	}
}

// behind says whether the topic holds, or may hold, messages that were not looked at.
func (r *reader) behind() bool {
	ctx, cancel := context.WithTimeout(r.ctx, requestTimeout)
	defer cancel()
	extents, err := r.source.extents(ctx, r.source.batchesTopic(), len(r.partitions))
	return err != nil || r.holdMore(extents)
}

// holdMore says whether partitions that hold extents have messages that were not looked at.
func (r *reader) holdMore(extents []extent) bool {
	for partition, has := range extents {
		if has.first < has.end && r.partitions[partition].next < has.end {
			return true
		}
	}
	return false
}

// take appends the batch of a message if it is the next one of its key.
func (r *reader) take(batches []*schemas.Batch, m fetched) []*schemas.Batch {
	if m.Partition >= len(r.partitions) || m.turn != r.partitions[m.Partition].turn {
		return batches
	}
	told, ok := parseHeader(m.Headers)
	at, name := &r.partitions[m.Partition], nameOf(m, told)
	if at.expected != "" && (m.Offset != at.next || name != at.expected) {
		r.source.deps.Logger.Warn("kafka no longer has what a landmark tells of, reading the topic from its start",
			"topic", m.Topic, "partition", m.Partition, "offset", at.next, "expected", at.expected, "found", name)
		r.begin(r.topic)
		return batches
	}
	at.next, at.last, at.expected = m.Offset+1, name, ""
	if key, named := parseKey(string(m.Key)); ok && named && told.index <= r.last[key] {
		r.see(key, told.index, m)
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
		r.see(key, b.GetIndex(), m)
		return batches
	case b.GetIndex() == last+1:
		r.see(key, b.GetIndex(), m)
		r.last[key] = b.GetIndex()
		r.fill(key)
		return append(batches, b)
	}
	if told.index != b.GetIndex() {
		told = header{index: b.GetIndex(), after: b.GetIndex() - 1}
	}
	r.miss(key, told, m)
	return batches
}

// follow reads a partition from offset on, in place of the goroutine that read it before.
func (r *reader) follow(partition int, offset int64) {
	place := &r.partitions[partition]
	if place.stop != nil {
		place.stop()
	}
	ctx, stop := context.WithCancel(r.ctx)
	place.stop, place.next, place.last, place.expected = stop, offset, "", ""
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
