package collector

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hostmeter/collector/netflow"
	"hostmeter/collector/replay"
	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// shared is what all lanes use.
type shared struct {
	cfg     Config
	deps    Deps
	allow   allowList
	metrics *metrics
	learned *learnedStore // nil before Open
	heard   atomic.Int64  // exporters of all lanes

	namesMu sync.Mutex
	names   []string // of exporters and hosts, as tallies refer to them; it only grows
	numbers map[string]uint32

	knocksMu sync.Mutex
	knocks   knocks

	watchMu sync.Mutex
	watch   *tally.Watch
	twice   map[[2]tally.Sight]tally.Twice // by pair, the last of each
}

// lane is the part of the collector's work that one core does at a time. An exporter belongs to one lane, by
// its address, with all that is made of its datagrams; hypervisors belong to the first.
type lane struct {
	*shared

	mu          sync.Mutex // guards all below
	table       *tally.Table
	programs    netflow.Programs // of all exporters
	exporters   map[netip.Addr]*exporter
	hosts       map[string]*host
	order       []accountable // exporters and hosts in the order in which they were made
	accounts    map[accountKey]*schemas.ExporterAccount
	guests      []*schemas.GuestUsage
	corrections *tallies // of what was flushed before at a wrong rate
	complete    []*schemas.Completeness
	received    interval
	fed         bool
	// restoredHosts are positions of hypervisors of the run before.
	restoredHosts []*schemas.SourcePosition
	records       []schemas.FlowRecord // of one datagram
	repeated      repeated
}

// lanesMost bounds the lanes: each has a table of its own.
const lanesMost = 8

// lanesFor leaves half of the processors to those who receive, write the log and read it.
func lanesFor(processors int) int { return min(max(processors/2, 1), lanesMost) }

func newLane(s *shared, lanes int) *lane {
	config := s.cfg.tally()
	config.Notes /= lanes
	return &lane{
		shared:      s,
		table:       tally.New(config),
		exporters:   map[netip.Addr]*exporter{},
		hosts:       map[string]*host{},
		accounts:    map[accountKey]*schemas.ExporterAccount{},
		corrections: newTallies(s.cfg.Shards, nil),
		repeated:    newRepeated(),
	}
}

// tally says what the tables add up.
func (c Config) tally() tally.Config {
	config := tally.DefaultConfig()
	config.Local, config.Assigned, config.Classes = c.Local, c.Assigned, c.Classes
	return config
}

// numberOf is what tallies refer to an exporter or a host by.
func (s *shared) numberOf(name string) uint32 {
	s.namesMu.Lock()
	defer s.namesMu.Unlock()
	number, known := s.numbers[name]
	if !known {
		number = uint32(len(s.names))
		s.names, s.numbers[name] = append(s.names, name), number
	}
	return number
}

// namesOf are what the numbers of tallies refer to.
func (s *shared) namesOf() []string {
	s.namesMu.Lock()
	defer s.namesMu.Unlock()
	return slices.Clone(s.names)
}

// laneOf is the lane of an address, by its number.
func (c *Collector) laneOf(addr netip.Addr) int {
	if len(c.lanes) == 1 {
		return 0
	}
	b := addr.Unmap().As16()
	h := uint32(2166136261) // FNV-1a
	for _, octet := range b {
		h = (h ^ uint32(octet)) * 16777619
	}
	return int((h ^ h>>16) % uint32(len(c.lanes)))
}

// Feed takes one datagram, just below the socket. It returns when the datagram is counted, and keeps
// nothing of it. Datagrams of one exporter must come in their order.
func (c *Collector) Feed(from netip.AddrPort, receivedAt time.Time, datagram []byte) {
	l := c.lanes[c.laneOf(from.Addr())]
	l.feed(from, receivedAt, datagram, l.repeated.hash(datagram), queue{})
}

// queue says of a datagram at which socket it was queued, and how many were dropped there before it. The
// zero value says nothing.
type queue struct {
	socket int // number + 1
	drops  uint32
}

// feed takes one datagram, and its hash of l.repeated.
func (l *lane) feed(from netip.AddrPort, receivedAt time.Time, datagram []byte, hash uint64, q queue) {
	addr := from.Addr().Unmap()
	protocol, known := replay.Recognise(datagram)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fed = true
	e := l.exporters[addr]
	if e == nil {
		if e = l.admit(addr, receivedAt, protocol); e == nil {
			l.metrics.datagram(protocol)
			return
		}
	}
	if known && l.repeated.seen(e, hash) {
		l.metrics.datagram(protocol)
		l.dropRepeated(e, protocol, receivedAt)
		return
	}
	l.received.include(receivedAt)
	if e.since.IsZero() {
		e.since = receivedAt
	}
	e.last = latest(e.last, receivedAt)
	switch {
	case !known:
		l.metrics.datagram(protocol)
		l.dropUnknown(e, receivedAt)
		return
	case !e.cfg.expects(protocol):
		l.metrics.datagram(protocol)
		l.dropDatagram(accountKey{e.text, protocol, hourOf(receivedAt)}, "protocol_not_expected")
		return
	}
	s := e.source(protocol)
	if s == nil {
		s = l.addSource(e, protocol)
	}
	s.datagrams.Inc()
	if hour := hourOf(receivedAt); hour != s.hour {
		l.settleSource(s)
		s.hour = hour
	}
	if minute := minuteOf(receivedAt); minute != s.observed {
		l.observe(e.text, protocol, s.last, receivedAt)
		s.observed = minute
	}
	if receivedAt.After(s.last) { // only forward, also when the clock is set back
		s.last = receivedAt
	}
	s.moved = true
	if s.stale {
		s.learned, s.stale = 0, false // saved at the next flush
	}
	l.noteQueue(s, q)
	if !e.budget.spend(receivedAt) {
		l.skip(s, from, receivedAt, datagram)
		return
	}
	l.decode(s, from, receivedAt, datagram)
}
