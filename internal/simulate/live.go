package simulate

import (
	"slices"
	"time"
)

// The live phase: what begins while one watches, and when.
const (
	AbuseAfter = 30 * time.Second // an outgoing SYN flood
	ScanAfter  = 90 * time.Second // a search for open SSH ports
	AbuseLasts = 20 * time.Minute

	// FloodPacketsPerSecond leave the flooding service, and ScanFlowsPerSecond the scanning one.
	FloodPacketsPerSecond = 120_000
	ScanFlowsPerSecond    = 150
)

// liveEvery is the length of a span of the live phase.
const liveEvery = 2 * time.Second

// liveBehindMax is how far the live phase is caught up with.
const liveBehindMax = time.Minute

type liveState struct {
	started bool
	at      time.Time // everything before was told
	begun   time.Time
	polled  time.Time
}

// NextLive returns what has become due by now, after the last call (at first: after the end of the
// past), in time order. What lies longer back than a minute is left out, as if nothing had happened:
// a process that was suspended does not make up for hours. Abuse begins AbuseAfter after the first
// call. The events and what they hold are valid until the next call.
func (p *Provider) NextLive(now time.Time) []Event {
	l := &p.live
	now = now.UTC()
	if !l.started {
		start := latest(now.Truncate(liveEvery), p.end)
		*l = liveState{started: true, at: start, begun: start, polled: p.end}
	}
	if now.Sub(l.at) > liveBehindMax {
		l.at = now.Truncate(liveEvery)
	}
	p.arena, p.events = p.arena[:0], p.events[:0]
	for !l.at.Add(liveEvery).After(now) {
		s := span{from: l.at, length: liveEvery, flush: liveEvery, live: true}
		p.half = s.end().Unix()
		for _, e := range p.exporters {
			p.generate(e, s)
			p.export(e, s)
		}
		l.at = s.end()
		if l.at.Unix()%int64(GuestEveryLive/time.Second) == 0 {
			p.pollLive(l.at)
		}
	}
	return p.collect()
}

func (p *Provider) pollLive(at time.Time) {
	for _, h := range p.hosts {
		readings := slices.Clone(p.poll(h, at, at.Sub(p.live.polled), 0, 1))
		p.events = append(p.events, pendingEvent{at: at, host: h, readings: readings})
	}
	p.live.polled = at
}

// collect turns the pending events into a slice.
func (p *Provider) collect() []Event {
	events := make([]Event, 0, len(p.events))
	p.deliver(func(e Event) bool {
		if e.Datagram != nil {
			d := *e.Datagram
			e.Datagram = &d
		}
		if e.Guests != nil {
			g := *e.Guests
			e.Guests = &g
		}
		events = append(events, e)
		return true
	})
	return events
}

// abuse lets the flood and the scan happen.
func (p *Provider) abuse(e *exporter, s span) {
	since := s.from.Sub(p.live.begun)
	if m := p.story.flooding; m.exporter == e && since >= AbuseAfter && since < AbuseAfter+AbuseLasts {
		p.flood(e, m, s)
	}
	if m := p.story.scanning; m.exporter == e && since >= ScanAfter && since < ScanAfter+AbuseLasts {
		p.scan(e, m, s)
	}
}

// flood sends SYN packets to very many destinations through a sampling exporter: each sampled packet is a flow
// of its own.
func (p *Provider) flood(e *exporter, m *meter, s span) {
	packets := uint64(FloodPacketsPerSecond * s.length / time.Second)
	packets = packets / 100 * (95 + e.rng.Uint64N(11))
	const synOctets = 40
	f := flow{
		source: m.address, destinationPort: 80, protocol: protocolTCP, flags: flagsSYN,
		in: m.port, out: uplink, start: s.from.UnixMilli(), end: s.lastFlow(), from: m,
	}
	p.books.happened(&f, packetMix{big: packets, bigOctets: synOctets}, p.half)
	for range binomial(e.rng, packets, uint64(e.SamplingRate)) {
		f.start = s.from.UnixMilli() + e.rng.Int64N(int64(s.length/time.Millisecond))
		f.end = f.start
		f.destination, f.sourcePort = remoteOf(e.rng, m.address), uint16(1024+e.rng.IntN(60000))
		f.octets, f.packets = synOctets, 1
		e.pending = append(e.pending, f)
	}
}

// scan knocks at port 22 of one address after the other.
func (p *Provider) scan(e *exporter, m *meter, s span) {
	for range ScanFlowsPerSecond * int(s.length/time.Second) {
		at := s.from.UnixMilli() + e.rng.Int64N(int64(s.length/time.Millisecond))
		p.happen(e, flow{
			source: m.address, destination: remoteOf(e.rng, m.address), sourcePort: uint16(1024 + e.rng.IntN(60000)), destinationPort: 22,
			protocol: protocolTCP, flags: flagsSYN, in: m.port, out: uplink, start: at, end: at, from: m,
		}, packetMix{big: 1, bigOctets: 60})
	}
}
