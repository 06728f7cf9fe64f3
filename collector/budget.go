package collector

import (
	"net/netip"
	"time"
)

const (
	// DefaultDatagramsPerSecond is more than any device sends and one core decodes.
	DefaultDatagramsPerSecond = 250_000
	// budgetBurst is for how long an exporter may have saved its budget up.
	budgetBurst = time.Second
)

// budget bounds the datagrams of an exporter that are decoded: a bucket that a second fills.
type budget struct {
	each time.Duration // a datagram's part of a second
	full int64         // when the bucket is full again, in nanoseconds since the Unix epoch
	last int64         // when the last datagram came
}

func newBudget(perSecond uint32) budget { return budget{each: time.Second / time.Duration(perSecond)} }

// spend takes a datagram that came at the time at; false where the budget is used up. A clock that is set
// back takes the bucket with it.
func (b *budget) spend(at time.Time) bool {
	now := at.UnixNano()
	if now < b.last {
		b.full -= b.last - now
	}
	b.last = now
	b.full = max(b.full, now)
	if b.full+int64(b.each) > now+int64(budgetBurst) {
		return false
	}
	b.full += int64(b.each)
	return true
}

// skip counts a datagram that its exporter's budget has no room for: as received, and dropped.
func (l *lane) skip(s *source, from netip.AddrPort, at time.Time, datagram []byte) {
	if s.samples != nil {
		s.samples.Skip(datagram)
	} else {
		s.flows.Skip(from, at, datagram)
	}
	if s.overflowed {
		l.settleSource(s)
		s.overflowed = false
	}
	if at.Sub(s.exporter.refusedAt) < refusedPause && !s.exporter.refusedAt.IsZero() {
		return
	}
	s.exporter.refusedAt = at
	l.deps.Logger.Warn("an exporter sends more than its budget: what is beyond it is dropped", "exporter", s.exporter.text,
		"protocol", string(s.protocol), "datagrams_per_second", s.exporter.cfg.datagramsPerSecond(),
		"hint", "if that is its traffic and no flood, raise datagrams_per_second in its line of collector.exporters")
}

// refusedPause is how often an exporter beyond its budget is told of.
const refusedPause = time.Hour
