package tally

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"hostmeter/schemas"
)

// Watch finds traffic that is booked twice: one flow at one meter by two exporters, by two protocols of
// one exporter, or at ingress and at egress of one. It only tells; what to do about it (another
// accounting mode, another place to export from) is for a person.
//
// It looks at a window of two minutes in ten, and in it at those flows whose hash falls into a part of
// all hashes that narrows until they fit: whoever tells of a flow is looked at for the same flows.
// Exporters that sample see few of the same flows; a pair of them shows when enough flows are large.
type Watch struct {
	table   *Table
	window  int64 // number of the window at work, since the epoch
	narrow  uint64
	flows   map[uint64]*watched
	noticed []Twice
}

// watched is a flow at one of its ends and who booked it there.
type watched struct {
	seen [4]sight
}

// sight is what an exporter told of a flow at ingress, egress or without a direction.
type sight struct {
	exporter  *Exporter
	direction schemas.FlowDirection
	octets    uint64 // as told
}

// Sight names who told of traffic.
type Sight struct {
	Exporter  string
	Protocol  schemas.Protocol
	Direction schemas.FlowDirection
}

func (s Sight) String() string {
	return s.Exporter + " (" + string(s.Protocol) + ", " + s.Direction.String() + ")"
}

// Twice is traffic that two sights told of in one window.
type Twice struct {
	First, Second Sight
	// Flows is how many of the flows looked at were booked by both, Share their part of the octets of
	// the one that told of less besides.
	Flows int
	Share float64
	// At is the beginning of the window.
	At time.Time
}

const (
	watchPeriod = 10 * time.Minute
	watchWindow = 2 * time.Minute
	// watchFlows bounds the flows that are looked at.
	watchFlows = 4096
	// twiceFlows and twiceShare are what makes a pair worth telling: a few flows are seen twice when
	// routes change.
	twiceFlows = 16
	twiceShare = 0.1
	// noticedMost bounds what waits for a call of Twice.
	noticedMost = 1024
)

// NewWatch returns a watch over what is added to a table under its exporters' modes.
func NewWatch(table *Table) *Watch {
	return &Watch{table: table, flows: make(map[uint64]*watched)}
}

// Watching says whether a Watch looks at records received at a time: See learns nothing from others.
func Watching(receivedAt time.Time) bool {
	return receivedAt.UnixNano()%int64(watchPeriod) < int64(watchWindow)
}

// See looks at a record that is added to the table. Nothing of it is kept.
func (w *Watch) See(e *Exporter, rec *schemas.FlowRecord, receivedAt time.Time) {
	at := receivedAt.UnixNano()
	if window := at / int64(watchPeriod); window != w.window {
		w.settle()
		w.window = window
	}
	if !Watching(receivedAt) || !rec.Source.IsValid() || !rec.Destination.IsValid() {
		return
	}
	hash := hashFlow(rec)
	if hash&w.narrow != 0 {
		return
	}
	way := way{
		source: w.table.end(rec.Source), destination: w.table.end(rec.Destination),
		direction: rec.Direction, in: rec.InInterface, out: rec.OutInterface,
	}
	booked := e.bookings(&way)
	s := sight{e, rec.Direction, rec.Octets}
	// The lowest bits narrow, the highest tells the end apart.
	if booked.source {
		w.note(hash|1<<63, s)
	}
	if booked.destination {
		w.note(hash&^(1<<63), s)
	}
}

// note adds a sight to a flow, and looks at fewer flows when they are too many.
func (w *Watch) note(key uint64, s sight) {
	f := w.flows[key]
	if f == nil {
		for len(w.flows) >= watchFlows {
			w.narrow = w.narrow<<1 | 1
			for k := range w.flows {
				if k&w.narrow != 0 {
					delete(w.flows, k)
				}
			}
		}
		if key&w.narrow != 0 {
			return
		}
		f = new(watched)
		w.flows[key] = f
	}
	for i := range f.seen {
		known := &f.seen[i]
		if known.exporter == nil {
			*known = s
			return
		}
		if known.exporter == s.exporter && known.direction == s.direction {
			known.octets = addSaturated(known.octets, s.octets)
			return
		}
	}
}

// Twice returns the pairs that the windows over at the time at showed since the last call, in order of
// window, exporter, protocol and direction.
func (w *Watch) Twice(at time.Time) []Twice {
	if at.UnixNano() >= w.window*int64(watchPeriod)+int64(watchWindow) {
		w.settle()
	}
	out := w.noticed
	w.noticed = nil
	return out
}

// pair is two sights of the same flows.
type pair struct {
	flows         int
	first, second uint64 // octets of them that each told
}

// settle ends a window.
func (w *Watch) settle() {
	if len(w.flows) == 0 {
		return
	}
	totals, pairs := make(map[Sight]uint64), make(map[[2]Sight]pair)
	for _, f := range w.flows {
		f.count(totals, pairs)
	}
	var found []Twice
	for names, p := range pairs {
		share := max(ratio(p.first, totals[names[0]]), ratio(p.second, totals[names[1]]))
		if p.flows >= twiceFlows && share >= twiceShare {
			found = append(found, Twice{names[0], names[1], p.flows, share, time.Unix(0, w.window*int64(watchPeriod)).UTC()})
		}
	}
	slices.SortFunc(found, func(a, b Twice) int {
		return cmp.Or(a.First.compare(b.First), a.Second.compare(b.Second))
	})
	w.noticed = append(w.noticed, found...)
	w.noticed = w.noticed[max(0, len(w.noticed)-noticedMost):]
	w.narrow = 0
	clear(w.flows)
}

// count adds a flow to the octets of each sight and to its pairs.
func (f *watched) count(totals map[Sight]uint64, pairs map[[2]Sight]pair) {
	for i, s := range f.seen {
		if s.exporter == nil {
			return
		}
		name := s.name()
		totals[name] = addSaturated(totals[name], s.octets)
		for _, other := range f.seen[:i] {
			first, second := other, s
			if first.name().compare(second.name()) > 0 {
				first, second = second, first
			}
			names := [2]Sight{first.name(), second.name()}
			p := pairs[names]
			p.flows++
			p.first, p.second = addSaturated(p.first, first.octets), addSaturated(p.second, second.octets)
			pairs[names] = p
		}
	}
}

func (s *sight) name() Sight { return Sight{s.exporter.name, s.exporter.config.Protocol, s.direction} }

func (s Sight) compare(o Sight) int {
	return cmp.Or(cmp.Compare(s.Exporter, o.Exporter), cmp.Compare(s.Protocol, o.Protocol), cmp.Compare(s.Direction, o.Direction))
}

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// hashFlow is equal for records of one flow. Only who sent it in which direction and the five fields that
// name a flow go into it; nobody gains by collisions, so it need not be keyed.
func hashFlow(rec *schemas.FlowRecord) uint64 {
	source, destination := numberOf(rec.Source), numberOf(rec.Destination)
	h := mix(source.high^0x9e3779b97f4a7c15, source.low^0xbf58476d1ce4e5b9)
	h = mix(h^destination.high, destination.low^0x94d049bb133111eb)
	return mix(h, uint64(rec.SourcePort)<<32|uint64(rec.DestinationPort)<<16|uint64(rec.IPProtocol)|1<<63)
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
