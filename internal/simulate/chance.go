package simulate

import (
	"math"
	"math/rand/v2"
)

// binomial draws how many of n packets a random 1-in-rate sampler takes. Products are rounded
// before they are added (float64(x*y)+z), so that every processor draws the same.
func binomial(rng *rand.Rand, n, rate uint64) uint64 {
	chance := 1 / float64(rate)
	mean := float64(n) * chance
	if mean < 12 {
		return binomialExact(rng, n, chance)
	}
	deviation := math.Sqrt(float64(mean * (1 - chance)))
	drawn := math.Round(float64(rng.NormFloat64()*deviation) + mean)
	return uint64(min(max(drawn, 0), float64(n)))
}

// binomialExact inverts the distribution, for a small mean.
func binomialExact(rng *rand.Rand, n uint64, chance float64) uint64 {
	none, square := 1.0, 1-chance // none becomes (1-chance)^n
	for k := n; k > 0; k >>= 1 {
		if k&1 == 1 {
			none *= square
		}
		square *= square
	}
	u, term := rng.Float64(), none
	sum := term
	for k := uint64(0); k < n; k++ {
		if u < sum {
			return k
		}
		term *= float64(n-k) / float64(k+1) * (chance / (1 - chance))
		if term == 0 {
			return k
		}
		sum += term
	}
	return n
}
