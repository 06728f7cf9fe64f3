package sflow

import (
	"errors"
	"time"

	"hostmeter/schemas"
)

// Limits bound what one exporter can make its decoder remember.
type Limits struct {
	// Sources bounds the data sources (and sub-agents) whose sequence numbers are followed.
	Sources int
}

// DefaultLimits suit a chassis with many line cards.
func DefaultLimits() Limits { return Limits{Sources: 4096} }

// Errors of Decode; each is also counted in Stats.
var (
	ErrShort   = errors.New("datagram is shorter than an sFlow header")
	ErrVersion = errors.New("not sFlow version 5")
)

// CounterSample holds the running totals of one interface (if_counters, layer 2 octets with FCS).
type CounterSample struct {
	IfIndex                  schemas.IfIndex
	SpeedBitsPerSecond       uint64
	InOctets, OutOctets      uint64
	InUnicast, InMulticast   uint32
	InBroadcast              uint32
	InDiscards, InErrors     uint32
	OutUnicast, OutMulticast uint32
	OutBroadcast             uint32
	OutDiscards, OutErrors   uint32
	UptimeMilliseconds       uint32 // of the sub-agent, to tell a restart
}

// InPackets is the number of frames received, modulo 2^32.
func (c *CounterSample) InPackets() uint32 { return c.InUnicast + c.InMulticast + c.InBroadcast }

// OutPackets is the number of frames sent, modulo 2^32.
func (c *CounterSample) OutPackets() uint32 { return c.OutUnicast + c.OutMulticast + c.OutBroadcast }

// Decoder reads the datagrams of one exporter's address, in the order they arrived.
type Decoder struct {
	limits   Limits
	stats    Stats
	counters []CounterSample
}

// NewDecoder returns a decoder that has seen nothing yet.
func NewDecoder(limits Limits) *Decoder { return &Decoder{limits: limits} }

// Decode appends the flow samples of one datagram to dst and returns it; Counters has its interface
// counters afterwards.
func (d *Decoder) Decode(dst []schemas.FlowRecord, receivedAt time.Time, datagram []byte) ([]schemas.FlowRecord, error) {
	return dst, ErrVersion
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

// Positions returns the sequence numbers that are expected next, for Restore after a restart. Keys
// are "sflow5/agent/ADDRESS/sub/ID" for datagrams and ".../source/ID" for samples. Source and At are
// left to the caller.
func (d *Decoder) Positions() []*schemas.SourcePosition { return nil }

// Restore makes a new decoder count what was lost since positions were taken. Keys that are not its
// own are passed over.
func (d *Decoder) Restore(positions []*schemas.SourcePosition) {}
