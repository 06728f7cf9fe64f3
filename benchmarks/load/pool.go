package main

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Pool holds the ready datagrams of one protocol. Together they hold every place once, and some twice, to
// fill datagrams. Each local address is behind one exporter.
type Pool struct {
	Protocol string
	// Size is how many records a datagram has.
	Size int
	// Data are the datagrams of data, by exporter.
	Data [][]Datagram
	// Templates are sent by each stream first and every ten seconds; none for protocols without.
	Templates [][]byte
	// patch writes numbers and times into a datagram of data, patchTemplate into one of templates.
	patch         func(payload []byte, flows []flow, h *header)
	patchTemplate func(payload []byte, h *header)
	next          []uint64 // datagrams that were taken, by exporter
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
	// exporter is its place in the pool; agent, its address, and domain, the observation domain, engine
	// or sub-agent, name the stream.
	exporter      int
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
func NewPool(name string, exporters, templates int) (*Pool, error) {
	for _, p := range protocols {
		if p.name == name {
			return newPool(p, exporters, templates), nil
		}
	}
	return nil, fmt.Errorf("protocol %q: want netflow5, netflow9, ipfix or sflow5", name)
}

func newPool(p protocol, exporters, templates int) *Pool {
	pool := &Pool{Protocol: p.name, Size: p.size, patch: p.patch, patchTemplate: p.patchTemplate, next: make([]uint64, exporters)}
	if p.templates != nil {
		pool.Templates = p.templates(templates)
	}
	behind := make([][]flow, exporters)
	for place := range places {
		f := flowOf(place)
		exporter := int(f.local()&0xffff) * exporters / localAddresses
		behind[exporter] = append(behind[exporter], f)
	}
	for _, flows := range behind {
		for i := 0; len(flows)%p.size != 0; i++ {
			flows = append(flows, flows[i])
		}
		var data []Datagram
		for at := 0; at < len(flows); at += p.size {
			data = append(data, newDatagram(p, flows[at:at+p.size]))
		}
		pool.Data = append(pool.Data, data)
	}
	return pool
}

func newDatagram(p protocol, flows []flow) Datagram {
	d := Datagram{Payload: p.encode(flows), Packets: uint64(p.size) * p.packets * p.sampling, flows: flows}
	for i := range flows {
		d.Octets += uint64(flows[i].octets) / PacketsPerRecord * p.packets * p.sampling
	}
	return d
}

// Next returns the next datagram of a stream's exporter, patched for the stream, and counts it there. The
// payload is valid until the exporter's datagrams went round.
func (p *Pool) Next(h *header) *Datagram {
	data, next := p.Data[h.exporter], &p.next[h.exporter]
	d := &data[*next%uint64(len(data))]
	p.patch(d.Payload, d.flows, h)
	*next++
	h.sequenced++
	h.records += uint64(p.Size)
	return d
}

// Undo takes back the last n datagrams that Next gave to a stream: they were not sent.
func (p *Pool) Undo(h *header, n int) {
	p.next[h.exporter] -= uint64(n)
	h.sequenced -= uint64(n)
	h.records -= uint64(n * p.Size)
}

// taken calls f for every datagram with how often Next returned it.
func (p *Pool) taken(f func(d *Datagram, times uint64)) {
	for exporter, data := range p.Data {
		rounds, rest := p.next[exporter]/uint64(len(data)), p.next[exporter]%uint64(len(data))
		for i := range data {
			times := rounds
			if uint64(i) < rest {
				times++
			}
			f(&data[i], times)
		}
	}
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
