package frame

import (
	"encoding/binary"
	"net/netip"
)

// ParseIP reads an IPv4 or IPv6 packet by its version. It returns false where the fixed header is
// cut short or is none.
func (p *Packet) ParseIP(b []byte) bool { return p.ip(b, 0) }

// ip reads a packet that stands behind so many octets of the frame.
func (p *Packet) ip(b []byte, before int) bool {
	p.LinkOctets = before
	if len(b) == 0 {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		return p.ipv4(b)
	case 6:
		return p.ipv6(b)
	}
	return false
}

func (p *Packet) ipv4(b []byte) bool {
	header := int(b[0]&15) * 4
	if len(b) < 20 || header < 20 {
		return false
	}
	p.Octets = uint64(binary.BigEndian.Uint16(b[2:]))
	fragment := binary.BigEndian.Uint16(b[6:])
	p.Fragment = fragment&0x3fff != 0 // more fragments, or an offset
	p.Protocol = b[9]
	p.Source, p.Destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if fragment&0x1fff == 0 && len(b) > header {
		p.transport(b[header:], header)
	}
	return true
}

// The IPv6 headers that stand between the fixed header and the transport header.
const (
	hopByHop    = 0
	routing     = 43
	fragmented  = 44
	nothing     = 59
	authentic   = 51
	destination = 60
	mobility    = 135
	hip         = 139
	shim6       = 140
)

func (p *Packet) ipv6(b []byte) bool {
	if len(b) < 40 {
		return false
	}
	payload, next := uint64(binary.BigEndian.Uint16(b[4:])), b[6]
	p.Octets = payload + 40
	p.Source = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	p.Destination = netip.AddrFrom16([16]byte(b[24:40])).Unmap()
	if payload == 0 && next != nothing {
		p.Octets = 0 // left open
		if jumbo, ok := jumboLength(b[40:]); ok && next == hopByHop {
			p.Octets = jumbo + 40
		}
	}
	whole := len(b)
	for b = b[40:]; len(b) >= 8; {
		length := 0
		switch next {
		case hopByHop, routing, destination, mobility, hip, shim6:
			length = (int(b[1]) + 1) * 8
		case authentic:
			length = (int(b[1]) + 2) * 4
		case fragmented:
			length = 8
			where := binary.BigEndian.Uint16(b[2:])
			p.Fragment = p.Fragment || where&^6 != 0
			if where&^7 != 0 { // not the first: no transport header follows
				p.Protocol = b[0]
				return true
			}
		default:
			p.Protocol = next
			p.transport(b, whole-len(b))
			return true
		}
		next = b[0]
		if length > len(b) {
			break
		}
		b = b[length:]
	}
	p.Protocol = next
	return true
}

// jumboLength reads the jumbo payload option at the beginning of a hop-by-hop header (RFC 2675).
func jumboLength(b []byte) (uint64, bool) {
	if len(b) < 8 || b[2] != 0xc2 || b[3] != 4 {
		return 0, false
	}
	return uint64(binary.BigEndian.Uint32(b[4:])), true
}

// transport reads ports and TCP flags as far as they are there. headers is the length of the IP headers
// before b.
func (p *Packet) transport(b []byte, headers int) {
	if p.Tunnels != 0 && p.inner(b, p.LinkOctets+headers) {
		return
	}
	switch p.Protocol {
	case 6, 17, 33, 132, 136: // TCP, UDP, DCCP, SCTP, UDP-Lite
	default:
		return
	}
	if len(b) >= 4 {
		p.SourcePort, p.DestinationPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	if p.Protocol == 6 && len(b) >= 14 {
		p.TCPFlags = b[13]
	}
}
