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

// features are the counters of schemas.Features, not multiplied by the sampling rate. What most records move
// comes first, beside the sums of a direction: few lines of memory are touched by a note. Flows are counted one
// by one, and stay within 32 bits until they are flushed.
type features struct {
	tcpPackets, synPackets                                   uint64
	tcpFlows, udpFlows, synOnlyFlows, singlePacketFlows      uint32
	udpPackets, udpOctets, icmpPackets, fragments            uint64
	amplifierOctets, amplifierPackets, dnsPackets, dnsOctets uint64
	smtpFlows, telnetFlows, sshFlows, rdpFlows, miningFlows  uint32
	smtpEstablishedFlows, routerScanFlows                    uint32
}

// add counts a note.
func (f *features) add(n *note) {
	packets, flows := n.packets, uint32(0)
	if n.has(isBegin) {
		flows = 1
	}
	if n.has(isFragment) {
		f.fragments += packets
	}
	if n.has(isSingle) {
		f.singlePacketFlows += flows
	}
	remote := portGroups[n.remotePort]
	switch n.protocol {
	case protocolTCP:
		f.addTCP(n, packets, flows, remote)
	case protocolUDP:
		f.udpPackets += packets
		f.udpOctets += n.octets
		f.udpFlows += flows
		if n.has(isOut) && portGroups[n.ownPort]&groupAmplifier != 0 {
			f.amplifierOctets += n.octets
			f.amplifierPackets += packets
		}
	case protocolICMP, protocolICMPv6:
		f.icmpPackets += packets
		return
	default:
		return
	}
	if remote&groupDNS != 0 {
		f.dnsPackets += packets
		f.dnsOctets += n.octets
	}
}

func (f *features) addTCP(n *note, packets uint64, flows uint32, remote portGroup) {
	f.tcpPackets += packets
	f.tcpFlows += flows
	synOnly := n.flags == flagSYN
	switch {
	case synOnly:
		f.synPackets += packets
		f.synOnlyFlows += flows
	case n.flags&flagSYN != 0 && (n.has(isMany) || n.flags&flagACK == 0):
		f.synPackets += uint64(flows)
	}
	if remote == 0 {
		return
	}
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
	if remote&groupRouter != 0 && synOnly {
		f.routerScanFlows += flows
	}
}

// write fills in the features multiplied by the sampling rate.
func (f *features) write(m *schemas.Features, numerator, denominator uint32) {
	s := func(n uint64) uint64 {
		if n == 0 {
			return 0
		}
		return scaleRoughly(n, numerator, denominator)
	}
	flows := func(n uint32) uint64 { return s(uint64(n)) }
	m.TcpPackets, m.SynPackets = s(f.tcpPackets), s(f.synPackets)
	m.UdpPackets, m.UdpOctets = s(f.udpPackets), s(f.udpOctets)
	m.IcmpPackets, m.Fragments = s(f.icmpPackets), s(f.fragments)
	m.SmtpFlows, m.TelnetFlows, m.SshFlows, m.RdpFlows = flows(f.smtpFlows), flows(f.telnetFlows), flows(f.sshFlows), flows(f.rdpFlows)
	m.SmtpEstablishedFlows = flows(f.smtpEstablishedFlows)
	m.AmplifierOctets, m.AmplifierPackets = s(f.amplifierOctets), s(f.amplifierPackets)
	m.SynOnlyFlows, m.TcpFlows, m.UdpFlows = flows(f.synOnlyFlows), flows(f.tcpFlows), flows(f.udpFlows)
	m.MiningFlows, m.RouterScanFlows = flows(f.miningFlows), flows(f.routerScanFlows)
	m.DnsPackets, m.DnsOctets = s(f.dnsPackets), s(f.dnsOctets)
	m.SinglePacketFlows = flows(f.singlePacketFlows)
}
