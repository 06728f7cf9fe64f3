// Package sflowtest builds sFlow version 5 datagrams and sampled frames for tests, octet by octet after
// the format's description and without any code of the decoder.
package sflowtest

import (
	"encoding/binary"
	"net/netip"
)

// Agent is the agent's address in every datagram.
const Agent = "192.0.2.250"

// Datagram is a datagram of sub-agent sub.
func Datagram(sub, sequence, uptimeMS uint32, samples ...[]byte) []byte {
	b := Words(5, 1)
	b = append(b, Address(Agent)...)
	b = append(b, Words(sub, sequence, uptimeMS, uint32(len(samples)))...)
	return Join(append([][]byte{b}, samples...)...)
}

// Words is a row of 32-bit numbers.
func Words(words ...uint32) (b []byte) {
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// Join puts parts together.
func Join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// Address is an address of 4 or 16 octets.
func Address(text string) []byte { return netip.MustParseAddr(text).AsSlice() }

// Tagged is a sample or a record: format, length, body.
func Tagged(format uint32, body []byte) []byte {
	return Join(Words(format, uint32(len(body))), body)
}

// Flow is a compact flow sample of an interface.
func Flow(sequence, source, rate, in, out uint32, records ...[]byte) []byte {
	return Tagged(1, Join(append([][]byte{Words(sequence, source, rate, 0, 0, in, out, uint32(len(records)))}, records...)...))
}

// PooledFlow is a compact flow sample with its sample pool and drops.
func PooledFlow(sequence, source, rate, pool, drops uint32, records ...[]byte) []byte {
	return Tagged(1, Join(append([][]byte{Words(sequence, source, rate, pool, drops, 3, 4, uint32(len(records)))}, records...)...))
}

// ExpandedFlow is an expanded flow sample; in and out are format and value.
func ExpandedFlow(sequence, source, rate uint32, in, out [2]uint32, records ...[]byte) []byte {
	return Tagged(3, Join(append([][]byte{
		Words(sequence, 0, source, rate, 0, 0, in[0], in[1], out[0], out[1], uint32(len(records))),
	}, records...)...))
}

// Header is a sampled header; it is padded as XDR wants.
func Header(protocol, frameLength uint32, packet []byte) []byte {
	padding := make([]byte, (4-len(packet)%4)%4)
	return Tagged(1, Join(Words(protocol, frameLength, 4, uint32(len(packet))), packet, padding))
}

// Ethernet is a frame with an EtherType and what follows it.
func Ethernet(etherType uint16, payload ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 12), etherType)
	return Join(append([][]byte{b}, payload...)...)
}

// Tag is what stands behind a VLAN's EtherType: priority and number, and the next EtherType.
func Tag(number, next uint16) []byte { return Words(uint32(number|0xe000)<<16 | uint32(next)) }

// IPv4 is a header of 20 octets and options, with what follows it.
func IPv4(length uint16, protocol uint8, fragment uint16, source, destination string, options int, payload ...[]byte) []byte {
	b := []byte{0x45 + byte(options/4), 0, byte(length >> 8), byte(length), 0, 1, byte(fragment >> 8), byte(fragment), 64, protocol, 0, 0}
	b = Join(b, Address(source), Address(destination), make([]byte, options))
	return Join(append([][]byte{b}, payload...)...)
}

// IPv6 is a fixed header with what follows it.
func IPv6(payloadLength uint16, next uint8, source, destination string, payload ...[]byte) []byte {
	b := []byte{0x60, 0, 0, 0, byte(payloadLength >> 8), byte(payloadLength), next, 64}
	b = Join(b, Address(source), Address(destination))
	return Join(append([][]byte{b}, payload...)...)
}

// TCP is a header of 20 octets.
func TCP(source, destination uint16, flags uint8) []byte {
	return Join(Words(uint32(source)<<16|uint32(destination), 1, 2), []byte{0x50, flags, 0, 0}, Words(0))
}

// UDP is a header.
func UDP(source, destination uint16) []byte {
	return Words(uint32(source)<<16|uint32(destination), 8<<16)
}

// VXLAN is what stands before the inner frame: the UDP header and that of the overlay.
func VXLAN(source uint16, network uint32) []byte {
	return Join(UDP(source, 4789), []byte{8, 0, 0, 0}, Words(network<<8))
}

// Counters is a compact counter sample with the generic counters of an interface.
func Counters(sequence, index uint32, inOctets, outOctets uint64, packets uint32) []byte {
	return Tagged(2, Join(Words(sequence, index, 1), Interface(index, inOctets, outOctets, packets)))
}

// Interface is an if_counters record: packets in each of the six kinds of packets.
func Interface(index uint32, inOctets, outOctets uint64, packets uint32) []byte {
	long := func(n uint64) []byte { return Words(uint32(n>>32), uint32(n)) }
	return Tagged(1, Join(Words(index, 6), long(10_000_000_000), Words(1, 3), long(inOctets), Words(packets, packets, packets, 7, 8, 9),
		long(outOctets), Words(packets, packets, packets, 10, 11, 0)))
}
