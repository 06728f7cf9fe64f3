package sim

import (
	"encoding/binary"
	"net/netip"
	"time"
)

var be = binary.BigEndian

// flow is traffic between two addresses, as an exporter tells of it.
type flow struct {
	source, destination netip.Addr
	packets, octets     uint32
	length              time.Duration // how long it lasted before the datagram
}

// sender is an exporter: it numbers what it sends as its protocol does, and knows nothing of what arrives.
type sender struct {
	address  netip.AddrPort
	version  uint16 // 5, 9 or 10
	sequence uint32
	boot     time.Time
	sampling uint32 // the configured rate, 1 or more
}

// datagram is one UDP payload on its way.
type datagram struct {
	from    *sender
	at      time.Time // by the exporter's clock
	payload []byte
	flows   []flow
	units   uint64 // what its sequence number counts: flows, datagrams or data records
}

// send makes the next datagram of an exporter, with its template where the protocol has one.
func (s *sender) send(at time.Time, flows []flow) *datagram {
	d := &datagram{from: s, at: at, flows: flows, units: uint64(len(flows))}
	uptime := uint32(at.Sub(s.boot).Milliseconds())
	switch s.version {
	case 5:
		d.payload = s.v5(at, uptime, flows)
	case 9:
		d.units = 1
		b := be.AppendUint16(nil, 9)
		b = be.AppendUint16(b, uint16(1+len(flows)))
		b = be.AppendUint32(be.AppendUint32(b, uptime), uint32(at.Unix()))
		b = be.AppendUint32(be.AppendUint32(b, s.sequence), 7)
		d.payload = appendSets(b, 0, uptime, flows)
	case 10:
		sets := appendSets(nil, 2, uptime, flows)
		b := be.AppendUint16(nil, 10)
		b = be.AppendUint16(b, uint16(16+len(sets)))
		b = be.AppendUint32(b, uint32(at.Unix()))
		b = be.AppendUint32(be.AppendUint32(b, s.sequence), 7)
		d.payload = append(b, sets...)
	}
	s.sequence += uint32(d.units)
	return d
}

// v5 writes a NetFlow v5 datagram. Source: Cisco, NetFlow Export Datagram Format, version 5.
func (s *sender) v5(at time.Time, uptime uint32, flows []flow) []byte {
	b := be.AppendUint16(nil, 5)
	b = be.AppendUint16(b, uint16(len(flows)))
	b = be.AppendUint32(be.AppendUint32(b, uptime), uint32(at.Unix()))
	b = be.AppendUint32(be.AppendUint32(b, uint32(at.Nanosecond())), s.sequence)
	b = append(b, 0, 0, 0, 0) // engine, sampling
	for _, f := range flows {
		r := make([]byte, 48)
		copy(r, f.source.AsSlice())
		copy(r[4:], f.destination.AsSlice())
		be.PutUint16(r[12:], 1)
		be.PutUint16(r[14:], 2)
		be.PutUint32(r[16:], f.packets)
		be.PutUint32(r[20:], f.octets)
		be.PutUint32(r[24:], uptime-uint32(f.length.Milliseconds()))
		be.PutUint32(r[28:], uptime)
		r[38] = 6
		b = append(b, r...)
	}
	return b
}

// appendSets writes template 260 and its data: addresses, octets, packets, first and last switched. Sources:
// RFC 3954, RFC 7011. templates is the number of a template set.
func appendSets(b []byte, templates uint16, uptime uint32, flows []flow) []byte {
	fields := []uint16{8, 4, 12, 4, 1, 4, 2, 4, 22, 4, 21, 4}
	b = be.AppendUint16(b, templates)
	b = be.AppendUint16(b, uint16(8+2*len(fields)))
	b = be.AppendUint16(be.AppendUint16(b, 260), uint16(len(fields)/2))
	for _, f := range fields {
		b = be.AppendUint16(b, f)
	}
	b = be.AppendUint16(b, 260)
	b = be.AppendUint16(b, uint16(4+24*len(flows)))
	for _, f := range flows {
		b = append(append(b, f.source.AsSlice()...), f.destination.AsSlice()...)
		b = be.AppendUint32(be.AppendUint32(b, f.octets), f.packets)
		b = be.AppendUint32(be.AppendUint32(b, uptime-uint32(f.length.Milliseconds())), uptime)
	}
	return b
}
