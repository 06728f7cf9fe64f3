package rating

import (
	"errors"
	"fmt"

	"github.com/shopspring/decimal"
)

// NoticeDays is how many days before it takes effect a price must have been told to customers.
const NoticeDays = 10

// ErrNotice is returned for a price version that was told too late.
var ErrNotice = errors.New("price needs at least 10 days' notice")

// ErrNoPrice is returned when there is something to charge and no price for it.
var ErrNoPrice = errors.New("no price")

// PriceKey is what a price is published for: the thing sold, the point of presence, the currency.
type PriceKey struct {
	SKU      string `json:"sku"`
	Place    string `json:"place"`
	Currency string `json:"currency"`
}

func (k PriceKey) String() string { return fmt.Sprintf("%s, %s, %s", k.SKU, k.Place, k.Currency) }

// Price is one version of a price. It applies to periods that start on or after From, until a later
// version does: a period has one price from its first octet to its last.
type Price struct {
	PriceKey
	From    Date            `json:"from"`
	Noticed Date            `json:"noticed"`
	Per     Unit            `json:"per"`
	Begun   bool            `json:"begun"` // each block that is begun is charged whole
	Amount  decimal.Decimal `json:"amount"`
}

// Validate checks a version by itself. Errors: ErrNotice, or what is wrong with a field.
func (p Price) Validate() error {
	switch {
	case p.SKU == "":
		return errors.New("sku: missing")
	case !IsCurrency(p.Currency):
		return fmt.Errorf("currency %q: not a code of ISO 4217", p.Currency)
	case p.From.IsZero():
		return errors.New("from: missing")
	case p.Noticed.IsZero():
		return errors.New("noticed: missing")
	case p.Per.Size() == 0:
		return fmt.Errorf("per %q: want GB, TB, GiB, TiB, Mbit/s or Gbit/s", p.Per)
	case p.Amount.IsNegative():
		return fmt.Errorf("amount %s: a price is not negative", p.Amount)
	case p.Noticed.AddDays(NoticeDays).Compare(p.From) > 0:
		return fmt.Errorf("noticed %s for %s: %w", p.Noticed, p.From, ErrNotice)
	}
	return nil
}

// PriceFor returns the version that applies to a period of the contract: the latest whose date is
// not after the period's first day. ok is false where there is none.
func PriceFor(c Contract, p Period, prices []Price) (price Price, ok bool) {
	first := DateOf(p.From.In(c.Schedule.Zone))
	key := c.PriceKey()
	for _, candidate := range prices {
		if candidate.PriceKey != key || candidate.From.Compare(first) > 0 {
			continue
		}
		if !ok || candidate.From.Compare(price.From) > 0 {
			price, ok = candidate, true
		}
	}
	return price, ok
}
