package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// usageEvidence adds up what the meters of one service used in one period, by day, hour, class and span
// of ownership.
type usageEvidence struct {
	owners *inventory.Snapshot
	target *target
	until  time.Time // the period's end, or now
	// split gives each day of the contract's zone as a target of its own, so that usage is cut at local
	// midnight as exactly as at the period's bounds.
	split attribution
	day   map[*target]int

	days, hours map[usageCell]*statements.Usage
	owned       []statements.Owned
	in, out     int64 // that count
}

// usageCell is a day of the period, by its number, or an hour since the Unix epoch; and a class.
type usageCell struct {
	number   int64
	class    string
	excluded bool
}

func newUsageEvidence(owners *inventory.Snapshot, t *target, until time.Time) *usageEvidence {
	u := &usageEvidence{owners: owners, target: t, until: until, day: map[*target]int{}, days: map[usageCell]*statements.Usage{}, hours: map[usageCell]*statements.Usage{}}
	zone := t.contract.Schedule.Zone
	var days []*target
	for from := t.period.From; from.Before(t.period.To); {
		to := earlier(rating.DateOf(from.In(zone)).AddDays(1).In(zone), t.period.To)
		day := &target{contract: t.contract, period: rating.Period{From: from, To: to}}
		u.day[day], days, from = len(days), append(days, day), to
	}
	u.split = attribution{owners: owners, targets: map[string][]*target{t.contract.Service: days}, add: u.add, charged: true}
	return u
}

// read adds what a meter used while it was the service's: one that bills, or a witness.
func (u *usageEvidence) read(ctx context.Context, tx *store.Tx, meter schemas.MeterID, through *Booking) error {
	q := Query{From: u.target.period.From.UTC().Truncate(time.Hour), To: u.target.period.To.UTC(), Meter: meter, Through: through}
	s := segmenter{attribution: &u.split, from: q.From, to: q.To.Add(time.Hour - 1).Truncate(time.Hour)}
	if string(meter.Kind()) == u.target.contract.Bills.Value {
		u.own(meter, meter)
	}
	return s.giveHours(ctx, tx, q)
}

// own adds the spans in which a meter was the service's; it is shown as name.
func (u *usageEvidence) own(meter, name schemas.MeterID) {
	from, to := inventory.SlotAfter(u.target.period.From), inventory.SlotAfter(u.target.period.To)
	for _, interval := range u.owners.Intervals(meter, from, to) {
		if interval.Service == u.target.contract.Service {
			u.owned = append(u.owned, statements.Owned{Meter: string(name), Key: string(interval.Key), From: interval.From.UTC(), To: interval.To.UTC()})
		}
	}
}

// add adds a part; what a decision has excluded of it apart from the rest.
func (u *usageEvidence) add(p part) {
	counted := u.target.contract.Counts(p.class)
	if in, out := u.target.contract.ExcludedAt(p.from); counted && (in || out) {
		excluded := p
		if in {
			p.in = Usage{}
		} else {
			excluded.in = Usage{}
		}
		if out {
			p.out = Usage{}
		} else {
			excluded.out = Usage{}
		}
		u.addPart(excluded, false, true)
	}
	u.addPart(p, counted, false)
}

func (u *usageEvidence) addPart(p part, counted, excluded bool) {
	number := int64(u.day[p.target])
	u.addTo(u.days, usageCell{number, p.class, excluded}, p.target.period, counted, p)
	hour := p.from.Truncate(time.Hour)
	whole := rating.Period{From: later(hour, inventory.SlotAfter(u.target.period.From)), To: earlier(hour.Add(time.Hour), inventory.SlotAfter(u.target.period.To))}
	u.addTo(u.hours, usageCell{hour.Unix() / 3600, p.class, excluded}, whole, counted, p)
	if !counted {
		return
	}
	u.in += int64(p.in.Octets)
	u.out += int64(p.out.Octets)
	for i := len(u.owned) - 1; i >= 0 && u.owned[i].Meter == string(p.meter); i-- {
		if o := &u.owned[i]; !p.from.Before(o.From) && p.from.Before(o.To) {
			o.InOctets += int64(p.in.Octets)
			o.OutOctets += int64(p.out.Octets)
			return
		}
	}
}

func (u *usageEvidence) addTo(cells map[usageCell]*statements.Usage, at usageCell, span rating.Period, counted bool, p part) {
	c := cells[at]
	if c == nil {
		zone := u.target.contract.Schedule.Zone
		c = &statements.Usage{From: span.From.In(zone), To: span.To.In(zone), Class: p.class, Counted: counted, Excluded: at.excluded}
		cells[at] = c
	}
	c.InOctets += int64(p.in.Octets)
	c.OutOctets += int64(p.out.Octets)
	c.InPackets += int64(p.in.Packets)
	c.OutPackets += int64(p.out.Packets)
}

// fill writes what was added into evidence. Days without usage have an entry of the class that counts,
// and keys without usage have their span: nothing was measured there, and it is said.
func (u *usageEvidence) fill(e *statements.Evidence) {
	class := schemas.ClassPort
	if u.target.contract.Bills.Value == string(schemas.KindAddress) {
		class = schemas.ClassExternal
	}
	for day, number := range u.day {
		if day.period.From.Before(u.until) {
			u.addTo(u.days, usageCell{int64(number), class, false}, day.period, true, part{class: class})
		}
	}
	e.Days, e.Hours = sortedUsage(u.days), sortedUsage(u.hours)
	u.ownIdle()
	slices.SortStableFunc(u.owned, func(a, b statements.Owned) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Meter, b.Meter), a.From.Compare(b.From))
	})
	e.Owned = u.owned
}

// ownIdle adds what the service owned and what has no usage at all.
func (u *usageEvidence) ownIdle() {
	shown := map[string]bool{}
	for _, o := range u.owned {
		shown[o.Key] = true
	}
	for _, o := range u.owners.Ownerships() {
		billed := string(o.Key.Kind()) == u.target.contract.Bills.Value || u.target.contract.Bills.Value == string(schemas.KindVNIC) && o.Key.Kind() == schemas.KindGuest
		if o.Service == u.target.contract.Service && billed && !shown[string(o.Key)] {
			shown[string(o.Key)] = true
			u.own(o.Key, o.Key)
		}
	}
}

func sortedUsage(cells map[usageCell]*statements.Usage) []statements.Usage {
	list := make([]statements.Usage, 0, len(cells))
	for _, c := range cells {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b statements.Usage) int {
		if c := cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Class, b.Class)); c != 0 || a.Excluded == b.Excluded {
			return c
		}
		if a.Excluded {
			return 1
		}
		return -1
	})
	return list
}
