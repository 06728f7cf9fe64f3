package detector

import (
	"context"
	"slices"

	"hostmeter/detector/rule"
)

// closeCells closes the cells of event lanes that are complete.
func (d *Detector) closeCells(ctx context.Context) {
	f := d.progress.front(d.deps.Clock.Now())
	if slices.Equal(d.cellsOf(&f), d.lastFront) {
		return
	}
	d.lastFront = d.cellsOf(&f)
	for _, s := range d.bySubject {
		complete := s.complete(&f)
		for i := range s.lanes {
			if ls := &s.lanes[i]; !ls.lane.receive && ls.started {
				d.closeLane(ctx, s, ls, &f, complete/ls.lane.cell)
			}
		}
		if d.idle(s, complete) {
			d.remove(s)
		}
	}
}

// cellsOf tells which cell of the finest event lane each exporter has reached: where that is as it
// was, nothing can be closed.
func (d *Detector) cellsOf(f *front) []int64 {
	out := make([]int64, len(f.through))
	for i, at := range f.through {
		out[i] = at / d.finest
	}
	return out
}

// closeLane closes all cells before end.
func (d *Detector) closeLane(ctx context.Context, s *subject, ls *laneState, f *front, end int64) {
	l := ls.lane
	if end-ls.next > l.window+1 {
		ls.next = max(ls.next, min(firstCell(ls, end), end-l.window-1))
	}
	for ; ls.next < end; ls.next++ {
		s.dirty, s.closed = true, true
		c := ls.find(ls.next)
		observed := d.observed(s, l, f, ls.next)
		for k, condition := range ls.conditions {
			value, ok := ls.value(k, c)
			beyond, known := false, true
			if ok && observed {
				beyond, known = ls.beyond(k, ls.next, value, true)
			}
			d.after(ctx, s, ls, k, condition.Close(l.rules[k], ls.next, ok && observed && known, beyond))
		}
		ls.keep(c)
		ls.drop(ls.next + 1)
	}
}

func firstCell(ls *laneState, end int64) int64 {
	if len(ls.cells) > 0 {
		return ls.cells[0].index
	}
	return end
}

// observed says whether a cell without a tally is zero, or missing: all exporters that tell of the
// subject must have been under observation.
func (d *Detector) observed(s *subject, l *lane, f *front, index int64) bool {
	from, to := index*l.cell, (index+1)*l.cell
	if d.progress.inGap(s.shard, from, to) {
		return false
	}
	if l.guest {
		return true // its readings say it
	}
	for _, t := range s.exporters {
		if t.at >= s.lastTold-int64(lateMost) && !d.progress.observed(f, t.exporter, from, to) {
			return false
		}
	}
	return len(s.exporters) > 0
}

// stepShort steps the receive lanes of a shard's subjects to the cells that its receipt has passed.
func (d *Detector) stepShort(ctx context.Context, index uint32, received int64) {
	if d.finestShort == 0 || received/d.finestShort == d.shortAt[index] {
		return
	}
	d.shortAt[index] = received / d.finestShort
	f := d.progress.front(d.deps.Clock.Now())
	for _, which := range []uint32{index, anyShard} {
		until := received
		if which == anyShard {
			until = f.unnamed
		}
		for _, s := range d.byShard[which] {
			for i := range s.lanes {
				if ls := &s.lanes[i]; ls.lane.receive && (len(ls.cells) > 0 || ls.busy()) {
					d.stepReceive(ctx, s, ls, &f, until/ls.lane.cell-1)
				}
			}
		}
	}
}

// busy says that a machine of the lane must go on although nothing comes any more.
func (ls *laneState) busy() bool {
	return slices.ContainsFunc(ls.conditions, func(c *rule.Condition) bool { return c.Machine.Open || c.Machine.Holding })
}

// stepReceive makes the window ending with cell newest anew from its sums, and steps.
func (d *Detector) stepReceive(ctx context.Context, s *subject, ls *laneState, f *front, newest int64) {
	l := ls.lane
	if old, started := ls.conditions[0].Slots.Newest(); started && newest <= old {
		return
	}
	s.dirty = true
	observed := d.heard(s, f) && !d.progress.inGap(s.shard, newest*l.cell, (newest+1)*l.cell)
	for k, condition := range ls.conditions {
		slots, r := &condition.Slots, l.rules[k]
		old, started := slots.Newest()
		from := max(newest-l.window+1, old+1)
		if !started {
			from = newest - l.window + 1
		}
		for index := from; index <= newest; index++ {
			slots.Push(index, observed, false)
		}
		for i := range ls.cells {
			c := &ls.cells[i]
			if c.index > newest {
				continue
			}
			value, ok := ls.value(k, c)
			beyond, known := ls.beyond(k, c.index, value, c.index == newest)
			slots.Correct(c.index, ok && known, beyond)
		}
		d.after(ctx, s, ls, k, condition.Step(r, observed))
	}
	ls.drop(newest - l.window + 1)
}

// heard says that no exporter of the subject is silent.
func (d *Detector) heard(s *subject, f *front) bool {
	for _, t := range s.exporters {
		if f.silent[t.exporter] {
			return false
		}
	}
	return true
}

// idle says that a subject can be forgotten: nothing was told of it for longer than any window.
func (d *Detector) idle(s *subject, complete int64) bool {
	longest := int64(lateMost)
	for i := range s.lanes {
		ls := &s.lanes[i]
		longest = max(longest, (ls.lane.window+1)*ls.lane.cell)
		if len(ls.cells) > 0 || ls.busy() {
			return false
		}
	}
	return complete > s.lastTold+longest
}
