package rating

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/shopspring/decimal"
)

// SampledPolicy says what a sampled estimate is charged by.
type SampledPolicy string

// The policies. None is SampledEstimate. Without sampling they are the same.
const (
	SampledEstimate   SampledPolicy = "estimate"
	SampledLowerBound SampledPolicy = "lower_bound" // the lower end of the 95 % interval
	// SampledHold charges by the estimate, except where the quota lies inside the interval: then nothing
	// is charged until a person decides.
	SampledHold SampledPolicy = "hold"
)

// ErrPercentileError is returned for a policy that needs the standard error of a percentile.
var ErrPercentileError = errors.New("the standard error of a percentile is not known: want sampled estimate")

// ParseSampledPolicy reads "estimate", "lower_bound" or "hold".
func ParseSampledPolicy(text string) (SampledPolicy, error) {
	switch s := SampledPolicy(text); s {
	case SampledEstimate, SampledLowerBound, SampledHold:
		return s, nil
	}
	return "", fmt.Errorf("sampled %q: want estimate, lower_bound or hold", text)
}

// Interval is an estimate in octets, and where the true value lies in 95 of 100 cases.
type Interval struct{ Low, Estimate, High decimal.Decimal }

// Interval returns the estimate of what counts in a direction that is no percentile, give or take 1.96
// standard errors, rounded up to whole octets. Low is not below 0. It is computed in integers, because a
// contract may charge by it. Of Max, Low and High are the greater of both directions' own.
func (u Usage) Interval(d Direction) Interval {
	in := intervalOf(u.InOctets, u.InVarianceKiB2)
	out := intervalOf(u.OutOctets, u.OutVarianceKiB2)
	switch d {
	case In:
		return in
	case Out:
		return out
	case Max:
		return Interval{Low: decimal.Max(in.Low, out.Low), Estimate: decimal.Max(in.Estimate, out.Estimate), High: decimal.Max(in.High, out.High)}
	}
	sum := in.Estimate.Add(out.Estimate)
	variance := new(big.Int).Add(new(big.Int).SetUint64(u.InVarianceKiB2), new(big.Int).SetUint64(u.OutVarianceKiB2))
	return intervalAround(sum, variance)
}

func intervalOf(octets, varianceKiB2 uint64) Interval {
	return intervalAround(decimal.NewFromUint64(octets), new(big.Int).SetUint64(varianceKiB2))
}

func intervalAround(estimate decimal.Decimal, varianceKiB2 *big.Int) Interval {
	half := decimal.NewFromBigInt(halfWidth(varianceKiB2), 0)
	return Interval{Low: decimal.Max(estimate.Sub(half), decimal.Zero), Estimate: estimate, High: estimate.Add(half)}
}

// halfWidth returns the least whole number that is not below 1.96 * 1024 * the root of the variance: its
// square is not below 3.8416 * 2^20 * variance.
func halfWidth(varianceKiB2 *big.Int) *big.Int {
	square := new(big.Int).Mul(varianceKiB2, big.NewInt(38416<<20))
	square, rest := square.QuoRem(square, big.NewInt(10_000), new(big.Int))
	if rest.Sign() > 0 {
		square.Add(square, big.NewInt(1))
	}
	root := new(big.Int).Sqrt(square)
	if new(big.Int).Mul(root, root).Cmp(square) < 0 {
		root.Add(root, big.NewInt(1))
	}
	return root
}

// holds says that an end of the interval would be charged beyond line, and the other would not.
func (i Interval) holds(line decimal.Decimal) bool {
	return !i.Low.GreaterThan(line) && i.High.GreaterThan(line) && !i.Low.Equal(i.High)
}
