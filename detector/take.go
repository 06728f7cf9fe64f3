package detector

import (
	"context"
	"slices"
	"strings"
	"time"

	"hostmeter/detector/rule"
	"hostmeter/schemas"
)

// batchView is what the tallies of a batch are put in their place by.
type batchView struct {
	batch     *schemas.Batch
	exporters []int // ids, by position in the batch
	received  int64
	shards    uint32
}

// futureMost is how far behind the time of receipt a tally's minute may begin: clocks differ.
const futureMost = int64(10 * time.Minute)

func (d *Detector) takeBatch(ctx context.Context, b *schemas.Batch) {
	shard := d.progress.take(b)
	view := batchView{batch: b, received: b.GetReceivedTo(), shards: b.GetShards(), exporters: make([]int, len(b.GetExporters()))}
	for i, name := range b.GetExporters() {
		view.exporters[i] = d.progress.id(name)
	}
	for _, t := range b.GetTallies() {
		d.takeTally(ctx, &view, shard, t)
	}
	for _, g := range b.GetGuests() {
		d.takeGuest(ctx, &view, g)
	}
	d.stepShort(ctx, b.GetShard(), shard.received)
}

// subjects calls f for every subject that a meter's usage counts for.
func (d *Detector) subjects(ctx context.Context, view *batchView, meter string, at int64, f func(*subject)) {
	kind, _, _ := strings.Cut(meter, ":")
	if lanes := d.lanes[rule.Each(kind)]; len(lanes) > 0 {
		f(d.subject(meter, rule.Each(kind), view.shards, lanes))
	}
	if !d.owned || d.deps.Owner == nil || kind != string(rule.EachAddress) && kind != string(rule.EachGuest) {
		return // ports and vNICs see again what the addresses count
	}
	service, customer, reseller := d.ownerAt(ctx, meter, at)
	for _, o := range []struct {
		each rule.Each
		id   string
	}{{rule.EachService, service}, {rule.EachCustomer, customer}, {rule.EachReseller, reseller}} {
		if lanes := d.lanes[o.each]; len(lanes) > 0 && o.id != "" {
			f(d.subject(string(o.each)+":"+o.id, o.each, view.shards, lanes))
		}
	}
}

func (d *Detector) subject(id string, each rule.Each, shards uint32, lanes []*lane) *subject {
	s := d.bySubject[id]
	if s == nil {
		s = newSubject(strings.Clone(id), each, shards, lanes)
		d.bySubject[s.id] = s
		d.addToShard(s)
	}
	return s
}

// ownerAt asks for a meter's owner once per slot.
func (d *Detector) ownerAt(ctx context.Context, meter string, at int64) (service, customer, reseller string) {
	slot := at / int64(max(d.cfg.Slot, time.Minute))
	if o, known := d.owners[meter]; known && o.slot == slot {
		return o.service, o.customer, o.reseller
	}
	if len(d.owners) > 1<<18 {
		clear(d.owners)
	}
	service, customer = d.deps.Owner(ctx, schemas.MeterID(meter), time.Unix(0, at).UTC())
	if d.deps.Reseller != nil && customer != "" && len(d.lanes[rule.EachReseller]) > 0 {
		reseller = d.deps.Reseller(ctx, customer)
	}
	d.owners[meter] = owner{slot, service, customer, reseller}
	return service, customer, reseller
}

type owner struct {
	slot                        int64
	service, customer, reseller string
}

func (d *Detector) takeTally(ctx context.Context, view *batchView, shard *shard, t *schemas.Tally) {
	minute := t.GetMinute() * int64(time.Minute)
	if minute > view.received+futureMost || int(t.GetExporter()) >= len(view.exporters) {
		d.metrics.refused.Inc()
		return
	}
	exporter := view.exporters[t.GetExporter()]
	d.subjects(ctx, view, t.GetMeter(), minute, func(s *subject) {
		s.tell(exporter, minute)
		for i := range s.lanes {
			ls := &s.lanes[i]
			switch {
			case ls.lane.guest:
			case ls.lane.receive:
				ls.spread(t, minute, view, shard.through[exporter].at)
			default:
				d.put(ctx, s, ls, minute/ls.lane.cell, func(c *cell) { ls.add(c, t, 1) })
			}
		}
		d.noteTops(s, t, minute)
	})
}

// add adds a share of a tally to a cell.
func (ls *laneState) add(c *cell, t *schemas.Tally, share float64) {
	for j, take := range ls.lane.take {
		c.sums[j] += share * take(t)
	}
	for j, metric := range ls.lane.sketchs {
		c.sketches[j].merge(sketchOf(metric, t))
	}
}

// put adds to a cell of an event lane: in place while it is open, as a correction once it is closed.
func (d *Detector) put(ctx context.Context, s *subject, ls *laneState, index int64, add func(*cell)) {
	if !ls.started {
		ls.started, ls.next = true, index
	}
	if index >= ls.next {
		add(ls.at(index))
		return
	}
	if newest, closed := ls.conditions[0].Slots.Newest(); !closed {
		ls.next = index // nothing has been closed yet: the subject began earlier than it seemed
		add(ls.at(index))
		return
	} else if (newest-index)*ls.lane.cell > int64(lateMost) {
		d.metrics.late.WithLabelValues("too_late").Inc()
		return
	}
	d.metrics.late.WithLabelValues("corrected").Inc()
	s.dirty, s.closed = true, true
	c := ls.kept.get(index, ls.lane)
	add(&c)
	ls.keep(&c)
	for k, condition := range ls.conditions {
		value, ok := ls.value(k, &c)
		if !ok {
			continue
		}
		beyond, known := ls.beyond(k, index, value, false)
		wasObserved, was := condition.Slots.Get(index)
		if !known || was == beyond && wasObserved || was && ls.lane.rules[k].Side == rule.Above {
			continue // what is late only adds
		}
		d.after(ctx, s, ls, k, condition.Correct(ls.lane.rules[k], index, true, beyond))
	}
}

// spread puts a tally into the cells of a receive lane: evenly over the part of its minute in which
// the exporter can have seen it, which is from its active timeout before the receipt on. The exporter's
// completeness is two active timeouts behind.
func (ls *laneState) spread(t *schemas.Tally, minute int64, view *batchView, through int64) {
	received := view.received
	timeout := min(max((received-through)/2, received-view.batch.GetReceivedFrom()), int64(2*time.Minute))
	if through == 0 {
		timeout = int64(time.Minute)
	}
	from, to := max(minute, received-timeout), min(minute+int64(time.Minute), received)
	if to <= from {
		from, to = minute, minute+int64(time.Minute)
	}
	l := ls.lane
	if len(ls.cells) == 0 && !ls.busy() && !ls.worth(t, to-from) {
		return
	}
	for index := from / l.cell; index*l.cell < to; index++ {
		if index < received/l.cell-l.window {
			continue
		}
		part := min(to, (index+1)*l.cell) - max(from, index*l.cell)
		ls.add(ls.at(index), t, float64(part)/float64(to-from))
	}
}

// worthShare is how far below every threshold a tally's own rate must be not to begin cells: at most
// meters nothing happens that a short rule looks at.
const worthShare = 100

// worth says whether a tally over so many nanoseconds comes near a threshold at all.
func (ls *laneState) worth(t *schemas.Tally, nanoseconds int64) bool {
	for k, r := range ls.lane.rules {
		if ls.lane.col[k] < 0 || r.Side == rule.Below || r.Baseline != nil {
			return true
		}
		rate := ls.lane.take[ls.lane.col[k]](t) / (float64(nanoseconds) / float64(time.Second))
		if rate*worthShare >= r.Value {
			return true
		}
	}
	return false
}

// takeGuest spreads a guest's CPU time over the cells between its two readings.
func (d *Detector) takeGuest(ctx context.Context, view *batchView, g *schemas.GuestUsage) {
	from, to := g.GetFrom(), g.GetTo()
	if to <= from || to > view.received+futureMost || to-from > int64(lateMost) {
		d.metrics.refused.Inc()
		return
	}
	exporter := d.progress.id("libvirt/" + g.GetHost())
	observed := float64(0)
	if g.GetVcpus() > 0 {
		observed = float64(g.GetCapacityNanoseconds()) / float64(g.GetVcpus())
	}
	values := []float64{
		colCPU: float64(g.GetCpuNanoseconds()), colCapacity: float64(g.GetCapacityNanoseconds()),
		colSteal: float64(g.GetStealNanoseconds()), colObserved: observed, colVCPUs: observed * float64(g.GetVcpus()),
	}
	d.subjects(ctx, view, string(schemas.GuestMeter(g.GetGuest())), from, func(s *subject) {
		s.tell(exporter, to)
		for i := range s.lanes {
			ls := &s.lanes[i]
			if !ls.lane.guest {
				continue
			}
			for index := from / ls.lane.cell; index*ls.lane.cell < to; index++ {
				part := min(to, (index+1)*ls.lane.cell) - max(from, index*ls.lane.cell)
				d.put(ctx, s, ls, index, func(c *cell) {
					for j, v := range values {
						c.sums[j] += v * float64(part) / float64(to-from)
					}
				})
			}
		}
	})
}

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
