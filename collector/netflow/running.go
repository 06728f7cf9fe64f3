package netflow

import (
	"net/netip"

	"hostmeter/schemas"
)

// runningTotals turns running totals (85, 86 and their reverse) into differences per flow. A flow
// that is new counts whole. It keeps between limit/2 and limit flows, those that were heard of last.
type runningTotals struct {
	limit      int
	young, old map[flowKey]flowTotals
}

type flowKey struct {
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	protocol                    uint8
	direction                   schemas.FlowDirection
	in, out                     schemas.IfIndex
	domain                      uint32
	start, id                   uint64
}

type flowTotals struct{ octets, packets, reverseOctets, reversePackets uint64 }

// difference replaces the running totals of a record by what they grew since the flow's last record.
func (r *runningTotals) difference(rec *schemas.FlowRecord, p *program, v *values) {
	key := flowKey{
		rec.Source, rec.Destination, rec.SourcePort, rec.DestinationPort, rec.IPProtocol, rec.Direction,
		rec.InInterface, rec.OutInterface, rec.ObservationDomain, 0, 0,
	}
	if p.plan.start != toNothing { // as on the wire: converted, uptimes move by up to a second
		key.start = v[p.plan.start]
	}
	if p.has.has(toFlowID) {
		key.id = v[toFlowID]
	}
	last, known := r.young[key]
	if !known {
		last = r.old[key]
	}
	now := last
	if p.plan.octetsRun {
		rec.Octets, now.octets = grown(last.octets, rec.Octets)
	}
	if p.plan.packetsRun {
		rec.Packets, now.packets = grown(last.packets, rec.Packets)
	}
	if p.plan.reverseOctetsRun {
		rec.ReverseOctets, now.reverseOctets = grown(last.reverseOctets, rec.ReverseOctets)
	}
	if p.plan.reversePacketsRun {
		rec.ReversePackets, now.reversePackets = grown(last.reversePackets, rec.ReversePackets)
	}
	if !known && len(r.young) >= r.limit/2 || r.young == nil {
		r.old, r.young = r.young, make(map[flowKey]flowTotals)
	}
	r.young[key] = now
}

// grown returns the growth of a total and the total. One that fell began anew.
func grown(before, now uint64) (growth, total uint64) {
	if now < before {
		return now, now
	}
	return now - before, now
}
