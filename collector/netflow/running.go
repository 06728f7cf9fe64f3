package netflow

import (
	"net/netip"

	"hostmeter/schemas"
)

// runningTotals turns running totals (85, 86 and their reverse) into differences per flow. A flow
// that is new counts whole, unless it began before a restart of the collector, of an exporter that
// repeats totals. It keeps between limit/2 and limit flows, those that were heard of last.
type runningTotals struct {
	limit      int
	young, old map[flowKey]flowTotals
	// repeats says that the exporter tells of a flow more than once. resumed is when this decoder took over
	// from an earlier one, in nanoseconds since the Unix epoch, 0 if it did not.
	repeats bool
	resumed int64
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

// flowTotals is what was counted of a flow.
type flowTotals struct {
	octets, packets, reverseOctets, reversePackets uint64
	end                                            int64 // of the last record
	over                                           bool  // its end was told (NSEL)
}

func keyOf(rec *schemas.FlowRecord, p *program, v *values) flowKey {
	key := flowKey{
		rec.Source, rec.Destination, rec.SourcePort, rec.DestinationPort, rec.IPProtocol, rec.Direction,
		rec.InInterface, rec.OutInterface, rec.ObservationDomain, 0, 0,
	}
	// As on the wire: converted, uptimes move by up to a second. A time before the export is new each time.
	if p.plan.start != toNothing && p.plan.start != toStartDelta {
		key.start = v[p.plan.start]
	}
	if p.has.has(toFlowID) {
		key.id = v[toFlowID]
	}
	return key
}

func (r *runningTotals) last(key flowKey) (totals flowTotals, known bool) {
	if totals, known = r.young[key]; known {
		return totals, true
	}
	totals, known = r.old[key]
	return totals, known
}

func (r *runningTotals) keep(key flowKey, now flowTotals) {
	if _, young := r.young[key]; !young && len(r.young) >= r.limit/2 || r.young == nil {
		r.old, r.young = r.young, make(map[flowKey]flowTotals)
	}
	r.young[key] = now
}

// since lets a record that tells of the time since the flow's last one begin there, so that what it adds
// is not spread over minutes that are told already.
func since(rec *schemas.FlowRecord, end int64) {
	if end > rec.FlowStart && end <= rec.FlowEnd {
		rec.FlowStart = end
	}
}

// difference replaces the running totals of a record by what they grew since the flow's last record.
func (r *runningTotals) difference(rec *schemas.FlowRecord, p *program, v *values) {
	key := keyOf(rec, p, v)
	last, known := r.last(key)
	now := last
	if rec.FlowEnd != 0 && rec.FlowEnd < last.end { // overtaken: the flow's later totals hold it
		p.forgetRunning(rec)
		return
	}
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
	if r.repeats && !known && rec.FlowStart < r.resumed {
		// The decoder before has counted of it what nobody knows any more: the total is where to begin.
		p.forgetRunning(rec)
	}
	r.repeats = r.repeats || known
	since(rec, last.end)
	now.end = max(last.end, rec.FlowEnd)
	r.keep(key, now)
}

// runningTotals turns a record's running totals into differences, and notices that the exporter repeats them.
func (d *Decoder) runningTotals(rec *schemas.FlowRecord, p *program, v *values) {
	repeated := d.running.repeats
	d.running.difference(rec, p, v)
	if d.running.repeats != repeated {
		d.revision++
	}
}

// forgetRunning takes the running totals out of a record.
func (p *program) forgetRunning(rec *schemas.FlowRecord) {
	for _, c := range [...]struct {
		run     bool
		counter *uint64
	}{
		{p.plan.octetsRun, &rec.Octets}, {p.plan.packetsRun, &rec.Packets},
		{p.plan.reverseOctetsRun, &rec.ReverseOctets}, {p.plan.reversePacketsRun, &rec.ReversePackets},
	} {
		if c.run {
			*c.counter = 0
		}
	}
}

// The firewall events (233) that carry counters.
const (
	flowDeleted = 2
	flowUpdated = 5
)

// event counts the events of a firewall once: updates tell what came since the update before, and the
// flow's end tells all of it once more. An update that arrives behind the end adds nothing. A total
// that is below what was told cannot be one: it counts as it stands.
// Source: Cisco, ASA NetFlow Implementation Guide, flow update and flow teardown events.
func (r *runningTotals) event(rec *schemas.FlowRecord, p *program, v *values) {
	kind := v[toFirewallEvent]
	if kind != flowDeleted && kind != flowUpdated {
		return
	}
	key := keyOf(rec, p, v)
	key.start = 0 // not in every template of a flow, which its id names
	told, known := r.last(key)
	if told.over && rec.FlowEnd > told.end {
		told, known = flowTotals{}, false // another flow of the same ends
	}
	if kind == flowDeleted && !known {
		r.keep(key, flowTotals{end: rec.FlowEnd, over: true}) // a short flow: its total is all
		return
	}
	now := told
	counters := [...]struct{ counter, told *uint64 }{
		{&rec.Octets, &now.octets}, {&rec.Packets, &now.packets},
		{&rec.ReverseOctets, &now.reverseOctets}, {&rec.ReversePackets, &now.reversePackets},
	}
	total := kind == flowDeleted && rec.Octets >= told.octets && rec.ReverseOctets >= told.reverseOctets
	for _, c := range counters {
		switch {
		case told.over && kind == flowUpdated:
			*c.counter = 0
		case total:
			*c.counter -= min(*c.counter, *c.told)
		default:
			*c.told += *c.counter
		}
	}
	since(rec, told.end)
	now.end, now.over = max(told.end, rec.FlowEnd), kind == flowDeleted
	r.keep(key, now)
}

// grown returns the growth of a total and the total. One that fell began anew.
func grown(before, now uint64) (growth, total uint64) {
	if now < before {
		return now, now
	}
	return now - before, now
}
