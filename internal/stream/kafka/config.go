package kafka

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"hostmeter/internal/clock"
	"hostmeter/internal/config"
)

// Config says how the cluster is reached and what the topics are made like where they are missing.
type Config struct {
	Brokers []string `yaml:"brokers"`
	// Partitions and Replication are used when a topic is made. Replication -1 is the cluster's own.
	Partitions  int `yaml:"partitions"`
	Replication int `yaml:"replication"`
	// Retain is how long the topic of batches keeps them.
	Retain time.Duration `yaml:"retain"`
	// MaxMessage bounds one batch on the wire, after compression.
	MaxMessage config.Size `yaml:"max_message"`
	// Patience is how long a consumer waits for missing batches that their collector may still hold and send
	// again, before it takes them for lost. 0 stands for a day, but at most half of Retain.
	Patience time.Duration `yaml:"patience"`
	// TopicPrefix is put before the names of the topics.
	TopicPrefix string `yaml:"topic_prefix"`
	TLS         *TLS   `yaml:"tls"`
	SASL        *SASL  `yaml:"sasl"`
}

// TLS switches encryption on. Without files the system's authorities are trusted.
type TLS struct {
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"`
}

// SASL is who we are to the brokers.
type SASL struct {
	Mechanism string        `yaml:"mechanism"`
	Username  string        `yaml:"username"`
	Password  config.Secret `yaml:"password"`
}

// DefaultConfig has no brokers: they must be named. Its patience follows from what Retain becomes.
func DefaultConfig() Config {
	return Config{Partitions: 16, Replication: -1, Retain: 7 * 24 * time.Hour, MaxMessage: 16 << 20}
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Partitions = cmp.Or(c.Partitions, d.Partitions)
	c.Replication = cmp.Or(c.Replication, d.Replication)
	c.Retain = cmp.Or(c.Retain, d.Retain)
	c.MaxMessage = cmp.Or(c.MaxMessage, d.MaxMessage)
	c.Patience = cmp.Or(c.Patience, min(24*time.Hour, c.Retain/2))
	return c
}

// repeatEvery is how often at most everything unconfirmed is sent again because retention has passed it: less often than
// a consumer loses its patience, but where that is set, and often enough for a topic that keeps less than Retain says.
func (c Config) repeatEvery() time.Duration { return min(time.Hour, c.Retain/4) }

// Validate names the first key whose value cannot work. A number that is 0 stands for its default.
func (c Config) Validate() error {
	c = c.withDefaults()
	if len(c.Brokers) == 0 {
		return errors.New("brokers: missing")
	}
	for i, broker := range c.Brokers {
		if _, _, err := net.SplitHostPort(broker); err != nil {
			return fmt.Errorf("brokers[%d]: %q is not HOST:PORT", i, broker)
		}
	}
	switch {
	case c.Partitions < 1:
		return fmt.Errorf("partitions: %d, want at least 1", c.Partitions)
	case c.Replication < -1:
		return fmt.Errorf("replication: %d, want a number of copies, or -1 for the cluster's default", c.Replication)
	case c.Retain < time.Minute:
		return fmt.Errorf("retain: %s, want at least 1m", c.Retain)
	case c.MaxMessage < 64<<10 || c.MaxMessage > 1<<30:
		return fmt.Errorf("max_message: %d bytes, want 64 KiB to 1 GiB", c.MaxMessage)
	case c.Patience < 0:
		return fmt.Errorf("patience: %s is negative", c.Patience)
	case c.Patience > c.Retain:
		return fmt.Errorf("patience: %s is longer than retain, %s: what comes behind a missing batch would go before it is read", c.Patience, c.Retain)
	case c.TLS != nil && (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return errors.New("tls.key: cert and key come together")
	}
	if _, err := c.mechanism(); err != nil {
		return fmt.Errorf("sasl.mechanism: %w", err)
	}
	return nil
}

func (c Config) mechanism() (sasl.Mechanism, error) {
	if c.SASL == nil {
		return nil, nil
	}
	switch c.SASL.Mechanism {
	case "plain":
		return plain.Mechanism{Username: c.SASL.Username, Password: c.SASL.Password.Reveal()}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, c.SASL.Username, c.SASL.Password.Reveal())
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, c.SASL.Username, c.SASL.Password.Reveal())
	default:
		return nil, fmt.Errorf("%q, want plain, scram-sha-256 or scram-sha-512", c.SASL.Mechanism)
	}
}

func (c Config) tls() (*tls.Config, error) {
	if c.TLS == nil {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: no certificate in %s", c.TLS.CA)
		}
	}
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// Deps are what this package is given. The zero value works.
type Deps struct {
	Clock   clock.Clock
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

func (d Deps) withDefaults() Deps {
	if d.Clock == nil {
		d.Clock = clock.Real{}
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return d
}
