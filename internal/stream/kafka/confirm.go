package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// published remembers what this process has confirmed.
type published struct {
	mu   sync.Mutex
	last stream.Watermarks
}

// Confirm implements stream.Source: it publishes the watermarks that have moved to the topic of
// confirmations, which collectors follow.
func (s *Source) Confirm(ctx context.Context, booked stream.Watermarks) error {
	s.published.mu.Lock()
	defer s.published.mu.Unlock()
	var records []kafkago.Record
	for key, index := range booked {
		if index <= s.published.last[key] {
			continue
		}
		value, err := proto.Marshal(&schemas.Confirmation{Collector: key.Collector, LogId: key.LogID, Shard: key.Shard, Index: index})
		if err != nil {
			return fmt.Errorf("encode confirmation of %s: %w", key, err)
		}
		records = append(records, kafkago.Record{Key: kafkago.NewBytes([]byte(key.String())), Value: kafkago.NewBytes(value), Time: s.deps.Clock.Now()})
	}
	if len(records) == 0 {
		return nil
	}
	answer, err := s.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: s.confirmationsTopic(), Partition: 0, RequiredAcks: kafkago.RequireAll, Records: kafkago.NewRecordReader(records...),
	})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return fmt.Errorf("publish %d confirmations: %w", len(records), err)
	}
	failpoint.Hit(failpoint.KafkaPublished)
	for key, index := range booked {
		s.published.last[key] = max(s.published.last[key], index)
	}
	return nil
}

// Confirmed reads what has been confirmed up to now, for every collector.
func (s *Source) Confirmed(ctx context.Context) (stream.Watermarks, error) {
	ends, err := s.endOffsets(ctx, s.confirmationsTopic(), 0)
	if err != nil {
		return nil, err
	}
	confirmed := make(stream.Watermarks)
	if ends[0] == 0 {
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
		if m.Offset >= ends[0]-1 {
			return confirmed, nil
		}
	}
}

// FollowConfirmations tells apply what has been confirmed, from the beginning and then as it comes,
// until ctx is done, whose error it returns. A collector deletes by it: apply is disk.Log.Confirm.
func (s *Source) FollowConfirmations(ctx context.Context, apply func(confirmed stream.Watermarks)) error {
	if _, err := s.untilReady(ctx); err != nil {
		return err
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		r, err := s.newReader(s.confirmationsTopic(), 0, kafkago.FirstOffset)
		if err != nil {
			return err
		}
		for err == nil {
			var m kafkago.Message
			if m, err = r.FetchMessage(ctx); err == nil {
				wait = retryFirst
				confirmed := make(stream.Watermarks)
				s.note(confirmed, m)
				s.drain(ctx, r, confirmed)
				apply(confirmed)
			}
		}
		_ = r.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.metrics.retries.Inc()
		s.deps.Logger.Warn("cannot read confirmations, trying again", "wait", wait, "err", err)
		if err := s.deps.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
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
