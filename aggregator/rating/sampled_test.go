package rating_test

import (
	"math/big"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

// TestIntervalIsTheLeastThatCovers checks the half width by its square: it covers 1.96 standard errors, and
// one octet less would not.
func TestIntervalIsTheLeastThatCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rating.Usage{InOctets: 1 << 62, InVarianceKiB2: rapid.Uint64().Draw(t, "variance")}
		i := u.Interval(rating.In)
		half := i.High.Sub(i.Estimate)
		covers := func(width decimal.Decimal) bool {
			square := new(big.Rat).Mul(width.Rat(), width.Rat())
			variance := new(big.Rat).Mul(new(big.Rat).SetInt(new(big.Int).SetUint64(u.InVarianceKiB2)), big.NewRat(38416<<20, 10_000))
			return square.Cmp(variance) >= 0
		}
		if !covers(half) || half.IsPositive() && covers(half.Sub(decimal.NewFromInt(1))) {
			t.Fatalf("variance %d: half width %s", u.InVarianceKiB2, half)
		}
	})
}

func TestIntervals(t *testing.T) {
	f := func(d rating.Direction, u rating.Usage, low, estimate, high int64) {
		t.Helper()
		i := u.Interval(d)
		if i.Low.IntPart() != low || i.Estimate.IntPart() != estimate || i.High.IntPart() != high {
			t.Fatalf("%s of %+v: got %+v", d, u, i)
		}
	}
	u := rating.Usage{InOctets: 100_000, OutOctets: 95_000, InVarianceKiB2: 400, OutVarianceKiB2: 225} // errors of 20 and 15 KiB
	f(rating.In, u, 100_000-40_141, 100_000, 140_141)                                                  // 1.96 * 20480 = 40140.8
	f(rating.Out, u, 95_000-30_106, 95_000, 125_106)                                                   // 1.96 * 15360 = 30105.6
	f(rating.Sum, u, 195_000-50_176, 195_000, 245_176)                                                 // 1.96 * 25600: roots of sums
	f(rating.Max, u, 64_894, 100_000, 140_141)                                                         // out's low is the greater
	f(rating.Sum, rating.Usage{InOctets: 5, InVarianceKiB2: 1}, 0, 5, 2013)                            // not below nothing
	f(rating.Sum, rating.Usage{InOctets: 5}, 5, 5, 5)                                                  // counted, not sampled
}
