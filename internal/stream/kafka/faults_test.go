package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
	"hostmeter/internal/stream"
	"hostmeter/internal/stream/disk"
	"hostmeter/internal/stream/streamtest"
	"hostmeter/schemas"
)

func appendGroups(t *testing.T, g *rig, fromNumber, to uint64) {
	t.Helper()
	f := &streamtest.Fixture{Shards: 4}
	for n := fromNumber; n <= to; n++ {
		if err := g.log.Append(t.Context(), f.Group(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, g *rig, after stream.Watermarks) *streamtest.Checked {
	t.Helper()
	return (&streamtest.Fixture{Source: g.source}).Open(t, "ledger", after)
}

func wantComplete(t *testing.T, r *streamtest.Checked, last uint64) {
	t.Helper()
	if len(r.Gaps) != 0 {
		t.Fatalf("gaps %v, want none", r.Gaps)
	}
	for key, index := range r.Last {
		if index != last {
			t.Fatalf("%s ends at %d, want %d", key, index, last)
		}
	}
}

// A reader that has nothing to give says whether it has seen the end of the topic: not while it passes over what was read
// before, and not while the brokers do not answer.
func TestTheEndIsKnown(t *testing.T) {
	cluster := fake(t)
	g := newRig(t, testConfig(t, cluster.ListenAddrs()[0]))
	appendGroups(t, g, 1, 10)
	first := open(t, g, nil)
	first.Read(t, 4*10)
	r := open(t, g, first.Last)
	next := func(wait time.Duration) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		batches, err := r.Next(ctx, 1)
		if len(batches) != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, %v", batches, err)
		}
		return err
	}
	if err := next(0); !errors.Is(err, stream.ErrBehind) {
		t.Errorf("before anything was read: %v", err)
	}
	for tries := 0; errors.Is(next(100*time.Millisecond), stream.ErrBehind); tries++ {
		if tries == 300 {
			t.Fatal("it does not come to the end")
		}
	}
	cluster.Close()
	if err := next(100 * time.Millisecond); !errors.Is(err, stream.ErrBehind) {
		t.Errorf("without brokers: %v", err)
	}
}

// Every third request is refused: nothing is lost, nothing overtakes.
func TestRefusedRequests(t *testing.T) {
	cluster := fake(t)
	g := newRig(t, testConfig(t, cluster.ListenAddrs()[0]))
	cluster.ControlKey(int16(kmsg.Produce), refuse(30, func(turn int) bool { return turn%3 == 0 }, cluster))
	const groups = 40
	appendGroups(t, g, 1, groups)
	r := open(t, g, nil)
	r.Read(t, 4*groups)
	wantComplete(t, r, groups)
}

// The topic is deleted and made anew while everybody is connected: what is not confirmed is sent again,
// and a consumer that goes on misses nothing.
func TestTopicIsMadeAnew(t *testing.T) {
	cluster := fake(t)
	cfg := testConfig(t, cluster.ListenAddrs()[0])
	cfg.Patience = 30 * time.Second
	g := newRig(t, cfg)
	appendGroups(t, g, 1, 10)
	r := open(t, g, nil)
	r.Read(t, 4*10)
	half := make(stream.Watermarks)
	for key := range r.Last {
		half[key] = 5
	}
	if err := g.source.Confirm(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	appendGroups(t, g, 11, 12) // these may not have been read when the topic goes
	if err := cluster.DeleteTopic(g.source.batchesTopic()); err != nil {
		t.Fatal(err)
	}
	appendGroups(t, g, 13, 20)
	r.Read(t, 4*10)
	wantComplete(t, r, 20)
}

// The topic is emptied under the same name, as by a broker that comes back without its disk: offsets
// run backwards, or a request fails and the partition is found shorter than it was.
func TestTopicIsEmptied(t *testing.T) {
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprintf("failing=%v", failing), func(t *testing.T) {
			cluster := fake(t)
			cfg := testConfig(t, cluster.ListenAddrs()[0])
			cfg.Patience = 30 * time.Second
			g := newRig(t, cfg)
			appendGroups(t, g, 1, 10)
			r := open(t, g, nil)
			r.Read(t, 4*10)
			if err := cluster.DeleteTopic(g.source.batchesTopic()); err != nil {
				t.Fatal(err)
			}
			if err := cluster.CreateTopic(g.source.batchesTopic(), 3, nil); err != nil {
				t.Fatal(err)
			}
			if failing {
				cluster.ControlKey(int16(kmsg.Produce), refuse(3, func(int) bool { return true }, cluster))
			}
			appendGroups(t, g, 11, 20)
			r.Read(t, 4*10)
			wantComplete(t, r, 20)
			fresh := open(t, g, nil)
			fresh.Read(t, 4*20) // also what had been read before is there again
			wantComplete(t, fresh, 20)
		})
	}
}

// refuse answers the chosen ones of the first requests with an error, without doing them.
func refuse(first int, chosen func(turn int) bool, cluster *kfake.Cluster) func(kmsg.Request) (kmsg.Response, error, bool) {
	var mu sync.Mutex
	turn := 0
	return func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if turn++; turn > first || !chosen(turn) {
			return nil, nil, false
		}
		answer := request.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range request.(*kmsg.ProduceRequest).Topics {
			refused := kmsg.NewProduceResponseTopic()
			refused.Topic, refused.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				p := kmsg.NewProduceResponseTopicPartition()
				p.Partition, p.ErrorCode = partition.Partition, kerr.NotEnoughReplicas.Code
				refused.Partitions = append(refused.Partitions, p)
			}
			answer.Topics = append(answer.Topics, refused)
		}
		return answer, nil, true
	}
}

func TestConfirmationsReachTheLogOnDisk(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		cfg := testConfig(t, broker)
		source, err := New(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if err := source.EnsureTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
		diskConfig := disk.DefaultConfig()
		diskConfig.Path, diskConfig.SegmentSize = t.TempDir(), 4096
		log, err := disk.Open(t.Context(), diskConfig, "collector-1", 4, disk.Deps{Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		g := &rig{cfg: cfg, log: log, source: source}
		g.forward(t)
		appendGroups(t, g, 1, 30)
		r := open(t, g, nil)
		r.Read(t, 4*30)
		g.stop()
		now.Advance(73 * time.Hour)

		ctx, cancel := context.WithCancel(t.Context())
		applied := make(chan stream.Watermarks, 100)
		followed := make(chan error)
		go func() {
			followed <- source.FollowConfirmations(ctx, func(confirmed stream.Watermarks) {
				if err := log.Confirm(ctx, confirmed); err != nil {
					t.Errorf("confirm: %v", err)
				}
				applied <- confirmed
			})
		}()
		if err := source.Confirm(t.Context(), r.Last); err != nil {
			t.Fatal(err)
		}
		for seen := make(stream.Watermarks); len(seen) < len(r.Last); {
			select {
			case confirmed := <-applied:
				for key, index := range confirmed {
					seen[key] = index
				}
			case <-time.After(time.Minute):
				t.Fatalf("only %v of %v was confirmed to the collector", seen, r.Last)
			}
		}
		cancel()
		if err := <-followed; err == nil {
			t.Fatal("FollowConfirmations ended without its context's error")
		}
		fresh, err := log.OpenReader(t.Context(), "late", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fresh.Next(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "lost batches 1 to") {
			t.Fatalf("got %v, want a gap: the confirmed segments are to be deleted", err)
		}
		confirmed, err := source.Confirmed(t.Context())
		if err != nil || len(confirmed) != len(r.Last) {
			t.Fatalf("confirmed %v (%v), want %v", confirmed, err, r.Last)
		}
		// A new forwarder sends nothing of that again.
		before := sentBatches(t, g)
		g.forward(t)
		t.Cleanup(g.stop)
		appendGroups(t, g, 31, 31)
		r.Read(t, 4)
		if sent := sentBatches(t, g) - before; sent != 4 {
			t.Fatalf("%d messages sent after a restart, want 4", sent)
		}
	})
}

func TestLargeBatch(t *testing.T) {
	each(t, func(t *testing.T, broker string) {
		g := newRig(t, testConfig(t, broker))
		b := streamtest.Batch(0, 7, 5<<20)
		noise := make([]byte, 6<<20)
		for i := range noise { // does not compress away
			noise[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"[(i*2654435761>>7+i*i>>3)%64]
		}
		b.Exporters = append(b.Exporters, string(noise))
		appendGroups(t, g, 1, 1)
		if err := g.log.Append(t.Context(), []*schemas.Batch{b}); err != nil {
			t.Fatal(err)
		}
		r := open(t, g, nil)
		r.Read(t, 5)
	})
}

func TestSCRAM(t *testing.T) {
	cluster := fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "hostmeter", "secret"))
	cfg := testConfig(t, cluster.ListenAddrs()[0])
	cfg.SASL = &SASL{Mechanism: "scram-sha-512", Username: "hostmeter", Password: config.NewSecret("wrong")}
	source, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := source.EnsureTopics(t.Context()); err == nil {
		t.Fatal("a wrong password was taken")
	}
	cfg.SASL.Password = config.NewSecret("secret")
	g := newRig(t, cfg)
	appendGroups(t, g, 1, 3)
	r := open(t, g, nil)
	r.Read(t, 12)
	wantComplete(t, r, 3)
}

func TestConfigNamesTheKey(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Brokers = []string{"k1:9092"}
		change(&cfg)
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { *c = Config{Brokers: c.Brokers} }, "") // what is not written has its default
	f(func(c *Config) { c.Brokers = nil }, "brokers: missing")
	f(func(c *Config) { c.Brokers = []string{"k1:9092", "k2"} }, `brokers[1]: "k2" is not HOST:PORT`)
	f(func(c *Config) { c.Partitions = -1 }, "partitions: -1, want at least 1")
	f(func(c *Config) { c.Replication = -2 }, "replication: -2, want a number of copies, or -1 for the cluster's default")
	f(func(c *Config) { c.Patience = 169 * time.Hour }, "patience: 169h0m0s is longer than retain, 168h0m0s: what comes behind a missing batch would go before it is read")
	f(func(c *Config) { c.Retain = time.Hour }, "") // the default of patience follows
	f(func(c *Config) { c.TLS = &TLS{Cert: "x"} }, "tls.key: cert and key come together")
	f(func(c *Config) { c.SASL = &SASL{Mechanism: "gssapi"} }, `sasl.mechanism: "gssapi", want plain, scram-sha-256 or scram-sha-512`)
}
