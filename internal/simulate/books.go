package simulate

import (
	"math/bits"
	"net/netip"
	"time"

	"hostmeter/schemas"
)

// SlotLength is the grain of the books.
const SlotLength = 5 * time.Minute

const slotSeconds = int64(SlotLength / time.Second)

// Books are what the provider truly did, by meter and five-minute slot, in octets of layer 3.
//
// They are kept from what the simulator decided, never from the bytes that it wrote. Three figures
// stand beside each other: True is what crossed the wire; Sent is what the exporters stated of it,
// multiplied by their sampling rates; Seen is what of that arrived, so what a perfect collector
// counts. Sent and Seen are spread over a record's time as the octets of a record are: what has come
// by a time is floor(octets * (time-start) / (end-start)).
type Books struct {
	first     int64 // number of the first slot
	meters    map[schemas.MeterID]*MeterBook
	exporters map[netip.Addr]*ExporterBook
	provider  *Provider
}

// Figures are one direction of one class of one meter in one slot.
type Figures struct{ True, Sent, Seen schemas.Octets }

// Cell is one slot of a meter.
type Cell struct{ In, Out Figures }

// MeterBook is what one meter sent and received. External and Internal hold a cell for each slot since
// First; they may be shorter than the time that was played.
type MeterBook struct {
	First              time.Time
	External, Internal []Cell
	// SeenPackets are the scaled packets of both classes.
	SeenPacketsIn, SeenPacketsOut schemas.Packets
}

// ExporterBook is what an exporter stated. Sent - Lost is what arrives.
type ExporterBook struct {
	Sent, Lost Statements
	// Both of its ends are local, one is, or none: scaled octets that arrived.
	OctetsBoth, OctetsOnce, OctetsTransit schemas.Octets
	// Unobserved are true octets that the exporter never stated, for it was silent.
	Unobserved schemas.Octets
}

// Statements count what datagrams hold. Records are flow records or flow samples; octets are as stated,
// in layer 3, not multiplied.
type Statements struct {
	Datagrams, Records, OptionRecords, Templates, CounterSamples uint64
	Octets, Packets                                              uint64
}

func newBooks(p *Provider) *Books {
	return &Books{
		first:     p.begin.Unix() / slotSeconds,
		meters:    map[schemas.MeterID]*MeterBook{},
		exporters: map[netip.Addr]*ExporterBook{},
		provider:  p,
	}
}

// Meters returns the book of every meter. The map and the books are the provider's own.
func (b *Books) Meters() map[schemas.MeterID]*MeterBook { return b.meters }

// Exporters returns the book of every exporter.
func (b *Books) Exporters() map[netip.Addr]*ExporterBook { return b.exporters }

func (b *Books) meter(id schemas.MeterID) *MeterBook {
	m, ok := b.meters[id]
	if !ok {
		m = &MeterBook{First: time.Unix(b.first*slotSeconds, 0).UTC()}
		b.meters[id] = m
	}
	return m
}

// Sum adds the cells of a class in [from, until), which are on slot bounds.
func (m *MeterBook) Sum(class string, from, until time.Time) Cell {
	cells := m.External
	if class == schemas.ClassInternal {
		cells = m.Internal
	}
	first := (from.Unix() - m.First.Unix()) / slotSeconds
	last := (until.Unix() - m.First.Unix()) / slotSeconds
	var sum Cell
	for i := max(first, 0); i < min(last, int64(len(cells))); i++ {
		sum.In.add(cells[i].In)
		sum.Out.add(cells[i].Out)
	}
	return sum
}

func (f *Figures) add(other Figures) {
	f.True += other.True
	f.Sent += other.Sent
	f.Seen += other.Seen
}

// cell returns the cell of a slot, by number since the epoch.
func (b *Books) cell(m *MeterBook, internal bool, slot int64) *Cell {
	cells := &m.External
	if internal {
		cells = &m.Internal
	}
	i := int(slot - b.first)
	for len(*cells) <= i {
		*cells = append(*cells, Cell{})
	}
	return &(*cells)[i]
}

// happened books the truth of a flow, and moves the counters of the vNICs that it went through.
func (b *Books) happened(f *flow, mix packetMix, half int64) {
	b.spread(f, mix.octets(), func(slot int64, octets uint64, internal bool) {
		if f.from != nil {
			b.cell(f.from.book, internal, slot).Out.True += schemas.Octets(octets)
		}
		if f.to != nil {
			b.cell(f.to.book, internal, slot).In.True += schemas.Octets(octets)
		}
	})
	if f.from != nil && f.from.guest != nil {
		f.from.guest.carried(f, mix, half, true)
	}
	if f.to != nil && f.to.guest != nil {
		f.to.guest.carried(f, mix, half, false)
	}
}

// stated books one record of a datagram. lost says that it did not arrive.
func (b *Books) stated(e *exporter, f *flow, lost bool) {
	e.book.Sent.record(f)
	rate := uint64(e.SamplingRate)
	if lost {
		e.book.Lost.record(f)
	} else {
		e.book.arrived(f, schemas.Octets(f.octets*rate))
		if f.from != nil {
			f.from.book.SeenPacketsOut += schemas.Packets(f.packets * rate)
		}
		if f.to != nil {
			f.to.book.SeenPacketsIn += schemas.Packets(f.packets * rate)
		}
	}
	b.spread(f, f.octets, func(slot int64, octets uint64, internal bool) {
		scaled := schemas.Octets(octets * rate)
		if f.from != nil {
			b.cell(f.from.book, internal, slot).Out.tell(scaled, lost)
		}
		if f.to != nil {
			b.cell(f.to.book, internal, slot).In.tell(scaled, lost)
		}
	})
}

func (f *Figures) tell(octets schemas.Octets, lost bool) {
	f.Sent += octets
	if !lost {
		f.Seen += octets
	}
}

func (s *Statements) record(f *flow) {
	s.Records++
	s.Octets += f.octets
	s.Packets += f.packets
}

func (e *ExporterBook) arrived(f *flow, scaled schemas.Octets) {
	switch {
	case f.from != nil && f.to != nil:
		e.OctetsBoth += scaled
	case f.from != nil || f.to != nil:
		e.OctetsOnce += scaled
	default:
		e.OctetsTransit += scaled
	}
}

// spread calls do with the octets of each slot that a flow touches.
func (b *Books) spread(f *flow, octets uint64, do func(slot int64, octets uint64, internal bool)) {
	internal := f.from != nil && f.to != nil
	const slot = slotSeconds * 1000
	first, last := f.start/slot, max(f.start, f.end-1)/slot
	before := uint64(0)
	for s := first; s <= last; s++ {
		by := octets
		if s < last {
			by = proportion(octets, f, (s+1)*slot)
		}
		do(s, by-before, internal)
		before = by
	}
}

// proportion is what of an amount has come by a time in Unix milliseconds.
func proportion(amount uint64, f *flow, at int64) uint64 {
	switch {
	case at >= f.end:
		return amount
	case at <= f.start:
		return 0
	}
	high, low := bits.Mul64(amount, uint64(at-f.start))
	part, _ := bits.Div64(high, low, uint64(f.end-f.start))
	return part
}
