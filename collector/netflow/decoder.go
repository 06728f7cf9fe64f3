package netflow

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// Decoder reads the datagrams of one exporter's address, in the order they arrived.
type Decoder struct {
	limits Limits
	stats  Stats
}

// NewDecoder returns a decoder that knows no template yet.
func NewDecoder(limits Limits) *Decoder { return &Decoder{limits: limits} }

// Decode appends the flow records of one datagram to dst and returns it.
func (d *Decoder) Decode(dst []schemas.FlowRecord, from netip.AddrPort, receivedAt time.Time, datagram []byte) ([]schemas.FlowRecord, error) {
	return dst, ErrVersion
}

// Stats is what was counted since the last TakeStats. It stays valid and goes on counting.
func (d *Decoder) Stats() *Stats { return &d.stats }

// TakeStats returns what was counted since the last call and begins anew.
func (d *Decoder) TakeStats() Stats {
	s := d.stats
	d.stats = Stats{}
	return s
}

// Expire drops and counts held data sets that are older than Limits.HeldAge at the time at.
func (d *Decoder) Expire(at time.Time) {}

// SamplingFor returns the rate that option data has told for records that left Decode with
// SamplingOrigin SamplingUnknown: those of an observation domain with a sampler id (0: the records
// name none) and an ingress interface. ok is false while nothing unambiguous was told.
func (d *Decoder) SamplingFor(domain uint32, samplerID uint64, in schemas.IfIndex) (numerator, denominator uint32, ok bool) {
	return 0, 0, false
}

// SamplingGeneration grows whenever option data tells a rate that was not known before: a caller
// that keeps sums of unknown sampling asks SamplingFor again when it has changed.
func (d *Decoder) SamplingGeneration() uint64 { return 0 }

// Positions returns the sequence numbers that are expected next, for Restore after a restart. Keys
// are "PROTOCOL/domain/ID/port/PORT", values the next sequence number and the exporter's uptime in
// milliseconds (0 for IPFIX). Source and At are left to the caller.
func (d *Decoder) Positions() []*schemas.SourcePosition { return nil }

// Restore makes a new decoder count what was lost since positions were taken. Keys that are not its
// own are passed over.
func (d *Decoder) Restore(positions []*schemas.SourcePosition) {}
