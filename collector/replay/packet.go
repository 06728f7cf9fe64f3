package replay

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"
)

// network returns the IP packet in a captured one; ok is false where there is none.
func network(link layers.LinkType, b []byte) (ip []byte, ok bool) {
	switch link {
	case layers.LinkTypeEthernet:
		if len(b) < 14 {
			return nil, false
		}
		return byEtherType(binary.BigEndian.Uint16(b[12:]), b[14:])
	case layers.LinkTypeLinuxSLL:
		if len(b) < 16 {
			return nil, false
		}
		return byEtherType(binary.BigEndian.Uint16(b[14:]), b[16:])
	case layers.LinkTypeLinuxSLL2:
		if len(b) < 20 {
			return nil, false
		}
		return byEtherType(binary.BigEndian.Uint16(b), b[20:])
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		if len(b) < 4 {
			return nil, false
		}
		return b[4:], true // its version tells the family
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6, 12, 14: // 12, 14: raw IP on the BSDs
		return b, true
	}
	return nil, false
}

// byEtherType looks behind VLAN tags.
func byEtherType(etherType uint16, b []byte) (ip []byte, ok bool) {
	for {
		switch etherType {
		case 0x0800, 0x86dd:
			return b, true
		case 0x8100, 0x88a8, 0x9100:
			if len(b) < 4 {
				return nil, false
			}
			etherType, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		default:
			return nil, false
		}
	}
}

// state is what became of a packet.
type state int

const (
	foreign state = iota // no UDP, or cut short
	waiting              // a fragment of a datagram that is not whole
	whole
)

// fragments puts fragmented datagrams together. It holds at most fragmentsMax of them.
type fragments struct {
	open map[fragmentKey]*assembly
	lost uint64 // datagrams that gave way
}

// incomplete is how many datagrams never became whole.
func (f *fragments) incomplete() uint64 { return f.lost + uint64(len(f.open)) }

const (
	fragmentsMax = 1024
	protocolUDP  = 17
)

type fragmentKey struct {
	source, destination netip.Addr
	id                  uint32
}

type assembly struct {
	pieces []piece
	total  int // of the whole payload, 0 until the last fragment came
}

type piece struct {
	offset int
	data   []byte
}

// datagram returns the UDP payload of an IP packet, with the sender. The payload points into the
// packet unless it was fragmented. One that the capture cut short is returned as far as it goes.
func (f *fragments) datagram(b []byte) (from netip.AddrPort, payload []byte, s state) {
	if len(b) == 0 {
		return from, nil, foreign
	}
	switch b[0] >> 4 {
	case 4:
		return f.ipv4(b)
	case 6:
		return f.ipv6(b)
	}
	return from, nil, foreign
}

func (f *fragments) ipv4(b []byte) (from netip.AddrPort, payload []byte, s state) {
	header := int(b[0]&15) * 4
	if len(b) < 20 || header < 20 || header > len(b) || b[9] != protocolUDP {
		return from, nil, foreign
	}
	source, destination := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if length := int(binary.BigEndian.Uint16(b[2:])); length >= header && length < len(b) {
		b = b[:length] // Ethernet pads
	}
	where := binary.BigEndian.Uint16(b[6:])
	body := b[header:]
	if where&0x3fff != 0 {
		key := fragmentKey{source, destination, uint32(binary.BigEndian.Uint16(b[4:]))}
		if body, s = f.add(key, int(where&0x1fff)*8, where&0x2000 != 0, body); s != whole {
			return from, nil, s
		}
	}
	return udp(source, body)
}

func (f *fragments) ipv6(b []byte) (from netip.AddrPort, payload []byte, s state) {
	if len(b) < 40 {
		return from, nil, foreign
	}
	source, destination := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	next, length := b[6], int(binary.BigEndian.Uint16(b[4:]))
	b = b[40:]
	if length < len(b) {
		b = b[:length]
	}
	for {
		if next == protocolUDP {
			return udp(source, b)
		}
		if len(b) < 8 {
			return from, nil, foreign
		}
		size := 8
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			size = (int(b[1]) + 1) * 8
		case 44:
			where := binary.BigEndian.Uint16(b[2:])
			if next = b[0]; next != protocolUDP {
				return from, nil, foreign
			}
			key := fragmentKey{source, destination, binary.BigEndian.Uint32(b[4:])}
			body, s := f.add(key, int(where&^7), where&1 != 0, b[8:])
			if s != whole {
				return from, nil, s
			}
			return udp(source, body)
		default:
			return from, nil, foreign
		}
		if size > len(b) {
			return from, nil, foreign
		}
		next, b = b[0], b[size:]
	}
}

// udp takes the payload out of a UDP datagram.
func udp(source netip.Addr, b []byte) (from netip.AddrPort, payload []byte, s state) {
	if len(b) < 8 {
		return from, nil, foreign
	}
	from = netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(b))
	if length := int(binary.BigEndian.Uint16(b[4:])); length >= 8 && length < len(b) {
		b = b[:length]
	}
	return from, b[8:], whole
}

// add takes a fragment and returns the whole payload once there is no hole in it. An assembly that
// there is no room for any more gives way to the new one.
func (f *fragments) add(key fragmentKey, offset int, more bool, data []byte) ([]byte, state) {
	if f.open == nil {
		f.open = make(map[fragmentKey]*assembly)
	}
	a := f.open[key]
	if a == nil {
		if len(f.open) >= fragmentsMax {
			f.lost += fragmentsMax
			clear(f.open)
		}
		a = &assembly{}
		f.open[key] = a
	}
	if len(a.pieces) >= 64 {
		delete(f.open, key)
		return nil, foreign
	}
	a.pieces = append(a.pieces, piece{offset, slices.Clone(data)})
	if !more {
		a.total = offset + len(data)
	}
	if a.total == 0 {
		return nil, waiting
	}
	slices.SortStableFunc(a.pieces, func(x, y piece) int { return x.offset - y.offset })
	body := make([]byte, 0, a.total)
	for _, p := range a.pieces {
		if p.offset > len(body) {
			return nil, waiting
		}
		if end := p.offset + len(p.data); end > len(body) {
			body = append(body, p.data[len(body)-p.offset:]...)
		}
	}
	if len(body) < a.total {
		return nil, waiting
	}
	delete(f.open, key)
	return body, whole
}
