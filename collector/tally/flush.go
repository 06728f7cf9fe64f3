package tally

import (
	"slices"

	"hostmeter/schemas"
)

// Flush takes out the tallies of all meters, or of busy ones only, as differences since the last
// flush, in no order that means anything. What waits for a sampling rate stays, and so does
// internal traffic at a flush of busy meters.
//
// each is given every tally, which is valid until it returns. Tallies refer to Classes and to
// ExporterConfig.Number by position. The accounts returned hold what a table knows: records, octets, clamped
// and held records, records it dropped. Datagrams, templates, losses and what a decoder dropped are the
// caller's to add. There is one of an (exporter, protocol, hour), and its octets are those of the tallies; of
// the records that it counts, Exporter.Waiting says what stands in no tally yet.
func (t *Table) Flush(all bool, each func(*schemas.Tally)) []*schemas.ExporterAccount {
	f := t.newFlush(each)
	if all {
		f.all()
	} else {
		f.busy()
	}
	f.ports()
	for _, e := range t.exporters {
		f.settle(e)
	}
	t.weigh(all)
	return f.accountsOut()
}

func (t *Table) newFlush(each func(*schemas.Tally)) *flush {
	return &flush{table: t, each: each, accounts: make(map[*group]*schemas.ExporterAccount)}
}

// flush is one flush at work.
type flush struct {
	table    *Table
	each     func(*schemas.Tally)
	accounts map[*group]*schemas.ExporterAccount
	message  message
	text     []byte // of meterText
}

func (f *flush) busy() {
	t := f.table
	t.Busy()
	for i := range t.shards {
		s := &t.shards[i]
		if len(s.busy) == 0 {
			continue
		}
		t.settle(s)
		for _, number := range s.busy {
			c, x := &s.cells[number], s.traffic.at(number)
			f.take(c, x)
			s.index.remove(c.key.hash(), number)
			t.drop(c, x)
			c.gone = true
		}
		s.busy = s.busy[:0]
	}
}

// busyMost is how many meters a flush of busy ones takes at most. Where more have traffic to speak of, as with high
// sampling rates on many meters, only the heaviest do.
const busyMost = 1024

// Busy is the number of cells that a flush of busy meters takes. It moves the floor from which on one is busy: up until few
// enough are, down where few are.
func (t *Table) Busy() (n int) {
	t.findCells()
	for i := range t.shards {
		n += len(t.shards[i].busy)
	}
	if n < busyMost/4 {
		t.setFloor(max(t.busyOctets/2, t.config.BusyOctets))
	}
	for n > busyMost {
		t.setFloor(mulSaturated(t.busyOctets, 2))
		n = 0
		for i := range t.shards {
			n += t.shards[i].keepBusy(t.groups)
		}
	}
	return n
}

// setFloor sets from how many scaled octets a cell is busy.
func (t *Table) setFloor(octets uint64) {
	if t.busyOctets == octets {
		return
	}
	t.busyOctets = octets
	for _, g := range t.groups {
		if g != nil && g.known() {
			g.busy = busyAt(octets, g.numerator, g.denominator)
		}
	}
}

// keepBusy takes those of the busy cells out that are below the floor of their group, and returns how many are left.
func (s *shard) keepBusy(groups []*group) int {
	s.busy = slices.DeleteFunc(s.busy, func(number uint32) bool {
		c := &s.cells[number]
		c.busy = c.octets >= groups[c.key.group()].busy
		return !c.busy
	})
	return len(s.busy)
}

func (f *flush) all() {
	t := f.table
	t.followMore()
	for i := range t.shards {
		f.shard(&t.shards[i])
	}
}

// weigh finds out what waits in the cells that a flush has left, where it has not taken all.
func (t *Table) weigh(all bool) {
	for _, g := range t.groups {
		if g != nil {
			g.waiting = [2]uint64{}
		}
	}
	if all {
		return
	}
	for i := range t.shards {
		for _, c := range t.shards[i].cells {
			switch {
			case c.gone:
			case c.key.both():
				t.groups[c.key.group()].waiting[1] += c.octets
			default:
				t.groups[c.key.group()].waiting[0] += c.octets
			}
		}
	}
}

// Waiting is how many octets, multiplied, of the records in the accounts of the flushes so far are in no tally of
// theirs: those of meters that were not busy. After a flush of all there are none. Those of records that wait for
// their rate are not among them: accounts call them held.
func (e *Exporter) Waiting() (octets uint64) {
	for _, g := range e.groups {
		if !g.known() {
			continue
		}
		for _, part := range [...]struct {
			octets uint64
			scaler scaler // a copy: nothing is carried
		}{{g.waiting[0], g.scalers.once}, {g.waiting[1] / 2, g.scalers.bothOut}} { // both ends have a cell
			scaled, _ := part.scaler.scale(part.octets, g.numerator, g.denominator)
			octets += scaled
		}
	}
	return octets
}

// shard takes all cells of a shard whose rate is known.
func (f *flush) shard(s *shard) {
	t := f.table
	t.settle(s)
	s.index.clear()
	kept := 0
	for number := range s.cells {
		c, x := &s.cells[number], s.traffic.at(uint32(number))
		switch {
		case c.gone:
		case !t.groups[c.key.group()].known():
			s.index.add(c.key.hash(), uint32(kept))
			s.cells[kept], *s.traffic.at(uint32(kept)) = *c, *x
			kept++
		default:
			f.take(c, x)
			t.drop(c, x)
		}
	}
	s.cells, s.busy = s.cells[:kept], s.busy[:0]
}

// ports takes what counters told, whose rate is always known.
func (f *flush) ports() {
	for _, c := range f.table.portOrder {
		f.takePort(c)
		c.key.group.cells--
	}
	clear(f.table.ports)
	f.table.portOrder = f.table.portOrder[:0]
}

// account returns the account of a group in this flush.
func (f *flush) account(g *group) *schemas.ExporterAccount {
	a := f.accounts[g]
	if a == nil {
		a = &schemas.ExporterAccount{
			Exporter: g.exporter.name, Protocol: string(g.exporter.config.Protocol), Hour: g.key.hour,
		}
		f.accounts[g] = a
	}
	return a
}

// accountsOut joins the accounts of equal (exporter, protocol, hour) and puts them in order.
func (f *flush) accountsOut() []*schemas.ExporterAccount {
	var out []*schemas.ExporterAccount
	for _, a := range f.accounts {
		a.Octets = a.OctetsOnce + a.OctetsBoth + a.OctetsTransit + a.OctetsUncounted
		out = append(out, a)
	}
	slices.SortFunc(out, schemas.CompareAccounts)
	joined := out[:0]
	for _, a := range out {
		if n := len(joined); n > 0 && schemas.CompareAccounts(joined[n-1], a) == 0 {
			joined[n-1].Add(a)
		} else {
			joined = append(joined, a)
		}
	}
	return joined
}

// take makes a tally of a cell whose traffic is x.
func (f *flush) take(c *cell, x *traffic) {
	t := f.table
	g := t.groups[c.key.group()]
	if g.key.assumed {
		t.remember(g, c.key, x)
	}
	octetsIn, packetsIn, octetsOut, packetsOut := g.scalersOf(c.key.both())
	f.book(g, c.key, f.message.in.of(f.table, g, &x.in, octetsIn, packetsIn), f.message.out.of(f.table, g, &x.out, octetsOut, packetsOut))
}

// scalersOf returns what multiplies the octets and packets of a cell, in and out.
func (g *group) scalersOf(both bool) (octetsIn, packetsIn, octetsOut, packetsOut *scaler) {
	s := &g.scalers
	if both {
		return &s.bothIn, &s.packetsIn, &s.bothOut, &s.packetsOut
	}
	return &s.once, &s.packetsOnce, &s.once, &s.packetsOnce
}

// book hands out a tally, and adds its octets to the account of its group.
func (f *flush) book(g *group, key cellKey, in, out *schemas.Traffic) {
	a := f.account(g)
	if key.both() {
		a.OctetsBoth += out.GetOctets() // the other end stands in in
	} else {
		a.OctetsOnce += in.GetOctets() + out.GetOctets()
	}
	f.hand(g, f.meterText(key, g), key.minute(), key.class(), in, out)
}

func (f *flush) hand(g *group, meter string, minute int64, class uint32, in, out *schemas.Traffic) {
	t := &f.message.tally
	t.Meter, t.Minute, t.Class, t.Exporter, t.In, t.Out = meter, minute, class, g.exporter.config.Number, in, out
	f.each(t)
}

// takePort hands out a tally of what counters told.
func (f *flush) takePort(c *portCell) {
	in, out := c.in.message(), c.out.message()
	f.account(c.key.group).OctetsOnce += in.GetOctets() + out.GetOctets()
	f.hand(c.key.group, string(c.key.meter), int64(c.key.minute), classPort, in, out)
}

// message returns nil where nothing was counted.
func (c *counters) message() *schemas.Traffic {
	if *c == (counters{}) {
		return nil
	}
	return &schemas.Traffic{Octets: c.octets, Packets: c.packets, ReportedOctets: max(c.reported, c.octets), ReportedPackets: c.packets}
}

func (f *flush) meterText(key cellKey, g *group) string {
	switch key.kind() {
	case kindIPv4, kindIPv6:
		f.text = schemas.AppendAddressMeter(f.text[:0], key.meter.address(key.kind() == kindIPv4))
		return string(f.text)
	case kindPrefix:
		return string(schemas.PrefixMeter(f.table.local.prefixes[key.meter.low]))
	}
	return string(schemas.PortMeter(g.exporter.config.Address, schemas.IfIndex(key.meter.low)))
}

// settle writes the sums of an exporter's groups into its accounts, and forgets groups of hours
// that are over.
func (f *flush) settle(e *Exporter) {
	var held heldCounts
	latest := int64(-1 << 62)
	for key := range e.groups {
		latest = max(latest, key.hour)
	}
	for key, g := range e.groups {
		if !g.known() {
			held.records += int64(g.sums.records)
			held.octets += int64(g.sums.reportedOctets)
			f.dropped(g)
			continue
		}
		f.settleGroup(g)
		// A group that waited for its rate keeps its HeldKey and does not come again.
		if key.hour < latest || key.held != (HeldKey{}) {
			f.forget(e, key, g)
		}
	}
	e.last = nil
	f.settleHeld(e, held, latest)
}

// settleGroup scales what stands at no meter.
func (f *flush) settleGroup(g *group) {
	s := g.sums
	g.sums = sums{}
	if s == (sums{}) {
		return
	}
	if g.key.assumed {
		h := g.assumedHour()
		h.transit += s.transit
		h.uncounted += s.uncounted
		h.packets += s.packets
	}
	a := f.account(g)
	a.Records += s.records
	a.ReportedOctets += s.reportedOctets
	a.ReportedPackets += s.reportedPackets
	a.ClampedRecords += s.clamped
	a.UnknownSamplingRecords += s.unknown
	var ok [3]bool
	var transit, uncounted, packets uint64
	transit, ok[0] = g.scalers.transit.scale(s.transit, g.numerator, g.denominator)
	uncounted, ok[1] = g.scalers.uncounted.scale(s.uncounted, g.numerator, g.denominator)
	packets, ok[2] = g.scalers.packets.scale(s.packets, g.numerator, g.denominator)
	a.OctetsTransit += transit
	a.OctetsUncounted += uncounted
	a.Packets += packets
	if ok != [3]bool{true, true, true} {
		s.overflown++
	}
	addCount(&a.Dropped, "records", "table_full", s.full)
	addCount(&a.Dropped, "records", "implausible_octets", s.implausible)
	addCount(&a.Dropped, "sums", "overflow", s.overflown)
}

// dropped tells what was dropped of a group that waits for its rate.
func (f *flush) dropped(g *group) {
	if g.sums.full|g.sums.implausible == 0 {
		return
	}
	a := f.account(g)
	addCount(&a.Dropped, "records", "table_full", g.sums.full)
	addCount(&a.Dropped, "records", "implausible_octets", g.sums.implausible)
	g.sums.full, g.sums.implausible = 0, 0
}

func addCount(counts *[]*schemas.Count, unit, reason string, n uint64) {
	if n > 0 {
		*counts = schemas.AddCounts(*counts, &schemas.Count{Unit: unit, Reason: reason, Count: int64(n)})
	}
}

// forget takes a group out and hands what its scalers carry to the next one of the same rate.
func (f *flush) forget(e *Exporter, key groupKey, g *group) {
	if g.cells > 0 {
		return
	}
	delete(e.groups, key)
	f.table.groups[g.id] = nil
	f.table.freeGroups = append(f.table.freeGroups, g.id)
	if g.denominator == 1 {
		return
	}
	rate := groupKey{numerator: g.numerator, denominator: g.denominator}
	for other, next := range e.groups {
		if other.hour > key.hour && other.numerator == rate.numerator && other.denominator == rate.denominator && other.held == (HeldKey{}) {
			next.scalers.add(g.scalers)
			return
		}
	}
	carried := e.carry[rate]
	carried.add(g.scalers)
	e.carry[rate] = carried
}

// settleHeld tells how what waits for a rate has changed since it was last told.
func (f *flush) settleHeld(e *Exporter, held heldCounts, hour int64) {
	change := heldCounts{held.records - e.held.records, held.octets - e.held.octets}
	if change == (heldCounts{}) {
		return
	}
	e.held = held
	a := f.account(&group{key: groupKey{hour: hour}, exporter: e})
	a.Held = append(a.Held,
		&schemas.Count{Unit: "records", Reason: "sampling", Count: change.records},
		&schemas.Count{Unit: "octets", Reason: "sampling", Count: change.octets})
}
