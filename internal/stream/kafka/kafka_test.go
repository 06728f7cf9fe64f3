package kafka

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

// envKafka names the variable that holds HOST:PORT of a real broker for tests.
const envKafka = "HOSTMETER_TEST_KAFKA"

func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelError + 1) // faults are what these tests are about
	os.Exit(m.Run())
}

// each runs f against the broker in this process and against a real one.
func each(t *testing.T, f func(t *testing.T, broker string)) {
	t.Run("kfake", func(t *testing.T) { f(t, fake(t).ListenAddrs()[0]) })
	t.Run("kafka", func(t *testing.T) { f(t, realBroker(t)) })
}

func fake(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func realBroker(t *testing.T) string {
	t.Helper()
	broker := os.Getenv(envKafka)
	if broker == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not set: CI runs the tests by `make test`, which starts Kafka", envKafka)
		}
		t.Skipf("NOT TESTED ON KAFKA: %s is not set; `make test-real` starts a broker and sets it", envKafka)
	}
	return broker
}

// testConfig has topics of its own, which are deleted with the test.
func testConfig(t *testing.T, broker string) Config {
	t.Helper()
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	cfg := DefaultConfig()
	cfg.Brokers, cfg.Partitions, cfg.Patience = []string{broker}, 3, 300*time.Millisecond
	cfg.TopicPrefix = "test-" + hex.EncodeToString(random[:]) + "-"
	t.Cleanup(func() { deleteTopics(t, cfg) })
	return cfg
}

func deleteTopics(t *testing.T, cfg Config) {
	client := kafkago.Client{Addr: kafkago.TCP(cfg.Brokers...), Timeout: 10 * time.Second}
	_, err := client.DeleteTopics(context.Background(), &kafkago.DeleteTopicsRequest{
		Topics: []string{cfg.TopicPrefix + schemas.TopicBatches, cfg.TopicPrefix + schemas.TopicConfirmations, cfg.TopicPrefix + schemas.TopicLandmarks},
	})
	if err != nil {
		t.Logf("delete topics: %v", err)
	}
}

// rig is a collector's log on disk with a forwarder, and a source on Kafka.
type rig struct {
	cfg    Config
	path   string
	log    *disk.Log
	source *Source
	stop   func() // of the forwarder
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	return newRigThatLooks(t, cfg, 50*time.Millisecond)
}

// newRigThatLooks is a rig whose forwarder and readers look so often whether the topic is still the same.
func newRigThatLooks(t *testing.T, cfg Config, every time.Duration) *rig {
	t.Helper()
	source, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	source.lookEvery = every
	if err := source.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := &rig{cfg: cfg, path: t.TempDir(), source: source}
	g.openLog(t)
	g.forward(t)
	t.Cleanup(func() {
		g.stop()
		_ = g.log.Close()
		_ = source.Close()
	})
	return g
}

func (g *rig) openLog(t *testing.T) {
	t.Helper()
	cfg := disk.DefaultConfig()
	cfg.Path = g.path
	var err error
	if g.log, err = disk.Open(t.Context(), cfg, "collector-1", 4, disk.Deps{}); err != nil {
		t.Fatal(err)
	}
}

// from hides a range of the log from a forwarder.
type from struct {
	stream.Source
	after stream.Watermarks
}

func (f from) OpenReader(ctx context.Context, consumer string, after stream.Watermarks) (stream.Reader, error) {
	for key, index := range f.after {
		after[key] = max(after[key], index)
	}
	return f.Source.OpenReader(ctx, consumer, after)
}

func (g *rig) forward(t *testing.T) { g.forwardFrom(t, g.log) }

func (g *rig) forwardFrom(t *testing.T, log stream.Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := NewForwarder(g.source, log).Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("forwarder: %v", err)
		}
	})
	g.stop = func() {
		cancel()
		wg.Wait()
	}
}

func TestContract(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		streamtest.Run(t, func(t *testing.T) *streamtest.Fixture {
			g := newRig(t, testConfig(t, broker))
			f := &streamtest.Fixture{Log: g.log, Source: g.source, Collector: "collector-1", Shards: 4}
			f.Reopen = func(t *testing.T) {
				t.Helper()
				g.stop()
				if err := g.log.Close(); err != nil {
					t.Fatal(err)
				}
				g.openLog(t)
				g.forward(t)
				f.Log = g.log
			}
			f.Repeat = func(t *testing.T) {
				t.Helper()
				g.stop()
				g.forward(t)
			}
			f.Lose = func(t *testing.T, batches []*schemas.Batch) {
				t.Helper()
				g.stop()
				if err := g.log.Append(t.Context(), batches); err != nil {
					t.Fatal(err)
				}
				lost := make(stream.Watermarks)
				for _, b := range batches {
					lost[stream.KeyOf(b)] = b.GetIndex()
				}
				g.forwardFrom(t, from{g.log, lost})
			}
			return f
		})
	})
}

// sentBatches counts the messages that the topic has been given.
func sentBatches(t *testing.T, g *rig) (sent int64) {
	t.Helper()
	extents, err := g.source.extents(t.Context(), g.source.batchesTopic(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, partition := range extents {
		sent += partition.end
	}
	return sent
}
