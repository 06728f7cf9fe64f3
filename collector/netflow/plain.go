package netflow

import (
	"encoding/binary"
	"net/netip"

	"hostmeter/schemas"
)

// plain is where records have the fields that most templates have and no others: they are read in one pass,
// without going through values. What it makes of a record is what take makes of it.
type plain struct {
	octets, packets             column
	source, destination         column
	six                         bool // the addresses are IPv6
	sourcePort, destinationPort column
	protocol, flags, direction  column
	inInterface, outInterface   column
	start, end                  column
}

// column is where a record has a field; length 0 is nowhere.
type column struct{ offset, length uint16 }

// plainTargets are the fields of plain templates.
const plainTargets = set(1)<<toOctets | set(1)<<toPackets | set(1)<<toProtocol | set(1)<<toTCPFlags |
	set(1)<<toSourcePort | set(1)<<toDestinationPort | set(1)<<toSource4 | set(1)<<toDestination4 |
	set(1)<<toSource6 | set(1)<<toDestination6 | set(1)<<toInInterface | set(1)<<toOutInterface | set(1)<<toDirection |
	set(1)<<toStartUptime | set(1)<<toEndUptime | set(1)<<toStartSeconds | set(1)<<toEndSeconds |
	set(1)<<toStartMilliseconds | set(1)<<toEndMilliseconds

// plainOf returns nil for a program whose records are not plain.
func plainOf(p *program) *plain {
	if p.options || p.stride == 0 || p.has&^plainTargets != 0 || p.plan.source4 && p.plan.source6 {
		return nil
	}
	var columns [64]column
	for _, s := range p.steps {
		columns[s.to] = column{s.offset, uint16(s.length)}
	}
	q := &plain{
		octets: columns[toOctets], packets: columns[toPackets],
		source: columns[toSource4], destination: columns[toDestination4],
		sourcePort: columns[toSourcePort], destinationPort: columns[toDestinationPort],
		protocol: columns[toProtocol], flags: columns[toTCPFlags], direction: columns[toDirection],
		inInterface: columns[toInInterface], outInterface: columns[toOutInterface],
		start: columns[p.plan.start], end: columns[p.plan.end],
	}
	if p.plan.source6 {
		q.six, q.source, q.destination = true, columns[toSource6], columns[toDestination6]
	}
	return q
}

// read reads the number of 0 to 8 octets in a column.
func (c column) read(record []byte) uint64 {
	b := record[c.offset:]
	switch c.length {
	case 0:
		return 0
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	var n uint64
	for _, octet := range b[:c.length] {
		n = n<<8 | uint64(octet)
	}
	return n
}

// plainSet decodes the records of a plain data set.
func (d *Decoder) plainSet(dst []schemas.FlowRecord, dom *domain, p *program, h *header, body []byte) (out []schemas.FlowRecord, records uint32) {
	q := p.plain
	var rec *schemas.FlowRecord
	for ; len(body) >= p.stride; body = body[p.stride:] {
		b := body[:p.stride:p.stride]
		dst, rec = schemas.AppendFlow(dst)
		rec.ObservationDomain = dom.key.id
		rec.Octets, rec.Packets = q.octets.read(b), q.packets.read(b)
		if q.source.length != 0 {
			rec.Source = q.source.address(b, q.six)
		}
		if q.destination.length != 0 {
			rec.Destination = q.destination.address(b, q.six)
		}
		rec.SourcePort, rec.DestinationPort = uint16(q.sourcePort.read(b)), uint16(q.destinationPort.read(b))
		rec.IPProtocol, rec.TCPFlags = uint8(q.protocol.read(b)), uint8(q.flags.read(b))
		rec.InInterface, rec.OutInterface = schemas.IfIndex(q.inInterface.read(b)), schemas.IfIndex(q.outInterface.read(b))
		if q.direction.length != 0 {
			rec.Direction = directionOf(q.direction.read(b))
		}
		place(rec, timeOf(p.plan.start, q.start.read(b), dom.systemInit, h), timeOf(p.plan.end, q.end.read(b), dom.systemInit, h), 0)
		d.optionRate(rec, dom)
		records++
	}
	return dst, records
}

// address reads an address.
func (c column) address(record []byte, six bool) netip.Addr {
	b := record[c.offset:]
	if six {
		return address6(binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]))
	}
	return address4(binary.BigEndian.Uint32(b))
}
