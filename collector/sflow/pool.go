package sflow

import (
	"cmp"
	"net/netip"
	"slices"
)

// pool follows what a data source says of the packets that it chose its samples from.
type pool struct {
	known       bool
	packets     uint32 // that could have been sampled, modulo 2^32
	drops       uint32 // samples that the agent could not send, modulo 2^32
	stated      uint32
	grown, lost uint64 // of packets and drops since they were last taken
	samples     uint64 // received since
}

// poolMax is by how many packets a pool grows at most from one sample received to the next; what looks
// like more is a counter that began anew, or a sample that was overtaken.
const poolMax = 1 << 30

// take adds a sample and returns how many more the agent could not send. The first sample of a source
// tells where its counters stand. One that was overtaken is received, and the pool holds it already.
func (p *pool) take(packets, drops, stated uint32) (lost uint64) {
	p.stated = stated
	if !p.known {
		p.known, p.packets, p.drops = true, packets, drops
		return 0
	}
	p.samples++
	grown := packets - p.packets
	switch {
	case grown <= poolMax:
		if lost = uint64(drops - p.drops); lost > poolMax {
			lost = 0
		}
		p.grown += uint64(grown)
		p.lost += lost
		p.packets, p.drops = packets, drops
	case -grown > poolMax || packets < p.packets/2: // began anew
		p.packets, p.drops = packets, drops
	}
	return lost
}

// SourceRate is how a data source sampled since the last TakeRates. Pool/Samples is the rate that it had
// in effect, with what was lost on the way made up for: a witness of the stated rate, by which
// nothing is multiplied.
type SourceRate struct {
	Agent    netip.Addr
	SubAgent uint32
	// Source is the data source: class << 32 | index; of class 0 the index is an interface's.
	Source uint64
	// Stated is the rate in its last sample.
	Stated uint32
	// Pool is how many packets could have been sampled, Samples how many samples of them were received
	// and Unsent how many the agent took and could not send.
	Pool, Samples, Unsent uint64
}

// TakeRates returns the sources of which samples were received since the last call, in order.
func (d *Decoder) TakeRates() []SourceRate {
	var out []SourceRate
	for key, s := range d.streams {
		if key.source == datagrams || s.pool.samples == 0 {
			continue
		}
		p := &s.pool
		out = append(out, SourceRate{key.agent, key.sub, key.source, p.stated, p.grown, p.samples, p.lost})
		p.grown, p.samples, p.lost = 0, 0, 0
	}
	slices.SortFunc(out, func(a, b SourceRate) int {
		return cmp.Or(a.Agent.Compare(b.Agent), cmp.Compare(a.SubAgent, b.SubAgent), cmp.Compare(a.Source, b.Source))
	})
	return out
}
