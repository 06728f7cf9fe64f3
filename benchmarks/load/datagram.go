package main

import (
	"encoding/binary"
	"fmt"
	"time"
)

// PacketsPerRecord is the same in every NetFlow and IPFIX record, so that what a receiver counted in
// packets tells how many records it counted. An sFlow sample is one packet.
const PacketsPerRecord = 10

// Datagram is one ready payload, and where its numbers and times are written before it is sent.
type Datagram struct {
	Payload []byte
	// Records, Octets and Packets are what a receiver should count of it (layer 3).
	Records, Octets, Packets uint64
	// patch writes the sequence number and the times. sent counts what went before, in the unit
	// that the protocol counts by; pass counts how often the pool went round.
	patch func(payload []byte, at time.Time, sent counters)
}

// counters is what went before a datagram.
type counters struct {
	// datagrams are those of data alone; sequenced are all that carry a number of their own
	// (v9 and IPFIX: with the templates).
	datagrams, sequenced, records uint64
}

// Pool holds the datagrams of one protocol. Together they hold each local address at least once as
// the source and once as the destination.
type Pool struct {
	Protocol string
	Data     []Datagram
	// Templates is sent first and every five seconds; nil for protocols that need none.
	Templates *Datagram
	sent      counters
}

// localAddresses is how many addresses of 10.50.0.0/16 the traffic is of.
const localAddresses = 1000

// flow is what one record tells: octets of PacketsPerRecord packets (sFlow: of one).
type flow struct {
	source, destination         uint32
	sourcePort, destinationPort uint16
	octets                      uint32
}

// flowOf returns the record at a place of the pool: even places go out, odd ones come in.
func flowOf(place int) flow {
	n := uint32(place/2) % localAddresses
	local := 10<<24 | 50<<16 | (n/250)<<8 | (n%250 + 1)
	remote := uint32(203<<24|113<<8) | uint32(place*7)%254 + 1
	f := flow{
		source: local, destination: remote, sourcePort: 443, destinationPort: uint16(20000 + place%30000),
		octets: PacketsPerRecord * (64 + uint32(place*131)%1400),
	}
	if place%2 == 1 {
		f.source, f.destination = remote, local
		f.sourcePort, f.destinationPort = f.destinationPort, f.sourcePort
	}
	return f
}

// NewPool makes the datagrams of netflow5, netflow9, ipfix or sflow5.
//
// Errors: the protocol is none of them.
func NewPool(protocol string) (*Pool, error) {
	p := &Pool{Protocol: protocol}
	var size int
	var encode func([]flow) Datagram
	switch protocol {
	case "netflow5":
		size, encode = 30, encodeV5
	case "netflow9":
		size, encode = 24, encodeV9
		p.Templates = templatesV9()
	case "ipfix":
		size, encode = 20, encodeIPFIX
		p.Templates = templatesIPFIX()
	case "sflow5":
		size, encode = 6, encodeSFlow
	default:
		return nil, fmt.Errorf("protocol %q: want netflow5, netflow9, ipfix or sflow5", protocol)
	}
	for place := 0; place < 2*localAddresses; place += size {
		flows := make([]flow, size)
		for i := range flows {
			flows[i] = flowOf(place + i)
		}
		p.Data = append(p.Data, encode(flows))
	}
	return p, nil
}

// Next returns the next datagram of data, patched for an instant. It is valid until the next call.
func (p *Pool) Next(at time.Time) *Datagram {
	d := &p.Data[p.sent.datagrams%uint64(len(p.Data))]
	d.patch(d.Payload, at, p.sent)
	p.sent.datagrams++
	p.sent.sequenced++
	p.sent.records += d.Records
	return d
}

// NextTemplates returns the templates, patched for an instant; nil where there are none.
func (p *Pool) NextTemplates(at time.Time) *Datagram {
	if p.Templates == nil {
		return nil
	}
	p.Templates.patch(p.Templates.Payload, at, p.sent)
	p.sent.sequenced++
	return p.Templates
}

// uptime is the exporter's at an instant, in milliseconds: it started when the run's clock read 0.
func uptime(at time.Time) uint32 { return uint32(at.UnixMilli() & 0x7fffffff) }

// flowLength is how long each record's flow went on.
const flowLength = 1000 // milliseconds

func put16(b []byte, values ...uint16) []byte {
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func put32(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}
