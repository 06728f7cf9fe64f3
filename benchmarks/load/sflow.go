package main

import "encoding/binary"

const (
	// sflowRate is the N of 1-in-N.
	sflowRate   = 512
	sflowHeader = 28  // of the datagram, with an IPv4 agent
	sampledPart = 128 // octets of the packet's header that a sample holds
	sflowSample = 8 + 32 + 8 + 16 + sampledPart
)

// encodeSFlow writes flow samples, each with the first octets of a packet. A sample tells one packet of
// a tenth of the flow's octets, so that the frame lengths are those of Ethernet.
func encodeSFlow(flows []flow) []byte {
	b := put32(nil, 5, 1, 0, 0, 0, 0, uint32(len(flows)))
	for _, f := range flows {
		length := f.octets / PacketsPerRecord // of the IP packet
		b = put32(b, 1, sflowSample-8)
		b = put32(b, 0, 1, sflowRate, 0, 0, 1, 2, 1) // sequence, source, rate, pool, drops, in, out, one record
		b = put32(b, 1, 16+sampledPart)
		b = put32(b, 1, length+18, 4, sampledPart) // Ethernet; the frame with its check sum, which is stripped
		b = append(b, packet(f, uint16(length))...)
	}
	return b
}

// packet returns the first octets of an Ethernet frame of TCP, UDP or ICMP over IPv4.
func packet(f flow, length uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	b = put16(b, 0x0800)
	b = append(b, 0x45, 0)
	b = put16(b, length, 0, 0)
	b = append(b, 64, f.protocol, 0, 0)
	b = put32(b, f.source, f.destination)
	switch f.protocol {
	case 6:
		b = put32(put16(b, f.sourcePort, f.destinationPort), 1, 1)
		b = append(b, 0x50, f.flags)
	case 17:
		b = put16(b, f.sourcePort, f.destinationPort, length-20)
	case 1:
		b = append(b, 8, 0)
	}
	return append(b, make([]byte, sampledPart-len(b))...)
}

// patchSFlow numbers the datagram and its samples; each sample is sflowRate more of the pool.
func patchSFlow(b []byte, flows []flow, h *header) {
	binary.BigEndian.PutUint32(b[8:], h.agent)
	binary.BigEndian.PutUint32(b[12:], h.domain)
	binary.BigEndian.PutUint32(b[16:], uint32(h.sequenced)+1)
	binary.BigEndian.PutUint32(b[20:], h.uptime())
	number := uint32(h.records)
	for r := sflowHeader; r < len(b); r += sflowSample {
		number++
		binary.BigEndian.PutUint32(b[r+8:], number)
		binary.BigEndian.PutUint32(b[r+20:], number*sflowRate)
	}
}
