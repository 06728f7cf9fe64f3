package tally

import (
	"encoding/binary"
	"slices"

	"hostmeter/schemas"
)

// message is the memory of the one tally that a flush hands out at a time.
type message struct {
	tally   schemas.Tally
	in, out trafficMessage
}

// trafficMessage is one direction of a message.
type trafficMessage struct {
	traffic          schemas.Traffic
	features         schemas.Features
	addresses, ports sketchMessage
	topPeers         [told]schemas.Peer
	peerAddresses    [told][16]byte
	topPorts         [told]schemas.PortTraffic
}

type sketchMessage struct {
	sketch    schemas.Sketch
	exact     [exactMax]uint64
	registers [registers]byte
}

// of fills in one direction, multiplied by the sampling rate; nil where there was none.
func (m *trafficMessage) of(t *Table, g *group, d *direction, octets, packets *scaler) *schemas.Traffic {
	if d.empty() {
		return nil
	}
	n, by := g.numerator, g.denominator
	scaledOctets, ok := octets.scale(d.octets, n, by)
	scaledPackets, ok2 := packets.scale(d.packets, n, by)
	if !ok || !ok2 {
		g.sums.overflown++
	}
	out := &m.traffic
	out.Octets, out.Packets, out.Flows = scaledOctets, scaledPackets, scaleRoughly(uint64(d.flows), n, by)
	out.ReportedOctets, out.ReportedPackets = d.octets, d.packets
	out.VarianceKib2 = variance(d.squares, n, by)
	out.Features = m.featuresOf(t, d, n, by)
	out.RemoteAddresses, out.RemotePorts = m.addresses.ofAddresses(t, &d.addresses), m.ports.ofPorts(t, &d.ports)
	out.TopPeers, out.TopPorts = out.TopPeers[:0], out.TopPorts[:0]
	if d.peers != 0 {
		m.heaviest(t.peers.at(d.peers), n, by)
	}
	return out
}

// featuresOf returns nil where nothing was counted.
func (m *trafficMessage) featuresOf(t *Table, d *direction, numerator, denominator uint32) *schemas.Features {
	rare := &rareFeatures{}
	if d.rare != 0 {
		rare = t.rare.at(d.rare)
	}
	if d.features == (features{}) && *rare == (rareFeatures{}) {
		return nil
	}
	d.features.write(&m.features, numerator, denominator)
	rare.write(&m.features, numerator, denominator)
	return &m.features
}

func (m *sketchMessage) ofAddresses(t *Table, s *addressSketch) *schemas.Sketch {
	if s.wide() != 0 {
		return m.of(t.wide.at(s.wide()))
	}
	exact := m.exact[:0]
	for _, key := range s.small[:s.n] {
		exact = append(exact, hashAddress(number{0, uint64(key)}, true))
	}
	return m.ofExact(exact)
}

func (m *sketchMessage) ofPorts(t *Table, s *portSketch) *schemas.Sketch {
	if s.wide() != 0 {
		return m.of(t.wide.at(s.wide()))
	}
	exact := m.exact[:0]
	for _, key := range s.small[:s.n] {
		exact = append(exact, hashPort(key))
	}
	return m.ofExact(exact)
}

func (m *sketchMessage) of(s *sketch) *schemas.Sketch {
	if s.n <= exactMax {
		return m.ofExact(append(m.exact[:0], s.words[:s.n]...))
	}
	of := m.registers[:0]
	for _, word := range s.words {
		of = binary.LittleEndian.AppendUint64(of, word)
	}
	m.sketch.Exact, m.sketch.Registers = nil, of
	return &m.sketch
}

// ofExact returns nil where nothing was added.
func (m *sketchMessage) ofExact(exact []uint64) *schemas.Sketch {
	if len(exact) == 0 {
		return nil
	}
	slices.Sort(exact)
	m.sketch.Exact, m.sketch.Registers = exact, nil
	return &m.sketch
}

// heaviest fills in the heaviest peers and ports.
func (m *trafficMessage) heaviest(p *peers, numerator, denominator uint32) {
	for i, item := range p.addresses.top() {
		address := item.key.address.address(item.key.v4)
		peer := &m.topPeers[i]
		peer.Address = m.peerAddresses[i][:address.BitLen()/8]
		copy(peer.Address, address.AsSlice())
		peer.Octets = scaleRoughly(item.octets, numerator, denominator)
		peer.Packets = scaleRoughly(item.packets, numerator, denominator)
		m.traffic.TopPeers = append(m.traffic.TopPeers, peer)
	}
	for i, item := range p.ports.top() {
		port := &m.topPorts[i]
		port.Protocol, port.Port = uint32(item.key.protocol), uint32(item.key.port)
		port.Octets = scaleRoughly(item.octets, numerator, denominator)
		port.Packets = scaleRoughly(item.packets, numerator, denominator)
		m.traffic.TopPorts = append(m.traffic.TopPorts, port)
	}
}
