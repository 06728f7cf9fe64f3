package detector

import (
	"context"
	"fmt"
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
	if !d.owned || d.owner == nil || kind != string(rule.EachAddress) && kind != string(rule.EachGuest) {
		return // ports and vNICs see again what the addresses count
	}
	service, customer, reseller := d.ownerAt(meter, at)
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

// readOwners reads who owns what, before anything is attributed: what cannot be read now is asked for again, and
// never taken for nobody's.
func (d *Detector) readOwners(ctx context.Context) (err error) {
	if d.deps.Owners == nil {
		return nil
	}
	if d.owner, err = d.deps.Owners(ctx); err != nil {
		return fmt.Errorf("read who owns the meters: %w", err)
	}
	return nil
}

// ownerAt asks for a meter's owner once per slot.
func (d *Detector) ownerAt(meter string, at int64) (service, customer, reseller string) {
	slot := at / int64(max(d.cfg.Slot, time.Minute))
	if o, known := d.owners[meter]; known && o.slot == slot {
		return o.service, o.customer, o.reseller
	}
	if len(d.owners) > 1<<18 {
		clear(d.owners)
	}
	service, customer, reseller = d.owner(schemas.MeterID(meter), time.Unix(0, at).UTC())
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
