package sflow

import (
	"encoding/binary"
	"net/netip"

	"hostmeter/collector/sflow/frame"
	"hostmeter/schemas"
)

// port is an interface as a sample names it: the format and the value.
type port struct{ format, value uint32 }

// compactPort splits the two bits of format off. An index of all ones is the device itself.
func compactPort(n uint32) port { return port{n >> 30, n & 0x3fffffff} }

// index is 0 where the sample names no single interface: unknown, the device itself, several
// (flooded), or none because the packet was discarded.
func (p port) index() schemas.IfIndex {
	if p.format != 0 || p.value == 0x3fffffff || p.value == 0xffffffff {
		return 0
	}
	return schemas.IfIndex(p.value)
}

// flow reads a flow sample. Its interfaces are told in 8 octets, or 16 when it is expanded.
func (d *Decoder) flow(dst []schemas.FlowRecord, h *head, b []byte, expanded bool) []schemas.FlowRecord {
	fixed := 32
	if expanded {
		fixed = 44
	}
	if len(b) < fixed {
		d.stats.Dropped[DroppedSampleLength]++
		return dst
	}
	number, source, sampling := binary.BigEndian.Uint32(b), uint64(0), uint32(0)
	var in, out port
	if expanded {
		source = uint64(binary.BigEndian.Uint32(b[4:]))<<32 | uint64(binary.BigEndian.Uint32(b[8:]))
		sampling = binary.BigEndian.Uint32(b[12:])
		in = port{binary.BigEndian.Uint32(b[24:]), binary.BigEndian.Uint32(b[28:])}
		out = port{binary.BigEndian.Uint32(b[32:]), binary.BigEndian.Uint32(b[36:])}
	} else {
		id := binary.BigEndian.Uint32(b[4:])
		source = uint64(id>>24)<<32 | uint64(id&0xffffff)
		sampling = binary.BigEndian.Uint32(b[8:])
		in, out = compactPort(binary.BigEndian.Uint32(b[20:])), compactPort(binary.BigEndian.Uint32(b[24:]))
	}
	if s := d.follow(h, source, number, &d.stats.LostSamples); s != nil {
		counted := b[fixed-20:] // pool, drops
		d.stats.LostAtAgent += s.pool.take(binary.BigEndian.Uint32(counted), binary.BigEndian.Uint32(counted[4:]), sampling)
	}
	dst, rec := schemas.AppendFlow(dst)
	rec.ObservationDomain, rec.InInterface, rec.OutInterface, rec.Packets = h.sub, in.index(), out.index(), 1
	if !d.flowRecords(rec, b[fixed:], binary.BigEndian.Uint32(b[fixed-4:])) {
		return dst[:len(dst)-1]
	}
	if sampling > 0 {
		rec.SamplingNumerator, rec.SamplingDenominator, rec.SamplingOrigin = sampling, 1, schemas.SamplingRecord
	}
	if source>>32 == 0 && source != 0 { // the source is an interface
		switch schemas.IfIndex(source) {
		case rec.InInterface:
			rec.Direction = schemas.DirectionIngress
		case rec.OutInterface:
			rec.Direction = schemas.DirectionEgress
		}
	}
	d.stats.Records++
	d.stats.ReportedPackets++
	d.stats.ReportedOctets += reportedOctets(rec)
	return dst
}

// reportedOctets is the frame length, or the IP length where that is all that was told.
func reportedOctets(rec *schemas.FlowRecord) uint64 {
	if rec.OctetsL2 != 0 {
		return rec.OctetsL2
	}
	return rec.Octets
}

// Flow record formats, enterprise 0.
const (
	rawHeader    = 1
	ethernetData = 2
	ipv4Data     = 3
	ipv6Data     = 4
)

// flowRecords reads the records of a flow sample into one flow record. The packet's own header says
// more than an agent's summary and wins, whatever their order. It counts and returns false where
// nothing tells of the packet.
func (d *Decoder) flowRecords(rec *schemas.FlowRecord, b []byte, count uint32) bool {
	header := frame.Packet{Tunnels: d.tunnels}
	var summary []byte // with addresses of summarySize octets
	var summarySize int
	var headerOK, found, cut bool
	for ; count > 0; count-- {
		format, data, rest, ok := nextRecord(b)
		if !ok {
			cut = true
			break
		}
		b = rest
		switch {
		case format == rawHeader && len(data) >= 16 && !headerOK:
			found = true
			headerOK = d.sampledHeader(&header, rec, data)
		case format == ethernetData && len(data) >= 4:
			found = true
			if rec.OctetsL2 == 0 {
				rec.OctetsL2 = uint64(binary.BigEndian.Uint32(data))
			}
		case format == ipv4Data && len(data) >= 28:
			found, summary, summarySize = true, data, 4
		case format == ipv6Data && len(data) >= 52:
			found, summary, summarySize = true, data, 16
		}
	}
	switch {
	case headerOK:
		header.Fill(rec)
	case summary != nil:
		p := sampledIP(summary, summarySize)
		p.Fill(rec)
	case !found && cut:
		d.stats.Dropped[DroppedRecordLength]++
	case !found:
		d.stats.Dropped[DroppedNoPacket]++
	}
	return found
}

// nextRecord splits the first record off; ok is false where it is cut short.
func nextRecord(b []byte) (format uint32, data, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, nil, false
	}
	length := uint64(binary.BigEndian.Uint32(b[4:]))
	format, b = binary.BigEndian.Uint32(b), b[8:]
	if length > uint64(len(b)) {
		return 0, nil, nil, false
	}
	padded := min((length+3)&^3, uint64(len(b))) // XDR pads to 4 octets
	return format, b[:length], b[padded:], true
}

// Header protocols of a sampled header that can hold IP.
const (
	protocolEthernet = 1
	protocolPPP      = 7
	protocolIPv4     = 11
	protocolIPv6     = 12
	protocolMPLS     = 13
	protocolPOS      = 14
)

// sampledHeader reads the beginning of the packet. The frame length counts even where it is not IP;
// then it returns false.
//
// Anybody can write any length into an IP header, and switches sample a packet before a router refuses
// it: more than the frame holds is not believed. Only where the frame is said to be exactly as long
// as what was kept of it (some agents do not tell frames' lengths) the IP header is the better witness.
func (d *Decoder) sampledHeader(p *frame.Packet, rec *schemas.FlowRecord, b []byte) bool {
	protocol := binary.BigEndian.Uint32(b)
	frameLength := uint64(binary.BigEndian.Uint32(b[4:]))
	length := min(uint64(binary.BigEndian.Uint32(b[12:])), uint64(len(b)-16))
	rec.OctetsL2 = frameLength
	ok, fcs := false, uint64(0)
	switch packet := b[16 : 16+length]; protocol {
	case protocolEthernet:
		ok, fcs = p.ParseEthernet(packet), 4
	case protocolPPP, protocolPOS:
		ok = p.ParsePPP(packet)
	case protocolIPv4, protocolIPv6:
		ok = p.ParseIP(packet)
	case protocolMPLS:
		ok = p.ParseMPLS(packet)
	}
	if !ok {
		return false
	}
	link, kept := uint64(p.LinkOctets), uint64(binary.BigEndian.Uint32(b[12:]))
	open := p.Octets == 0 // by segmentation offload: the frame tells
	tooLong := p.Octets+link > frameLength && (kept != frameLength || kept < headerLeast)
	if tooLong {
		d.stats.LengthsCut++
	}
	if open || tooLong {
		p.Octets = frameLength - min(frameLength, link+fcs)
	}
	return true
}

// headerLeast is the least of a frame that agents keep when they cut it.
const headerLeast = 64

// sampledIP reads an agent's summary of an IPv4 or IPv6 packet; size is that of an address.
func sampledIP(b []byte, size int) frame.Packet {
	p := frame.Packet{
		Octets:   uint64(binary.BigEndian.Uint32(b)),
		Protocol: uint8(binary.BigEndian.Uint32(b[4:])),
	}
	source, _ := netip.AddrFromSlice(b[8 : 8+size])
	destination, _ := netip.AddrFromSlice(b[8+size : 8+2*size])
	p.Source, p.Destination = source.Unmap(), destination.Unmap()
	b = b[8+2*size:]
	p.SourcePort = uint16(binary.BigEndian.Uint32(b))
	p.DestinationPort = uint16(binary.BigEndian.Uint32(b[4:]))
	p.TCPFlags = uint8(binary.BigEndian.Uint32(b[8:]))
	return p
}
