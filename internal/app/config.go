package app

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"hostmeter/aggregator"
	"hostmeter/aggregator/export"
	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/series"
	"hostmeter/aggregator/utilisation"
	"hostmeter/collector"
	"hostmeter/detector"
	"hostmeter/detector/notify"
	"hostmeter/internal/config"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/stream/disk"
	"hostmeter/internal/stream/kafka"
	"hostmeter/internal/telemetry"
)

// ExampleConfig is a first configuration, explained.
//
//go:embed example.yaml
var ExampleConfig string

// Config is the whole configuration file. Each part is owned by its component.
type Config struct {
	// Data is the folder of the log, the ledger and the collector's state.
	Data       string              `yaml:"data"`
	Provider   ProviderConfig      `yaml:"provider"`
	Collector  collector.Config    `yaml:"collector"`
	Log        StreamConfig        `yaml:"log"`
	Ledger     ledger.Config       `yaml:"ledger"`
	Aggregator aggregator.Config   `yaml:"aggregator"`
	Handover   export.Config       `yaml:"handover"`
	Addresses  utilisation.Terms   `yaml:"addresses"`
	Detector   detector.Config     `yaml:"detector"`
	Notify     notify.Config       `yaml:"notify"`
	Series     series.Config       `yaml:"series"`
	HTTP       httpapi.Config      `yaml:"http"`
	Telemetry  telemetry.LogConfig `yaml:"telemetry"`
}

// ProviderConfig names the provider until an import does.
type ProviderConfig struct {
	Name     string `yaml:"name"`
	TimeZone string `yaml:"time_zone"`
	Currency string `yaml:"currency"`
}

// StreamConfig is the log: on disk always, and on Kafka where the components run apart.
type StreamConfig struct {
	disk.Config `yaml:",inline"`
	Kafka       *kafka.Config `yaml:"kafka"`
}

// DefaultConfig returns the settings of an empty file.
func DefaultConfig() Config {
	c := Config{
		Data:       "data",
		Provider:   ProviderConfig{TimeZone: "UTC", Currency: "GBP"},
		Collector:  collector.DefaultConfig(),
		Log:        StreamConfig{Config: disk.DefaultConfig()},
		Ledger:     ledger.DefaultConfig(),
		Aggregator: aggregator.DefaultConfig(),
		Handover:   export.DefaultConfig(),
		Addresses:  utilisation.DefaultTerms(),
		Detector:   detector.DefaultConfig(),
		Notify:     notify.DefaultConfig(),
		Series:     series.DefaultConfig(),
		HTTP:       httpapi.DefaultConfig(),
		Telemetry:  telemetry.DefaultLogConfig(),
	}
	c.Log.Path = ""           // below data, see complete
	c.HTTP.PrivateListen = "" // several processes may share a machine
	return c
}

// LoadConfig reads and checks a configuration file.
//
// Errors: of kind ErrUsage, with line and key.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	broker := kafka.DefaultConfig()
	c.Log.Kafka = &broker // what the file leaves out has its default
	if err := config.Read(path, &c); err != nil {
		hint := `run "hostmeter config example" for a file that works`
		if errors.Is(err, fs.ErrNotExist) {
			hint = `name it with -c FILE, or make one with "hostmeter config example >hostmeter.yaml"`
		}
		return Config{}, wrong(err, hint)
	}
	c.complete()
	if err := c.Validate(); err != nil {
		return Config{}, wrong(fmt.Errorf("%s: %w", path, err), `correct the key and run "hostmeter config check -c `+path+`"`)
	}
	return c, nil
}

// complete derives what follows from other keys.
func (c *Config) complete() {
	if c.Log.Kafka != nil && len(c.Log.Kafka.Brokers) == 0 {
		c.Log.Kafka = nil
	}
	if c.Log.Path == "" {
		c.Log.Path = filepath.Join(c.Data, "log")
	}
	if c.Ledger.Store == "" {
		c.Ledger.Store = "sqlite:" + filepath.Join(c.Data, "ledger.db")
	}
}

// Validate names the first key whose value cannot work.
func (c Config) Validate() error {
	parts := []struct {
		key   string
		check func() error
	}{
		{"provider", c.Provider.validate},
		{"collector", c.Collector.Validate},
		{"log", c.Log.Config.Validate},
		{"ledger", c.Ledger.Validate},
		{"aggregator", c.Aggregator.Validate},
		{"handover", c.Handover.Validate},
		{"addresses", c.Addresses.Validate},
		{"detector", c.Detector.Validate},
		{"notify", c.Notify.Validate},
		{"series", c.Series.Validate},
		{"http", c.HTTP.Validate},
	}
	for _, part := range parts {
		if err := part.check(); err != nil {
			return fmt.Errorf("%s.%w", part.key, err)
		}
	}
	if c.Log.Kafka != nil {
		if err := c.Log.Kafka.Validate(); err != nil {
			return fmt.Errorf("log.kafka.%w", err)
		}
	}
	return nil
}

func (c ProviderConfig) validate() error {
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" {
		return fmt.Errorf("time_zone: %q is not in the time zone database", c.TimeZone)
	}
	return nil
}

// store returns the DSN of the ledger, with env: and file: resolved.
func (c Config) store() (string, error) {
	if !strings.HasPrefix(c.Ledger.Store, "env:") && !strings.HasPrefix(c.Ledger.Store, "file:") {
		return c.Ledger.Store, nil
	}
	var secret config.Secret
	if err := secret.UnmarshalText([]byte(c.Ledger.Store)); err != nil {
		return "", wrong(fmt.Errorf("ledger.store: %w", err), "set it, or write the DSN into the file")
	}
	return secret.Reveal(), nil
}
