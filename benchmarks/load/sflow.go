package main

import (
	"encoding/binary"
	"time"
)

const (
	sflowHeader = 28  // of the datagram, with an IPv4 agent
	sampledPart = 128 // octets of the packet's header that a sample holds
	sflowSample = 8 + 32 + 8 + 16 + sampledPart
)

// encodeSFlow writes flow samples of 1 in 1, each with the first octets of a packet. A sample tells
// one packet of a tenth of the flow's octets, so that the frame lengths are those of Ethernet.
func encodeSFlow(flows []flow) Datagram {
	b := put32(nil, 5, 1, 127<<24|1, 0, 0, 0, uint32(len(flows)))
	d := Datagram{Records: uint64(len(flows)), Packets: uint64(len(flows))}
	for _, f := range flows {
		length := f.octets / PacketsPerRecord // of the IP packet
		b = put32(b, 1, sflowSample-8)
		b = put32(b, 0, 1, 1, 0, 0, 1, 2, 1) // sequence, source, rate, pool, drops, in, out, one record
		b = put32(b, 1, 16+sampledPart)
		b = put32(b, 1, length+18, 4, sampledPart) // Ethernet; the frame with its check sum, which is stripped
		b = append(b, packet(f, uint16(length))...)
		d.Octets += uint64(length)
	}
	d.Payload, d.patch = b, patchSFlow
	return d
}

// packet returns the first octets of an Ethernet frame of TCP over IPv4.
func packet(f flow, length uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	b = put16(b, 0x0800)
	b = append(b, 0x45, 0)
	b = put16(b, length, 0, 0)
	b = append(b, 64, 6, 0, 0)
	b = put32(b, f.source, f.destination)
	b = put16(b, f.sourcePort, f.destinationPort)
	b = put32(b, 1, 1)
	b = append(b, 0x50, 0x10)
	return append(b, make([]byte, sampledPart-len(b))...)
}

// patchSFlow numbers the datagram and its samples; each sample is one more of the pool.
func patchSFlow(b []byte, at time.Time, sent counters) {
	binary.BigEndian.PutUint32(b[16:], uint32(sent.datagrams)+1)
	binary.BigEndian.PutUint32(b[20:], uptime(at))
	number := uint32(sent.records)
	for r := sflowHeader; r < len(b); r += sflowSample {
		number++
		binary.BigEndian.PutUint32(b[r+8:], number)
		binary.BigEndian.PutUint32(b[r+20:], number)
	}
}
