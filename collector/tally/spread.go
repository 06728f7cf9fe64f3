package tally

import "math/bits"

const minuteNanoseconds = 60_000_000_000

// stretch is the time that a flow's octets are spread over: from start to end, nanoseconds since the
// Unix epoch, and the minutes that it touches.
type stretch struct {
	start, end  int64
	first, last int64
}

// stretchOf takes start <= end. A flow that ends with a minute does not touch the next.
func stretchOf(start, end int64) stretch {
	s := stretch{start: start, end: end, first: floorMinute(start)}
	s.last = s.first
	if end > (s.first+1)*minuteNanoseconds {
		s.last = floorMinute(end - 1)
	}
	return s
}

func floorMinute(nanoseconds int64) int64 {
	minute := nanoseconds / minuteNanoseconds
	if nanoseconds%minuteNanoseconds < 0 {
		minute--
	}
	return minute
}

// share returns how much of total belongs to a minute of the stretch: what has come until its end
// less what had come until its beginning, each rounded down. So the shares of all minutes (as of
// all seconds, or any other cut) add up to the total.
func (s *stretch) share(total uint64, minute int64) uint64 {
	if s.first == s.last {
		return total
	}
	return s.until(total, (minute+1)*minuteNanoseconds) - s.until(total, minute*minuteNanoseconds)
}

// until is what of total has come by a time.
func (s *stretch) until(total uint64, at int64) uint64 {
	if at <= s.start {
		return 0
	}
	if at >= s.end {
		return total
	}
	high, low := bits.Mul64(total, uint64(at-s.start))
	quotient, _ := bits.Div64(high, low, uint64(s.end-s.start)) // less than total: at < end
	return quotient
}
