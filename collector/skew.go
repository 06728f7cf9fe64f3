package collector

import "time"

// skew measures how far an exporter's clock is ahead of ours, by the times in its headers. What
// delays a datagram makes it look slower, so the highest of an hour is the nearest; NetFlow v9 and
// IPFIX tell whole seconds, and are up to one second too low.
type skew struct {
	hour    int64
	highest time.Duration // in hour
	before  time.Duration // in the hour before that
	known   bool
}

// skewTold is from which skew on an operator is told: flows end up in the wrong minutes, and beyond a
// minute ahead, or a day behind, at the time of receipt.
const skewTold = 10 * time.Second

// note takes a header's time. It returns true once an hour while the skew is worth telling.
func (s *skew) note(exported, received time.Time) (tell bool) {
	ahead := exported.Sub(received)
	if hour := hourOf(received); !s.known || hour != s.hour {
		tell = s.known && s.highest.Abs() >= skewTold
		s.hour, s.before, s.highest = hour, s.highest, ahead
		if !s.known {
			s.before = ahead
		}
		s.known = true
		return tell
	}
	s.highest = max(s.highest, ahead)
	return false
}

// value is the skew as far as it is known: the highest of this hour and the one before.
func (s *skew) value() time.Duration { return max(s.highest, s.before) }
