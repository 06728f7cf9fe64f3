package simulate

import (
	"hostmeter/schemas"
)

// dataSource is one port that an sFlow agent samples, with the counters of the port.
type dataSource struct {
	sequence, counterSequence uint32
	pool                      uint32
	inOctets, outOctets       uint64
	inPackets, outPackets     uint64
}

const (
	frameHeader = 14  // Ethernet
	frameCheck  = 4   // FCS, which frame_length holds and the sampled header does not
	frameMin    = 64  // with FCS
	headerMax   = 128 // octets of a frame that are sampled
)

func (e *exporter) source(port schemas.IfIndex) *dataSource {
	s, ok := e.sources[port]
	if !ok {
		s = &dataSource{sequence: 1000 * uint32(port), pool: 7_000_000 * uint32(port)}
		e.sources[port] = s
	}
	return s
}

// crossed counts the frames of a flow at the ports that it used, sampled or not. Source: RFC 2863.
func (e *exporter) crossed(f *flow, mix packetMix) {
	octets := mix.octets() + mix.packets()*(frameHeader+frameCheck)
	in, out := e.source(f.in), e.source(f.out)
	in.pool += uint32(mix.packets()) // sampling is at ingress
	in.inOctets += octets
	in.inPackets += mix.packets()
	out.outOctets += octets
	out.outPackets += mix.packets()
}

// appendSFlow writes a datagram of flow samples, or one counter sample of the uplink where
// there are none. Source: sFlow version 5, section 5.
func (e *exporter) appendSFlow(b []byte, at int64, flows []flow) []byte {
	b = be.AppendUint32(b, 5)
	b = be.AppendUint32(b, 1) // an IPv4 agent
	b = append(b, e.Address.AsSlice()...)
	b = be.AppendUint32(b, e.domain)
	b = be.AppendUint32(b, e.sequence)
	b = be.AppendUint32(b, e.uptime(at*1000))
	e.sequence++
	if len(flows) == 0 {
		b = be.AppendUint32(b, 1)
		return e.appendCounters(b, uplink)
	}
	b = be.AppendUint32(b, uint32(len(flows)))
	for i := range flows {
		b = e.appendSample(b, &flows[i])
	}
	return b
}

// appendSample writes a compact flow sample with one raw packet header.
func (e *exporter) appendSample(b []byte, f *flow) []byte {
	s := e.source(f.in)
	s.sequence++
	b = be.AppendUint32(b, 1) // flow sample
	start := len(b)
	b = be.AppendUint32(b, 0) // length, below
	b = be.AppendUint32(b, s.sequence)
	b = be.AppendUint32(b, uint32(f.in)) // data source: type 0, ifIndex
	b = be.AppendUint32(b, e.SamplingRate)
	b = be.AppendUint32(b, s.pool)
	b = be.AppendUint32(b, 0) // drops
	b = be.AppendUint32(b, uint32(f.in))
	b = be.AppendUint32(b, uint32(f.out))
	b = be.AppendUint32(b, 1) // records
	b = appendRawHeader(b, f)
	be.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func appendRawHeader(b []byte, f *flow) []byte {
	frame := max(uint32(f.octets)+frameHeader+frameCheck, frameMin)
	sampled := min(frame-frameCheck, headerMax)
	padded := (sampled + 3) &^ 3
	b = be.AppendUint32(b, 1) // raw packet header
	b = be.AppendUint32(b, 16+padded)
	b = be.AppendUint32(b, 1) // Ethernet
	b = be.AppendUint32(b, frame)
	b = be.AppendUint32(b, frameCheck) // stripped
	b = be.AppendUint32(b, sampled)
	start := len(b)
	b = appendFrame(b, f)
	var zeros [headerMax]byte
	return append(b, zeros[:int(padded)-(len(b)-start)]...)
}

// appendFrame writes Ethernet, IPv4 and the start of TCP or UDP. Sums are left zero: no meter reads them.
func appendFrame(b []byte, f *flow) []byte {
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0)
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(f.octets))
	b = append(b, 0, 0, 0x40, 0, 64, f.protocol, 0, 0) // do not fragment
	b = append(b, f.source.AsSlice()...)
	b = append(b, f.destination.AsSlice()...)
	b = be.AppendUint16(b, f.sourcePort)
	b = be.AppendUint16(b, f.destinationPort)
	if f.protocol == protocolUDP {
		b = be.AppendUint16(b, uint16(f.octets-20))
		return append(b, 0, 0)
	}
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, f.flags, 0xff, 0xff, 0, 0, 0, 0)
}

// appendCounters writes a counter sample with generic interface counters.
func (e *exporter) appendCounters(b []byte, port schemas.IfIndex) []byte {
	s := e.source(port)
	s.counterSequence++
	b = be.AppendUint32(b, 2) // counter sample
	b = be.AppendUint32(b, 4+4+4+8+88)
	b = be.AppendUint32(b, s.counterSequence)
	b = be.AppendUint32(b, uint32(port))
	b = be.AppendUint32(b, 1) // records
	b = be.AppendUint32(b, 1) // generic
	b = be.AppendUint32(b, 88)
	b = be.AppendUint32(b, uint32(port))
	b = be.AppendUint32(b, 6) // ethernetCsmacd
	b = be.AppendUint64(b, 10_000_000_000)
	b = be.AppendUint32(b, 1) // full duplex
	b = be.AppendUint32(b, 3) // up, up
	b = be.AppendUint64(b, s.inOctets)
	b = be.AppendUint32(b, uint32(s.inPackets))
	for range 5 { // multicast, broadcast, discards, errors, unknown protocols
		b = be.AppendUint32(b, 0)
	}
	b = be.AppendUint64(b, s.outOctets)
	b = be.AppendUint32(b, uint32(s.outPackets))
	for range 5 { // multicast, broadcast, discards, errors, promiscuous
		b = be.AppendUint32(b, 0)
	}
	return b
}
