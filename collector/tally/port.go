package tally

import (
	"time"

	"hostmeter/schemas"
)

// PortDelta is the difference between two readings of an interface's counters, in layer 2 octets.
type PortDelta struct {
	InOctets, InPackets, OutOctets, OutPackets uint64
}

// Layer 2 octets of a frame that layer 3 does not have.
const (
	VNICOverhead = 14 // Ethernet header; a vNIC counts no FCS
	PortOverhead = 18 // Ethernet header and FCS
)

// AddPort books the counters' difference between from and to in class "port", spread over that
// time and in the hour of to's receipt. in and out of delta are seen from the meter.
//
// Layer 3 octets are the reported ones less overhead for each packet, and at least 0. They count in
// the exporter's account as octets booked once.
func (t *Table) AddPort(e *Exporter, meter schemas.MeterID, from, to time.Time, delta PortDelta, overhead uint64) {
	if delta == (PortDelta{}) {
		return
	}
	g := t.unsampled(e, hourOf(to))
	end := to.UnixNano()
	start := min(from.UnixNano(), end)
	if end-start > int64(t.config.DurationMax) {
		start = end
		g.sums.clamped++
	}
	when := stretchOf(start, end)
	in, out := layer3(delta.InOctets, delta.InPackets, overhead), layer3(delta.OutOctets, delta.OutPackets, overhead)
	g.sums.reportedOctets += delta.InOctets + delta.OutOctets
	g.sums.reportedPackets += delta.InPackets + delta.OutPackets
	g.sums.packets += delta.InPackets + delta.OutPackets
	for minute := when.first; minute <= when.last; minute++ {
		c := t.portCell(portCellKey{meter, g, int32(minute)})
		c.in.add(&when, minute, in, delta.InPackets, delta.InOctets)
		c.out.add(&when, minute, out, delta.OutPackets, delta.OutOctets)
	}
}

// unsampled is the group of an exporter's counters, which its configured sampling rate is not for.
func (t *Table) unsampled(e *Exporter, hour int64) *group {
	key := groupKey{hour: hour, numerator: 1, denominator: 1}
	g := e.groups[key]
	if g == nil {
		g = t.newGroup(e, key, schemas.SamplingRecord)
	}
	return g
}

// portCellKey names a port's tally in the making.
type portCellKey struct {
	meter  schemas.MeterID
	group  *group
	minute int32
}

// portCell is a port's, or a vNIC's, tally in the making.
type portCell struct {
	key     portCellKey
	in, out counters
}

// counters are one direction of a portCell. reported are the octets as the counter has them.
type counters struct{ octets, packets, reported uint64 }

func (c *counters) add(when *stretch, minute int64, octets, packets, reported uint64) {
	c.octets += when.share(octets, minute)
	c.packets += when.share(packets, minute)
	c.reported += when.share(reported, minute)
}

func layer3(octets, packets, overhead uint64) uint64 {
	over := mulSaturated(packets, overhead)
	if over >= octets {
		return 0
	}
	return octets - over
}

func (t *Table) portCell(key portCellKey) *portCell {
	c := t.ports[key]
	if c == nil {
		c = &portCell{key: key}
		t.ports[key] = c
		t.portOrder = append(t.portOrder, c)
		key.group.cells++
	}
	return c
}
