package simulate

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hostmeter/schemas"
)

// reader is a small collector: just enough of the four formats to read back what the simulator
// writes, written against the formats' own texts and sharing nothing with the encoders.
type reader struct {
	t         testing.TB
	exporters map[netip.Addr]*readExporter
	in, out   map[netip.Addr]uint64 // scaled octets by address
	local     func(netip.Addr) bool
}

type readExporter struct {
	got       Statements
	next      uint32 // expected sequence number
	begun     bool
	missing   uint64 // in the protocol's own unit
	rate      uint64
	templates map[uint16][]readField
	sources   map[uint32]uint32 // sFlow: next sample number of a source
	scaled    uint64
}

type readField struct{ id, length int }

func newReader(t testing.TB, p *Provider) *reader {
	r := &reader{t: t, exporters: map[netip.Addr]*readExporter{}, in: map[netip.Addr]uint64{}, out: map[netip.Addr]uint64{}}
	r.local = func(a netip.Addr) bool {
		for _, prefix := range p.Local() {
			if prefix.Contains(a) {
				return true
			}
		}
		return false
	}
	for _, e := range p.Exporters() {
		r.exporters[e.Address] = &readExporter{rate: 1, templates: map[uint16][]readField{}, sources: map[uint32]uint32{}}
	}
	return r
}

func (r *reader) read(at time.Time, d *Datagram) {
	e := r.exporters[d.From.Addr()]
	if e == nil {
		r.t.Fatalf("a datagram from %s, which is no exporter", d.From)
	}
	if len(d.Payload) > 1472 {
		r.t.Fatalf("a datagram of %d octets would be cut on Ethernet", len(d.Payload))
	}
	e.got.Datagrams++
	b := d.Payload
	switch version := binary.BigEndian.Uint16(b); version {
	case 5:
		r.readV5(e, at, b)
	case 9:
		r.readV9(e, at, b)
	case 10:
		r.readIPFIX(e, at, b)
	case 0:
		r.readSFlow(e, b)
	default:
		r.t.Fatalf("version %d", version)
	}
}

// sequence checks a sequence number: it is the expected one, or what is between is missing. The
// counts of what was sent begin anywhere.
func (e *readExporter) sequence(number uint32, step uint32) {
	if e.begun {
		e.missing += uint64(number - e.next)
	}
	e.begun, e.next = true, number+step
}

func (r *reader) flow(e *readExporter, source, destination netip.Addr, octets, packets uint64) {
	e.got.Records++
	e.got.Octets += octets
	e.got.Packets += packets
	e.scaled += octets * e.rate
	if r.local(source) {
		r.out[source] += octets * e.rate
	}
	if r.local(destination) {
		r.in[destination] += octets * e.rate
	}
}

// within checks that a flow ended before it was told and is not older than twice the timeout.
func (r *reader) within(at time.Time, start, end int64) {
	received := at.UnixMilli()
	if start > end || end > received || received-start > 2*activeTimeout.Milliseconds() {
		r.t.Fatalf("a flow from %d to %d, received at %d", start, end, received)
	}
}

func (r *reader) readV5(e *readExporter, at time.Time, b []byte) {
	count := int(binary.BigEndian.Uint16(b[2:]))
	if len(b) != 24+48*count {
		r.t.Fatalf("v5: %d records in %d octets", count, len(b))
	}
	uptime, seconds := binary.BigEndian.Uint32(b[4:]), int64(binary.BigEndian.Uint32(b[8:]))
	e.sequence(binary.BigEndian.Uint32(b[16:]), uint32(count))
	if sampling := binary.BigEndian.Uint16(b[22:]); sampling != 0 {
		e.rate = uint64(sampling & 0x3fff)
	}
	for b = b[24:]; len(b) > 0; b = b[48:] {
		first, last := binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:])
		r.within(at, seconds*1000-int64(uptime-first), seconds*1000-int64(uptime-last))
		r.flow(e, address(b[0:4]), address(b[4:8]), uint64(binary.BigEndian.Uint32(b[20:])), uint64(binary.BigEndian.Uint32(b[16:])))
	}
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (r *reader) readV9(e *readExporter, at time.Time, b []byte) {
	count := uint64(binary.BigEndian.Uint16(b[2:]))
	uptime, seconds := binary.BigEndian.Uint32(b[4:]), int64(binary.BigEndian.Uint32(b[8:]))
	e.sequence(binary.BigEndian.Uint32(b[12:]), 1)
	before := e.got
	r.readSets(e, b[20:], func(v map[int]uint64) {
		r.within(at, seconds*1000-int64(uptime-uint32(v[22])), seconds*1000-int64(uptime-uint32(v[21])))
	})
	told := e.got.Records + e.got.OptionRecords + e.got.Templates - before.Records - before.OptionRecords - before.Templates
	if told != count {
		r.t.Fatalf("v9: count says %d, %d are there", count, told)
	}
}

func (r *reader) readIPFIX(e *readExporter, at time.Time, b []byte) {
	if int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		r.t.Fatalf("ipfix: length says %d of %d", binary.BigEndian.Uint16(b[2:]), len(b))
	}
	before := e.got.Records
	r.readSets(e, b[16:], func(v map[int]uint64) { r.within(at, int64(v[152]), int64(v[153])) })
	e.sequence(binary.BigEndian.Uint32(b[8:]), uint32(e.got.Records-before))
}

// readSets reads the sets of v9 and IPFIX.
func (r *reader) readSets(e *readExporter, b []byte, times func(map[int]uint64)) {
	for len(b) > 0 {
		id, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		set := b[4:length]
		b = b[length:]
		switch {
		case id == 0 || id == 2:
			r.readTemplates(e, set)
		case id == 1:
			r.readOptionsTemplate(e, set)
		default:
			r.readData(e, id, set, times)
		}
	}
}

func (r *reader) readTemplates(e *readExporter, b []byte) {
	for len(b) >= 4 {
		id, count := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		b = b[4:]
		var fields []readField
		for range count {
			fields = append(fields, readField{int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))})
			b = b[4:]
		}
		e.templates[id] = fields
		e.got.Templates++
	}
}

func (r *reader) readOptionsTemplate(e *readExporter, b []byte) {
	id, scopes, options := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:])), int(binary.BigEndian.Uint16(b[4:]))
	fields := []readField{}
	for i := 0; i < scopes+options; i += 4 {
		f := readField{int(binary.BigEndian.Uint16(b[6+i:])), int(binary.BigEndian.Uint16(b[8+i:]))}
		if i < scopes {
			f.id = -f.id
		}
		fields = append(fields, f)
	}
	e.templates[id] = fields
	e.got.Templates++
}

func (r *reader) readData(e *readExporter, id uint16, b []byte, times func(map[int]uint64)) {
	fields, ok := e.templates[id]
	if !ok {
		r.t.Fatalf("data of template %d before the template", id)
	}
	size := 0
	for _, f := range fields {
		size += f.length
	}
	for len(b) >= size {
		values, addresses := map[int]uint64{}, map[int]netip.Addr{}
		for _, f := range fields {
			for _, octet := range b[:f.length] {
				values[f.id] = values[f.id]<<8 | uint64(octet)
			}
			if f.length == 4 || f.length == 16 {
				addresses[f.id] = address(b[:f.length])
			}
			b = b[f.length:]
		}
		if rate, isOption := values[50]; isOption {
			e.rate = rate
			e.got.OptionRecords++
			continue
		}
		times(values)
		if id == templateIPv6 {
			r.flow(e, addresses[27], addresses[28], values[1], values[2])
			continue
		}
		r.flow(e, addresses[8], addresses[12], values[1], values[2])
	}
}

func (r *reader) readSFlow(e *readExporter, b []byte) {
	word := func() uint32 {
		v := binary.BigEndian.Uint32(b)
		b = b[4:]
		return v
	}
	if word() != 5 || word() != 1 || word() == 0 {
		r.t.Fatal("sflow: header")
	}
	word() // sub-agent
	e.sequence(word(), 1)
	word() // uptime
	for samples := word(); samples > 0; samples-- {
		format, length := word(), word()
		body := b[:length]
		b = b[length:]
		if format == 2 {
			e.got.CounterSamples++
			continue
		}
		r.readSample(e, body)
	}
	if len(b) != 0 {
		r.t.Fatalf("sflow: %d octets left", len(b))
	}
}

func (r *reader) readSample(e *readExporter, b []byte) {
	at := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	number, source := at(0), at(1)
	if next, ok := e.sources[source]; ok && next != number {
		r.t.Fatalf("sflow: sample %d of source %d, want %d", number, source, next)
	}
	e.sources[source] = number + 1
	e.rate = uint64(at(2))
	frame, stripped, sampled := at(11), at(12), at(13)
	header := b[56:]
	if at(8) != 1 || len(header) != int(sampled+3)&^3 {
		r.t.Fatalf("sflow: %d octets of header, %d are told", len(header), sampled)
	}
	octets := uint64(binary.BigEndian.Uint16(header[16:]))
	if want := max(octets+14+uint64(stripped), 64); uint64(frame) != want {
		r.t.Fatalf("sflow: a frame of %d octets around %d", frame, octets)
	}
	r.flow(e, address(header[26:30]), address(header[30:34]), octets, 1)
}

// lostOf is what a collector can know to be lost, in the protocol's own unit.
func lostOf(protocol schemas.Protocol, lost Statements) uint64 {
	if protocol == schemas.NetFlow5 || protocol == schemas.IPFIX {
		return lost.Records
	}
	return lost.Datagrams
}

func describe(s Statements) string { return fmt.Sprintf("%+v", s) }
