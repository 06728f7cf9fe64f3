package tally

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// octetsMax is the most octets or packets that one record is believed: 35 TB, what a 100 Gbit/s
// port carries in 47 minutes. The sums of a flush stay within 64 bits.
const octetsMax = 1 << 45

// end is a source or destination of a record.
type end struct {
	address   number
	prefix    int32 // of the table of local prefixes; -1 is remote
	v4, valid bool
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

// entry is what one part of a record adds to one meter, on its way to the meter's cell.
type entry struct {
	key   cellKey
	hash  uint64
	place uint32 // what the index has in the first place that the key may be in
	group *group
	other number // the other end
	note
}

// entriesMost is how many entries wait until they are noted together, with those of the datagrams after:
// enough that the searches for their cells wait for memory together.
const entriesMost = 64

// AddAll books the records of a datagram. Their fields are not changed, and nothing of them is kept.
//
// A record whose SamplingOrigin is SamplingUnknown is kept apart, unscaled, until ScaleHeld tells
// the rate of its HeldKey; give it a rate and SamplingDefault before to book it at once.
func (t *Table) AddAll(e *Exporter, records []schemas.FlowRecord, receivedAt time.Time) {
	received := receivedAt.UnixNano()
	for i := range records {
		t.plan(e, &records[i], received)
		if len(t.entries) >= entriesMost {
			t.noteEntries()
		}
	}
}

// noteEntries notes what waits to be noted. All that looks at cells or groups calls it first.
func (t *Table) noteEntries() {
	t.touch()
	for i := range t.entries {
		x := &t.entries[i]
		number := t.cellOf(&x.key, x.hash, x.group)
		t.note(number, x)
		c := &t.cells[number]
		c.octets += x.octets
		if c.octets >= x.group.busy && !c.busy && !x.key.both {
			c.busy = true
			t.busy = append(t.busy, number)
		}
	}
	t.entries = t.entries[:0]
}

// touch brings the cells of entries into cache. The searches of many entries wait for memory together
// here, in loops of a few instructions, while those of cellOf wait one after the other.
func (t *Table) touch() {
	mask := uint32(len(t.index.slots) - 1)
	for i := range t.entries {
		x := &t.entries[i]
		x.hash = x.key.hash()
		x.place = t.index.slots[uint32(x.hash)&mask].cell
	}
	var sum uint64
	for i := range t.entries {
		if place := t.entries[i].place; place != 0 {
			sum += t.cells[place-1].octets
		}
	}
	t.touched = sum // so that the compiler does not leave it out
}

// plan makes the entries of one record, and counts it.
func (t *Table) plan(e *Exporter, rec *schemas.FlowRecord, received int64) {
	g := t.groupOf(e, rec, floorMinute(received)/60)
	if max(rec.Octets, rec.Packets, rec.ReverseOctets, rec.ReversePackets, rec.OctetsL2) > octetsMax {
		g.sums.implausible++
		return
	}
	when, clamped := t.when(rec, received)
	// Two ends in two ways of at most so many minutes each.
	need := 4 * int(when.last-when.first+1)
	if free := t.config.Cells - t.index.used - len(t.entries); need > free || e.cells+need > shareOfFree*free {
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
	w := way{
		source: t.end(rec.Source), destination: t.end(rec.Destination),
		sourcePort: rec.SourcePort, destinationPort: rec.DestinationPort,
		protocol: rec.IPProtocol, flags: rec.TCPFlags,
		direction: rec.Direction, in: rec.InInterface, out: rec.OutInterface,
	}
	if rec.Fragment {
		w.is = isFragment
	}
	w.carry(rec.Octets, rec.Packets)
	t.book(g, &w, &when)
	if rec.ReverseOctets|rec.ReversePackets != 0 {
		w.turn()
		w.carry(rec.ReverseOctets, rec.ReversePackets)
		t.book(g, &w, &when)
	}
}

// when returns the stretch of a record's flow. Times that cannot be are replaced by the time of
// receipt, and clamped is true.
func (t *Table) when(rec *schemas.FlowRecord, received int64) (when stretch, clamped bool) {
	start, end := rec.FlowStart, rec.FlowEnd
	if start == 0 && end == 0 {
		return stretchOf(received, received), false
	}
	c := &t.config
	if end-received > int64(c.FutureMax) || received-end > int64(c.AgeMax) || end-start > int64(c.DurationMax) || end < start {
		return stretchOf(received, received), true
	}
	return stretchOf(start, end), false
}

func (t *Table) end(addr netip.Addr) end {
	if !addr.IsValid() {
		return end{prefix: -1}
	}
	addr = addr.Unmap()
	e := end{address: numberOf(addr), v4: addr.Is4(), valid: true}
	e.prefix = t.local.find(e.address, e.v4)
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
		b.port = fromCustomer && e.customers != nil && w.in != 0 && w.source.valid && !b.source
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
	class := uint8(classExternal)
	if w.source.local() && w.destination.local() {
		class = classInternal
	}
	both := (b.source || b.port) && b.destination
	var squares uint64
	if g.sampled() {
		squares = squaresOf(w.octets, w.packets)
	}
	key := cellKey{group: g.id, class: class, both: both}
	p := part{octets: w.octets, packets: w.packets, squares: squares, is: isBegin}
	for minute := when.first; minute <= when.last; minute++ {
		if when.first != when.last {
			p.octets, p.packets, p.squares = when.share(w.octets, minute), when.share(w.packets, minute), when.share(squares, minute)
		}
		key.minute = int32(minute)
		if b.source {
			t.enter(&key, g, w, &p, true).meter(t, &w.source)
		}
		if b.port {
			x := t.enter(&key, g, w, &p, true)
			x.key.meter, x.key.kind = number{0, uint64(w.in)}, meterPort
		}
		if b.destination {
			t.enter(&key, g, w, &p, false).meter(t, &w.destination)
		}
		p.is = 0
	}
}

// enter makes an entry of what a part of a way adds to one end of it, whose meter is the caller's to set.
func (t *Table) enter(key *cellKey, g *group, w *way, p *part, out bool) *entry {
	if len(t.entries) == cap(t.entries) {
		t.entries = append(t.entries, entry{})
	} else {
		t.entries = t.entries[:len(t.entries)+1]
	}
	x := &t.entries[len(t.entries)-1]
	x.key, x.group = *key, g
	x.other = x.observe(w, p, out)
	return x
}

// meter completes an entry by a local end's meter.
func (x *entry) meter(t *Table, e *end) {
	switch {
	case e.v4:
		x.key.meter, x.key.kind = e.address, meterIPv4
	case t.config.EachAddress:
		x.key.meter, x.key.kind = e.address, meterIPv6
	default:
		x.key.meter, x.key.kind = number{0, uint64(e.prefix)}, meterPrefix
	}
}
