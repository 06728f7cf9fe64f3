package collector

import (
	"math/bits"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/collector/netflow"
	"hostmeter/collector/replay"
	"hostmeter/collector/sflow"
	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// accountable is an exporter or a hypervisor: whose account is kept and who is complete up to a time.
type accountable interface {
	status() ExporterStatus
	completeness(at time.Time, silence time.Duration) *schemas.Completeness
	// settle brings what its decoders counted into the accounts. at is the time of the flush.
	settle(c *Collector, at time.Time)
	// positions are those that moved since the last call.
	positions() []*schemas.SourcePosition
}

// exporter is the state of one sender of flows.
type exporter struct {
	addr    netip.Addr
	text    string // of addr, as accounts have it
	cfg     *ExporterConfig
	sources []*source // by protocol, few
	// since is when it was first missed: the first flush, or datagram. last is its last datagram.
	since, last time.Time
	heldSince   time.Time // since when some of its records wait; zero: none does
	restored    []*schemas.SourcePosition
	budget      budget
	refusedAt   time.Time // when its budget was last told to be used up
}

// source is what an exporter sends in one protocol.
type source struct {
	exporter *exporter
	protocol schemas.Protocol
	flows    *netflow.Decoder // of NetFlow and IPFIX
	samples  *sflow.Decoder   // of sFlow
	handle   *tally.Exporter
	sampling sampling
	ports    map[schemas.IfIndex]*port
	// portHandle is for counters; nil before the first.
	portHandle *tally.Exporter
	datagrams  prometheus.Counter
	last       time.Time // its last datagram
	observed   int64     // the minute up to which it is told to be under observation
	hour       int64     // of the datagrams that the decoder's counts belong to
	moved      bool      // since positions were last taken
	held       map[heldKey]int64
	learned    uint64 // revision of what flows was told, as it was last saved
	skew       skew
	rates      rates  // of sFlow
	queueDrops uint64 // of the collector, at its last datagram
	overflowed bool   // the kernel dropped datagrams between its last two
}

// heldKey is why something waits.
type heldKey struct{ unit, reason string }

// exportersMost bounds the exporters that a configured network can hold.
const exportersMost = 10_000

// Feed takes one datagram, just below the socket. It returns when the datagram is counted, and keeps
// nothing of it. Datagrams of one exporter must come in their order.
func (c *Collector) Feed(from netip.AddrPort, receivedAt time.Time, datagram []byte) {
	addr := from.Addr().Unmap()
	protocol, known := replay.Recognise(datagram)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fed = true
	e := c.exporters[addr]
	if e == nil {
		if e = c.admit(addr, receivedAt, protocol); e == nil {
			c.metrics.datagram(protocol)
			return
		}
	}
	c.received.include(receivedAt)
	if e.since.IsZero() {
		e.since = receivedAt
	}
	if receivedAt.After(e.last) {
		e.last = receivedAt
	}
	switch {
	case !known:
		c.metrics.datagram(protocol)
		c.dropUnknown(e, receivedAt)
		return
	case !e.cfg.expects(protocol):
		c.metrics.datagram(protocol)
		c.dropDatagram(accountKey{e.text, protocol, hourOf(receivedAt)}, "protocol_not_expected")
		return
	}
	s := e.source(protocol)
	if s == nil {
		s = c.addSource(e, protocol)
	}
	s.datagrams.Inc()
	if hour := hourOf(receivedAt); hour != s.hour {
		c.settleSource(s)
		s.hour = hour
	}
	if minute := minuteOf(receivedAt); minute != s.observed {
		c.observe(e.text, protocol, s.last, receivedAt)
		s.observed = minute
	}
	if receivedAt.After(s.last) {
		s.last = receivedAt
	}
	s.moved = true
	if !e.budget.spend(receivedAt) {
		c.skip(s, from, receivedAt, datagram)
		return
	}
	c.decode(s, from, receivedAt, datagram)
}

// admit returns the state of an exporter that is heard for the first time, nil for one that may not
// send.
func (c *Collector) admit(addr netip.Addr, at time.Time, protocol schemas.Protocol) *exporter {
	cfg := c.allow.find(addr)
	reason := "exporter_not_allowed"
	if cfg != nil {
		if len(c.exporters) < exportersMost {
			return c.addExporter(addr, cfg)
		}
		reason = "exporter_limit"
	}
	c.metrics.drop("datagrams", reason, 1)
	if c.knocks.add(addr, at, protocol) {
		c.deps.Logger.Warn("refused an exporter", "exporter", addr.String(), "protocol", string(protocol),
			"reason", reason, "hint", "add it to collector.exporters if it is yours")
	}
	return nil
}

func (c *Collector) addExporter(addr netip.Addr, cfg *ExporterConfig) *exporter {
	e := &exporter{addr: addr, text: addr.String(), cfg: cfg, budget: newBudget(cfg.datagramsPerSecond())}
	c.exporters[addr] = e
	c.order = append(c.order, e)
	return e
}

func (c *Collector) addSource(e *exporter, protocol schemas.Protocol) *source {
	s := &source{
		exporter: e, protocol: protocol, datagrams: c.metrics.datagrams[protocol], observed: -1,
		held: map[heldKey]int64{}, ports: map[schemas.IfIndex]*port{},
	}
	s.handle = c.table.Exporter(c.handleConfig(s))
	s.sampling = newSampling(e.cfg)
	if protocol == schemas.SFlow5 {
		s.samples = sflow.NewDecoder(sflow.DefaultLimits())
		s.samples.LookInto(e.cfg.inside())
	} else {
		s.flows = netflow.NewDecoder(netflow.DefaultLimits())
		s.flows.LookInto(e.cfg.inside())
		s.flows.Share(&c.programs)
	}
	e.sources = append(e.sources, s)
	c.restoreSource(s)
	c.restoreLearned(s)
	return s
}

// source returns what the exporter sends in a protocol, nil if it has not yet.
func (e *exporter) source(protocol schemas.Protocol) *source {
	for _, s := range e.sources {
		if s.protocol == protocol {
			return s
		}
	}
	return nil
}

// handleConfig is what a table is told of a source.
func (c *Collector) handleConfig(s *source) tally.ExporterConfig {
	cfg := s.exporter.cfg
	mode, _ := tally.ParseMode(cfg.Mode) // validated
	config := tally.ExporterConfig{
		Address: s.exporter.addr, Name: s.exporter.text, Number: c.numberOf(s.exporter.text), Protocol: s.protocol, Mode: mode,
		CustomerInterfaces: cfg.CustomerInterfaces,
	}
	if cfg.Sampling != SamplingAuto {
		config.SamplingNumerator, config.SamplingDenominator = uint32(cfg.Sampling), 1
	}
	return config
}

// dropUnknown counts a datagram that is none of the four protocols under one that the exporter uses,
// or, where it uses none yet, under "unknown".
func (c *Collector) dropUnknown(e *exporter, at time.Time) {
	protocol := schemas.Protocol("unknown")
	var last time.Time
	for _, s := range e.sources {
		if protocol == "unknown" || s.last.After(last) {
			protocol, last = s.protocol, s.last
		}
	}
	c.dropDatagram(accountKey{e.text, protocol, hourOf(at)}, "protocol")
}

// dropDatagram counts a datagram that no decoder sees.
func (c *Collector) dropDatagram(key accountKey, reason string) {
	a := c.account(key)
	a.Datagrams++
	a.Dropped = schemas.AddCounts(a.Dropped, count("datagrams", reason, 1))
}

// decode reads one datagram and books its records. What is wrong with it is in the decoder's counts.
func (c *Collector) decode(s *source, from netip.AddrPort, at time.Time, datagram []byte) {
	c.noteQueue(s)
	if s.samples != nil {
		c.records, _ = s.samples.Decode(c.records[:0], at, datagram)
		for _, counters := range s.samples.Counters() {
			c.bookPort(s, at, counters)
		}
	} else {
		c.records, _ = s.flows.Decode(c.records[:0], from, at, datagram)
		c.noteClock(s, at, datagram)
	}
	for i := range c.records {
		s.adjust(&c.records[i])
		c.rate(s, &c.records[i], at)
	}
	c.table.AddAll(s.handle, c.records, at)
	if c.watch.Watching(at) {
		for i := range c.records {
			c.watch.See(s.handle, &c.records[i], at)
		}
	}
	c.learnSampling(s)
	if s.overflowed {
		c.settleSource(s)
		s.overflowed = false
	}
}

// noteQueue looks whether the kernel has dropped datagrams since the source's last: a gap that shows
// now is then our own queue's doing, and not the network's.
func (c *Collector) noteQueue(s *source) {
	drops := c.queueDrops.Load()
	if drops == s.queueDrops {
		return
	}
	c.settleSource(s)
	s.queueDrops, s.overflowed = drops, true
}

// noteClock measures the exporter's clock.
func (c *Collector) noteClock(s *source, at time.Time, datagram []byte) {
	exported, ok := netflow.ExportTime(datagram)
	if !ok || !s.skew.note(exported.Add(-s.exporter.cfg.ClockAhead), at) {
		return
	}
	c.deps.Logger.Warn("an exporter's clock is wrong: its flows' times are", "exporter", s.exporter.text,
		"protocol", string(s.protocol), "ahead", s.skew.value().Round(time.Second),
		"hint", "set its clock by NTP, or clock_ahead in its line of collector.exporters")
}

// adjust makes of a record what its exporter meant, by the exporter's settings.
func (s *source) adjust(r *schemas.FlowRecord) {
	cfg := s.exporter.cfg
	if cfg.Octets == OctetsLayer2 {
		toLayer3(r)
	}
	if cfg.ClockAhead != 0 && r.FlowEnd != 0 {
		r.FlowStart -= int64(cfg.ClockAhead)
		r.FlowEnd -= int64(cfg.ClockAhead)
	}
}

// toLayer3 takes the Ethernet header off a record that counts whole frames. A record that cannot hold
// so many frames is left as it is.
func toLayer3(r *schemas.FlowRecord) {
	strip := func(octets *uint64, packets uint64) {
		if high, header := bits.Mul64(packets, tally.VNICOverhead); high == 0 && header <= *octets {
			*octets -= header
		}
	}
	r.OctetsL2 = r.Octets
	strip(&r.Octets, r.Packets)
	strip(&r.ReverseOctets, r.ReversePackets)
}

// settleSource brings what the decoder counted into the account of the hour of its datagrams.
func (c *Collector) settleSource(s *source) {
	if s.last.IsZero() {
		return
	}
	key := accountKey{s.exporter.text, s.protocol, s.hour}
	if s.samples != nil {
		stats := s.samples.TakeStats()
		if stats == (sflow.Stats{}) {
			return
		}
		a := c.account(key)
		a.Datagrams += stats.Datagrams()
		a.CounterSamples += stats.CounterSamples
		a.Dropped = schemas.AddCounts(a.Dropped, stats.DroppedCounts()...)
		a.Lost = schemas.AddCounts(a.Lost, s.attribute(stats.LostCounts())...)
		return
	}
	stats := s.flows.TakeStats()
	if stats == (netflow.Stats{}) {
		return
	}
	a := c.account(key)
	a.Datagrams += stats.Datagrams()
	a.OptionRecords += stats.OptionRecords
	a.Templates += stats.Templates
	a.Dropped = schemas.AddCounts(a.Dropped, stats.DroppedCounts()...)
	a.Held = schemas.AddCounts(a.Held, stats.HeldCounts()...)
	a.Lost = schemas.AddCounts(a.Lost, s.attribute(stats.LostCounts())...)
}

// attribute names our own receive queue as the reason of gaps across which it overflowed. What an agent
// itself says it could not send is not a gap.
func (s *source) attribute(lost []*schemas.Count) []*schemas.Count {
	if s.overflowed {
		for _, l := range lost {
			if l.Count > 0 && l.Reason == "sequence" {
				l.Reason = "receive_queue"
			}
		}
	}
	return lost
}

func (e *exporter) settle(c *Collector, at time.Time) {
	if e.since.IsZero() {
		e.since = at
	}
	for _, s := range e.sources {
		if s.flows != nil {
			s.flows.Expire(at)
		} else {
			c.noteRates(s, at)
		}
		c.expireSampling(s, at)
		c.settleSource(s)
	}
}

// heldMost is for how long what waits holds completeness back: the decoder and the sampling wait no
// longer.
const heldMost = 30 * time.Minute

func (e *exporter) completeness(at time.Time, silence time.Duration) *schemas.Completeness {
	last := e.last
	if last.Before(e.since) {
		last = e.since
	}
	through := last
	if !e.heldSince.IsZero() && e.heldSince.Before(through) {
		through = e.heldSince
		if oldest := at.Add(-heldMost); through.Before(oldest) {
			through = oldest
		}
	}
	return &schemas.Completeness{
		Exporter: e.text,
		Through:  through.Add(-2 * e.cfg.activeTimeout()).UnixNano(),
		Silent:   at.Sub(last) > silence,
	}
}

func (e *exporter) status() ExporterStatus {
	status := ExporterStatus{Exporter: e.text, Name: e.cfg.Name, Last: e.last}
	for _, p := range []schemas.Protocol{schemas.NetFlow5, schemas.NetFlow9, schemas.IPFIX, schemas.SFlow5} {
		if s := e.source(p); s != nil {
			status.Protocols = append(status.Protocols, p)
			status.SamplingUnknown = status.SamplingUnknown || s.sampling.unknown()
			status.addRate(s.sampling.numerator, s.sampling.denominator)
			if s.skew.known && s.skew.value().Abs() > status.ClockAhead.Abs() {
				status.ClockAhead = s.skew.value()
			}
			status.HeldSets += s.held[heldKey{"sets", "template"}]
			status.addSampled(s.rates.all())
		}
	}
	return status
}
