package tally

import "hostmeter/schemas"

// IP protocols that features tell apart.
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
	protocolSCTP   = 132
)

// TCP flags.
const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// portGroup is a set of groups of watched ports.
type portGroup uint8

const (
	groupSMTP portGroup = 1 << iota
	groupTelnet
	groupSSH
	groupRDP
	groupMining
	groupRouter
	groupDNS
	groupAmplifier
)

// portGroups tells the groups of every port; see schemas.Features.
var portGroups = func() (groups [1 << 16]portGroup) {
	for group, ports := range map[portGroup][]uint16{
		groupSMTP:      {25, 465, 587},
		groupTelnet:    {23, 2323},
		groupSSH:       {22},
		groupRDP:       {3389},
		groupMining:    {3333, 4444, 5555, 9999, 14444},
		groupRouter:    {80, 8080, 8081, 8443, 7547, 37215, 52869},
		groupDNS:       {53},
		groupAmplifier: {17, 19, 53, 69, 111, 123, 137, 161, 389, 427, 1900, 3283, 11211},
	} {
		for _, port := range ports {
			groups[port] |= group
		}
	}
	return groups
}()

// features are those counters of schemas.Features that common traffic moves, not multiplied by the sampling rate; of
// others there are rareFeatures. What most records move comes first, beside the sums of a direction: few lines of
// memory are touched by a note. Flows are counted one by one, and stay within 32 bits until they are flushed.
type features struct {
	tcpPackets, udpPackets, udpOctets uint64
	tcpFlows, udpFlows                uint32
	synPackets                        uint64
	synOnlyFlows, singlePacketFlows   uint32
}

// rareFeatures are the other counters of schemas.Features.
type rareFeatures struct {
	icmpPackets, fragments                                   uint64
	amplifierOctets, amplifierPackets, dnsPackets, dnsOctets uint64
	smtpFlows, telnetFlows, sshFlows, rdpFlows, miningFlows  uint32
	smtpEstablishedFlows, routerScanFlows                    uint32
}

// flows is how many flows a note adds.
func (n *note) flows() uint32 {
	if n.has(isBegin) {
		return 1
	}
	return 0
}

// isSYNOnly says of a note of TCP that nothing but SYN was seen.
func (n *note) isSYNOnly() bool { return n.flags == flagSYN }

// add counts a note.
func (f *features) add(n *note) {
	flows := n.flows()
	if n.has(isSingle) {
		f.singlePacketFlows += flows
	}
	switch n.protocol {
	case protocolTCP:
		f.tcpPackets += n.packets
		f.tcpFlows += flows
		switch {
		case n.isSYNOnly():
			f.synPackets += n.packets
			f.synOnlyFlows += flows
		case n.flags&flagSYN != 0 && (n.has(isMany) || n.flags&flagACK == 0):
			f.synPackets += uint64(flows)
		}
	case protocolUDP:
		f.udpPackets += n.packets
		f.udpOctets += n.octets
		f.udpFlows += flows
	}
}

// rare says whether rareFeatures count a note.
func (n *note) rare() bool {
	if n.has(isFragment) {
		return true
	}
	switch n.protocol {
	case protocolTCP:
		groups := portGroups[n.remotePort] &^ groupAmplifier
		if !n.isSYNOnly() {
			groups &^= groupRouter
		}
		return groups != 0
	case protocolUDP:
		return portGroups[n.remotePort]&groupDNS != 0 || n.fromAmplifier()
	case protocolICMP, protocolICMPv6:
		return true
	}
	return false
}

// fromAmplifier says of a note of UDP that it comes from a port that amplifies attacks.
func (n *note) fromAmplifier() bool {
	return n.has(isOut) && portGroups[n.ownPort]&groupAmplifier != 0
}

// add counts a note.
func (f *rareFeatures) add(n *note) {
	if n.has(isFragment) {
		f.fragments += n.packets
	}
	remote := portGroups[n.remotePort]
	switch n.protocol {
	case protocolTCP:
		f.addTCP(n, remote)
	case protocolUDP:
		if n.fromAmplifier() {
			f.amplifierOctets += n.octets
			f.amplifierPackets += n.packets
		}
	case protocolICMP, protocolICMPv6:
		f.icmpPackets += n.packets
		return
	default:
		return
	}
	if remote&groupDNS != 0 {
		f.dnsPackets += n.packets
		f.dnsOctets += n.octets
	}
}

func (f *rareFeatures) addTCP(n *note, remote portGroup) {
	flows := n.flows()
	if remote&groupSMTP != 0 {
		f.smtpFlows += flows
		if n.flags&^(flagSYN|flagRST) != 0 {
			f.smtpEstablishedFlows += flows
		}
	}
	if remote&groupTelnet != 0 {
		f.telnetFlows += flows
	}
	if remote&groupSSH != 0 {
		f.sshFlows += flows
	}
	if remote&groupRDP != 0 {
		f.rdpFlows += flows
	}
	if remote&groupMining != 0 {
		f.miningFlows += flows
	}
	if remote&groupRouter != 0 && n.isSYNOnly() {
		f.routerScanFlows += flows
	}
}

// write fills in the features multiplied by the sampling rate.
func (f *features) write(m *schemas.Features, numerator, denominator uint32) {
	s := func(n uint64) uint64 { return scaleFeature(n, numerator, denominator) }
	flows := func(n uint32) uint64 { return s(uint64(n)) }
	m.TcpPackets, m.SynPackets = s(f.tcpPackets), s(f.synPackets)
	m.UdpPackets, m.UdpOctets = s(f.udpPackets), s(f.udpOctets)
	m.SynOnlyFlows, m.TcpFlows, m.UdpFlows = flows(f.synOnlyFlows), flows(f.tcpFlows), flows(f.udpFlows)
	m.SinglePacketFlows = flows(f.singlePacketFlows)
}

// write fills in the rare features multiplied by the sampling rate.
func (f *rareFeatures) write(m *schemas.Features, numerator, denominator uint32) {
	s := func(n uint64) uint64 { return scaleFeature(n, numerator, denominator) }
	flows := func(n uint32) uint64 { return s(uint64(n)) }
	m.IcmpPackets, m.Fragments = s(f.icmpPackets), s(f.fragments)
	m.AmplifierOctets, m.AmplifierPackets = s(f.amplifierOctets), s(f.amplifierPackets)
	m.DnsPackets, m.DnsOctets = s(f.dnsPackets), s(f.dnsOctets)
	m.SmtpFlows, m.TelnetFlows, m.SshFlows, m.RdpFlows = flows(f.smtpFlows), flows(f.telnetFlows), flows(f.sshFlows), flows(f.rdpFlows)
	m.SmtpEstablishedFlows = flows(f.smtpEstablishedFlows)
	m.MiningFlows, m.RouterScanFlows = flows(f.miningFlows), flows(f.routerScanFlows)
}

func scaleFeature(n uint64, numerator, denominator uint32) uint64 {
	if n == 0 {
		return 0
	}
	return scaleRoughly(n, numerator, denominator)
}
