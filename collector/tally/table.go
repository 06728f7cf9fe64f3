package tally

import (
	"math/bits"
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// Table adds flow records up until they are flushed.
type Table struct {
	config     Config
	local      *prefixTable
	classes    *classTable // nil where none is configured
	exporters  []*Exporter
	groups     []*group // by id; nil where free
	freeGroups []uint32

	way        way // of the record that is added
	shards     []shard
	shardShift uint32 // what makes the number of a shard of a hash
	unknown    int    // notes whose cells were not looked for
	used       int    // cells that wait for a flush
	assumed    int    // cells that are remembered at an assumed rate
	// busyOctets is from how many scaled octets a cell is busy: Config's, or more where too many are.
	busyOctets uint64

	rare  slabs[rareFeatures]
	wide  slabs[sketch] // of many addresses, or ports
	peers slabs[peers]
	// peerOctets is from how many octets peers are followed: Config's, or more where too many are.
	peerOctets uint64

	ports     map[portCellKey]*portCell
	portOrder []*portCell // as they came
}

// The classes, by index; those of Config.Classes follow.
const (
	classExternal = iota
	classInternal
	classPort
)

// ClassNames are what the classes of tallies refer to by position.
func (c Config) ClassNames() []string {
	names := []string{schemas.ClassExternal, schemas.ClassInternal, schemas.ClassPort}
	for _, class := range c.Classes {
		names = append(names, class.Name)
	}
	return names
}

// New returns an empty table.
func New(config Config) *Table {
	return &Table{
		config:     config,
		local:      newPrefixTable(append(append([]netip.Prefix(nil), config.Local...), config.Assigned...)),
		classes:    newClassTable(config.Classes),
		ports:      make(map[portCellKey]*portCell),
		busyOctets: config.BusyOctets, peerOctets: config.PeerOctets,
		shards: newShards(config.Shards, config.Notes), shardShift: uint32(64 - bits.TrailingZeros(uint(config.Shards))),
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
func (t *Table) Len() int {
	t.findCells()
	return t.used + len(t.ports)
}

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

func hourOf(at time.Time) int64 { return floorMinute(at.UnixNano()) / 60 }
