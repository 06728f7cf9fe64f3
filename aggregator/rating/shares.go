package rating

import (
	"cmp"
	"math/big"
	"slices"

	"github.com/shopspring/decimal"
)

// Shares divides a total in proportion to weights, by the method of the largest remainder, into parts
// that add up to it exactly. Parts have at most as many places behind the point as places says, or as
// the total has, if that is more.
//
// Each part is the exact share rounded down to the last place; what is left is given out in steps of that
// place, one each, to the parts that lost most by it, and where two lost the same to the one that comes
// first. Where all weights are 0, the parts are equal. A negative total is shared as its opposite is.
func Shares(total decimal.Decimal, weights []uint64, places int32) []decimal.Decimal {
	parts := make([]decimal.Decimal, len(weights))
	if len(weights) == 0 {
		return parts
	}
	places = max(places, -total.Exponent())
	sum := new(big.Int)
	for _, w := range weights {
		sum.Add(sum, new(big.Int).SetUint64(w))
	}
	equal := sum.Sign() == 0
	if equal {
		sum.SetInt64(int64(len(weights)))
	}
	steps := total.Abs().Shift(places).BigInt()
	left := new(big.Int).Set(steps)
	whole, rest := make([]*big.Int, len(weights)), make([]*big.Int, len(weights))
	order := make([]int, len(weights))
	for i, w := range weights {
		product := new(big.Int).SetUint64(w)
		if equal {
			product.SetInt64(1)
		}
		whole[i], rest[i] = product.QuoRem(product.Mul(product, steps), sum, new(big.Int))
		left.Sub(left, whole[i])
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(rest[b].Cmp(rest[a]), a-b) })
	for _, i := range order[:left.Int64()] { // fewer than there are parts with a rest
		whole[i].Add(whole[i], big.NewInt(1))
	}
	for i := range parts {
		parts[i] = exact(decimal.NewFromBigInt(whole[i], -places))
		if total.IsNegative() {
			parts[i] = parts[i].Neg()
		}
	}
	return parts
}
