package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

const (
	readAtMost    = 256     // batches of one round
	requestAtMost = 1 << 20 // octets of one request, unless a single batch is larger
)

// session sends everything that is not confirmed, in order, to one incarnation of the topic. It ends with errLost when
// that one no longer has all of it: the next session begins behind what is confirmed then.
type session struct {
	*Forwarder
	topic topic
	// sent is the offset of the last message that a partition acknowledged to this session.
	sent map[int]int64
	// lost has, for a key of which the log on disk has lost batches, the index before them, until the next batch is sent.
	lost   map[stream.Key]uint64
	waited *waited
	stalls stalls
}

// session runs one. passed is when one last ended because what it had sent was taken for gone.
func (f *Forwarder) session(ctx context.Context, passed time.Time) error {
	into, err := f.to.untilReady(ctx, f.to.batchesTopic())
	if err != nil {
		return err
	}
	err = f.to.retry(ctx, "read confirmations", func() error {
		confirmed, err := f.to.Confirmed(ctx)
		f.confirm(confirmed)
		return err
	})
	if err != nil {
		return err
	}
	reader, err := f.from.OpenReader(ctx, "forwarder", f.confirmedNow())
	if err != nil {
		return fmt.Errorf("forward to kafka: %w", err)
	}
	defer func() { _ = reader.Close() }()
	s := &session{Forwarder: f, topic: into, sent: make(map[int]int64), lost: make(map[stream.Key]uint64), waited: newWaited(into.partitions), stalls: stalls{}}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.forward(ctx, reader) })
	group.Go(func() error {
		return f.to.watch(ctx, f.to.batchesTopic(), func(found topic) error { return s.look(ctx, found, passed) })
	})
	return group.Wait()
}

// look says whether the topic still is the one that was sent to, and has what waits for the ledger.
//
// Errors: errLost.
func (s *session) look(ctx context.Context, found topic, passed time.Time) error {
	if found.id != s.topic.id {
		return errAnew
	}
	extents, err := s.to.extents(ctx, s.to.batchesTopic(), s.topic.partitions)
	if err != nil {
		return nil // not known yet
	}
	now := s.to.deps.Clock.Now()
	confirmed, heard := s.confirmedNow(), s.heardAt()
	partition, gone := s.waited.gone(extents, confirmed)
	key, stalled := s.stalls.look(now, s.waited.sentNow(), confirmed, heard)
	switch {
	case now.Sub(passed) < s.to.config.repeatEvery():
		return nil
	case gone:
		return fmt.Errorf("partition %d: %w", partition, errPassed)
	case stalled:
		return fmt.Errorf("%s: %w", key, errStalled)
	}
	return nil
}

var (
	errAnew   = fmt.Errorf("the topic was deleted or made anew: %w", errLost)
	errPassed = fmt.Errorf("the topic's retention has passed what waits for the ledger: %w", errLost)
	// errStalled: a broker that lost its end may have been filled again by other collectors.
	errStalled = fmt.Errorf("the ledger confirms others and not this: %w", errLost)
)

// forward sends what the log on disk has, and what it gets.
func (s *session) forward(ctx context.Context, reader stream.Reader) error {
	for {
		batches, err := reader.Next(ctx, readAtMost)
		var gap *stream.GapError
		if errors.As(err, &gap) { // consumers are told by the next message of the key
			s.to.deps.Logger.Error("log on disk lost batches before they were forwarded", "key", gap.Key.String(), "from", gap.From, "to", gap.To)
			if _, known := s.lost[gap.Key]; !known {
				s.lost[gap.Key] = gap.From - 1
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := s.send(ctx, batches); err != nil {
			return err
		}
	}
}

// message is one encoded batch.
type message struct {
	key    stream.Key
	header header
	value  []byte
}

// encode makes the message of a batch.
func (s *session) encode(b *schemas.Batch) (message, error) {
	key := stream.KeyOf(b)
	value, err := b.MarshalVT()
	if err != nil {
		return message{}, fmt.Errorf("encode batch %d of %s: %w", b.GetIndex(), key, err)
	}
	after := b.GetIndex() - 1
	if before, lost := s.lost[key]; lost {
		after = before
		delete(s.lost, key)
	}
	return message{key, header{b.GetIndex(), after, s.confirmedOf(key)}, value}, nil
}

// send puts batches into their partitions, each partition in order, and returns when all are there.
func (s *session) send(ctx context.Context, batches []*schemas.Batch) error {
	parts := make(map[int][]message, s.topic.partitions)
	for _, b := range batches {
		m, err := s.encode(b)
		if err != nil {
			return err
		}
		partition := int(b.GetShard()) % s.topic.partitions
		parts[partition] = append(parts[partition], m)
	}
	offsets := make(map[int]*int64, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for partition, messages := range parts {
		sent := new(int64)
		*sent = -1
		if last, known := s.sent[partition]; known {
			*sent = last
		}
		offsets[partition] = sent
		group.Go(func() error {
			for len(messages) > 0 {
				n := fitting(messages)
				if err := s.produce(ctx, partition, messages[:n], sent); err != nil {
					return err
				}
				messages = messages[n:]
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for partition, sent := range offsets {
		s.sent[partition] = *sent
	}
	s.to.metrics.forwarded.Add(float64(len(batches)))
	return nil
}

// fitting returns how many messages go into one request.
func fitting(messages []message) int {
	size := 0
	for i, m := range messages {
		if size += len(m.value); i > 0 && size > requestAtMost {
			return i
		}
	}
	return len(messages)
}

// records makes what one attempt sends: a request reads its records up.
func (s *session) records(messages []message) kafkago.RecordReader {
	records := make([]kafkago.Record, len(messages))
	for i, m := range messages {
		records[i] = kafkago.Record{
			Key: kafkago.NewBytes([]byte(m.key.String())), Value: kafkago.NewBytes(m.value), Time: s.to.deps.Clock.Now(),
			Headers: m.header.records(),
		}
	}
	return kafkago.NewRecordReader(records...)
}

// produce repeats one request until the partition has acknowledged it. last is the offset that it
// acknowledged before, or -1.
//
// Errors: errLost, ctx's.
func (s *session) produce(ctx context.Context, partition int, messages []message, last *int64) error {
	var lost error
	err := s.to.retry(ctx, "send batches", func() error {
		answer, err := s.to.client.Produce(ctx, &kafkago.ProduceRequest{
			Topic: s.to.batchesTopic(), Partition: partition, RequiredAcks: kafkago.RequireAll,
			Compression: kafkago.Zstd, Records: s.records(messages),
		})
		if err == nil {
			err = answer.Error
			failpoint.Hit(failpoint.KafkaProduced)
		}
		if failpoint.Fault(failpoint.KafkaReply) {
			err = errors.Join(err, errors.New("reply lost"))
		}
		if err != nil {
			if lost = s.checkTail(ctx, partition, *last, err); lost != nil {
				return nil
			}
			return err
		}
		if answer.BaseOffset <= *last {
			lost = fmt.Errorf("partition %d gave offset %d after %d: %w", partition, answer.BaseOffset, *last, errLost)
			return nil
		}
		*last = answer.BaseOffset + int64(len(messages)) - 1
		s.waited.acknowledged(partition, answer.BaseOffset, messages)
		return nil
	})
	return errors.Join(err, lost)
}

// checkTail looks, after a failed request, whether a partition has lost what it acknowledged.
func (s *session) checkTail(ctx context.Context, partition int, last int64, cause error) error {
	if errors.Is(cause, kafkago.UnknownTopicOrPartition) {
		return fmt.Errorf("partition %d: %w: %w", partition, cause, errLost)
	}
	// The client refuses what is for a topic that is not there, with an error that is none of Kafka's.
	switch found, err := s.to.topic(ctx, s.to.batchesTopic()); {
	case errors.Is(err, kafkago.UnknownTopicOrPartition):
		return fmt.Errorf("partition %d: %w: %w", partition, err, errLost)
	case err == nil && found.id != s.topic.id:
		return errAnew
	}
	if last < 0 {
		return nil
	}
	extents, err := s.to.extents(ctx, s.to.batchesTopic(), s.topic.partitions)
	if err != nil {
		return nil // not known yet
	}
	if end := extents[partition].end; end <= last {
		return fmt.Errorf("partition %d ends at %d, and had acknowledged %d: %w", partition, end, last, errLost)
	}
	return nil
}
