// Package notify tells receivers of incidents: Alertmanager, and webhooks that are signed.
//
// It reads the outbox that package incident writes with each change, sends what is due and writes down
// what became of it. It promises that to these receivers the effect is once: an alert is known to
// Alertmanager by its labels, a webhook's message by an id that is the same in every repeat. It does
// not promise an order among incidents.
package notify

import (
	"fmt"
	"strconv"

	"hostmeter/internal/config"
	"hostmeter/internal/webhook"
)

// Config is the part `notify` of the configuration.
type Config struct {
	Alertmanager []AlertmanagerConfig `yaml:"alertmanager"`
	Webhooks     []WebhookConfig      `yaml:"webhooks"`
	// LinkTo is the address of the pages, put in front of links to incidents; optional.
	LinkTo string `yaml:"link_to"`
}

// AlertmanagerConfig is one Alertmanager (API v2); each of a cluster is named.
type AlertmanagerConfig struct {
	URL string `yaml:"url"`
}

// WebhookConfig is one receiver of signed messages.
type WebhookConfig struct {
	URL string `yaml:"url"`
	// Secret signs the messages (Standard Webhooks); "whsec_" and base64, or any text.
	Secret config.Secret `yaml:"secret"`
}

// DefaultConfig tells nobody.
func DefaultConfig() Config { return Config{} }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	for i, a := range c.Alertmanager {
		if err := webhook.CheckURL(a.URL); err != nil {
			return fmt.Errorf("alertmanager[%d].url: %w", i, err)
		}
	}
	for i, w := range c.Webhooks {
		if err := webhook.CheckURL(w.URL); err != nil {
			return fmt.Errorf("webhooks[%d].url: %w", i, err)
		}
		if !w.Secret.IsSet() {
			return fmt.Errorf("webhooks[%d].secret: missing: the receiver could not tell our messages from others'", i)
		}
	}
	return nil
}

// Receivers are the names of the receivers, as the outbox has them: "alertmanager-1", "webhook-1".
func (c Config) Receivers() []string {
	var out []string
	for i := range c.Alertmanager {
		out = append(out, "alertmanager-"+strconv.Itoa(i+1))
	}
	for i := range c.Webhooks {
		out = append(out, "webhook-"+strconv.Itoa(i+1))
	}
	return out
}
