package tally

import (
	"fmt"
	"math/bits"
	"net/netip"

	"hostmeter/schemas"
)

// Mode says which ends of a record an exporter books, so that a packet seen at two places counts once.
type Mode uint8

// The accounting modes.
const (
	// ModeSingle books both ends: one switch sees every packet once.
	ModeSingle Mode = iota
	// ModeEdge books the source at the ingress of a customer's port, the destination at the egress.
	// A record without a direction is the only sight of its packets, and is both.
	ModeEdge
	// ModeBorder books the local end; traffic between two local addresses is not booked.
	ModeBorder
)

// ParseMode reads "single", "edge" or "border"; empty is single.
func ParseMode(text string) (Mode, error) {
	switch text {
	case "", "single":
		return ModeSingle, nil
	case "edge":
		return ModeEdge, nil
	case "border":
		return ModeBorder, nil
	}
	return 0, fmt.Errorf("%q is no accounting mode (want single, edge or border)", text)
}

// ExporterConfig is what the operator said of an exporter.
type ExporterConfig struct {
	// Address names port meters. Name is ExporterAccount.exporter; default: the address.
	Address netip.Addr
	Name    string
	// Number is what tallies refer to the exporter by: its position in Batch.exporters.
	Number   uint32
	Protocol schemas.Protocol
	Mode     Mode
	// CustomerInterfaces are the customer-facing ports, for ModeEdge; empty: all are.
	CustomerInterfaces []schemas.IfIndex
	// SamplingNumerator/SamplingDenominator, if set, win over what records and options tell
	// (sampling: N or none). Denominator 0 with a numerator means 1.
	SamplingNumerator, SamplingDenominator uint32
}

// Exporter is a handle of Table.Exporter for one (exporter, protocol).
type Exporter struct {
	config    ExporterConfig
	name      string
	customers map[schemas.IfIndex]struct{}
	groups    map[groupKey]*group
	last      *group
	cells     int                  // of all groups
	carry     map[groupKey]scalers // of groups that are gone, by key without hour
	held      heldCounts           // as told so far
	assuming  bool                 // see Table.Assume
	assumed   map[HeldKey]assumed
}

// HeldKey is what records of unknown sampling are kept apart by, in one exporter.
type HeldKey struct {
	Domain      uint32
	SamplerID   uint64
	InInterface schemas.IfIndex
}

// groupKey tells what is added up together: what was received in one hour at one sampling rate, or
// waits for the same one.
type groupKey struct {
	hour                   int64
	numerator, denominator uint32 // 0/0 while unknown
	held                   HeldKey
	assumed                bool // the rate is 1 until one is told; see Table.Assume
}

// group holds the sums of a groupKey that are not tallies. Nothing in it is multiplied by the rate.
type group struct {
	key      groupKey
	id       uint32 // in Table.groups
	exporter *Exporter
	// numerator/denominator is the rate, 0/0 while unknown; origin says who told it.
	numerator, denominator uint32
	origin                 schemas.SamplingOrigin
	// busy is from how many octets, not multiplied, a cell is busy.
	busy    uint64
	cells   int
	waiting [2]uint64 // octets, not multiplied, in cells that the last flush left; of those with both ends apart
	sums    sums
	scalers scalers
	assumed *assumedHour // of assumedHour; nil before
}

// sums of the records of a group since the last flush.
type sums struct {
	records, reportedOctets, reportedPackets uint64
	packets                                  uint64
	transit, uncounted                       uint64 // octets
	clamped, unknown, overflown              uint64 // records
	full, implausible                        uint64 // records dropped
}

// scalers multiply the sums of a group. Tallies that stand at one meter, and the two ends of those
// that stand at two, are scaled apart, so that the accounts agree with them to the octet.
type scalers struct {
	once, bothIn, bothOut, transit, uncounted scaler
	packetsOnce, packetsIn, packetsOut        scaler
	packets                                   scaler
}

// add joins what two scalers carry; the next division settles it.
func (s *scalers) add(o scalers) {
	for _, pair := range [...][2]*scaler{
		{&s.once, &o.once}, {&s.bothIn, &o.bothIn}, {&s.bothOut, &o.bothOut}, {&s.transit, &o.transit},
		{&s.uncounted, &o.uncounted}, {&s.packetsOnce, &o.packetsOnce}, {&s.packetsIn, &o.packetsIn},
		{&s.packetsOut, &o.packetsOut}, {&s.packets, &o.packets},
	} {
		pair[0].remainder += pair[1].remainder
	}
}

type heldCounts struct{ records, octets int64 }

// known says that the group's rate is known.
func (g *group) known() bool { return g.numerator != 0 }

// sampled says that what is added up may be multiplied: the sum has a variance.
func (g *group) sampled() bool { return g.numerator != g.denominator || !g.known() || g.key.assumed }

// newGroup makes a group of an exporter.
func (t *Table) newGroup(e *Exporter, key groupKey, origin schemas.SamplingOrigin) *group {
	g := &group{key: key, exporter: e, numerator: key.numerator, denominator: key.denominator, origin: origin, busy: ^uint64(0)}
	if g.known() {
		g.rate(t, g.numerator, g.denominator, origin)
	}
	if n := len(t.freeGroups); n > 0 {
		g.id = t.freeGroups[n-1]
		t.freeGroups = t.freeGroups[:n-1]
		t.groups[g.id] = g
	} else {
		g.id = uint32(len(t.groups))
		t.groups = append(t.groups, g)
	}
	e.groups[key] = g
	return g
}

// rate sets the rate of a group.
func (g *group) rate(t *Table, numerator, denominator uint32, origin schemas.SamplingOrigin) {
	g.numerator, g.denominator, g.origin = numerator, denominator, origin
	g.busy = busyAt(t.busyOctets, numerator, denominator)
}

// rekey files a group under the rate that it has now. It keeps its HeldKey, so that it meets no other;
// records that still come without a rate gather in a group of their own.
func (e *Exporter) rekey(before groupKey, g *group) {
	delete(e.groups, before)
	key := groupKey{hour: before.hour, numerator: g.numerator, denominator: g.denominator, held: before.held}
	if e.groups[key] != nil {
		key.held.SamplerID ^= 1 << 63
		for e.groups[key] != nil {
			key.held.Domain++
		}
	}
	g.key = key
	e.groups[key] = g
}

// busyAt is the least number that is at least octets when it is multiplied by numerator/denominator.
func busyAt(octets uint64, numerator, denominator uint32) uint64 {
	n, d := uint64(numerator), uint64(denominator)
	high, low := bits.Mul64(octets, d)
	low, carry := bits.Add64(low, n-1, 0)
	if high += carry; high >= n {
		return ^uint64(0)
	}
	quotient, _ := bits.Div64(high, low, n)
	return quotient
}

func newExporter(config ExporterConfig) *Exporter {
	e := &Exporter{
		config: config,
		name:   config.Name,
		groups: make(map[groupKey]*group),
		carry:  make(map[groupKey]scalers), assumed: make(map[HeldKey]assumed),
	}
	if e.name == "" {
		e.name = config.Address.String()
	}
	if config.SamplingNumerator != 0 && config.SamplingDenominator == 0 {
		e.config.SamplingDenominator = 1
	}
	if len(config.CustomerInterfaces) > 0 {
		e.customers = make(map[schemas.IfIndex]struct{}, len(config.CustomerInterfaces))
		for _, index := range config.CustomerInterfaces {
			e.customers[index] = struct{}{}
		}
	}
	return e
}

// customer tells whether an interface faces a customer. An unknown one does only where all do.
func (e *Exporter) customer(index schemas.IfIndex) bool {
	if e.customers == nil {
		return true
	}
	_, ok := e.customers[index]
	return ok
}

// fewGroups cannot make much more cells of a meter's traffic than one.
const fewGroups = 8

// mayAssume says whether records of an assumed rate are still kept apart by their HeldKey: while cells do not
// become too many by that. Each note whose cell was not looked for may be one, until that is known.
func (t *Table) mayAssume(e *Exporter) bool {
	room := t.config.AssumedCells - t.used
	if room <= 0 || len(e.groups) <= fewGroups || t.unknown < room {
		return room > 0
	}
	t.findCells()
	return t.used < t.config.AssumedCells
}

// groupOf returns the group of a record that was received in an hour.
func (t *Table) groupOf(e *Exporter, rec *schemas.FlowRecord, hour int64) *group {
	key := groupKey{hour: hour, numerator: rec.SamplingNumerator, denominator: rec.SamplingDenominator}
	origin := rec.SamplingOrigin
	switch {
	case e.config.SamplingNumerator != 0:
		key.numerator, key.denominator = e.config.SamplingNumerator, e.config.SamplingDenominator
		origin = schemas.SamplingConfigured
	case origin == schemas.SamplingUnknown || key.numerator == 0 || key.denominator == 0:
		key.numerator, key.denominator = 0, 0
		key.held = HeldKey{rec.ObservationDomain, rec.SamplerID, rec.InInterface}
	case e.assuming && origin == schemas.SamplingDefault && key.numerator == 1 && key.denominator == 1 && t.mayAssume(e):
		key.held, key.assumed = HeldKey{rec.ObservationDomain, rec.SamplerID, rec.InInterface}, true
	}
	if e.last != nil && e.last.key == key {
		return e.last
	}
	g := e.groups[key]
	if g == nil {
		g = t.newGroup(e, key, origin)
		rate := key
		rate.hour = 0
		if carried, ok := e.carry[rate]; ok {
			g.scalers = carried
			delete(e.carry, rate)
		}
	}
	e.last = g
	return g
}
