package ledger

import (
	"context"
	"slices"
	"sort"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// target is a period of a service whose usage is asked for.
type target struct {
	contract rating.Contract
	period   rating.Period
	earlier  bool // than the first closed period of the service
	// whole says that what is owned counts before the service was opened and after it was closed: so the first versions
	// closed periods.
	whole bool
}

// owns is the part of the period in which what the service owns is its own.
func (t *target) owns() rating.Period {
	if t.whole {
		return t.period
	}
	return t.contract.Active(t.period)
}

// part is usage of a meter that was a target's in [From, To), a part of one hour or one UTC day. The
// slots are 0 where it is a day.
type part struct {
	target   *target
	segment  rating.Period // the whole span in which the meter was the target's; part of it is read
	meter    schemas.MeterID
	class    string
	from, to time.Time
	in, out  Usage
}

// attribution gives usage to the services that owned the meters at the time.
type attribution struct {
	owners *inventory.Snapshot
	// targets are by service, in order of time and without overlap.
	targets map[string][]*target
	// charged asks for what charges need: hours where a target's contract counts by slots, and cuts where
	// decisions have them.
	charged bool
	// queries choose the rows; each has From and To at the bounds of UTC days.
	queries []Query
	// add is called with each part that belongs to a target, and unowned with what nobody owned in
	// unownedIn.
	add func(part)
	// note, where it is set, is called in the place of add for targets whose contracts count by slots, perhaps more than
	// once with the same: their usage is not read.
	note func(t *target, meter schemas.MeterID)
	// witness, where it is set, is called with the parts of all kinds of meters of the targets.
	witness   func(part)
	unowned   func(meter schemas.MeterID, class string, in, out Usage)
	unownedIn rating.Period
	// other, where it is set, is called with the rest: of meters of another kind than the owner is billed by, of
	// owners that have no target then, and of nobody outside unownedIn.
	other func(meter schemas.MeterID, in, out Usage)
}

// segment is a span of one meter: a target's, unowned and asked for, or neither.
type segment struct {
	from, to time.Time
	target   *target
	unowned  bool
}

// meterDay is a day of a meter that changes hands, or periods, in it.
type meterDay struct {
	meter schemas.MeterID
	day   time.Time
}

// maxMeterQueries is how many meters of a day are read one by one, before the day is read whole.
const maxMeterQueries = 2000

// run reads the queries by whole days, and by hours where a day has to be cut.
func (a *attribution) run(ctx context.Context, tx *store.Tx) error {
	var cut []meterDay
	for _, q := range a.queries {
		s := segmenter{attribution: a, from: q.From, to: q.To}
		err := days(ctx, tx, q, func(row UsageRow) error {
			if !s.give(row, row.Hour.Add(24*time.Hour), false) {
				if last := len(cut) - 1; last < 0 || cut[last] != (meterDay{row.Meter, row.Hour}) {
					cut = append(cut, meterDay{row.Meter, row.Hour})
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	byDay := map[time.Time][]schemas.MeterID{}
	for _, c := range cut {
		byDay[c.day] = append(byDay[c.day], c.meter)
	}
	for _, q := range a.queries {
		for day := q.From; day.Before(q.To); day = day.Add(24 * time.Hour) {
			if err := a.runHours(ctx, tx, q, day, byDay[day]); err != nil {
				return err
			}
			delete(byDay, day)
		}
	}
	return nil
}

// runHours gives the hours of some meters in a day.
func (a *attribution) runHours(ctx context.Context, tx *store.Tx, q Query, day time.Time, meters []schemas.MeterID) error {
	if len(meters) == 0 {
		return nil
	}
	q.From, q.To = day, day.Add(24*time.Hour)
	s := segmenter{attribution: a, from: q.From, to: q.To}
	if len(meters) > maxMeterQueries {
		slices.Sort(meters)
		return rows(ctx, tx, q, func(row UsageRow) error {
			if _, found := slices.BinarySearch(meters, row.Meter); found {
				s.give(row, row.Hour.Add(time.Hour), true)
			}
			return nil
		})
	}
	for _, meter := range meters {
		q.Meter = meter
		if err := s.giveHours(ctx, tx, q); err != nil {
			return err
		}
	}
	return nil
}

// segmenter keeps the segments of the meter that rows are coming of.
type segmenter struct {
	*attribution
	from, to time.Time
	meter    schemas.MeterID
	segments []segment
}

// giveHours hands on the hours of q.
func (s *segmenter) giveHours(ctx context.Context, tx *store.Tx, q Query) error {
	return rows(ctx, tx, q, func(row UsageRow) error {
		s.give(row, row.Hour.Add(time.Hour), true)
		return nil
	})
}

// give hands on a row that stands for [row.Hour, to). A row that lies in several segments is sliced
// by slots; where it has none, nothing is done and false returned.
func (s *segmenter) give(row UsageRow, to time.Time, sliced bool) bool {
	if row.Meter != s.meter || s.segments == nil {
		s.meter, s.segments = row.Meter, s.segmentsOf(row.Meter, s.from, s.to)
	}
	first := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].to.After(row.Hour) })
	if first == len(s.segments) {
		return true
	}
	if !s.segments[first].to.Before(to) {
		if !sliced && s.note == nil && s.bySlots(s.segments[first]) {
			return false
		}
		s.hand(s.segments[first], row, row.Hour, to, row.In, row.Out)
		return true
	}
	if !sliced {
		return s.noteAll(s.segments[first:], row, to)
	}
	for _, g := range s.segments[first:] {
		if !g.from.Before(to) {
			break
		}
		from, end := later(g.from, row.Hour), earlier(g.to, to)
		i, j := int(from.Sub(row.Hour)/SlotLength), int(end.Sub(row.Hour)/SlotLength)
		s.hand(g, row, from, end, row.In.Slice(i, j), row.Out.Slice(i, j))
	}
	return true
}

// noteAll hands a row on that lies in several segments, all of them noted or nobody's concern, and returns false where
// one of them is neither, or somebody asks for its parts.
func (s *segmenter) noteAll(segments []segment, row UsageRow, to time.Time) bool {
	for _, g := range segments {
		if g.from.Before(to) && (g.unowned || g.target != nil && (s.note == nil || s.witness != nil || !s.bySlots(g))) {
			return false
		}
	}
	for _, g := range segments {
		if g.from.Before(to) {
			s.hand(g, row, g.from, to, Usage{}, Usage{})
		}
	}
	return true
}

// bySlots says that a segment is counted by slots, which a day's row does not have.
func (s *segmenter) bySlots(g segment) bool {
	return s.charged && g.target != nil && g.target.contract.Direction.Value.IsPercentile() && string(s.meter.Kind()) == g.target.contract.Bills.Value
}

func (s *segmenter) hand(g segment, row UsageRow, from, to time.Time, in, out Usage) {
	switch {
	case g.target != nil:
		p := part{target: g.target, segment: rating.Period{From: g.from, To: g.to}, meter: row.Meter, class: row.Class, from: from, to: to, in: in, out: out}
		switch {
		case s.note != nil && s.bySlots(g):
			s.note(g.target, row.Meter)
		case string(row.Meter.Kind()) == g.target.contract.Bills.Value:
			s.add(p)
		case s.other != nil:
			s.other(row.Meter, in, out)
		}
		if s.witness != nil {
			s.witness(p)
		}
	case g.unowned:
		s.unowned(row.Meter, row.Class, in, out)
	case s.other != nil:
		s.other(row.Meter, in, out)
	}
}

// segmentsOf cuts [from, to) of a meter where it changes hands or a target begins or ends. Bounds are
// slot boundaries.
func (a *attribution) segmentsOf(meter schemas.MeterID, from, to time.Time) []segment {
	var segments []segment
	at := from
	add := func(until time.Time, t *target, unowned bool) {
		if !at.Before(until) {
			return
		}
		if n := len(segments); n > 0 && t == nil && segments[n-1].target == nil && segments[n-1].unowned == unowned {
			segments[n-1].to = until // nobody asks where these two meet
		} else {
			segments = append(segments, segment{from: at, to: until, target: t, unowned: unowned})
		}
		at = until
	}
	gap := func(until time.Time) {
		if a.unowned != nil {
			add(earlier(inventory.SlotAfter(a.unownedIn.From), until), nil, false)
			add(earlier(inventory.SlotAfter(a.unownedIn.To), until), nil, true)
		}
		add(until, nil, false)
	}
	for _, owned := range a.owners.Intervals(meter, from, to) {
		gap(owned.From)
		for _, t := range a.targets[owned.Service] {
			owns := t.owns()
			begin, end := inventory.SlotAfter(owns.From), inventory.SlotAfter(owns.To)
			if end.After(owned.From) && begin.Before(owned.To) {
				add(later(begin, owned.From), nil, false)
				if a.charged {
					cuts := t.contract.Cuts()
					slices.SortFunc(cuts, time.Time.Compare)
					for _, cut := range cuts {
						add(earlier(cut, earlier(end, owned.To)), t, false)
					}
				}
				add(earlier(end, owned.To), t, false)
			}
		}
		add(owned.To, nil, false)
	}
	gap(to)
	return segments
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// dayOf returns the beginning of the UTC day of at, and dayAfter that of the first day not before it.
func dayOf(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

func dayAfter(at time.Time) time.Time {
	day := dayOf(at)
	if day.Before(at) {
		day = day.Add(24 * time.Hour)
	}
	return day
}
