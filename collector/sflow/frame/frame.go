// Package frame reads the beginning of a sampled packet: link layer, IP and transport headers, as far as
// metering needs them. It promises to stay within the octets given and to take at least one octet
// in every turn of every loop. Addresses and lengths are those of the outermost IP header, which is what
// the network carried, unless Packet.Tunnels says to look into a provider's overlay.
package frame

import (
	"encoding/binary"
	"net/netip"

	"hostmeter/schemas"
)

// Packet is what the headers tell. Octets is the IP length: of IPv4 the total length, of IPv6 the
// payload length and 40. It is 0 where the header leaves it open (segmentation offload).
type Packet struct {
	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	Protocol, TCPFlags          uint8
	Fragment                    bool
	Octets                      uint64
	// LinkOctets is the length of everything before the IP header.
	LinkOctets int
	// Tunnels is set by the caller: of these tunnels the inner packet counts, if there is one.
	Tunnels Tunnels
}

// Fill writes what the packet tells into a record, all but the number of packets.
func (p *Packet) Fill(rec *schemas.FlowRecord) {
	rec.Source, rec.Destination = p.Source, p.Destination
	rec.SourcePort, rec.DestinationPort = p.SourcePort, p.DestinationPort
	rec.IPProtocol, rec.TCPFlags, rec.Fragment = p.Protocol, p.TCPFlags, p.Fragment
	rec.Octets = p.Octets
}

// EtherTypes that are looked through.
const (
	typeIPv4   = 0x0800
	typeIPv6   = 0x86dd
	typeMPLS   = 0x8847
	typeMPLSMC = 0x8848
	typePPPoE  = 0x8864
)

// ParseEthernet reads a frame from its destination MAC. It returns false where no IP header follows
// or where it is cut short.
func (p *Packet) ParseEthernet(b []byte) bool { return p.ethernet(b, 0) }

func (p *Packet) ethernet(b []byte, before int) bool {
	if len(b) < 14 {
		return false
	}
	return p.etherType(binary.BigEndian.Uint16(b[12:]), b[14:], before+14)
}

// ParseEtherType reads what follows an EtherType, as in Linux cooked captures.
func (p *Packet) ParseEtherType(etherType uint16, b []byte) bool { return p.etherType(etherType, b, 0) }

func (p *Packet) etherType(etherType uint16, b []byte, before int) bool {
	for {
		switch etherType {
		case 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300: // VLAN tags
			if len(b) < 4 {
				return false
			}
			etherType = binary.BigEndian.Uint16(b[2:])
			b, before = b[4:], before+4
		case typeIPv4, typeIPv6:
			return p.ip(b, before)
		case typeMPLS, typeMPLSMC:
			return p.mpls(b, before)
		case typePPPoE:
			if len(b) < 6 {
				return false
			}
			return p.ppp(b[6:], before+6)
		default:
			// 802.3 with LLC and SNAP: a length instead of a type.
			if etherType >= 1536 || len(b) < 8 || [6]byte(b) != [6]byte{0xaa, 0xaa, 3, 0, 0, 0} {
				return false
			}
			etherType = binary.BigEndian.Uint16(b[6:])
			b, before = b[8:], before+8
		}
	}
}

// ParseMPLS reads from a label stack on.
func (p *Packet) ParseMPLS(b []byte) bool { return p.mpls(b, 0) }

func (p *Packet) mpls(b []byte, before int) bool {
	for bottom := false; !bottom; {
		if len(b) < 4 {
			return false
		}
		bottom = b[2]&1 == 1
		b, before = b[4:], before+4
	}
	if len(b) == 0 {
		return false
	}
	switch b[0] >> 4 {
	case 4, 6:
		return p.ip(b, before)
	case 0: // the control word of an Ethernet pseudowire (RFC 4448)
		if len(b) < 4 {
			return false
		}
		return p.ethernet(b[4:], before+4)
	}
	return false
}

// ParsePPP reads from the protocol field on, with or without address and control, or Cisco's HDLC with
// an EtherType, as packet over SONET has either.
func (p *Packet) ParsePPP(b []byte) bool {
	switch {
	case len(b) >= 2 && b[0] == 0xff && b[1] == 3:
		return p.ppp(b[2:], 2)
	case len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0:
		return p.etherType(binary.BigEndian.Uint16(b[2:]), b[4:], 4)
	}
	return p.ppp(b, 0)
}

func (p *Packet) ppp(b []byte, before int) bool {
	if len(b) < 2 {
		return false
	}
	switch binary.BigEndian.Uint16(b) {
	case 0x0021, 0x0057:
		return p.ip(b[2:], before+2)
	case 0x0281:
		return p.mpls(b[2:], before+2)
	}
	return false
}
