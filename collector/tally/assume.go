package tally

import (
	"cmp"
	"maps"
	"slices"

	"hostmeter/schemas"
)

// assumed is what was counted, and flushed, at a rate of 1 because nothing told another: kept for as
// long as a rate may still be told, per hour of receipt.
type assumed map[int64]*assumedHour

type assumedHour struct {
	transit, uncounted, packets uint64
	index                       index  // of cells
	cells                       []cell // whose keys have no group, and of which nothing else is used
	sums                        []bothSums
}

type bothSums struct{ in, out assumedSums }

// assumedSums are one direction of a cell.
type assumedSums struct{ octets, packets, flows, squares uint64 }

// Assume lets records of an exporter that come with SamplingDefault and a rate of 1 be corrected when
// Correct tells their rate, until it is called with false, which forgets them.
func (t *Table) Assume(e *Exporter, assuming bool) {
	e.assuming = assuming
	if assuming {
		return
	}
	for _, hours := range e.assumed {
		t.forgetAssumed(hours)
	}
	clear(e.assumed)
	for key, g := range e.groups {
		if key.assumed {
			e.rekey(key, g)
		}
	}
	e.last = nil
}

func (t *Table) forgetAssumed(hours assumed) {
	for _, h := range hours {
		t.assumed -= len(h.sums)
	}
}

// Assumed lists the keys of an exporter for which a rate of 1 was assumed, in order.
func (t *Table) Assumed(e *Exporter) []HeldKey {
	seen := make(map[HeldKey]bool)
	for key := range e.assumed {
		seen[key] = true
	}
	for key := range e.groups {
		if key.assumed {
			seen[key.held] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b HeldKey) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.SamplerID, b.SamplerID), cmp.Compare(a.InInterface, b.InInterface))
	})
}

// Correct gives what was assumed to be unsampled under key the rate numerator/denominator. What is not
// flushed yet leaves with the next flush as if the rate had been known; of the rest, what is missing is
// handed out as Flush does: octets, packets, flows and variance, but neither features nor records, which
// were counted.
func (t *Table) Correct(e *Exporter, key HeldKey, numerator, denominator uint32, each func(*schemas.Tally)) []*schemas.ExporterAccount {
	for groupKey, g := range e.groups {
		if groupKey.assumed && groupKey.held == key {
			g.rate(t, numerator, denominator, schemas.SamplingOption)
			e.rekey(groupKey, g)
		}
	}
	e.last = nil
	hours := e.assumed[key]
	delete(e.assumed, key)
	t.forgetAssumed(hours)
	if numerator <= denominator {
		return nil
	}
	f := t.newFlush(each)
	for _, hour := range slices.Sorted(maps.Keys(hours)) {
		f.correct(e, hour, hours[hour], numerator, denominator)
	}
	return f.accountsOut()
}

// correct adds what is missing of one hour.
func (f *flush) correct(e *Exporter, hour int64, h *assumedHour, numerator, denominator uint32) {
	g := &group{key: groupKey{hour: hour}, exporter: e, numerator: numerator - denominator, denominator: denominator}
	for i := range h.cells {
		key, c := h.cells[i].key, &h.sums[i]
		octetsIn, packetsIn, octetsOut, packetsOut := g.scalersOf(key.both())
		f.book(g, key, c.in.missing(g, octetsIn, packetsIn, numerator), c.out.missing(g, octetsOut, packetsOut, numerator))
	}
	g.sums = sums{transit: h.transit, uncounted: h.uncounted, packets: h.packets}
	f.settleGroup(g)
}

// missing is what has to be added to sums that were counted once; g has the rate less 1.
func (s *assumedSums) missing(g *group, octets, packets *scaler, numerator uint32) *schemas.Traffic {
	if s.octets|s.packets|s.flows == 0 {
		return nil
	}
	scaledOctets, ok := octets.scale(s.octets, g.numerator, g.denominator)
	scaledPackets, ok2 := packets.scale(s.packets, g.numerator, g.denominator)
	if !ok || !ok2 {
		g.sums.overflown++
	}
	return &schemas.Traffic{
		Octets: scaledOctets, Packets: scaledPackets, Flows: scaleRoughly(s.flows, g.numerator, g.denominator),
		VarianceKib2: variance(s.squares, numerator, g.denominator),
	}
}

// remember keeps a flushed cell of a group whose rate is assumed, while there is room.
func (t *Table) remember(g *group, key cellKey, x *traffic) {
	h := g.assumedHour()
	h.reserve(min(g.cells, t.config.AssumedCells-t.assumed)) // all that this flush may add
	key.time = timeOf(0, int32(key.minute()))
	hash := key.hash()
	number, ok := h.index.find(hash, key, h.cells)
	if !ok {
		if t.assumed >= t.config.AssumedCells {
			return
		}
		t.assumed++
		number = uint32(len(h.cells))
		h.index.add(hash, number)
		h.cells, h.sums = append(h.cells, cell{key: key}), append(h.sums, bothSums{})
	}
	c := &h.sums[number]
	c.in.add(&x.in)
	c.out.add(&x.out)
}

// reserve makes room for so many cells more: what grows by little leaves more behind than it takes.
func (h *assumedHour) reserve(cells int) {
	h.index.reserve(cells)
	h.cells, h.sums = slices.Grow(h.cells, cells), slices.Grow(h.sums, cells)
}

func (s *assumedSums) add(d *direction) {
	s.octets += d.octets
	s.packets += d.packets
	s.flows += uint64(d.flows)
	s.squares = addSaturated(s.squares, d.squares)
}

// assumedHour returns where a group of an assumed rate is remembered.
func (g *group) assumedHour() *assumedHour {
	if g.assumed != nil {
		return g.assumed
	}
	e := g.exporter
	hours := e.assumed[g.key.held]
	if hours == nil {
		hours = assumed{}
		e.assumed[g.key.held] = hours
	}
	h := hours[g.key.hour]
	if h == nil {
		h = &assumedHour{index: newIndex()}
		hours[g.key.hour] = h
	}
	g.assumed = h
	return h
}
