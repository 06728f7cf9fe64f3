package collector

import (
	"math/bits"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostmeter/collector/netflow"
	"hostmeter/collector/sflow"
	"hostmeter/collector/tally"
	"hostmeter/schemas"
)

// accountable is an exporter or a hypervisor: whose account is kept and who is complete up to a time.
type accountable interface {
	status() ExporterStatus
	completeness(at time.Time, silence time.Duration) *schemas.Completeness
	// settle brings what its decoders counted into the accounts. at is the time of the flush.
	settle(l *lane, at time.Time)
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
	repeatedAt  time.Time // when it was last told that its datagrams are repeated
	salt        uint64    // of repeated; 0 before the first datagram
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
	waits      uint64 // octets that no tally of the last flush held, as the positions last told
	learned    uint64 // revision of what flows was told, as it was last saved
	skew       skew
	rates      rates    // of sFlow
	queueDrops []uint32 // by socket, at its last datagram there
	stale      bool     // what was saved of it is old, and it was not heard since
	overflowed bool     // the kernel dropped datagrams between its last two
}

// heldKey is why something waits.
type heldKey struct{ unit, reason string }

// exportersMost bounds the exporters that a configured network can hold.
const exportersMost = 10_000

// admit returns the state of an exporter that is heard for the first time, nil for one that may not
// send.
func (l *lane) admit(addr netip.Addr, at time.Time, protocol schemas.Protocol) *exporter {
	cfg := l.allow.find(addr)
	reason := "exporter_not_allowed"
	if cfg != nil {
		if l.heard.Load() < exportersMost {
			return l.addExporter(addr, cfg)
		}
		reason = "exporter_limit"
	}
	l.metrics.drop("datagrams", reason, 1)
	l.knocksMu.Lock()
	fresh := l.knocks.add(addr, at, protocol)
	l.knocksMu.Unlock()
	if fresh {
		l.deps.Logger.Warn("refused an exporter", "exporter", addr.String(), "protocol", string(protocol),
			"reason", reason, "hint", "add it to collector.exporters if it is yours")
	}
	return nil
}

func (l *lane) addExporter(addr netip.Addr, cfg *ExporterConfig) *exporter {
	e := &exporter{addr: addr, text: addr.String(), cfg: cfg, budget: newBudget(cfg.datagramsPerSecond())}
	l.exporters[addr] = e
	l.heard.Add(1)
	l.order = append(l.order, e)
	return e
}

func (l *lane) addSource(e *exporter, protocol schemas.Protocol) *source {
	s := &source{
		exporter: e, protocol: protocol, datagrams: l.metrics.datagrams[protocol], observed: -1,
		held: map[heldKey]int64{}, ports: map[schemas.IfIndex]*port{},
	}
	s.handle = l.table.Exporter(l.handleConfig(s))
	s.sampling = newSampling(e.cfg)
	if protocol == schemas.SFlow5 {
		s.samples = sflow.NewDecoder(sflow.DefaultLimits())
		s.samples.LookInto(e.cfg.inside())
	} else {
		s.flows = netflow.NewDecoder(netflow.DefaultLimits())
		s.flows.LookInto(e.cfg.inside())
		s.flows.Share(&l.programs)
	}
	e.sources = append(e.sources, s)
	l.restoreSource(s)
	l.restoreLearned(s)
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
func (l *lane) handleConfig(s *source) tally.ExporterConfig {
	cfg := s.exporter.cfg
	mode, _ := tally.ParseMode(cfg.Mode) // validated
	config := tally.ExporterConfig{
		Address: s.exporter.addr, Name: s.exporter.text, Number: l.numberOf(s.exporter.text), Protocol: s.protocol, Mode: mode,
		CustomerInterfaces: cfg.CustomerInterfaces,
	}
	if cfg.Sampling != SamplingAuto {
		config.SamplingNumerator, config.SamplingDenominator = uint32(cfg.Sampling), 1
	}
	return config
}

// dropUnknown counts a datagram that is none of the four protocols under one that the exporter uses,
// or, where it uses none yet, under "unknown".
func (l *lane) dropUnknown(e *exporter, at time.Time) {
	protocol := schemas.Protocol("unknown")
	var last time.Time
	for _, s := range e.sources {
		if protocol == "unknown" || s.last.After(last) {
			protocol, last = s.protocol, s.last
		}
	}
	l.dropDatagram(accountKey{e.text, protocol, hourOf(at)}, "protocol")
}

// dropDatagram counts a datagram that no decoder sees.
func (l *lane) dropDatagram(key accountKey, reason string) {
	a := l.account(key)
	a.Datagrams++
	a.Dropped = schemas.AddCounts(a.Dropped, count("datagrams", reason, 1))
}

// decode reads one datagram and books its records. What is wrong with it is in the decoder's counts.
func (l *lane) decode(s *source, from netip.AddrPort, at time.Time, datagram []byte) {
	if s.samples != nil {
		l.records, _ = s.samples.Decode(l.records[:0], at, datagram)
		for _, counters := range s.samples.Counters() {
			l.bookPort(s, at, counters)
		}
	} else {
		l.records, _ = s.flows.Decode(l.records[:0], from, at, datagram)
		l.noteClock(s, at, datagram)
	}
	for i := range l.records {
		s.adjust(&l.records[i])
		l.rate(s, &l.records[i], at)
	}
	l.table.AddAll(s.handle, l.records, at)
	l.see(s, at)
	l.learnSampling(s)
	if s.overflowed {
		l.settleSource(s)
		s.overflowed = false
	}
}

// see lets the watch look at the records of a datagram.
func (l *lane) see(s *source, at time.Time) {
	if !tally.Watching(at) {
		return
	}
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	for i := range l.records {
		l.watch.See(s.handle, &l.records[i], at)
	}
}

// noteQueue looks whether the kernel dropped datagrams at the socket between the source's last one there and
// this one: a gap that shows now is then our own queue's doing, and not the network's.
func (l *lane) noteQueue(s *source, q queue) {
	if q.socket == 0 {
		return
	}
	for len(s.queueDrops) < q.socket {
		s.queueDrops = append(s.queueDrops, 0)
	}
	if seen := &s.queueDrops[q.socket-1]; *seen != q.drops {
		l.settleSource(s)
		*seen, s.overflowed = q.drops, true
	}
}

// noteClock measures the exporter's clock.
func (l *lane) noteClock(s *source, at time.Time, datagram []byte) {
	exported, ok := netflow.ExportTime(datagram)
	if !ok || !s.skew.note(exported.Add(-s.exporter.cfg.ClockAhead), at) {
		return
	}
	l.deps.Logger.Warn("an exporter's clock is wrong: its flows' times are", "exporter", s.exporter.text,
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
func (l *lane) settleSource(s *source) {
	if s.last.IsZero() {
		return
	}
	key := accountKey{s.exporter.text, s.protocol, s.hour}
	if s.samples != nil {
		stats := s.samples.TakeStats()
		if stats == (sflow.Stats{}) {
			return
		}
		a := l.account(key)
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
	a := l.account(key)
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

// clockBack is by how much times of receipt may be out of order; what is further ahead is of a clock that was set
// back since.
const clockBack = time.Minute

// notAhead is a time of receipt, or now where the clock was set back since.
func notAhead(received, now time.Time) time.Time {
	if received.Sub(now) > clockBack {
		return now
	}
	return received
}

// latest is the time of the last receipt when something is received now.
func latest(last, now time.Time) time.Time {
	if last = notAhead(last, now); now.After(last) {
		return now
	}
	return last
}

func (e *exporter) settle(l *lane, at time.Time) {
	if e.since.IsZero() {
		e.since = at
	}
	// An exporter that was heard by a clock that was ahead is not complete, and not heard, until then.
	e.since, e.last, e.heldSince = notAhead(e.since, at), notAhead(e.last, at), notAhead(e.heldSince, at)
	for _, s := range e.sources {
		if s.flows != nil {
			s.flows.Expire(at)
		} else {
			l.noteRates(s, at)
		}
		l.expireSampling(s, at)
		l.settleSource(s)
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
