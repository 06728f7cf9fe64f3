package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"hostmeter/internal/failpoint"
	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Forwarder ships a collector's log on disk to Kafka.
type Forwarder struct {
	to   *Source
	from stream.Source

	partitions int
	// sent is the offset of the last message that a partition acknowledged to us.
	sent map[int]int64
}

// NewForwarder returns a forwarder that reads from as the consumer "forwarder".
func NewForwarder(to *Source, from stream.Source) *Forwarder { return &Forwarder{to: to, from: from} }

const (
	readAtMost    = 256     // batches of one round
	requestAtMost = 1 << 20 // octets of one request, unless a single batch is larger
)

// errShorter says that a partition has lost messages that it had acknowledged.
var errShorter = errors.New("partition is shorter than it was: the topic was made anew or lost its tail")

// Run forwards until ctx is done, whose error it returns, or the log on disk cannot be read. It begins
// behind what is confirmed, and goes back there when Kafka has lost something.
func (f *Forwarder) Run(ctx context.Context) error {
	for {
		err := f.run(ctx)
		if !errors.Is(err, errShorter) {
			return err
		}
		f.to.metrics.resends.Inc()
		f.to.deps.Logger.Error("kafka lost batches, sending everything again that is not confirmed", "err", err)
		if err := f.to.deps.Clock.Sleep(ctx, retryMax/5); err != nil {
			return err
		}
	}
}

func (f *Forwarder) run(ctx context.Context) error {
	var err error
	if f.partitions, err = f.to.untilReady(ctx); err != nil {
		return err
	}
	f.sent = make(map[int]int64, f.partitions)
	var confirmed stream.Watermarks
	err = f.to.retry(ctx, "read confirmations", func() error {
		confirmed, err = f.to.Confirmed(ctx)
		return err
	})
	if err != nil {
		return err
	}
	reader, err := f.from.OpenReader(ctx, "forwarder", confirmed)
	if err != nil {
		return fmt.Errorf("forward to kafka: %w", err)
	}
	defer func() { _ = reader.Close() }()
	for {
		batches, err := reader.Next(ctx, readAtMost)
		var gap *stream.GapError
		if errors.As(err, &gap) { // consumers see it as a hole in the indexes
			f.to.deps.Logger.Error("log on disk lost batches before they were forwarded", "key", gap.Key.String(), "from", gap.From, "to", gap.To)
			continue
		}
		if err != nil {
			return err
		}
		if err := f.send(ctx, batches); err != nil {
			return err
		}
	}
}

// send puts batches into their partitions, each partition in order, and returns when all are there.
func (f *Forwarder) send(ctx context.Context, batches []*schemas.Batch) error {
	parts := make(map[int][]message, f.partitions)
	for _, b := range batches {
		value, err := b.MarshalVT()
		if err != nil {
			return fmt.Errorf("encode batch %d of %s: %w", b.GetIndex(), stream.KeyOf(b), err)
		}
		partition := int(b.GetShard()) % f.partitions
		parts[partition] = append(parts[partition], message{stream.KeyOf(b).String(), value, b.GetIndex()})
	}
	offsets := make(map[int]*int64, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for partition, messages := range parts {
		sent := new(int64)
		*sent = -1
		if last, known := f.sent[partition]; known {
			*sent = last
		}
		offsets[partition] = sent
		group.Go(func() error {
			for len(messages) > 0 {
				n := fitting(messages)
				if err := f.produce(ctx, partition, messages[:n], sent); err != nil {
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
		f.sent[partition] = *sent
	}
	f.to.metrics.forwarded.Add(float64(len(batches)))
	return nil
}

// indexHeader lets a reader pass over a message that it has without decoding it.
const indexHeader = "index"

// message is one encoded batch.
type message struct {
	key   string
	value []byte
	index uint64
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
func (f *Forwarder) records(messages []message) kafkago.RecordReader {
	records := make([]kafkago.Record, len(messages))
	for i, m := range messages {
		records[i] = kafkago.Record{
			Key: kafkago.NewBytes([]byte(m.key)), Value: kafkago.NewBytes(m.value), Time: f.to.deps.Clock.Now(),
			Headers: []kafkago.Header{{Key: indexHeader, Value: strconv.AppendUint(nil, m.index, 10)}},
		}
	}
	return kafkago.NewRecordReader(records...)
}

// produce repeats one request until the partition has acknowledged it. last is the offset that it
// acknowledged before, or -1.
//
// Errors: errShorter, ctx's.
func (f *Forwarder) produce(ctx context.Context, partition int, messages []message, last *int64) error {
	var shorter error
	err := f.to.retry(ctx, "send batches", func() error {
		answer, err := f.to.client.Produce(ctx, &kafkago.ProduceRequest{
			Topic: f.to.batchesTopic(), Partition: partition, RequiredAcks: kafkago.RequireAll,
			Compression: kafkago.Zstd, Records: f.records(messages),
		})
		if err == nil {
			err = answer.Error
			failpoint.Hit(failpoint.KafkaProduced)
		}
		if failpoint.Fault(failpoint.KafkaReply) {
			err = errors.Join(err, errors.New("reply lost"))
		}
		if err != nil {
			if shorter = f.checkTail(ctx, partition, *last, err); shorter != nil {
				return nil
			}
			return err
		}
		if answer.BaseOffset <= *last {
			shorter = fmt.Errorf("partition %d gave offset %d after %d: %w", partition, answer.BaseOffset, *last, errShorter)
			return nil
		}
		*last = answer.BaseOffset + int64(len(messages)) - 1
		return nil
	})
	return errors.Join(err, shorter)
}

// checkTail looks, after a failed request, whether a partition has lost what it acknowledged.
func (f *Forwarder) checkTail(ctx context.Context, partition int, last int64, cause error) error {
	if errors.Is(cause, kafkago.UnknownTopicOrPartition) {
		return fmt.Errorf("partition %d: %w: %w", partition, cause, errShorter)
	}
	// The client refuses what is for a topic that is not there, with an error that is none of Kafka's.
	if _, err := f.to.partitions(ctx); errors.Is(err, kafkago.UnknownTopicOrPartition) {
		return fmt.Errorf("partition %d: %w: %w", partition, err, errShorter)
	}
	if last < 0 {
		return nil
	}
	ends, err := f.to.endOffsets(ctx, f.to.batchesTopic(), partition)
	if err != nil {
		return nil // not known yet
	}
	if ends[partition] <= last {
		return fmt.Errorf("partition %d ends at %d, and had acknowledged %d: %w", partition, ends[partition], last, errShorter)
	}
	return nil
}
