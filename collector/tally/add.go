package tally

import (
	"encoding/binary"
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// octetsMax is the most octets or packets that one record is believed: 35 TB, what a 100 Gbit/s
// port carries in 47 minutes. The sums of a flush stay within 64 bits.
const octetsMax = 1 << 45

// end is a source or destination of a record.
type end struct {
	address number
	prefix  int32    // of the table of local prefixes; -1 is remote
	is      observed // isKnown where it is an address at all, isIPv4 where it is one of IPv4
}

func (e *end) local() bool { return e.prefix >= 0 }

// way is one direction of a record: what went from source to destination.
type way struct {
	source, destination         end
	sourcePort, destinationPort uint16
	protocol, flags             uint8
	direction                   schemas.FlowDirection
	in, out                     schemas.IfIndex
	octets, packets             uint64
	is                          observed // of each part
}

// part is what a way adds to each of its meters in one minute.
type part struct {
	octets, packets, squares uint64
	is                       observed
}

// AddAll books the records of a datagram. Their fields are not changed, and nothing of them is kept.
//
// A record whose SamplingOrigin is SamplingUnknown is kept apart, unscaled, until ScaleHeld tells
// the rate of its HeldKey; give it a rate and SamplingDefault before to book it at once.
func (t *Table) AddAll(e *Exporter, records []schemas.FlowRecord, receivedAt time.Time) {
	received := stretchOf(receivedAt.UnixNano(), receivedAt.UnixNano())
	for i := range records {
		t.add(e, &records[i], &received)
	}
}

// add notes one record, and counts it.
func (t *Table) add(e *Exporter, rec *schemas.FlowRecord, received *stretch) {
	g := t.groupOf(e, rec, received.first/60)
	if max(rec.Octets, rec.Packets, rec.ReverseOctets, rec.ReversePackets, rec.OctetsL2) > octetsMax {
		g.sums.implausible++
		return
	}
	when, clamped := t.when(rec, received)
	// Two ends in two ways of at most so many minutes each.
	if need := 4 * int(when.last-when.first+1); !t.hasRoom(e, need) {
		g.sums.full++
		return
	}
	s := &g.sums
	s.records++
	if clamped {
		s.clamped++
	}
	if g.known() && weak(g.origin) {
		s.unknown++
	}
	if e.config.Protocol == schemas.SFlow5 && rec.OctetsL2 != 0 {
		s.reportedOctets += rec.OctetsL2
	} else {
		s.reportedOctets += rec.Octets + rec.ReverseOctets
	}
	s.reportedPackets += rec.Packets + rec.ReversePackets
	s.packets += rec.Packets + rec.ReversePackets
	w := &t.way // whose fields are set one by one: a way that is copied waits for itself to be written
	w.source, w.destination = t.end(rec.Source), t.end(rec.Destination)
	w.sourcePort, w.destinationPort = rec.SourcePort, rec.DestinationPort
	w.protocol, w.flags = rec.IPProtocol, rec.TCPFlags
	w.direction, w.in, w.out = rec.Direction, rec.InInterface, rec.OutInterface
	w.is = 0
	if rec.Fragment {
		w.is = isFragment
	}
	w.carry(rec.Octets, rec.Packets)
	t.book(g, w, &when)
	if rec.ReverseOctets|rec.ReversePackets != 0 {
		w.turn()
		w.carry(rec.ReverseOctets, rec.ReversePackets)
		t.book(g, w, &when)
	}
}

// hasRoom says whether the table, and the exporter's part of it, have room for so many cells. Each note whose
// cell was not looked for may be one, until that is known.
func (t *Table) hasRoom(e *Exporter, need int) bool {
	if t.fits(e, need, t.unknown) {
		return true
	}
	if t.unknown == 0 || !t.fits(e, need, 0) {
		return false
	}
	t.findCells()
	return t.fits(e, need, 0)
}

func (t *Table) fits(e *Exporter, need, unknown int) bool {
	free := t.config.Cells - t.used - unknown
	return need <= free && e.cells+unknown+need <= shareOfFree*free
}

// when returns the stretch of a record's flow. Times that cannot be are replaced by the time of
// receipt, and clamped is true.
func (t *Table) when(rec *schemas.FlowRecord, received *stretch) (when stretch, clamped bool) {
	start, end := rec.FlowStart, rec.FlowEnd
	if start == 0 && end == 0 {
		return *received, false
	}
	c := &t.config
	if end-received.start > int64(c.FutureMax) || received.start-end > int64(c.AgeMax) || end-start > int64(c.DurationMax) || end < start {
		return *received, true
	}
	return stretchOf(start, end), false
}

func (t *Table) end(addr netip.Addr) end {
	if !addr.IsValid() {
		return end{prefix: -1}
	}
	b := addr.As16()
	e := end{address: number{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}, is: isKnown}
	v4 := e.address.high == 0 && e.address.low>>32 == 0xffff // also as IPv4-mapped IPv6
	if v4 {
		e.address.low &= 1<<32 - 1
		e.is |= isIPv4
	}
	e.prefix = t.local.find(e.address, v4)
	return e
}

// carry sets what a way carries.
func (w *way) carry(octets, packets uint64) {
	w.octets, w.packets = octets, packets
	w.is &^= isSingle | isMany
	switch {
	case packets == 1:
		w.is |= isSingle
	case packets > 1:
		w.is |= isMany
	}
}

// turn makes a way the opposite one: what an exporter saw at ingress, it sees the answers of at
// egress of the same port.
func (w *way) turn() {
	w.source, w.destination = w.destination, w.source
	w.sourcePort, w.destinationPort = w.destinationPort, w.sourcePort
	w.in, w.out = w.out, w.in
	switch w.direction {
	case schemas.DirectionIngress:
		w.direction = schemas.DirectionEgress
	case schemas.DirectionEgress:
		w.direction = schemas.DirectionIngress
	}
}

// bookings says where a way is booked.
type bookings struct {
	source, destination bool
	port                bool // a source that is not local, at the customer's port it came in by
}

// bookings follows the exporter's accounting mode.
func (e *Exporter) bookings(w *way) bookings {
	b := bookings{source: w.source.local(), destination: w.destination.local()}
	switch e.config.Mode {
	case ModeBorder:
		if b.source && b.destination {
			return bookings{}
		}
	case ModeEdge:
		fromCustomer := w.direction != schemas.DirectionEgress && e.customer(w.in)
		toCustomer := w.direction != schemas.DirectionIngress && e.customer(w.out)
		// Only where the port is known to face a customer is a strange source spoofed.
		b.port = fromCustomer && e.customers != nil && w.in != 0 && w.source.is&isKnown != 0 && !b.source
		b.source = b.source && fromCustomer
		b.destination = b.destination && toCustomer
	}
	return b
}

// book adds one way to the meters where it counts, and its octets to the group's sums where it
// counts nowhere.
func (t *Table) book(g *group, w *way, when *stretch) {
	b := g.exporter.bookings(w)
	if !b.source && !b.destination && !b.port {
		if w.source.local() || w.destination.local() {
			g.sums.uncounted += w.octets
		} else {
			g.sums.transit += w.octets
		}
		return
	}
	p := part{octets: w.octets, packets: w.packets, is: isBegin}
	if g.sampled() {
		p.squares = squaresOf(w.octets, w.packets)
	}
	sort := uint64(t.classOf(w))
	if (b.source || b.port) && b.destination {
		p.is |= isBoth
		sort |= bothSort
	}
	squares := p.squares
	for minute := when.first; minute <= when.last; minute++ {
		if when.first != when.last {
			p.octets, p.packets, p.squares = when.share(w.octets, minute), when.share(w.packets, minute), when.share(squares, minute)
		}
		at := timeOf(g.id, int32(minute))
		switch {
		case b.source:
			meter, kind := t.meterOf(&w.source)
			t.note(cellKey{meter, at, sort | kind}, w, &p, &w.destination, w.sourcePort, w.destinationPort, isOut)
		case b.port:
			t.note(cellKey{number{0, uint64(w.in)}, at, sort | kindPort}, w, &p, &w.destination, w.sourcePort, w.destinationPort, isOut)
		}
		if b.destination {
			meter, kind := t.meterOf(&w.destination)
			t.note(cellKey{meter, at, sort | kind}, w, &p, &w.source, w.destinationPort, w.sourcePort, 0)
		}
		p.is &^= isBegin
	}
}

// classOf is the class of a way.
func (t *Table) classOf(w *way) uint8 {
	switch {
	case w.source.local() && w.destination.local():
		return classInternal
	case t.classes == nil:
		return classExternal
	case w.source.local():
		return t.classes.of(&w.destination)
	}
	return t.classes.of(&w.source)
}

// meterOf is what names the meter of a local end, and its kind.
func (t *Table) meterOf(e *end) (meter number, kind uint64) {
	switch {
	case e.is&isIPv4 != 0:
		return e.address, kindIPv4
	case t.config.EachAddress:
		return e.address, kindIPv6
	}
	return number{0, uint64(e.prefix)}, kindPrefix
}
