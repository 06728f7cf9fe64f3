package export

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/internal/config"
	"hostmeter/internal/webhook"
)

// Config is the part `handover` of the configuration.
type Config struct {
	// Every is how often it is looked for something to hand over.
	Every time.Duration `yaml:"every"`
	// Source is the `source` of CloudEvents: a URI that no other installation uses.
	Source   string          `yaml:"source"`
	WHMCS    whmcs.Config    `yaml:"whmcs"`
	Webhooks []WebhookConfig `yaml:"webhooks"`
}

// WebhookConfig is one receiver of CloudEvents.
type WebhookConfig struct {
	// Name names the receiver in the journal, for good.
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
	// Secrets are one or two: while one replaces the other, both sign.
	Secrets []config.Secret `yaml:"secrets"`
	// Feeds are what the receiver is told; empty is everything.
	Feeds []Feed `yaml:"feeds"`
}

// Feed is a sequence of things that do not change, each with a number.
type Feed string

// The feeds.
const (
	UsageRecords Feed = "usage-records"
	Statements   Feed = "statements"
	Notices      Feed = "notices"
)

// allFeeds are what a receiver is told that names none.
var allFeeds = []Feed{UsageRecords, Statements, Notices}

// receiverWHMCS is the name of the WHMCS in the journal.
const receiverWHMCS = "whmcs"

// DefaultConfig hands nothing over.
func DefaultConfig() Config {
	return Config{Every: time.Minute, Source: "/hostmeter", WHMCS: whmcs.DefaultConfig()}
}

// Enabled says whether anything is handed over.
func (c Config) Enabled() bool { return c.WHMCS.Enabled() || len(c.Webhooks) > 0 }

var nameText = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Validate names the key that is wrong.
func (c Config) Validate() error {
	if c.Every <= 0 {
		return fmt.Errorf("every: %s is not above 0", c.Every)
	}
	if c.Source == "" {
		return errors.New("source: missing")
	}
	if err := c.WHMCS.Validate(); err != nil {
		return fmt.Errorf("whmcs.%w", err)
	}
	names := []string{receiverWHMCS}
	for i, w := range c.Webhooks {
		if err := w.validate(names); err != nil {
			return fmt.Errorf("webhooks[%d].%w", i, err)
		}
		names = append(names, w.Name)
	}
	return nil
}

func (w WebhookConfig) validate(taken []string) error {
	if !nameText.MatchString(w.Name) {
		return fmt.Errorf("name: %q: want small letters, digits and hyphens", w.Name)
	}
	if slices.Contains(taken, w.Name) {
		return fmt.Errorf("name: %q is taken", w.Name)
	}
	if err := webhook.CheckURL(w.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if n := len(w.Secrets); n < 1 || n > 2 {
		return fmt.Errorf("secrets: %d of them: want one, or two while one replaces the other", n)
	}
	for i, secret := range w.Secrets {
		if !secret.IsSet() {
			return fmt.Errorf("secrets[%d]: is empty", i)
		}
	}
	for i, feed := range w.Feeds {
		if !slices.Contains(allFeeds, feed) {
			return fmt.Errorf("feeds[%d]: %q: want %s, %s or %s", i, feed, UsageRecords, Statements, Notices)
		}
	}
	return nil
}

func (w WebhookConfig) feeds() []Feed {
	if len(w.Feeds) == 0 {
		return allFeeds
	}
	return w.Feeds
}
