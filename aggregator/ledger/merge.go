package ledger

import (
	"context"
	"time"

	"hostmeter/schemas"
)

// addDeltas adds a batch's tallies and guests to rows and late entries. done is how many deltas were
// added before the error, which is a refusal or the store's.
func (b *booking) addDeltas(ctx context.Context, batch *schemas.Batch) (done int, err error) {
	err = b.eachDelta(batch, func(d *delta) error {
		if err := b.addDelta(ctx, batch.GetShard(), d); err != nil {
			return err
		}
		done++
		return nil
	})
	return done, err
}

// takeDeltas undoes the first deltas of a batch in the rows; late entries are thrown away whole.
func (b *booking) takeDeltas(ctx context.Context, batch *schemas.Batch, done int) {
	_ = b.eachDelta(batch, func(d *delta) error {
		if done == 0 {
			return errDone
		}
		done--
		if d.hour < b.frontier {
			return nil
		}
		r, err := b.row(ctx, batch.GetShard(), d)
		if err != nil {
			return err // cannot be: the row is in memory since it was added to
		}
		r.take(d)
		return nil
	})
}

var errDone = refuse("done")

// eachDelta calls f with what each tally and each slot of a guest's usage adds. The delta is f's only
// until it returns.
func (b *booking) eachDelta(batch *schemas.Batch, f func(*delta) error) error {
	var d delta
	for _, t := range batch.GetTallies() {
		minute, in, out := t.GetMinute(), t.GetIn(), t.GetOut()
		d.hour = minute / 60
		d.slot = int(minute % 60 / 5)
		d.key.meter, d.key.class = t.GetMeter(), b.classes[t.GetClass()]
		d.sums = [maxSums]int64{
			int64(in.GetOctets()), int64(out.GetOctets()), int64(in.GetPackets()), int64(out.GetPackets()),
			int64(in.GetFlows()), int64(out.GetFlows()), int64(in.GetVarianceKib2()), int64(out.GetVarianceKib2()),
		}
		if err := f(&d); err != nil {
			return err
		}
	}
	for _, g := range batch.GetGuests() {
		if err := eachSlot(g, f); err != nil {
			return err
		}
	}
	return nil
}

// eachSlot divides a guest's usage among the five-minute slots that it spans, by time, in integers
// that add up to the whole.
func eachSlot(g *schemas.GuestUsage, f func(*delta) error) error {
	const slotNanos = int64(SlotLength)
	from, to := g.GetFrom(), g.GetTo()
	d := delta{table: guestTable, key: rowKey{meter: g.GetGuest()}}
	var before [3]uint64
	for at := from; ; {
		end := min(at-at%slotNanos+slotNanos, to)
		through := [3]uint64{g.GetCpuNanoseconds(), g.GetCapacityNanoseconds(), g.GetStealNanoseconds()}
		if end < to {
			for i := range through {
				through[i] = portion(through[i], uint64(end-from), uint64(to-from))
			}
		}
		d.hour, d.slot = at/nanosPerHour, int(at%nanosPerHour/slotNanos)
		for i := range through {
			d.sums[i] = int64(through[i] - before[i])
		}
		if err := f(&d); err != nil {
			return err
		}
		if end >= to {
			return nil
		}
		at, before = end, through
	}
}

// addDelta adds d to its row, or to the batch's late entries where its hour is sealed.
func (b *booking) addDelta(ctx context.Context, shard uint32, d *delta) error {
	if d.hour < b.frontier {
		return b.addLate(d)
	}
	r, err := b.row(ctx, shard, d)
	if err != nil {
		return err
	}
	if !r.add(d) {
		return refuse("meter %q, hour %s: a sum does not fit any more", d.key.meter, hourTime(d.hour).Format(time.RFC3339))
	}
	if !r.dirty {
		r.dirty = true
		b.dirty[d.table] = append(b.dirty[d.table], r)
	}
	return nil
}

// row returns the row of d, made where there is none. A batch is cut by the same function as the parts,
// so the row is looked for in the batch's own shard before its part is computed.
func (b *booking) row(ctx context.Context, shard uint32, d *delta) (*row, error) {
	p, err := b.page(ctx, pageKey{d.table, shard, d.hour})
	if err != nil {
		return nil, err
	}
	if r := p.rows[d.key]; r != nil {
		return r, nil
	}
	part, err := b.partOf(d)
	if err != nil {
		return nil, err
	}
	if part != shard {
		if p, err = b.page(ctx, pageKey{d.table, part, d.hour}); err != nil {
			return nil, err
		}
		if r := p.rows[d.key]; r != nil {
			return r, nil
		}
	}
	r := &row{page: p, key: d.key}
	p.rows[d.key] = r
	b.memory.rows++
	return r, nil
}

func (b *booking) page(ctx context.Context, key pageKey) (*page, error) {
	if p := b.last[key.table]; p != nil && p.key == key {
		return p, nil
	}
	p, err := b.memory.loadPage(ctx, b.tx, key)
	if err != nil {
		return nil, err
	}
	b.last[key.table] = p
	return p, nil
}

// partOf returns the part that holds the rows of a meter. Errors: refusal, for what is no meter.
func (b *booking) partOf(d *delta) (uint32, error) {
	meter := schemas.MeterID(d.key.meter)
	if d.table == guestTable {
		meter = "guest:" + meter
	} else if meter.Kind() == schemas.KindGuest {
		return 0, refuse("meter %q in a tally", meter)
	}
	if err := checkMeter(meter); err != nil {
		return 0, err
	}
	return schemas.ShardOf(string(meter), b.memory.parts), nil
}

func (b *booking) addLate(d *delta) error {
	late := b.lateOfBatch[d.table]
	if late == nil {
		late = make(map[lateKey]*lateRow)
		b.lateOfBatch[d.table] = late
	}
	key := lateKey{d.key, d.hour}
	r := late[key]
	if r == nil {
		part, err := b.partOf(d)
		if err != nil {
			return err
		}
		r = &lateRow{row: row{key: d.key}, hour: d.hour, part: part}
		late[key] = r
	}
	if !r.add(d) {
		return refuse("meter %q, hour %s: a late sum does not fit", d.key.meter, hourTime(d.hour).Format(time.RFC3339))
	}
	return nil
}
