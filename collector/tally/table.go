package tally

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// Table adds flow records up until they are flushed.
type Table struct {
	config     Config
	local      *prefixTable
	exporters  []*Exporter
	groups     []*group // by id; nil where free
	freeGroups []uint32

	cells cells
	index index
	order []uint32 // numbers + 1 of cells as they came; 0 is taken
	busy  []uint32 // numbers of cells
	// busyOctets is from how many scaled octets a cell is busy: Config's, or more where too many are.
	busyOctets uint64
	assumed    int // cells that are remembered at an assumed rate

	// traffic is what cells that were full once have added up, by number; free ones are kept.
	traffic     []*traffic
	freeTraffic []uint32
	scratch     traffic // of a cell that is flushed before it was full

	ports     map[portCellKey]*portCell
	portOrder []*portCell // as they came

	touching []uint32 // of Touch
	touched  uint64
}

// The classes, by index.
const (
	classExternal = iota
	classInternal
	classPort
)

var classTexts = [...]string{schemas.ClassExternal, schemas.ClassInternal, schemas.ClassPort}

// New returns an empty table.
func New(config Config) *Table {
	return &Table{
		config:     config,
		local:      newPrefixTable(append(append([]netip.Prefix(nil), config.Local...), config.Assigned...)),
		ports:      make(map[portCellKey]*portCell),
		busyOctets: config.BusyOctets,
	}
}

// Exporter returns a handle for records of an exporter. Ask once per configuration, not per record;
// when settings change, ask for another one: what was added under the old one is flushed as it was
// meant, and both tell their accounts under the same name.
func (t *Table) Exporter(config ExporterConfig) *Exporter {
	e := newExporter(config)
	t.exporters = append(t.exporters, e)
	return e
}

// Drop forgets a handle once all that was added under it has been flushed or scaled; until then it
// does nothing and says false.
func (t *Table) Drop(e *Exporter) bool {
	if len(e.groups) > 0 {
		return false
	}
	for i, other := range t.exporters {
		if other == e {
			t.exporters = append(t.exporters[:i], t.exporters[i+1:]...)
			return true
		}
	}
	return false
}

// Len is the number of cells that wait for a flush.
func (t *Table) Len() int { return t.index.used + len(t.ports) }

// LocalPrefix returns the meter of a local address; ok is false for a remote one.
func (t *Table) LocalPrefix(addr netip.Addr) (prefix netip.Prefix, ok bool) {
	addr = addr.Unmap()
	if !addr.IsValid() {
		return netip.Prefix{}, false
	}
	index := t.local.find(numberOf(addr), addr.Is4())
	switch {
	case index < 0:
		return netip.Prefix{}, false
	case addr.Is4() || t.config.EachAddress:
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	return t.local.prefixes[index], true
}

// Held lists the keys of an exporter under which records wait for a sampling rate, in no order.
func (t *Table) Held(e *Exporter) []HeldKey {
	var keys []HeldKey
	seen := make(map[HeldKey]bool)
	for _, g := range e.groups {
		if !g.known() && !seen[g.key.held] {
			seen[g.key.held] = true
			keys = append(keys, g.key.held)
		}
	}
	return keys
}

// ScaleHeld gives the records that wait under key the rate numerator/denominator: they leave with
// the next complete flush. origin SamplingDefault and SamplingUnknown count them as of unknown
// sampling. It returns how many records it found. A rate of 0 is none: nothing happens.
func (t *Table) ScaleHeld(e *Exporter, key HeldKey, numerator, denominator uint32, origin schemas.SamplingOrigin) uint64 {
	if numerator == 0 || denominator == 0 {
		return 0
	}
	var records uint64
	for groupKey, g := range e.groups {
		if g.known() || groupKey.held != key {
			continue
		}
		records += g.sums.records
		if weak(origin) {
			g.sums.unknown += g.sums.records
		}
		g.rate(t, numerator, denominator, origin)
		e.rekey(groupKey, g)
	}
	if e.last != nil && e.last.key.held == key {
		e.last = nil
	}
	return records
}

// weak says that a rate is an assumption.
func weak(origin schemas.SamplingOrigin) bool {
	return origin == schemas.SamplingUnknown || origin == schemas.SamplingDefault
}

// cellOf returns the cell of a key and its number, made anew where needed.
func (t *Table) cellOf(key *cellKey) (*cell, uint32) {
	hash := key.hash()
	if number, ok := t.index.find(hash, key, &t.cells); ok {
		return t.cells.at(number), number
	}
	number := t.cells.take()
	c := t.cells.at(number)
	c.key = *key
	c.order = uint32(len(t.order))
	t.order = append(t.order, number+1)
	t.index.add(hash, number)
	t.groups[key.group].cells++
	return c, number
}

// settle adds up what a cell has observed.
func (t *Table) settle(c *cell, number uint32) {
	x := t.trafficOf(c)
	g := t.groups[c.key.group]
	c.addUp(t, g, x)
	if !c.busy && !c.key.both && max(x.in.octets, x.out.octets) >= g.busy {
		c.busy = true
		t.busy = append(t.busy, number)
	}
}

// addUp moves a cell's observations into traffic.
func (c *cell) addUp(t *Table, g *group, x *traffic) {
	sampled := g.sampled()
	for i := range c.observations[:c.n] {
		o := &c.observations[i]
		var squares uint64
		if sampled {
			squares = squaresOf(o.octets, uint64(o.packets))
		}
		x.add(t, o, squares)
	}
	c.n, c.pending = 0, 0
}

// trafficOf returns the traffic of a cell, made anew where needed.
func (t *Table) trafficOf(c *cell) *traffic {
	if c.traffic != 0 {
		return t.traffic[c.traffic-1]
	}
	if n := len(t.freeTraffic); n > 0 {
		c.traffic = t.freeTraffic[n-1] + 1
		t.freeTraffic = t.freeTraffic[:n-1]
	} else {
		t.traffic = append(t.traffic, new(traffic))
		c.traffic = uint32(len(t.traffic))
	}
	return t.traffic[c.traffic-1]
}

// recycle makes a flushed cell free. What it allocated beyond itself is kept for the next.
func (t *Table) recycle(c *cell, number uint32) {
	t.groups[c.key.group].cells--
	if c.traffic != 0 {
		x := t.traffic[c.traffic-1]
		x.in.clear()
		x.out.clear()
		t.freeTraffic = append(t.freeTraffic, c.traffic-1)
	}
	c.pending, c.traffic, c.n, c.busy = 0, 0, 0, false
	t.cells.free = append(t.cells.free, number)
}

func hourOf(at time.Time) int64 { return floorMinute(at.UnixNano()) / 60 }
