package whmcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/shopspring/decimal"
)

// UsageConfig is how the usage of open periods is shown on products in WHMCS.
type UsageConfig struct {
	// Products are the products of services, by the services' ids; none: no usage is shown.
	Products map[string]int64 `yaml:"products"`
	// Unit is what WHMCS counts in: MiB, MB or B.
	Unit string `yaml:"unit"`
	// Every is how often it is written.
	Every time.Duration `yaml:"every"`
	// OverageOff says that overage billing is off for these products in WHMCS: else it would bill what
	// is billed here.
	OverageOff bool `yaml:"overage_off"`
}

// usageUnits are the octets of the units. WHMCS's own overage billing takes 1024 of what it counts in for
// one of the next, so MiB is what its modules write.
var usageUnits = map[string]int64{"MiB": 1 << 20, "MB": 1_000_000, "B": 1}

func (c UsageConfig) validate() error {
	if len(c.Products) == 0 {
		return nil
	}
	switch {
	case usageUnits[c.Unit] == 0:
		return fmt.Errorf("unit: %q: want MiB, MB or B", c.Unit)
	case c.Every <= 0:
		return fmt.Errorf("every: %s is not above 0", c.Every)
	case !c.OverageOff:
		return errors.New("overage_off: not true: with WHMCS's overage billing on, the same traffic is billed there and here; switch it off for these products, and say so")
	}
	for service, product := range c.Products {
		if product < 1 {
			return fmt.Errorf("products: %s: %d is no product's id", service, product)
		}
	}
	return nil
}

// Usage is what a service has used in its open period.
type Usage struct {
	Service, Customer, Currency string
	Octets                      int64
	QuotaOctets                 decimal.Decimal
	Unlimited                   bool
}

// ErrUnit says that WHMCS counts in another unit than it is written in.
var ErrUnit = errors.New("the unit is not WHMCS's")

// product is what GetClientsProducts tells of one.
type product struct {
	ID     number `json:"id"`
	Client number `json:"clientid"`
	Used   number `json:"bwusage"`
	Limit  number `json:"bwlimit"`
}

// ShowUsage writes the usage of a service to its product, and reads it back. A repeat changes nothing, and
// nothing is billed by it.
//
// Errors: ErrUnit, ErrUnfit where the product is another client's; what the call says.
func (c *Client) ShowUsage(ctx context.Context, u Usage) error {
	id, ok := c.cfg.Usage.Products[u.Service]
	if !ok {
		return nil
	}
	client, err := c.cfg.client(u.Customer, u.Currency)
	if err != nil {
		return err
	}
	before, err := c.product(ctx, id)
	if err != nil {
		return err
	}
	if before.Client != "" && string(before.Client) != strconv.FormatInt(client, 10) {
		return fmt.Errorf("%w: product %d is of client %s, and %s pays as client %d", ErrUnfit, id, before.Client, u.Service, client)
	}
	octets := usageUnits[c.cfg.Usage.Unit]
	used, limit := rounded(decimal.NewFromInt(u.Octets), octets), int64(0) // 0 is no limit there
	if !u.Unlimited {
		limit = max(rounded(u.QuotaOctets, octets), 1)
	}
	if farApart(before.Limit, limit) {
		return fmt.Errorf("%w: the limit of product %d is %s there and would be %d in %s: see handover.whmcs.usage.unit", ErrUnit, id, before.Limit, limit, c.cfg.Usage.Unit)
	}
	err = c.call(ctx, "UpdateClientProduct", map[string]string{
		"serviceid": strconv.FormatInt(id, 10), "bwusage": strconv.FormatInt(used, 10), "bwlimit": strconv.FormatInt(limit, 10)}, nil)
	if err != nil {
		return err
	}
	after, err := c.product(ctx, id)
	if err != nil {
		return err
	}
	for _, pair := range []struct {
		name string
		sent int64
		read number
	}{{"bwusage", used, after.Used}, {"bwlimit", limit, after.Limit}} {
		if farApart(pair.read, pair.sent) {
			return fmt.Errorf("%w: %s of product %d was written as %d and is %s: see handover.whmcs.usage.unit", ErrUnit, pair.name, id, pair.sent, pair.read)
		}
		if string(pair.read) != strconv.FormatInt(pair.sent, 10) {
			return fmt.Errorf("%w: %s of product %d was written as %d and is %s: does somebody else write it?", ErrUnfit, pair.name, id, pair.sent, pair.read)
		}
	}
	return nil
}

func (c *Client) product(ctx context.Context, id int64) (product, error) {
	var answer struct {
		Products json.RawMessage `json:"products"`
	}
	if err := c.call(ctx, "GetClientsProducts", map[string]string{"serviceid": strconv.FormatInt(id, 10)}, &answer); err != nil {
		return product{}, err
	}
	list, err := inner[product](answer.Products, "product")
	if err != nil {
		return product{}, fmt.Errorf("GetClientsProducts: read the answer: %w", err)
	}
	for _, p := range list {
		if string(p.ID) == strconv.FormatInt(id, 10) {
			return p, nil
		}
	}
	return product{}, fmt.Errorf("%w: WHMCS has no product %d", ErrUnfit, id)
}

// rounded returns octets in a unit, to the nearest whole one.
func rounded(octets decimal.Decimal, unit int64) int64 {
	return octets.DivRound(decimal.NewFromInt(unit), 0).IntPart()
}

// farApart says that one number is so many times the other that they are not in the same unit: a step
// between units is 10^6 or 2^20.
func farApart(theirs number, ours int64) bool {
	const far = 100_000
	d, err := decimal.NewFromString(string(theirs))
	if err != nil || !d.IsPositive() || ours <= 0 {
		return false
	}
	own := decimal.NewFromInt(ours)
	return d.GreaterThan(own.Mul(decimal.NewFromInt(far))) || own.GreaterThan(d.Mul(decimal.NewFromInt(far)))
}
