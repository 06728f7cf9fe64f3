package oracle

import (
	"math/big"
	"strings"
)

// quantity is an amount of octets, or of bit/s, exactly.
type quantity struct {
	base      *big.Rat
	unit      string
	unlimited bool
}

// sizes of units, in octets or bit/s.
var sizes = map[string]int64{
	"GB": 1e9, "TB": 1e12, "GiB": 1 << 30, "TiB": 1 << 40, "Mbit/s": 1e6, "Gbit/s": 1e9,
}

// parseQuantity reads "10 TB" or "unlimited".
func parseQuantity(text string) quantity {
	if text == "unlimited" {
		return quantity{unlimited: true}
	}
	number, unit, _ := strings.Cut(text, " ")
	value, ok := new(big.Rat).SetString(number)
	if !ok || sizes[unit] == 0 {
		panic("oracle: quantity " + text) // a fault of whoever drew it
	}
	return quantity{base: value.Mul(value, sizeOf(unit)), unit: unit}
}

func sizeOf(unit string) *big.Rat { return new(big.Rat).SetInt64(sizes[unit]) }

// less says that q is less than other; no limit is more than any.
func (q quantity) less(other quantity) bool {
	return !q.unlimited && (other.unlimited || q.base.Cmp(other.base) < 0)
}

// in writes octets, or bit/s, in a unit, exactly.
func in(base *big.Rat, unit string) string { return exactly(new(big.Rat).Quo(base, sizeOf(unit))) }

// exactly writes a number that has finitely many digits, without zeros at the end.
func exactly(number *big.Rat) string {
	const digits = 60 // of octets in TiB there are 40
	text := number.FloatString(digits)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// ceiling is the least whole number that is not below a number that is not negative.
func ceiling(number *big.Rat) *big.Int {
	whole, rest := new(big.Int).QuoRem(number.Num(), number.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole
}

// digitsOf is how many digits behind the point an amount of a currency has (ISO 4217).
func digitsOf(currency string) int {
	if currency == "JPY" {
		return 0
	}
	return 2
}

// money rounds an amount that is not negative to the smallest unit of its currency, a half up or to the even one.
func money(amount *big.Rat, currency, rounding string) string {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digitsOf(currency))), nil)
	units := new(big.Rat).Mul(amount, new(big.Rat).SetInt(unit))
	whole, rest := new(big.Int).QuoRem(units.Num(), units.Denom(), new(big.Int))
	twice := rest.Lsh(rest, 1)
	switch half := twice.Cmp(units.Denom()); {
	case half > 0, half == 0 && (rounding == "half_up" || whole.Bit(0) == 1):
		whole.Add(whole, big.NewInt(1))
	}
	return new(big.Rat).SetFrac(whole, unit).FloatString(digitsOf(currency))
}
