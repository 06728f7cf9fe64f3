// Package sequence tells from sequence numbers what an exporter sent and nobody received.
package sequence

// Stream follows the sequence numbers of one stream of datagrams, which count units (datagrams,
// flows or records) modulo 2^32 from one datagram to the next.
//
// It tolerates reordering: a datagram that fills a gap takes its units back from what was lost. An
// exporter that begins anew shows as two datagrams in a row that follow each other, or as an uptime
// that runs backwards, and loses nothing.
type Stream struct {
	known    bool
	open     bool // the last datagram held records that could not be counted
	expected uint32
	again    uint32 // what would follow the last datagram that seemed old
	maybe    bool   // again holds
	uptime   uint32 // the highest seen
	gaps     [8]gap
	next     int // the gap to overwrite
}

type gap struct{ from, units uint32 }

// jumpMax is the largest gap that counts as loss; a larger jump is a restart. It is some seconds of the
// highest rates: a receive queue that overflows frees its memory by quarters, and what is sent
// meanwhile is one gap.
const jumpMax = 1 << 24

// backMax is by how many milliseconds an uptime may run backwards through reordering.
const backMax = 60_000

// Advance takes a datagram's number, its units and the exporter's uptime in milliseconds (0 where
// the protocol has none) and returns what is newly known to be lost, negative
// when a lost datagram came late. open says that the units are a lower bound.
func (s *Stream) Advance(number, units, uptime uint32, open bool) (lost int64, restarted bool) {
	back := int32(uptime - s.uptime)
	if s.known && back < -backMax {
		*s, restarted = Stream{}, true
	}
	if back > 0 || !s.known {
		s.uptime = uptime
	}
	wasOpen := s.open
	ahead := int32(number - s.expected)
	switch {
	case !s.known, ahead == 0, ahead > 0 && wasOpen && ahead <= jumpMax:
	case ahead > 0 && ahead <= jumpMax:
		lost = int64(ahead)
		s.gaps[s.next] = gap{s.expected, uint32(ahead)}
		s.next = (s.next + 1) % len(s.gaps)
	case ahead > jumpMax:
		restarted = true
	default:
		if late := s.fill(number, units); late > 0 {
			return -late, restarted
		}
		if !s.maybe || s.again != number {
			s.maybe, s.again = true, number+units
			return 0, false
		}
		restarted = true
	}
	if restarted {
		s.gaps = [8]gap{}
	}
	s.known, s.open, s.expected, s.maybe = true, open, number+units, false
	return lost, restarted
}

// fill takes a late datagram out of the gap that it belongs to and returns its units.
func (s *Stream) fill(number, units uint32) int64 {
	for i := range s.gaps {
		g := &s.gaps[i]
		before := number - g.from
		if g.units == 0 || before >= g.units {
			continue
		}
		units = min(units, g.units-before)
		after := g.units - before - units
		g.units = before
		if after > 0 {
			s.gaps[s.next] = gap{number + units, after}
			s.next = (s.next + 1) % len(s.gaps)
		}
		return int64(units)
	}
	return 0
}

// Expected returns the next number and the highest uptime; ok is false before the first datagram. Behind
// a datagram with records that could not be counted the number is a lower bound: a stream that
// resumes there declares those records lost, and no others.
func (s *Stream) Expected() (number, uptime uint32, ok bool) {
	return s.expected, s.uptime, s.known
}

// Resume is a stream that goes on from what Expected returned.
func Resume(number, uptime uint32) Stream {
	return Stream{known: true, expected: number, uptime: uptime}
}
