package kafka

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"hostmeter/internal/config"
	"hostmeter/internal/stream/streamtest"
)

const (
	// envSecure names the variable that holds HOST:PORT of the same real broker's door with TLS, SCRAM-SHA-512 and
	// ACLs, envCA the file of its authority.
	envSecure = "HOSTMETER_TEST_KAFKA_SECURE"
	envCA     = "HOSTMETER_TEST_KAFKA_CA"
)

// secureConfig is a component's way in, to the topics of open.
func secureConfig(t *testing.T, open Config, user string) Config {
	t.Helper()
	broker, ca := os.Getenv(envSecure), os.Getenv(envCA)
	if broker == "" || ca == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s and %s are not set: CI runs the tests by `make test`, which starts Kafka", envSecure, envCA)
		}
		t.Skipf("NOT TESTED WITH TLS, SCRAM AND ACLS: %s and %s are not set; `make test-real` sets them", envSecure, envCA)
	}
	open.Brokers = []string{broker}
	open.TLS = &TLS{CA: ca}
	open.SASL = &SASL{Mechanism: "scram-sha-512", Username: user, Password: config.NewSecret("secret")}
	return open
}

// allow gives a component the rights that docs/reference/log.md names.
func allow(t *testing.T, s *Source, user, topic string, operation kafkago.ACLOperationType) {
	t.Helper()
	answer, err := s.client.CreateACLs(t.Context(), &kafkago.CreateACLsRequest{ACLs: []kafkago.ACLEntry{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ResourcePatternType: kafkago.PatternTypeLiteral,
		Principal: "User:" + user, Host: "*", Operation: operation, PermissionType: kafkago.ACLPermissionTypeAllow,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range answer.Errors {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRightsOfEachComponent carries batches through a real broker with TLS, SCRAM and the least rights: each
// component does its own, and nothing else.
func TestRightsOfEachComponent(t *testing.T) {
	open := testConfig(t, realBroker(t))
	admin, err := New(open, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	collector := newSecureSource(t, secureConfig(t, open, "collector"))
	aggregator := newSecureSource(t, secureConfig(t, open, "aggregator"))
	detector := newSecureSource(t, secureConfig(t, open, "detector"))
	allow(t, admin, "collector", admin.batchesTopic(), kafkago.ACLOperationTypeWrite)
	allow(t, admin, "collector", admin.confirmationsTopic(), kafkago.ACLOperationTypeRead)
	allow(t, admin, "aggregator", admin.batchesTopic(), kafkago.ACLOperationTypeRead)
	allow(t, admin, "aggregator", admin.confirmationsTopic(), kafkago.ACLOperationTypeWrite)
	allow(t, admin, "aggregator", admin.landmarksTopic(), kafkago.ACLOperationTypeRead)
	allow(t, admin, "aggregator", admin.landmarksTopic(), kafkago.ACLOperationTypeWrite)
	allow(t, admin, "detector", admin.batchesTopic(), kafkago.ACLOperationTypeRead)
	allow(t, admin, "detector", admin.landmarksTopic(), kafkago.ACLOperationTypeRead)
	aggregator.landmarkEvery = 0

	g := &rig{cfg: collector.config, path: t.TempDir(), source: collector}
	g.openLog(t)
	g.forward(t)
	t.Cleanup(func() {
		g.stop()
		_ = g.log.Close()
	})
	appendGroups(t, g, 1, 10)
	g.source = aggregator
	booked := readAll(t, g)
	booked.Read(t, 40)
	wantComplete(t, booked, 10)
	g.source = detector
	watched := readAll(t, g)
	watched.Read(t, 40)
	if err := aggregator.Confirm(t.Context(), booked.Last); err != nil {
		t.Fatalf("the aggregator may confirm: %v", err)
	}
	if confirmed, err := collector.Confirmed(t.Context()); err != nil || len(confirmed) != len(booked.Last) {
		t.Fatalf("the collector may read what is confirmed: %v, %v", confirmed, err)
	}

	refused := func(what string, err error) {
		t.Helper()
		hidden := err != nil && (errors.Is(err, kafkago.UnknownTopicOrPartition) || strings.Contains(err.Error(), "topic not found"))
		if !errors.Is(err, kafkago.TopicAuthorizationFailed) && !hidden {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
	}
	if l, err := detector.findLandmark(t.Context(), watched.Reader.(*reader).topic, watched.Last); err != nil || l == nil {
		t.Errorf("the detector finds the aggregator's landmark: %v, %v", l, err)
	}
	refused("the detector leaves a landmark", detector.publishLandmark(t.Context(), &landmark{Next: []int64{0}}))
	refused("the detector confirms", detector.Confirm(t.Context(), booked.Last))
	refused("the collector confirms", collector.Confirm(t.Context(), booked.Last))
	refused("the aggregator writes batches", produceTo(t, aggregator))
	refused("the detector writes batches", produceTo(t, detector))
	refused("the collector reads batches", fetchFrom(t, collector))
	_, err = detector.Confirmed(t.Context())
	refused("the detector reads what is confirmed", err)
}

func newSecureSource(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func readAll(t *testing.T, g *rig) *streamtest.Checked {
	t.Helper()
	return (&streamtest.Fixture{Source: g.source}).Open(t, "ledger", nil)
}

func produceTo(t *testing.T, s *Source) error {
	t.Helper()
	return s.produce(t.Context(), s.batchesTopic(), 0, 0, kafkago.Record{Value: kafkago.NewBytes([]byte("x"))})
}

func fetchFrom(t *testing.T, s *Source) error {
	t.Helper()
	answer, err := s.client.Fetch(t.Context(), &kafkago.FetchRequest{Topic: s.batchesTopic(), Partition: 0, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second})
	if err == nil {
		err = answer.Error
	}
	return err
}

// TestWrongDoor knocks with each thing that is wrong: nothing is told to it, and the collector's log keeps all.
func TestWrongDoor(t *testing.T) {
	open := testConfig(t, realBroker(t))
	f := func(name string, change func(*Config)) {
		t.Run(name, func(t *testing.T) {
			cfg := secureConfig(t, open, "collector")
			change(&cfg)
			s := newSecureSource(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			if _, err := s.topic(ctx, s.batchesTopic()); err == nil {
				t.Fatal("it was let in")
			}
			g := &rig{cfg: cfg, path: t.TempDir(), source: s}
			g.openLog(t)
			defer g.log.Close()
			forwarding, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- NewForwarder(s, g.log).Run(forwarding) }()
			appendGroups(t, g, 1, 5)
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Fatalf("the forwarder ended with %v, and is to go on trying", err)
			}
			r, err := g.log.OpenReader(t.Context(), "again", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for kept := 0; kept < 20; {
				batches, err := r.Next(t.Context(), 100)
				if err != nil {
					t.Fatal(err)
				}
				kept += len(batches)
			}
		})
	}
	f("password", func(c *Config) { c.SASL.Password = config.NewSecret("wrong") })
	f("user", func(c *Config) { c.SASL.Username = "nobody" })
	f("no user", func(c *Config) { c.SASL = nil })
	f("no TLS", func(c *Config) { c.TLS = nil })
	f("authority", func(c *Config) { c.TLS = &TLS{} })
	f("name", func(c *Config) { c.TLS = &TLS{CA: c.TLS.CA, ServerName: "kafka.example.net"} })
}

func TestTLSFilesThatAreWrong(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tls := range []TLS{{CA: "nowhere.pem"}, {CA: empty}, {Cert: empty, Key: empty}} {
		cfg := DefaultConfig()
		cfg.Brokers, cfg.TLS = []string{"k1:9092"}, &tls
		if _, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%+v was taken", tls)
		}
	}
}
