package rating

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// Unit is what quotas and prices count in: GB and TB are powers of ten, GiB and TiB of two. Mbit/s and
// Gbit/s, powers of ten, are those of a percentile.
type Unit string

// The units.
const (
	GB            Unit = "GB"
	TB            Unit = "TB"
	GiB           Unit = "GiB"
	TiB           Unit = "TiB"
	MbitPerSecond Unit = "Mbit/s"
	GbitPerSecond Unit = "Gbit/s"
)

// ParseUnit reads a unit, written exactly.
func ParseUnit(text string) (Unit, error) {
	switch unit := Unit(text); unit {
	case GB, TB, GiB, TiB, MbitPerSecond, GbitPerSecond:
		return unit, nil
	}
	return "", fmt.Errorf("unit %q: want GB, TB, GiB, TiB, Mbit/s or Gbit/s", text)
}

// IsRate says that the unit is one of a rate, and not of octets.
func (u Unit) IsRate() bool { return u == MbitPerSecond || u == GbitPerSecond }

// Octets returns how many octets one unit is; 0 where it is one of a rate.
func (u Unit) Octets() int64 {
	if u.IsRate() {
		return 0
	}
	return u.Size()
}

// Size returns how many octets one unit is, or, of a rate, how many bit/s; 0 where the unit is none.
func (u Unit) Size() int64 {
	switch u {
	case GB:
		return 1e9
	case TB:
		return 1e12
	case GiB:
		return 1 << 30
	case TiB:
		return 1 << 40
	case MbitPerSecond:
		return 1e6
	case GbitPerSecond:
		return 1e9
	}
	return 0
}

// Of returns octets, or bit/s, in the unit, exactly: a power of two or ten divides into a finite decimal.
func (u Unit) Of(size decimal.Decimal) decimal.Decimal {
	return exact(size.DivRound(decimal.NewFromInt(u.Size()), 80))
}

// Quantity is an amount of a unit, or no limit at all.
type Quantity struct {
	Amount    decimal.Decimal
	Unit      Unit
	Unlimited bool
}

// ParseQuantity reads "10 TB", "0.1 TB", "500GiB", "100 Mbit/s" or "unlimited".
func ParseQuantity(text string) (Quantity, error) {
	text = strings.TrimSpace(text)
	if text == "unlimited" {
		return Quantity{Unlimited: true, Unit: GB}, nil
	}
	fault := fmt.Errorf("quantity %q: want a number and GB, TB, GiB, TiB, Mbit/s or Gbit/s, or unlimited", text)
	rest := strings.TrimLeft(text, "-.0123456789")
	unit, err := ParseUnit(strings.TrimSpace(rest))
	if err != nil {
		return Quantity{}, fault
	}
	amount, err := ParseDecimal(strings.TrimSuffix(text, rest))
	if err != nil || amount.IsNegative() {
		return Quantity{}, fault
	}
	return Quantity{Amount: amount, Unit: unit}, nil
}

// String writes the quantity as ParseQuantity reads it.
func (q Quantity) String() string {
	switch {
	case q.Unlimited:
		return "unlimited"
	case q.Unit == "":
		return ""
	}
	return q.Amount.String() + " " + string(q.Unit)
}

// Size returns the quantity in octets, or bit/s; a decimal, because 0.1 GiB is no whole number of them.
func (q Quantity) Size() decimal.Decimal {
	return q.Amount.Mul(decimal.NewFromInt(q.Unit.Size()))
}

// Equal says whether both are the same amount of the same unit.
func (q Quantity) Equal(other Quantity) bool {
	return q.Unit == other.Unit && q.Unlimited == other.Unlimited && q.Amount.Equal(other.Amount)
}

// MarshalJSON writes the text of String.
func (q Quantity) MarshalJSON() ([]byte, error) { return json.Marshal(q.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (q *Quantity) UnmarshalJSON(data []byte) error { return unmarshalText(data, q, ParseQuantity) }

// unmarshalText reads the JSON text of a value that has none for its zero value.
func unmarshalText[T any](data []byte, to *T, parse func(string) (T, error)) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if text == "" {
		*to = *new(T)
		return nil
	}
	var err error
	*to, err = parse(text)
	return err
}

// ParseDecimal reads a plain decimal number of at most 30 characters: no exponent, no separators.
// Without the bound, "1e999999999" would be a number whose sum with another fills the memory.
func ParseDecimal(text string) (decimal.Decimal, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > 30 || strings.Trim(text, "-.0123456789") != "" {
		return decimal.Decimal{}, fmt.Errorf("number %q: want digits with an optional point", text)
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return decimal.Decimal{}, fmt.Errorf("number %q: want digits with an optional point", text)
	}
	return d, nil
}

// exact drops the zeros behind the last digit that counts.
func exact(d decimal.Decimal) decimal.Decimal {
	short, err := decimal.NewFromString(d.String())
	if err != nil {
		return d
	}
	return short
}
