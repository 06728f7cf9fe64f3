package tally

import "math/bits"

// scaler multiplies sums by numerator/denominator, rounding down, and carries what it rounded off
// into the next: over any number of sums the results add up to the whole product, rounded down
// once. The zero value is ready.
type scaler struct{ remainder uint64 }

// scale returns n * numerator / denominator. ok is false, and nothing is carried, where that does
// not fit 64 bits. denominator is not 0.
func (s *scaler) scale(n uint64, numerator, denominator uint32) (scaled uint64, ok bool) {
	high, low := bits.Mul64(n, uint64(numerator))
	low, carry := bits.Add64(low, s.remainder, 0)
	high += carry
	if high >= uint64(denominator) {
		return 0, false
	}
	scaled, s.remainder = bits.Div64(high, low, uint64(denominator))
	return scaled, true
}

// scaleRoughly is for what nobody is charged for: rounded down, and at most the largest number.
func scaleRoughly(n uint64, numerator, denominator uint32) uint64 {
	if numerator == denominator {
		return n
	}
	high, low := bits.Mul64(n, uint64(numerator))
	if high >= uint64(denominator) {
		return ^uint64(0)
	}
	scaled, _ := bits.Div64(high, low, uint64(denominator))
	return scaled
}

// variance returns N(N-1) * squares in units of 2^20, rounded up, N being numerator/denominator:
// at most the largest number. It is 0 where nothing was sampled.
//
// Phaal and Panchen's estimate of packet sampling: each of the packets seen stands for N, and
// contributes N(N-1)s^2 to the variance of the sum of octets.
func variance(squares uint64, numerator, denominator uint32) uint64 {
	if numerator <= denominator || squares == 0 {
		return 0
	}
	n, d := uint64(numerator), uint64(denominator)
	high, low := bits.Mul64(squares, n*(n-d))
	if divisor := d * d; divisor > 1 {
		if high >= divisor {
			return ^uint64(0)
		}
		var remainder uint64
		low, remainder = bits.Div64(high, low, divisor)
		if high = 0; remainder > 0 && low != ^uint64(0) {
			low++
		}
	}
	if low&(1<<20-1) != 0 {
		low += 1 << 20
		if low < 1<<20 {
			high++
		}
	}
	if high>>20 != 0 {
		return ^uint64(0)
	}
	return high<<44 | low>>20
}

// squaresOf bounds the sum of s^2 over the packets of a record of octets in packets.
//
// A single packet is exact. Else the bound is octets * largest, where the largest packet is taken
// as 1500 octets, or what is left when the others are bare IP headers of 20; 65535 where the mean
// is above 1500, as jumbo frames and offloaded segments give.
func squaresOf(octets, packets uint64) uint64 {
	largest := octets
	if packets > 1 {
		frames := uint64(1500)
		if octets/packets >= frames {
			frames = 65535
		}
		if headers, over := mulSaturated(20, packets-1), frames; octets > headers {
			largest = min(octets-headers, over)
		} else {
			largest = min(octets, over)
		}
	}
	return mulSaturated(octets, largest)
}

func mulSaturated(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	if high != 0 {
		return ^uint64(0)
	}
	return low
}

func addSaturated(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return ^uint64(0)
	}
	return sum
}
