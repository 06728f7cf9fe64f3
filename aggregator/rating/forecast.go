package rating

import (
	"math/bits"
	"time"
)

// forecastAfter is how much of a period must be over before a straight line through it says anything:
// a whole day, since nights differ from days.
const forecastAfter = 24 * time.Hour

// Forecast returns what octets used until now will be at the period's end if it goes on as it went, by
// a straight line. ok is false in the period's first 24 hours, and where the result does not fit. Behind the period's end it is what was used.
func Forecast(p Period, used uint64, now time.Time) (octets uint64, ok bool) {
	length, gone := p.To.Sub(p.From), now.Sub(p.From)
	switch {
	case gone >= length:
		return used, true
	case gone < forecastAfter:
		return 0, false
	}
	high, low := bits.Mul64(used, uint64(length/time.Millisecond))
	by := uint64(gone / time.Millisecond)
	if high >= by {
		return 0, false
	}
	octets, _ = bits.Div64(high, low, by)
	return octets, true
}
