package sflow

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"hostmeter/collector/netflow/sequence"
	"hostmeter/collector/sflow/frame"
	"hostmeter/schemas"
)

// Limits bound what one exporter can make its decoder remember.
type Limits struct {
	// Sources bounds the sub-agents and data sources whose sequence numbers are followed; what is
	// beyond is decoded all the same.
	Sources int
}

// DefaultLimits suit a chassis with many line cards.
func DefaultLimits() Limits { return Limits{Sources: 4096} }

// Errors of Decode; each is also counted in Stats.
var (
	ErrShort   = errors.New("datagram is shorter than an sFlow header")
	ErrVersion = errors.New("not sFlow version 5")
)

// Decoder reads the datagrams of one exporter's address, in the order they arrived.
type Decoder struct {
	limits   Limits
	stats    Stats
	tunnels  frame.Tunnels
	counters []CounterSample
	streams  map[streamKey]*stream
	last     [2]lastStream // of datagrams, and of samples: most are of the stream before
}

type lastStream struct {
	key    streamKey
	stream *stream // nil: none
}

// stream is what is followed of a sequence of datagrams or of the flow samples of a data source.
type stream struct {
	sequence sequence.Stream
	pool     pool
}

// streamKey names a sequence of datagrams (source is datagrams) or of the flow samples of a source.
type streamKey struct {
	agent  netip.Addr
	sub    uint32
	source uint64 // class << 32 | index
}

const datagrams = 1<<64 - 1

// NewDecoder returns a decoder that has seen nothing yet.
func NewDecoder(limits Limits) *Decoder {
	return &Decoder{limits: limits, streams: make(map[streamKey]*stream)}
}

// LookInto lets the packet inside these tunnels count instead of the one outside, from the next datagram
// on. It is meant for exporters in a provider's overlay, where the outer addresses are hosts.
func (d *Decoder) LookInto(tunnels frame.Tunnels) { d.tunnels = tunnels }

// head is what the header of a datagram says of all its samples.
type head struct {
	agent  netip.Addr
	sub    uint32
	uptime uint32 // milliseconds
}

// Decode appends the flow samples of one datagram to dst and returns it; Counters has its interface
// counters afterwards.
//
// datagram is one UDP payload; nothing in dst points into it afterwards. A record stands for one
// sampled packet: Packets is 1, Octets its IP length (0 where it is not IP), OctetsL2 its frame
// length; the rate of the sample stands beside them. Flow times are 0: the receive time counts.
//
// Errors: ErrShort, ErrVersion, both counted. A sample that cannot be read is no error: it is counted
// and the others are returned.
func (d *Decoder) Decode(dst []schemas.FlowRecord, _ time.Time, datagram []byte) ([]schemas.FlowRecord, error) {
	d.counters = d.counters[:0]
	d.stats.DatagramCount++
	h, number, samples, b, err := d.header(datagram)
	if err != nil {
		return dst, err
	}
	d.follow(&h, datagrams, number, &d.stats.LostDatagrams)
	for ; samples > 0; samples-- {
		if len(b) < 8 {
			d.stats.Dropped[DroppedSampleLength]++
			break
		}
		format, length := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		if uint64(length) > uint64(len(b)-8) {
			d.stats.Dropped[DroppedSampleLength]++
			break
		}
		dst = d.sample(dst, &h, format, b[8:8+length])
		b = b[8+length:]
	}
	return dst, nil
}

// header reads the header of a datagram and returns what follows it.
func (d *Decoder) header(b []byte) (h head, number, samples uint32, rest []byte, err error) {
	if len(b) < 8 {
		d.stats.Dropped[DroppedShort]++
		return h, 0, 0, nil, ErrShort
	}
	if binary.BigEndian.Uint32(b) != 5 {
		d.stats.Dropped[DroppedVersion]++
		return h, 0, 0, nil, ErrVersion
	}
	switch kind := binary.BigEndian.Uint32(b[4:]); {
	case kind == 1 && len(b) >= 28:
		h.agent = netip.AddrFrom4([4]byte(b[8:12]))
		b = b[12:]
	case kind == 2 && len(b) >= 40:
		h.agent = netip.AddrFrom16([16]byte(b[8:24]))
		b = b[24:]
	case kind == 0 && len(b) >= 24: // an agent without an address
		b = b[8:]
	default:
		d.stats.Dropped[DroppedShort]++
		return h, 0, 0, nil, ErrShort
	}
	h.sub, h.uptime = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[8:])
	return h, binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[12:]), b[16:], nil
}

// Sample formats, enterprise 0.
const (
	flowSample            = 1
	counterSample         = 2
	expandedFlowSample    = 3
	expandedCounterSample = 4
	discardedPacket       = 5
)

func (d *Decoder) sample(dst []schemas.FlowRecord, h *head, format uint32, b []byte) []schemas.FlowRecord {
	switch format {
	case flowSample, expandedFlowSample:
		return d.flow(dst, h, b, format == expandedFlowSample)
	case counterSample, expandedCounterSample:
		d.counter(h, b, format == expandedCounterSample)
	case discardedPacket:
		d.stats.Dropped[DroppedDiscarded]++
	default:
		d.stats.Dropped[DroppedUnknown]++
	}
	return dst
}

// follow accounts for a sequence number. It returns nil for a stream beyond the limit.
func (d *Decoder) follow(h *head, source uint64, number uint32, lost *int64) *stream {
	s := d.streamOf(h, source)
	if s == nil {
		return nil
	}
	n, restarted := s.sequence.Advance(number, 1, h.uptime, false)
	*lost += n
	if restarted {
		d.stats.Restarts++
		s.pool.known = false
	}
	return s
}

// streamOf returns the stream of a source, nil where there are too many.
func (d *Decoder) streamOf(h *head, source uint64) *stream {
	last := &d.last[0]
	if source != datagrams {
		last = &d.last[1]
	}
	// Field by field: a key that is made first waits for itself to be written.
	if last.stream != nil && last.key.source == source && last.key.sub == h.sub && last.key.agent == h.agent {
		return last.stream
	}
	key := streamKey{h.agent, h.sub, source}
	s := d.streams[key]
	if s == nil {
		if len(d.streams) >= d.limits.Sources {
			return nil
		}
		s = new(stream)
		d.streams[key] = s
	}
	*last = lastStream{key, s}
	return s
}

// Counters returns the counter samples of the last datagram. They are valid until the next Decode.
func (d *Decoder) Counters() []CounterSample { return d.counters }

// Stats is what was counted since the last TakeStats. It stays valid and goes on counting.
func (d *Decoder) Stats() *Stats { return &d.stats }

// TakeStats returns what was counted since the last call and begins anew.
func (d *Decoder) TakeStats() Stats {
	s := d.stats
	d.stats = Stats{}
	return s
}
