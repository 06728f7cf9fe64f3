// Package kafka carries the log over Apache Kafka: a forwarder that ships a collector's log on disk
// to a topic, and a stream.Source that reads it there.
//
// It promises the order of the batches of one key and that a batch which is missing is told as a gap.
// Kafka's offsets are only places to read from: identity is (collector, log id, shard, index), the
// forwarder may send a batch again, and the reader drops what it had. For that the forwarder has one
// request at a time under way to a partition, and repeats it until it succeeds: a later batch never
// overtakes an earlier one. No transaction and no consumer group is used.
//
// It does not promise that a topic keeps what it took: batches stay in the collector's log until they are
// confirmed, and are sent again when the topic was made anew, a partition is shorter than it was, or retention has
// passed them. Each message says what its collector can no longer send (see header), so that a reader takes
// nothing for lost that it still holds: it waits for that as long as Config.Patience allows.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/stream"
	"hostmeter/schemas"
)

// Source reads batches from Kafka and publishes confirmations. It is safe for concurrent use.
type Source struct {
	config    Config
	deps      Deps
	metrics   *metrics
	client    *kafkago.Client
	transport *kafkago.Transport
	dialer    *kafkago.Dialer
	published published
	landmarks landmarks
	// The constants of these names, which tests make shorter.
	lookEvery, landmarkEvery time.Duration
}

var _ stream.Source = (*Source)(nil)

const (
	clientID       = "hostmeter"
	requestTimeout = 20 * time.Second
	retryFirst     = 100 * time.Millisecond
	retryMax       = 5 * time.Second
)

// New checks the configuration and reads the files that it names. It connects to nothing yet. An error
// begins with the key, as Config.Validate's do.
func New(cfg Config, deps Deps) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	encryption, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	mechanism, err := cfg.mechanism()
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	deps = deps.withDefaults()
	transport := &kafkago.Transport{
		Dial:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ClientID: clientID, TLS: encryption, SASL: mechanism,
	}
	return &Source{
		config: cfg, deps: deps, metrics: newMetrics(deps.Metrics), transport: transport,
		client:    &kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: requestTimeout, Transport: transport},
		dialer:    &kafkago.Dialer{ClientID: clientID, Timeout: 5 * time.Second, DualStack: true, TLS: encryption, SASLMechanism: mechanism},
		published: published{last: make(stream.Watermarks)}, lookEvery: lookEvery, landmarkEvery: landmarkEvery,
	}, nil
}

// Close gives the connections back. It may be called twice; readers are closed on their own.
func (s *Source) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

func (s *Source) batchesTopic() string { return s.config.TopicPrefix + schemas.TopicBatches }
func (s *Source) confirmationsTopic() string {
	return s.config.TopicPrefix + schemas.TopicConfirmations
}
func (s *Source) landmarksTopic() string { return s.config.TopicPrefix + schemas.TopicLandmarks }

// EnsureTopics makes the topics that are missing, where this component may. Topics that are there are left as they
// are.
func (s *Source) EnsureTopics(ctx context.Context) error {
	size := strconv.FormatInt(int64(s.config.MaxMessage)+1024, 10)
	topics := []kafkago.TopicConfig{
		{
			Topic: s.batchesTopic(), NumPartitions: s.config.Partitions, ReplicationFactor: s.config.Replication,
			ConfigEntries: []kafkago.ConfigEntry{
				{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(s.config.Retain.Milliseconds(), 10)},
				{ConfigName: "max.message.bytes", ConfigValue: size},
			},
		},
		{
			Topic: s.confirmationsTopic(), NumPartitions: 1, ReplicationFactor: s.config.Replication,
			ConfigEntries: []kafkago.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}},
		},
		{
			Topic: s.landmarksTopic(), NumPartitions: 1, ReplicationFactor: s.config.Replication,
			ConfigEntries: []kafkago.ConfigEntry{
				{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(s.config.Retain.Milliseconds(), 10)},
				{ConfigName: "max.message.bytes", ConfigValue: size},
			},
		},
	}
	answer, err := s.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: topics})
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for topic, err := range answer.Errors {
		// Who may not make them finds them made, or what needs them says that they are not there.
		if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) && !errors.Is(err, kafkago.TopicAuthorizationFailed) {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return nil
}

// untilReady makes the topics and returns the one called name, trying until ctx is done.
func (s *Source) untilReady(ctx context.Context, name string) (found topic, err error) {
	err = s.retry(ctx, "reach kafka", func() error {
		if err := s.EnsureTopics(ctx); err != nil {
			return err
		}
		found, err = s.topic(ctx, name)
		return err
	})
	return found, err
}

// retry repeats do with growing waits until it succeeds or ctx is done, whose error it returns then.
func (s *Source) retry(ctx context.Context, what string, do func() error) error {
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.metrics.retries.Inc()
		s.deps.Logger.Warn("kafka did not do it, trying again", "what", what, "wait", wait, "err", err)
		if err := s.deps.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// produce has one request acknowledged by all who hold the partition.
func (s *Source) produce(ctx context.Context, topic string, partition int, compression kafkago.Compression, records ...kafkago.Record) error {
	answer, err := s.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafkago.RequireAll, Compression: compression, Records: kafkago.NewRecordReader(records...),
	})
	if err == nil {
		err = answer.Error
	}
	return err
}

// extent is what a partition holds: offsets from first, and below end.
type extent struct{ first, end int64 }

// extents returns what the first partitions of a topic hold. Where an answer is missing, nothing is known and it is an
// error.
func (s *Source) extents(ctx context.Context, topic string, partitions int) ([]extent, error) {
	requests := make([]kafkago.OffsetRequest, 0, 2*partitions)
	for partition := range partitions {
		requests = append(requests, kafkago.FirstOffsetOf(partition), kafkago.LastOffsetOf(partition))
	}
	answer, err := s.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: requests}})
	if err != nil {
		return nil, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	if len(answer.Topics[topic]) != partitions {
		return nil, fmt.Errorf("list offsets of %s: %d partitions answered of %d", topic, len(answer.Topics[topic]), partitions)
	}
	extents := make([]extent, partitions)
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("list offsets of %s[%d]: %w", topic, p.Partition, p.Error)
		}
		extents[p.Partition] = extent{p.FirstOffset, p.LastOffset}
	}
	return extents, nil
}

// newReader reads one partition from offset on.
func (s *Source) newReader(topic string, partition int, offset int64) (*kafkago.Reader, error) {
	r := kafkago.NewReader(kafkago.ReaderConfig{
		Brokers: s.config.Brokers, Dialer: s.dialer, Topic: topic, Partition: partition,
		MinBytes: 1, MaxBytes: int(s.config.MaxMessage) + 1<<20,
		// Data come at once; this is only how long an idle request is held.
		MaxWait: time.Second, ReadBatchTimeout: requestTimeout,
		QueueCapacity: 16, ReadLagInterval: -1, ReadBackoffMin: 50 * time.Millisecond, ReadBackoffMax: time.Second,
		OffsetOutOfRangeError: true,
	})
	return r, r.SetOffset(offset)
}

// parseKey reads the key of a message: "collector/log_id/shard".
func parseKey(text string) (stream.Key, bool) {
	rest, shard, ok1 := cutLast(text)
	collector, id, ok2 := cutLast(rest)
	n, err1 := strconv.ParseUint(id, 16, 64)
	m, err2 := strconv.ParseUint(shard, 10, 32)
	return stream.Key{Collector: collector, LogID: n, Shard: uint32(m)}, ok1 && ok2 && err1 == nil && err2 == nil
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '/')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}
