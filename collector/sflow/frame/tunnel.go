package frame

import "encoding/binary"

// Tunnels is a set of encapsulations.
type Tunnels uint8

// The encapsulations that a packet can be read out of.
const (
	VXLAN Tunnels = 1 << iota // RFC 7348, UDP port 4789, and 8472 as Linux once chose
	GRE                       // RFC 2784 and 2890: IP, Ethernet and MPLS in it
	IPIP                      // RFC 2003, 2473, 4213: IPv4 or IPv6 in either
)

// IP protocols and ports of tunnels.
const (
	protocolIPv4 = 4
	protocolUDP  = 17
	protocolIPv6 = 41
	protocolGRE  = 47
	portVXLAN    = 4789
	portVXLANOld = 8472
	typeEthernet = 0x6558 // in GRE
)

// inner replaces the packet by the one in its tunnel, if it is of p.Tunnels and holds IP. One level is
// removed, the provider's; what customers tunnel themselves stays whole. b begins behind the IP
// headers and before is its place in the frame.
func (p *Packet) inner(b []byte, before int) bool {
	var q Packet
	ok := false
	switch {
	case p.Protocol == protocolUDP && p.Tunnels&VXLAN != 0:
		ok = q.vxlan(b, before)
	case p.Protocol == protocolGRE && p.Tunnels&GRE != 0:
		ok = q.gre(b, before)
	case (p.Protocol == protocolIPv4 || p.Protocol == protocolIPv6) && p.Tunnels&IPIP != 0:
		ok = q.ip(b, before)
	}
	if ok {
		*p = q
	}
	return ok
}

func (p *Packet) vxlan(b []byte, before int) bool {
	const header = 8 + 8 // of UDP and VXLAN
	if len(b) < header {
		return false
	}
	port, valid := binary.BigEndian.Uint16(b[2:]), b[8]&0x08 != 0
	return (port == portVXLAN || port == portVXLANOld) && valid && p.ethernet(b[header:], before+header)
}

func (p *Packet) gre(b []byte, before int) bool {
	const checksum, routing, key, number, version = 0x8000, 0x4000, 0x2000, 0x1000, 7
	if len(b) < 4 {
		return false
	}
	flags, etherType := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if flags&(routing|version) != 0 {
		return false
	}
	header := 4
	for _, option := range [...]uint16{checksum, key, number} {
		if flags&option != 0 {
			header += 4
		}
	}
	if len(b) < header {
		return false
	}
	if etherType == typeEthernet {
		return p.ethernet(b[header:], before+header)
	}
	return p.etherType(etherType, b[header:], before+header)
}
