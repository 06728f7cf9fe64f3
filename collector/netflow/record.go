package netflow

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"hostmeter/collector/sflow/frame"
	"hostmeter/schemas"
)

// dataSet decodes the records of a data set by its program. What is left behind the last record is
// padding. records counts flow and option records.
func (d *Decoder) dataSet(dst []schemas.FlowRecord, dom *domain, p *program, h *header, body []byte) (out []schemas.FlowRecord, records uint32) {
	if p.plain != nil {
		return d.plainSet(dst, dom, p, h, body)
	}
	v := &d.values
	if p.stride > 0 {
		for ; len(body) >= p.stride; body = body[p.stride:] {
			p.read(body, v)
			dst = d.take(dst, dom, p, h, nil)
			records++
		}
		return dst, records
	}
	for len(body) >= p.minimum {
		rest, section, ok := p.readVariable(body, v)
		if !ok {
			if !allZero(body) {
				d.stats.Dropped[DroppedRecordLength]++
			}
			return dst, records
		}
		body = rest
		dst = d.take(dst, dom, p, h, section)
		records++
	}
	return dst, records
}

// take makes what was read into values an option or a flow record.
func (d *Decoder) take(dst []schemas.FlowRecord, dom *domain, p *program, h *header, section []byte) []schemas.FlowRecord {
	v := &d.values
	if p.options {
		d.stats.OptionRecords++
		d.learn(dom, p.has, v)
		return dst
	}
	dst, rec := schemas.AppendFlow(dst)
	rec.ObservationDomain = dom.key.id
	v[toNothing] = 0 // what a plan lacks reads as 0
	pl := &p.plan
	rec.Octets, rec.Packets = v[pl.octets], v[pl.packets]
	rec.ReverseOctets, rec.ReversePackets = v[pl.reverseOctets], v[pl.reversePackets]
	rec.InInterface, rec.OutInterface = schemas.IfIndex(v[pl.inInterface]), schemas.IfIndex(v[pl.outInterface])
	addresses(rec, p, v)
	details(rec, p.has, v)
	times(rec, p, dom, h, v)
	if pl.layer2 {
		rec.Octets = withoutEthernet(rec.OctetsL2, rec.Packets)
	}
	if pl.frame {
		d.fromSection(rec, p.has, section)
	}
	if pl.running {
		d.runningTotals(rec, p, v)
	}
	if pl.events {
		d.running.event(rec, p, v)
	}
	d.rateOf(rec, dom, p, v)
	return dst
}

// withoutEthernet takes 14 octets a packet off a count of frames, which leaves out their FCS (RFC 7012,
// layer2OctetDeltaCount). Frames that cannot be so short are left as they are.
func withoutEthernet(octets, packets uint64) uint64 {
	if high, header := bits.Mul64(packets, 14); high == 0 && header <= octets {
		return octets - header
	}
	return octets
}

// addresses prefers IPv4 where a template has both families, unless only IPv6 is filled in.
func addresses(rec *schemas.FlowRecord, p *program, v *values) {
	if p.plan.source4 && (!p.plan.source6 || v[toSource4]|v[toDestination4] != 0) {
		if p.has.has(toSource4) {
			rec.Source = address4(uint32(v[toSource4]))
		}
		if p.has.has(toDestination4) {
			rec.Destination = address4(uint32(v[toDestination4]))
		}
		return
	}
	if p.has.has(toSource6) {
		rec.Source = address6(v[toSource6], v[toSource6Low])
	}
	if p.has.has(toDestination6) {
		rec.Destination = address6(v[toDestination6], v[toDestination6Low])
	}
}

func address4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func address6(high, low uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b).Unmap()
}

// details reads the fields that one record may have and another not.
func details(rec *schemas.FlowRecord, has set, v *values) {
	if has.has(toProtocol) {
		rec.IPProtocol = uint8(v[toProtocol])
	}
	if has.has(toTCPFlags) {
		rec.TCPFlags = uint8(v[toTCPFlags])
	}
	if has.has(toSourcePort) {
		rec.SourcePort = uint16(v[toSourcePort])
	}
	if has.has(toDestinationPort) {
		rec.DestinationPort = uint16(v[toDestinationPort])
	}
	if has.has(toOctetsL2) {
		rec.OctetsL2 = v[toOctetsL2]
	}
	if has.has(toDirection) {
		rec.Direction = directionOf(v[toDirection])
	}
	const moreFragments = 0x20 // of IE 197
	rec.Fragment = has.has(toFragmentOffset) && v[toFragmentOffset] != 0 ||
		has.has(toFragmentFlags) && v[toFragmentFlags]&moreFragments != 0
}

func directionOf(n uint64) schemas.FlowDirection {
	switch n {
	case 0:
		return schemas.DirectionIngress
	case 1:
		return schemas.DirectionEgress
	}
	return schemas.DirectionUnknown
}

// rateOf writes the sampling rate into a record: what it states itself, else what option data told.
func (d *Decoder) rateOf(rec *schemas.FlowRecord, dom *domain, p *program, v *values) {
	rec.SamplerID = samplerOf(p.has, v)
	if p.plan.ownRate {
		if own := statedRate(p.has, v); own != (rate{}) {
			rec.SamplingNumerator, rec.SamplingDenominator = own.numerator, own.denominator
			rec.SamplingOrigin = schemas.SamplingRecord
			return
		}
	}
	d.optionRate(rec, dom)
}

// optionRate writes the sampling rate that option data told into a record.
func (d *Decoder) optionRate(rec *schemas.FlowRecord, dom *domain) {
	first, second := rec.InInterface, rec.OutInterface
	if rec.Direction == schemas.DirectionEgress {
		first, second = second, first
	}
	if told := d.sampling(dom, rec.SamplerID, first, second); told != (rate{}) {
		rec.SamplingNumerator, rec.SamplingDenominator = told.numerator, told.denominator
		rec.SamplingOrigin = schemas.SamplingOption
	}
}

// fromSection counts one packet by the section of it that the record carries (RFC 5477): a template
// with dataLinkFrameSection or ipHeaderPacketSection and no counters. Where the record tells the size
// of the frame (312), the packet in it is no longer than that.
func (d *Decoder) fromSection(rec *schemas.FlowRecord, has set, section []byte) {
	p := frame.Packet{Tunnels: d.tunnels}
	ok := false
	if has.has(toFrame) {
		ok = p.ParseEthernet(section)
	} else {
		ok = p.ParseIP(section)
	}
	if !ok {
		return
	}
	link := uint64(p.LinkOctets)
	if size := rec.OctetsL2; size > link && (p.Octets == 0 || p.Octets > size-link) {
		p.Octets = size - link
	}
	p.Fill(rec)
	rec.Packets = 1
}
