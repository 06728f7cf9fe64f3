package simulate

import (
	"encoding/binary"
	"net/netip"

	"hostmeter/schemas"
)

// The encoders append one datagram to a buffer. at is the exporter's clock, Unix seconds; the flows
// are booked by the caller.

var be = binary.BigEndian

// Records in a datagram: as many as fit into 1400 octets.
const (
	recordsV5    = 28
	recordsV9    = 24
	recordsIPFIX = 15
	samplesSFlow = 6
)

// uptime is the exporter's 32-bit uptime at a time, in milliseconds, as it wraps.
func (e *exporter) uptime(unixMilli int64) uint32 { return uint32(unixMilli - e.boot) }

// appendV5 writes a NetFlow v5 datagram. Source: Cisco, NetFlow Export Datagram Format, version 5.
func (e *exporter) appendV5(b []byte, at int64, flows []flow) []byte {
	b = be.AppendUint16(b, 5)
	b = be.AppendUint16(b, uint16(len(flows)))
	b = be.AppendUint32(b, e.uptime(at*1000))
	b = be.AppendUint32(b, uint32(at))
	b = be.AppendUint32(b, 0) // nanoseconds
	b = be.AppendUint32(b, e.sequence)
	b = append(b, 0, byte(e.domain))
	sampling := uint16(0)
	if e.SamplingRate > 1 {
		sampling = 2<<14 | uint16(e.SamplingRate) // mode 2: random
	}
	b = be.AppendUint16(b, sampling)
	for i := range flows {
		b = e.appendRecordV5(b, &flows[i])
	}
	e.sequence += uint32(len(flows))
	return b
}

func (e *exporter) appendRecordV5(b []byte, f *flow) []byte {
	b = append(b, f.source.AsSlice()...)
	b = append(b, f.destination.AsSlice()...)
	b = append(b, 0, 0, 0, 0) // next hop
	b = be.AppendUint16(b, uint16(f.in))
	b = be.AppendUint16(b, uint16(f.out))
	b = be.AppendUint32(b, uint32(f.packets))
	b = be.AppendUint32(b, uint32(f.octets))
	b = be.AppendUint32(b, e.uptime(f.start))
	b = be.AppendUint32(b, e.uptime(f.end))
	b = be.AppendUint16(b, f.sourcePort)
	b = be.AppendUint16(b, f.destinationPort)
	return append(b, 0, f.flags, f.protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0) // pad, TOS, AS numbers, masks, pad
}

// Template numbers of v9 and IPFIX.
const (
	templateIPv4    = 256
	templateIPv6    = 257
	templateOptions = 258
)

type field struct{ id, length uint16 }

// fieldsOf returns the fields of a template, in the order in which appendRecord writes them.
func (e *exporter) fieldsOf(template uint16) []field {
	source, destination, size := uint16(8), uint16(12), uint16(4)
	if template == templateIPv6 {
		source, destination, size = 27, 28, 16
	}
	fields := []field{
		{source, size}, {destination, size}, {7, 2}, {11, 2}, {4, 1}, {6, 1}, {10, 4}, {14, 4}, {1, 8}, {2, 8},
	}
	if e.Protocol == schemas.IPFIX {
		return append(fields, field{152, 8}, field{153, 8}, field{136, 1}) // milliseconds; why it ended
	}
	fields = append(fields, field{22, 4}, field{21, 4}) // first, last
	if e.SamplingRate > 1 {
		fields = append(fields, field{48, 1}) // the sampler
	}
	return fields
}

// appendRecord writes one record of a v9 or IPFIX data set.
func (e *exporter) appendRecord(b []byte, f *flow) []byte {
	b = append(b, f.source.AsSlice()...)
	b = append(b, f.destination.AsSlice()...)
	b = be.AppendUint16(b, f.sourcePort)
	b = be.AppendUint16(b, f.destinationPort)
	b = append(b, f.protocol, f.flags)
	b = be.AppendUint32(b, uint32(f.in))
	b = be.AppendUint32(b, uint32(f.out))
	b = be.AppendUint64(b, f.octets)
	b = be.AppendUint64(b, f.packets)
	if e.Protocol == schemas.IPFIX {
		b = be.AppendUint64(b, uint64(f.start))
		b = be.AppendUint64(b, uint64(f.end))
		return append(b, 2) // active timeout
	}
	b = be.AppendUint32(b, e.uptime(f.start))
	b = be.AppendUint32(b, e.uptime(f.end))
	if e.SamplingRate > 1 {
		b = append(b, samplerID)
	}
	return b
}

const samplerID = 3

// appendV9 writes a NetFlow v9 datagram, with templates and option data in front where asked for.
// Source: RFC 3954.
func (e *exporter) appendV9(b []byte, at int64, flows []flow, templates bool) []byte {
	start := len(b)
	b = be.AppendUint16(b, 9)
	b = be.AppendUint16(b, 0) // count, below
	b = be.AppendUint32(b, e.uptime(at*1000))
	b = be.AppendUint32(b, uint32(at))
	b = be.AppendUint32(b, e.sequence)
	b = be.AppendUint32(b, e.domain)
	count := len(flows)
	if templates {
		count += 2
		b = e.appendTemplates(b, 0)
		if e.SamplingRate > 1 {
			count += 2
			b = e.appendSampler(b)
		}
	}
	b = e.appendSets(b, flows)
	be.PutUint16(b[start+2:], uint16(count))
	e.sequence++
	return b
}

// appendIPFIX writes an IPFIX message. Source: RFC 7011.
func (e *exporter) appendIPFIX(b []byte, at int64, flows []flow, templates bool) []byte {
	start := len(b)
	b = be.AppendUint16(b, 10)
	b = be.AppendUint16(b, 0) // length, below
	b = be.AppendUint32(b, uint32(at))
	b = be.AppendUint32(b, e.sequence)
	b = be.AppendUint32(b, e.domain)
	if templates {
		b = e.appendTemplates(b, 2)
	}
	b = e.appendSets(b, flows)
	be.PutUint16(b[start+2:], uint16(len(b)-start))
	e.sequence += uint32(len(flows)) // it counts data records
	return b
}

// appendTemplates writes a set with the templates of both families.
func (e *exporter) appendTemplates(b []byte, set uint16) []byte {
	start := len(b)
	b = be.AppendUint16(b, set)
	b = be.AppendUint16(b, 0)
	for _, template := range []uint16{templateIPv4, templateIPv6} {
		fields := e.fieldsOf(template)
		b = be.AppendUint16(b, template)
		b = be.AppendUint16(b, uint16(len(fields)))
		for _, f := range fields {
			b = be.AppendUint16(b, f.id)
			b = be.AppendUint16(b, f.length)
		}
	}
	return closeSet(b, start)
}

// appendSampler writes the options template of v9 and its one record: the sampler, its mode and its
// interval, with scope System, as pmacct does.
func (e *exporter) appendSampler(b []byte) []byte {
	start := len(b)
	for _, v := range []uint16{1, 0, templateOptions, 4, 12, 1, 4, 48, 1, 49, 1, 50, 4} {
		b = be.AppendUint16(b, v)
	}
	b = closeSet(b, start)
	start = len(b)
	b = be.AppendUint16(b, templateOptions)
	b = be.AppendUint16(b, 0)
	b = be.AppendUint32(b, e.domain)
	b = append(b, samplerID, 2) // mode 2: random
	b = be.AppendUint32(b, e.SamplingRate)
	return closeSet(b, start)
}

// appendSets writes one data set for each family that has flows.
func (e *exporter) appendSets(b []byte, flows []flow) []byte {
	for _, template := range []uint16{templateIPv4, templateIPv6} {
		start := len(b)
		for i := range flows {
			if familyOf(flows[i].source) != template {
				continue
			}
			if len(b) == start {
				b = be.AppendUint16(b, template)
				b = be.AppendUint16(b, 0)
			}
			b = e.appendRecord(b, &flows[i])
		}
		if len(b) > start {
			b = closeSet(b, start)
		}
	}
	return b
}

func familyOf(a netip.Addr) uint16 {
	if a.Is4() {
		return templateIPv4
	}
	return templateIPv6
}

// closeSet pads a set to four octets and writes its length.
func closeSet(b []byte, start int) []byte {
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	be.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}
