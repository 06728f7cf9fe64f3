package tally

import (
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// Table adds flow records up until they are flushed.
type Table struct {
	config    Config
	local     *prefixTable
	exporters []*Exporter
	cells     map[cellKey]*cell
	ports     map[portCellKey]*cell
	order     []*cell // as they came; taken ones are nil
	busy      []*cell
	free      []*cell
	sketches  int // octets of registers that are left
}

// meterKind tells what a cellKey's number is.
type meterKind uint8

const (
	meterIPv4   meterKind = iota // an IPv4 address
	meterIPv6                    // an IPv6 address
	meterPrefix                  // low is an index of prefixTable
	meterPort                    // low is an interface of the exporter
	meterText                    // a cell of portCellKey
)

// The classes, by index.
const (
	classExternal = iota
	classInternal
	classPort
)

var classTexts = [...]string{schemas.ClassExternal, schemas.ClassInternal, schemas.ClassPort}

// cellKey names a cell. both tells that the octets in it stand at another meter too.
type cellKey struct {
	meter  number
	group  *group
	minute int32
	class  uint8
	kind   meterKind
	both   bool
}

type portCellKey struct {
	meter  schemas.MeterID
	group  *group
	minute int32
}

// cell is a tally in the making. Its sums are not multiplied by the sampling rate.
type cell struct {
	key     cellKey
	text    schemas.MeterID // of meterText
	in, out direction
	index   int // in Table.order
	busy    bool
}

type direction struct {
	octets, packets, flows, squares uint64
	reportedOctets                  uint64 // of port meters; else octets
	detail                          *detail
}

type detail struct {
	features  features
	addresses sketch
	ports     sketch
	peers     *peers
}

// New returns an empty table.
func New(config Config) *Table {
	return &Table{
		config:   config,
		local:    newPrefixTable(append(append([]netip.Prefix(nil), config.Local...), config.Assigned...)),
		cells:    make(map[cellKey]*cell),
		ports:    make(map[portCellKey]*cell),
		sketches: config.SketchBytes,
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
func (t *Table) Len() int { return len(t.cells) + len(t.ports) }

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
		g.numerator, g.denominator, g.origin = numerator, denominator, origin
		records += g.sums.records
		if weak(origin) {
			g.sums.unknown += g.sums.records
		}
		// Records that still come without a rate wait in a group of their own.
		delete(e.groups, groupKey)
		groupKey.numerator, groupKey.denominator = numerator, denominator
		g.key = groupKey // with its HeldKey, so that it meets no other
		if other := e.groups[groupKey]; other != nil {
			groupKey.held.SamplerID ^= 1 << 63
			for e.groups[groupKey] != nil {
				groupKey.held.Domain++
			}
			g.key = groupKey
		}
		e.groups[groupKey] = g
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

// newCell takes a cell from the free ones.
func (t *Table) newCell() *cell {
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		return c
	}
	slab := make([]cell, 64)
	for i := range slab[1:] {
		t.free = append(t.free, &slab[i+1])
	}
	return &slab[0]
}

// admit makes a cell part of the order of flushing.
func (t *Table) admit(c *cell) {
	c.index = len(t.order)
	t.order = append(t.order, c)
	c.key.group.cells++
}

// cellOf returns the cell of a key, made anew where needed.
func (t *Table) cellOf(key cellKey) *cell {
	c := t.cells[key]
	if c == nil {
		c = t.newCell()
		c.key = key
		t.cells[key] = c
		t.admit(c)
	}
	return c
}

func hourOf(at time.Time) int64 { return floorMinute(at.UnixNano()) / 60 }
