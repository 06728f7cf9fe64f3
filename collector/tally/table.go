package tally

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// Table adds flow records up until they are flushed.
type Table struct {
	config Config
}

// New returns an empty table.
func New(config Config) *Table { return &Table{config: config} }

// Exporter returns the handle for records of an exporter. Ask once per configuration, not per record;
// the same name and protocol with other settings gives another handle whose accounts are told under the same name.
func (t *Table) Exporter(config ExporterConfig) *Exporter { return &Exporter{config: config} }

// Add books one record of an exporter. Its fields are not changed, and nothing of it is kept.
//
// A record whose SamplingOrigin is SamplingUnknown is kept apart, unscaled, until ScaleHeld tells
// the rate of its HeldKey; give it a rate and SamplingDefault before Add to book it at once.
func (t *Table) Add(e *Exporter, rec *schemas.FlowRecord, receivedAt time.Time) {}

// Held lists the keys of an exporter under which records wait for a sampling rate, in no order.
func (t *Table) Held(e *Exporter) []HeldKey { return nil }

// ScaleHeld gives the records that wait under key the rate numerator/denominator: they leave with
// the next flush. origin SamplingDefault counts them as of unknown sampling. It returns how many
// records it found.
func (t *Table) ScaleHeld(e *Exporter, key HeldKey, numerator, denominator uint32, origin schemas.SamplingOrigin) uint64 {
	return 0
}

// PortDelta is the difference between two readings of an interface's counters, in layer 2 octets.
type PortDelta struct {
	InOctets, InPackets, OutOctets, OutPackets uint64
}

// Layer 2 octets of a frame that layer 3 does not have.
const (
	VNICOverhead = 14 // Ethernet header; a vNIC counts no FCS
	PortOverhead = 18 // Ethernet header and FCS
)

// AddPort books the counters' difference between from and to, seen from the meter, in class "port".
// Layer 3 octets are the reported ones less overhead for each packet.
func (t *Table) AddPort(e *Exporter, meter schemas.MeterID, from, to time.Time, delta PortDelta, overhead uint64) {
}

// Len is the number of cells that wait for a flush.
func (t *Table) Len() int { return 0 }

// Flushed is what a flush took out of a table.
type Flushed struct {
	// Tallies refer to Classes and Exporters by position.
	Tallies            []*schemas.Tally
	Classes, Exporters []string
	// Accounts hold what a table knows: records, octets, clamped and held records, records it
	// dropped. Datagrams, templates, losses and what a decoder dropped are the caller's to add.
	Accounts []*schemas.ExporterAccount
}

// Flush takes out the tallies of all meters, or of busy ones only, as differences since the last
// flush. What waits for a sampling rate stays.
func (t *Table) Flush(all bool) Flushed { return Flushed{} }

// LocalPrefix returns the meter of a local address; ok is false for a remote one.
func (t *Table) LocalPrefix(addr netip.Addr) (prefix netip.Prefix, ok bool) {
	return netip.Prefix{}, false
}
