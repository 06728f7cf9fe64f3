package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// published remembers what this process has confirmed.
type published struct {
	mu   sync.Mutex
	last stream.Watermarks
	to   [16]byte // the incarnation of the topic that has it
}

// Confirm implements stream.Source: it publishes the watermarks that have moved to the topic of
// confirmations, which collectors follow. In a topic that was made anew it publishes all that it ever did.
func (s *Source) Confirm(ctx context.Context, booked stream.Watermarks) error {
	p := &s.published
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := make(stream.Watermarks)
	for key, index := range booked {
		if index > p.last[key] {
			moved[key] = index
		}
	}
	if len(moved) == 0 {
		return nil
	}
	if err := s.publish(ctx, moved); err != nil {
		return err
	}
	for key, index := range moved {
		p.last[key] = index
	}
	failpoint.Hit(failpoint.KafkaPublished)
	// What went before to a topic that is no longer there goes once more.
	found, err := s.topic(ctx, s.confirmationsTopic())
	if err != nil {
		return fmt.Errorf("publish confirmations: %w", err)
	}
	s.leaveLandmark(ctx)
	if found.id == p.to {
		return nil
	}
	if p.to != [16]byte{} {
		if err := s.publish(ctx, p.last); err != nil {
			return err
		}
	}
	p.to = found.id
	return nil
}

func (s *Source) publish(ctx context.Context, confirmed stream.Watermarks) error {
	records := make([]kafkago.Record, 0, len(confirmed))
	for key, index := range confirmed {
		value, err := proto.Marshal(&schemas.Confirmation{Collector: key.Collector, LogId: key.LogID, Shard: key.Shard, Index: index})
		if err != nil {
			return fmt.Errorf("encode confirmation of %s: %w", key, err)
		}
		records = append(records, kafkago.Record{Key: kafkago.NewBytes([]byte(key.String())), Value: kafkago.NewBytes(value), Time: s.deps.Clock.Now()})
	}
	if err := s.produce(ctx, s.confirmationsTopic(), 0, 0, records...); err != nil {
		return fmt.Errorf("publish %d confirmations: %w", len(records), err)
	}
	return nil
}

// Confirmed reads what has been confirmed up to now, for every collector.
func (s *Source) Confirmed(ctx context.Context) (stream.Watermarks, error) {
	extents, err := s.extents(ctx, s.confirmationsTopic(), 1)
	if err != nil {
		return nil, err
	}
	confirmed := make(stream.Watermarks)
	if extents[0].first == extents[0].end {
		return confirmed, nil
	}
	r, err := s.newReader(s.confirmationsTopic(), 0, kafkago.FirstOffset)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read confirmations: %w", err)
		}
		s.note(confirmed, m)
		if m.Offset >= extents[0].end-1 {
			return confirmed, nil
		}
	}
}

// FollowConfirmations tells apply what has been confirmed, from the beginning and then as it comes,
// until ctx is done, whose error it returns. A collector deletes by it: apply is disk.Log.Confirm.
func (s *Source) FollowConfirmations(ctx context.Context, apply func(confirmed stream.Watermarks)) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		of, err := s.untilReady(ctx, s.confirmationsTopic())
		if err != nil {
			return err
		}
		progress, err := s.followConfirmations(ctx, of, apply)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if progress {
			wait = retryFirst
		}
		s.metrics.retries.Inc()
		s.deps.Logger.Warn("cannot read confirmations, trying again", "wait", wait, "err", err)
		if err := s.deps.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// followConfirmations follows them in one incarnation of the topic.
func (s *Source) followConfirmations(ctx context.Context, of topic, apply func(confirmed stream.Watermarks)) (progress bool, err error) {
	r, err := s.newReader(s.confirmationsTopic(), 0, kafkago.FirstOffset)
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return s.watch(ctx, s.confirmationsTopic(), func(found topic) error {
			if found.id != of.id {
				return errors.New("the topic was deleted or made anew")
			}
			return nil
		})
	})
	group.Go(func() error {
		for {
			m, err := r.FetchMessage(ctx)
			if err != nil {
				return err
			}
			progress = true
			confirmed := make(stream.Watermarks)
			s.note(confirmed, m)
			s.drain(ctx, r, confirmed)
			apply(confirmed)
		}
	})
	err = group.Wait()
	return progress, err
}

// drain adds what comes within a moment, so that a backlog is applied in few steps.
func (s *Source) drain(ctx context.Context, r *kafkago.Reader, confirmed stream.Watermarks) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	for range 10_000 {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return // an error that stays is met by the caller's next fetch
		}
		s.note(confirmed, m)
	}
}

func (s *Source) note(confirmed stream.Watermarks, m kafkago.Message) {
	var c schemas.Confirmation
	if err := proto.Unmarshal(m.Value, &c); err != nil {
		s.metrics.malformed.Inc()
		s.deps.Logger.Error("confirmation cannot be read", "offset", m.Offset, "err", err)
		return
	}
	key := stream.Key{Collector: c.GetCollector(), LogID: c.GetLogId(), Shard: c.GetShard()}
	confirmed[key] = max(confirmed[key], c.GetIndex())
}

var errClosed = errors.New("reader is closed")
