package simulate

import (
	"slices"
	"time"

	"hostmeter/schemas"
)

// pendingEvent is an event of the span that is being played. Offsets, since the arena may move.
type pendingEvent struct {
	at         time.Time
	exporter   *exporter
	start, end int
	host       *hypervisor
	readings   []schemas.GuestReading
	tick       bool
}

// Play yields the past, [begin, end), in time order; the last events are at end. It can be used in a
// range statement, once.
func (p *Provider) Play(yield func(Event) bool) {
	for at := p.begin; at.Before(p.end); at = at.Add(TickEvery) {
		half := at.Add(TickEvery / 2)
		p.half = half.Unix()
		s := span{from: at, length: TickEvery, flush: flushEvery}
		p.produce(s)
		p.pollAll(half, 0)
		p.pollAll(s.end(), 1)
		p.events = append(p.events, pendingEvent{at: s.end(), tick: true})
		if !p.deliver(yield) {
			return
		}
	}
}

func (p *Provider) pollAll(at time.Time, part int) {
	for _, h := range p.hosts {
		// A copy: the readings of both halves are alive until the span is delivered.
		readings := slices.Clone(p.poll(h, at, GuestEvery, part))
		p.events = append(p.events, pendingEvent{at: at, host: h, readings: readings})
	}
}

// produce decides a span of all exporters and writes its datagrams.
func (p *Provider) produce(s span) {
	p.arena, p.events = p.arena[:0], p.events[:0]
	for _, e := range p.exporters {
		p.generate(e, s)
		p.export(e, s)
	}
}

// export writes what an exporter has to tell of a span, flush by flush.
func (p *Provider) export(e *exporter, s span) {
	told := 0
	for at := s.from.Add(s.flush); !at.After(s.end()); at = at.Add(s.flush) {
		due := told
		for due < len(e.pending) && e.pending[due].end <= at.UnixMilli() {
			due++
		}
		p.tellFlows(e, at, e.pending[told:due], s)
		told = due
	}
	e.pending = e.pending[:0]
}

// tellFlows sends the flows of one flush in as many datagrams as they need.
func (p *Provider) tellFlows(e *exporter, at time.Time, flows []flow, s span) {
	if p.isSilent(e, at) {
		for i := range flows {
			e.book.Unobserved += schemas.Octets(flows[i].octets * uint64(e.SamplingRate))
		}
		return
	}
	received := at
	if e.sources != nil && at.Sub(e.templates) >= e.templatesEvery(s) {
		e.templates = at
		p.send(e, at, received, nil, false)
	}
	for len(flows) > 0 {
		if !s.live {
			received = received.Add(time.Duration(1+e.rng.Int64N(12)) * time.Millisecond)
		}
		n := min(len(flows), e.recordsMax())
		templates := e.sources == nil && at.Sub(e.templates) >= e.templatesEvery(s)
		if templates {
			e.templates = at
		}
		p.send(e, at, received, flows[:n], templates)
		flows = flows[n:]
	}
}

// templatesEvery is how often templates are told, and an sFlow agent's counters.
func (e *exporter) templatesEvery(s span) time.Duration {
	if s.live {
		return time.Minute
	}
	return TickEvery
}

func (e *exporter) recordsMax() int {
	switch e.Protocol {
	case schemas.NetFlow5:
		return recordsV5
	case schemas.NetFlow9:
		return recordsV9
	case schemas.IPFIX:
		return recordsIPFIX
	}
	return samplesSFlow
}

// send writes one datagram, loses it or not, and books it.
func (p *Provider) send(e *exporter, at, received time.Time, flows []flow, templates bool) {
	start := len(p.arena)
	switch e.Protocol {
	case schemas.NetFlow5:
		p.arena = e.appendV5(p.arena, at.Unix(), flows)
	case schemas.NetFlow9:
		p.arena = e.appendV9(p.arena, at.Unix(), flows, templates)
	case schemas.IPFIX:
		p.arena = e.appendIPFIX(p.arena, at.Unix(), flows, templates)
	default:
		p.arena = e.appendSFlow(p.arena, at.Unix(), flows)
	}
	lost := p.loses(e, at)
	if !lost {
		p.events = append(p.events, pendingEvent{at: received, exporter: e, start: start, end: len(p.arena)})
	}
	e.book.datagram(e, flows, templates, lost)
	for i := range flows {
		f := &flows[i]
		if e.sources != nil { // a sample has no time of its own: it happened when it came
			f.start = received.UnixMilli()
			f.end = f.start
		}
		p.books.stated(e, f, lost)
	}
}

// datagram books everything of a datagram but its flow records.
func (b *ExporterBook) datagram(e *exporter, flows []flow, templates, lost bool) {
	one := Statements{Datagrams: 1}
	if e.sources != nil && len(flows) == 0 {
		one.CounterSamples = 1
	}
	if templates && e.Protocol != schemas.NetFlow5 {
		one.Templates = 2
		if e.SamplingRate > 1 {
			one.Templates, one.OptionRecords = 3, 1
		}
	}
	b.Sent.add(one)
	if lost {
		b.Lost.add(one)
	}
}

func (s *Statements) add(o Statements) {
	s.Datagrams += o.Datagrams
	s.OptionRecords += o.OptionRecords
	s.Templates += o.Templates
	s.CounterSamples += o.CounterSamples
}

// deliver yields the events of a span in time order.
func (p *Provider) deliver(yield func(Event) bool) bool {
	p.sortEvents()
	var d Datagram
	var g Guests
	for i := range p.events {
		e := &p.events[i]
		event := Event{At: e.at, Tick: e.tick}
		switch {
		case e.exporter != nil:
			d = Datagram{From: e.exporter.from, Payload: p.arena[e.start:e.end:e.end]}
			event.Datagram = &d
		case e.host != nil:
			g = Guests{Host: e.host.name, Readings: e.readings}
			event.Guests = &g
		}
		if !yield(event) {
			return false
		}
	}
	return true
}

func (p *Provider) sortEvents() {
	slices.SortStableFunc(p.events, func(a, b pendingEvent) int { return a.at.Compare(b.at) })
}
