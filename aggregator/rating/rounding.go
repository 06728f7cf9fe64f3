package rating

import (
	"fmt"

	"github.com/shopspring/decimal"
)

// Rounding is the rule by which an amount becomes a whole number of the currency's smallest unit. It
// is applied once per charge, to the product of quantity and unit price.
type Rounding string

// The rules; they differ only where an amount lies exactly half way.
const (
	HalfEven Rounding = "half_even" // 0.125 becomes 0.12, 0.135 becomes 0.14; the default
	HalfUp   Rounding = "half_up"   // 0.125 becomes 0.13; what WHMCS and most invoices do
)

// ParseRounding reads "half_even" or "half_up".
func ParseRounding(text string) (Rounding, error) {
	switch r := Rounding(text); r {
	case HalfEven, HalfUp:
		return r, nil
	}
	return "", fmt.Errorf("rounding %q: want half_even or half_up", text)
}

func (r Rounding) round(amount decimal.Decimal, digits int32) decimal.Decimal {
	if r == HalfUp {
		return amount.Round(digits) // half away from zero, which is up: a charge is not negative
	}
	return amount.RoundBank(digits)
}
