package whmcs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/config"
	"hostmeter/internal/webhook"
)

// Config is a WHMCS installation and how charges are put into it.
type Config struct {
	// URL is that of includes/api.php; empty: nothing is handed to WHMCS.
	URL string `yaml:"url"`
	// Identifier and Secret are API credentials; AccessKey is the one that lets calls in from
	// addresses that are not on WHMCS's list.
	Identifier config.Secret `yaml:"identifier"`
	Secret     config.Secret `yaml:"secret"`
	AccessKey  config.Secret `yaml:"access_key"`
	// Timeout bounds one call.
	Timeout time.Duration `yaml:"timeout"`
	// Since is the first day: periods that end before it were billed by other means.
	Since rating.Date `yaml:"since"`
	// Delay is the time between the closing of a period and the call, for a person to look at it.
	Delay time.Duration `yaml:"delay"`
	// InvoiceAction is what WHMCS does with an item: nextinvoice, nextcron or noinvoice.
	InvoiceAction string `yaml:"invoice_action"`
	// LegacyHours sends `hours` in place of `unit` and `quantity`, for releases that know no units.
	LegacyHours bool `yaml:"legacy_hours"`
	// ClientPrefix is what a customer's id has before the number of the WHMCS client; Clients names
	// the clients of those customers whose ids are not made so. "ada/USD" is the client for what ada
	// pays in USD: a client there has one currency.
	ClientPrefix string           `yaml:"client_prefix"`
	Clients      map[string]int64 `yaml:"clients"`
	// Credits says what becomes of an amount below nothing.
	Credits Credits `yaml:"credits"`
	// CorrectionWindow is how long after the end of its period a correction is sent without a
	// person's decision; 0 is no bound.
	CorrectionWindow time.Duration `yaml:"correction_window"`
	// Usage shows what open periods have used so far; it bills nothing.
	Usage UsageConfig `yaml:"usage"`
}

// Credits is how an amount below nothing is handed over.
type Credits string

// What becomes of an amount below nothing.
const (
	ParkCredits   Credits = "park"   // a person decides
	CreditBalance Credits = "credit" // AddCredit: added to the client's balance as it is, without VAT
	NegativeItem  Credits = "item"   // a billable item with a negative amount
)

// DefaultConfig hands nothing over.
func DefaultConfig() Config {
	return Config{
		Timeout: 30 * time.Second, Delay: 24 * time.Hour, InvoiceAction: "nextinvoice",
		Credits: ParkCredits, CorrectionWindow: 31 * 24 * time.Hour,
		Usage: UsageConfig{Unit: "MiB", Every: 6 * time.Hour},
	}
}

// Enabled says whether charges are handed to WHMCS at all.
func (c Config) Enabled() bool { return c.URL != "" }

// Validate names the key that is wrong.
func (c Config) Validate() error {
	if !c.Enabled() {
		return nil
	}
	if err := webhook.CheckURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	switch {
	case !c.Identifier.IsSet():
		return errors.New("identifier: missing")
	case !c.Secret.IsSet():
		return errors.New("secret: missing")
	case c.Since.IsZero():
		return errors.New("since: missing: say from which day on periods are handed over, so that none is billed that was billed by other means")
	case c.Timeout <= 0 || c.Timeout > 5*time.Minute:
		return fmt.Errorf("timeout: %s is not above 0 and at most 5m", c.Timeout)
	case c.Delay < 0:
		return fmt.Errorf("delay: %s is below 0", c.Delay)
	case c.CorrectionWindow < 0:
		return fmt.Errorf("correction_window: %s is below 0", c.CorrectionWindow)
	}
	switch c.InvoiceAction {
	case "nextinvoice", "nextcron", "noinvoice":
	default:
		return fmt.Errorf("invoice_action: %q: want nextinvoice, nextcron or noinvoice", c.InvoiceAction)
	}
	switch c.Credits {
	case ParkCredits, CreditBalance, NegativeItem:
	default:
		return fmt.Errorf("credits: %q: want park, credit or item", c.Credits)
	}
	if err := c.Usage.validate(); err != nil {
		return fmt.Errorf("usage.%w", err)
	}
	for customer, client := range c.Clients {
		if client < 1 {
			return fmt.Errorf("clients: %s: %d is no client's id", customer, client)
		}
	}
	return nil
}

// client returns the WHMCS client of a customer for a currency.
func (c Config) client(customer, currency string) (int64, error) {
	for _, name := range []string{customer + "/" + currency, customer} {
		if id, ok := c.Clients[name]; ok {
			return id, nil
		}
	}
	digits, ok := strings.CutPrefix(customer, c.ClientPrefix)
	if id, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && id > 0 && strconv.FormatInt(id, 10) == digits {
		return id, nil
	}
	return 0, fmt.Errorf("%w: customer %s has no WHMCS client: name it in handover.whmcs.clients", ErrUnfit, customer)
}
