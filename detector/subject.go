package detector

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"hostmeter/detector/baseline"
	"hostmeter/detector/rule"
	"hostmeter/schemas"
)

// subject is what rules have a condition for: a meter, or the sum of an owner's meters.
type subject struct {
	id        string
	each      rule.Each
	shard     uint32 // anyShard for sums
	lanes     []laneState
	exporters []told
	lastTold  int64
	tops      *tops // of busy subjects
	// dirty: something changed since the last checkpoint; closed: also what is in event lanes.
	dirty, closed bool
}

// told is when an exporter last told of the subject, in event time.
type told struct {
	exporter int
	at       int64
}

// laneState is one subject's part of a lane.
type laneState struct {
	lane       *lane
	started    bool
	next       int64 // event lanes: the first cell that is not closed
	cells      []cell
	conditions []*rule.Condition
	models     []*baseline.Model // nil where the rule has a fixed threshold
	kept       kept
}

// cell is what is known of a cell that is not closed, or is still looked at.
type cell struct {
	index    int64
	sums     []float64
	sketches []distinct
}

// kept holds the sums of closed cells that came near a threshold: what late data is added to, and what
// evidence shows. Smaller cells count as zero there.
type kept struct {
	Cells []int64
	Sums  []float32
}

// keptShare is how near to its threshold a cell must come to be kept: a sixteenth.
const keptShare = 16

func newSubject(id string, each rule.Each, shards uint32, lanes []*lane) *subject {
	s := &subject{id: id, each: each, lanes: make([]laneState, len(lanes)), shard: anyShard, dirty: true, closed: true}
	if !each.Owned() {
		s.shard = schemas.ShardOf(id, max(1, shards))
	}
	for i, l := range lanes {
		s.lanes[i] = newLaneState(l)
	}
	return s
}

func newLaneState(l *lane) laneState {
	ls := laneState{lane: l, conditions: make([]*rule.Condition, len(l.rules)), models: make([]*baseline.Model, len(l.rules))}
	for k, r := range l.rules {
		ls.conditions[k] = rule.NewCondition(r, time.Duration(l.cell))
		if r.Baseline != nil {
			ls.models[k] = &baseline.Model{}
		}
	}
	return ls
}

// tell notes that an exporter told of the subject. A guest has one hypervisor at a time.
func (s *subject) tell(exporter int, at int64) {
	s.dirty = true
	s.lastTold = max(s.lastTold, at)
	if s.each == rule.EachGuest && len(s.exporters) == 1 && at >= s.exporters[0].at {
		s.exporters[0] = told{exporter, at}
		return
	}
	for i := range s.exporters {
		if s.exporters[i].exporter == exporter {
			s.exporters[i].at = max(s.exporters[i].at, at)
			return
		}
	}
	s.exporters = slices.DeleteFunc(s.exporters, func(t told) bool { return t.at < s.lastTold-int64(lateMost) })
	s.exporters = append(s.exporters, told{exporter, at})
}

// complete is up to where in event time all exporters of the subject have told everything.
func (s *subject) complete(f *front) int64 {
	least := int64(-1)
	for _, t := range s.exporters {
		if t.at < s.lastTold-int64(lateMost) {
			continue
		}
		if at := f.through[t.exporter]; least < 0 || at < least {
			least = at
		}
	}
	return max(least, 0)
}

func (ls *laneState) find(index int64) *cell {
	for i := len(ls.cells) - 1; i >= 0; i-- {
		if ls.cells[i].index == index {
			return &ls.cells[i]
		}
	}
	return nil
}

// at returns the cell of an index, which is made where it is not there. The pointer holds until the
// next call.
func (ls *laneState) at(index int64) *cell {
	if c := ls.find(index); c != nil {
		return c
	}
	c := cell{index: index, sums: make([]float64, len(ls.lane.columns))}
	if len(ls.lane.sketchs) > 0 {
		c.sketches = make([]distinct, len(ls.lane.sketchs))
	}
	i, _ := slices.BinarySearchFunc(ls.cells, index, func(c cell, index int64) int { return cmp.Compare(c.index, index) })
	ls.cells = slices.Insert(ls.cells, i, c)
	return &ls.cells[i]
}

// drop forgets open cells before an index.
func (ls *laneState) drop(before int64) {
	n := 0
	for n < len(ls.cells) && ls.cells[n].index < before {
		n++
	}
	ls.cells = slices.Delete(ls.cells, 0, n)
	if len(ls.cells) == 0 {
		ls.cells = nil
	}
}

// value is the metric of rule k in a cell; c may be nil for one of which nothing was told. ok is false
// where a guest was not observed for at least half of it.
func (ls *laneState) value(k int, c *cell) (value float64, ok bool) {
	l := ls.lane
	if l.guest {
		if c == nil || c.sums[colCapacity] <= 0 || 2*c.sums[colObserved] < float64(l.cell) {
			return 0, false
		}
		switch l.rules[k].Metric {
		case rule.CPUStealRatio:
			return c.sums[colSteal] / c.sums[colCapacity], true
		case rule.CPUCapacity:
			return c.sums[colVCPUs] / c.sums[colObserved], true
		}
		return c.sums[colCPU] / c.sums[colCapacity], true
	}
	if c == nil {
		return 0, true
	}
	if l.sketch[k] >= 0 {
		return c.sketches[l.sketch[k]].count(), true
	}
	return c.sums[l.col[k]] / l.seconds(), true
}

// beyond compares a value with the rule's threshold at a cell; known is false while a baseline is
// being learnt. learn says that the value may become part of what is normal.
func (ls *laneState) beyond(k int, index int64, value float64, learn bool) (beyond, known bool) {
	r, model := ls.lane.rules[k], ls.models[k]
	if model == nil {
		return r.Beyond(value, r.Value), true
	}
	at := time.Unix(0, index*ls.lane.cell)
	threshold, known := model.Threshold(at, r.Baseline.Quantile, r.Baseline.Factor, r.Baseline.Floor)
	beyond = known && r.Beyond(value, threshold)
	if learn && !beyond {
		model.Learn(at, value)
	}
	return beyond, known
}

// near says whether a value is worth keeping for a rule.
func (ls *laneState) near(k int, value float64) bool {
	r := ls.lane.rules[k]
	if r.Side == rule.Below {
		return true
	}
	threshold := r.Value
	if r.Baseline != nil {
		threshold = r.Baseline.Floor
	}
	return value > 0 && value >= threshold/keptShare
}

func (ls *laneState) keep(c *cell) {
	if c == nil || ls.lane.receive {
		return
	}
	for k := range ls.lane.rules {
		if value, ok := ls.value(k, c); ok && ls.near(k, value) {
			ls.kept.put(c.index, c.sums, ls.lane.keep)
			return
		}
	}
}

func (k *kept) put(index int64, sums []float64, most int64) {
	stride := len(sums)
	i, found := slices.BinarySearch(k.Cells, index)
	if !found {
		k.Cells = slices.Insert(k.Cells, i, index)
		k.Sums = slices.Insert(k.Sums, i*stride, make([]float32, stride)...)
	}
	for j, v := range sums {
		k.Sums[i*stride+j] = float32(v)
	}
	old := 0
	for old < len(k.Cells) && k.Cells[old] <= k.Cells[len(k.Cells)-1]-most {
		old++
	}
	if old > 0 {
		k.Cells = slices.Delete(k.Cells, 0, old)
		k.Sums = slices.Delete(k.Sums, 0, old*stride)
	}
}

// get returns a closed cell as it was kept; all zero where it was not.
func (k *kept) get(index int64, l *lane) cell {
	c := cell{index: index, sums: make([]float64, len(l.columns)), sketches: make([]distinct, len(l.sketchs))}
	if i, found := slices.BinarySearch(k.Cells, index); found {
		for j := range c.sums {
			c.sums[j] = float64(k.Sums[i*len(c.sums)+j])
		}
	}
	return c
}

// encode writes the cells as differences and the sums as they are; stride is the number of sums a cell.
func (k *kept) encode(stride int) []byte {
	if len(k.Cells) == 0 {
		return nil
	}
	var out []byte
	last := int64(0)
	for i, index := range k.Cells {
		out = binary.AppendVarint(out, index-last)
		last = index
		for _, v := range k.Sums[i*stride : (i+1)*stride] {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
	}
	return out
}

// readKept reads what encode wrote, up to where it ends in the middle of a cell.
func readKept(text []byte, stride int) (k kept) {
	last := int64(0)
	for {
		step, n := binary.Varint(text)
		if n <= 0 || len(text)-n < 4*stride {
			return k
		}
		text = text[n:]
		last += step
		k.Cells = append(k.Cells, last)
		for range stride {
			k.Sums = append(k.Sums, math.Float32frombits(binary.LittleEndian.Uint32(text)))
			text = text[4:]
		}
	}
}
