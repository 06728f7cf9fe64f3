package notice

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"hostmeter/internal/config"
	"hostmeter/internal/webhook"
)

// Config is the part `notices` of the configuration.
type Config struct {
	// Every is how often the open periods are looked at.
	Every time.Duration `yaml:"every"`
	// LinkTo is the address of the pages as customers reach it, and LinkKey signs the links; both or neither: without,
	// a mail has no link, and choices come by the API.
	LinkTo  string        `yaml:"link_to"`
	LinkKey config.Secret `yaml:"link_key"`
}

// keyMin is how many octets a key has at least.
const keyMin = 16

// DefaultConfig looks every ten minutes.
func DefaultConfig() Config { return Config{Every: 10 * time.Minute} }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	if c.Every <= 0 {
		return fmt.Errorf("every: %s is not above 0", c.Every)
	}
	if (c.LinkTo == "") != !c.LinkKey.IsSet() {
		return errors.New("link_key: want both link_to and link_key, or neither")
	}
	if c.LinkTo == "" {
		return nil
	}
	if err := webhook.CheckURL(c.LinkTo); err != nil {
		return fmt.Errorf("link_to: %w", err)
	}
	if len(c.LinkKey.Reveal()) < keyMin {
		return fmt.Errorf("link_key: want at least %d characters, as `openssl rand -base64 32` makes", keyMin)
	}
	return nil
}

func (c Config) links() bool { return c.LinkTo != "" }

// page is the address of the page behind a link.
func (c Config) page(token string) string {
	return strings.TrimRight(c.LinkTo, "/") + LinkPath + "?t=" + token
}

// LinkPath is the path of the page behind the links.
const LinkPath = "/decide"
