package main

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Pool holds the ready datagrams of one protocol. Together they hold every place once.
type Pool struct {
	Protocol string
	// Size is how many records a datagram has.
	Size int
	// Data are the datagrams of data.
	Data []Datagram
	// Templates are sent by each stream first and every ten seconds; none for protocols without.
	Templates [][]byte
	// flows are the records of Data in their order.
	flows []flow
	// patch writes numbers and times into a datagram of data, patchTemplate into one of templates.
	patch         func(payload []byte, flows []flow, h *header)
	patchTemplate func(payload []byte, h *header)
	next          uint64
}

// Datagram is one ready payload.
type Datagram struct {
	Payload []byte
	// Octets and Packets are what a receiver should count of it (layer 3, multiplied by sampling).
	Octets, Packets uint64
	flows           []flow
}

// header is what is written into a datagram just before it is sent: the time, whose it is, and what its
// stream sent before, in the unit that the protocol counts by.
type header struct {
	millis uint64 // since the Unix epoch
	// agent and domain name the stream: exporter, and observation domain, engine or sub-agent.
	agent, domain uint32
	// sequenced are all datagrams (v9: templates too); records those of data.
	sequenced, records uint64
}

func (h *header) seconds() uint32 { return uint32(h.millis / 1000) }

// uptime is the exporter's in milliseconds: it started when the run's clock read 0.
func (h *header) uptime() uint32 { return uint32(h.millis & 0x7fffffff) }

// protocol says how datagrams of a protocol are made.
type protocol struct {
	name string
	size int // records a datagram
	// sampling is by how much a record's counts are to be multiplied.
	sampling      uint64
	packets       uint64 // of a record
	encode        func([]flow) []byte
	patch         func(payload []byte, flows []flow, h *header)
	templates     func(n int) [][]byte
	patchTemplate func(payload []byte, h *header)
}

var protocols = []protocol{
	{"netflow5", 30, 1, PacketsPerRecord, encodeV5, patchV5, nil, nil},
	{"netflow9", 24, 1, PacketsPerRecord, encodeV9, patchV9, templatesV9, patchHeaderV9},
	{"ipfix", 20, 1, PacketsPerRecord, encodeIPFIX, patchIPFIX, templatesIPFIX, patchHeaderIPFIX},
	{"sflow5", 6, sflowRate, 1, encodeSFlow, patchSFlow, nil, nil},
}

// NewPool makes the datagrams of netflow5, netflow9, ipfix or sflow5. Each stream tells so many
// templates, the first of which is that of the data.
//
// Errors: the protocol is none of them.
func NewPool(name string, templates int) (*Pool, error) {
	for _, p := range protocols {
		if p.name == name {
			return newPool(p, templates), nil
		}
	}
	return nil, fmt.Errorf("protocol %q: want netflow5, netflow9, ipfix or sflow5", name)
}

func newPool(p protocol, templates int) *Pool {
	pool := &Pool{Protocol: p.name, Size: p.size, patch: p.patch, patchTemplate: p.patchTemplate}
	if p.templates != nil {
		pool.Templates = p.templates(templates)
	}
	whole := places / p.size * p.size // a datagram less rather than one of another size
	for place := range whole {
		pool.flows = append(pool.flows, flowOf(place))
	}
	for at := 0; at < whole; at += p.size {
		flows := pool.flows[at : at+p.size]
		d := Datagram{Payload: p.encode(flows), Packets: uint64(p.size) * p.packets * p.sampling, flows: flows}
		for i := range flows {
			d.Octets += uint64(flows[i].octets) / PacketsPerRecord * p.packets * p.sampling
		}
		pool.Data = append(pool.Data, d)
	}
	return pool
}

// Next returns the next datagram, patched for a stream, and counts it there. The payload is valid until
// the pool went round.
func (p *Pool) Next(h *header) *Datagram {
	d := &p.Data[p.next%uint64(len(p.Data))]
	p.patch(d.Payload, d.flows, h)
	p.next++
	h.sequenced++
	h.records += uint64(p.Size)
	return d
}

// Undo takes back the last n datagrams that Next gave to a stream: they were not sent.
func (p *Pool) Undo(h *header, n int) {
	p.next -= uint64(n)
	h.sequenced -= uint64(n)
	h.records -= uint64(n * p.Size)
}

// at is the header's time.
func at(t time.Time) uint64 { return uint64(t.UnixMilli()) }

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
