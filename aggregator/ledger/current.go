package ledger

import (
	"context"
	"fmt"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
)

// SlotsPerDay is how many slots a day has.
const SlotsPerDay = 24 * SlotsPerHour

// Current is a period of a service with a quota in octets that is not closed, and what was used before and in it.
type Current struct {
	Row      statements.Row // provisional
	Contract rating.Contract
	Period   rating.Period
	// Days are the last full UTC days of what counts, at most HistoryDays, the oldest first, since the service owned a
	// meter. They end where the day of now begins.
	Days []DayUsage
	// Recent are the days that contain now and the hour before.
	Recent []DaySlots
}

// DayUsage is what counted on a full UTC day.
type DayUsage struct{ In, Out uint64 } // octets

// DaySlots is what counted in the slots of a UTC day.
type DaySlots struct {
	Day     time.Time
	In, Out [SlotsPerDay]uint64 // octets
}

const (
	// HistoryDays is how many days before now are of use to a forecast.
	HistoryDays = 56
	// afterEnd is how long a period is told that is over: what came last is booked by then.
	afterEnd = 24 * time.Hour
)

// Current returns the periods that are open at now, or were in the last 24 hours, by service. Services without a quota, and those
// that count a percentile or are in a pool, are left out. What cannot be rated is a problem.
func (l *Ledger) Current(ctx context.Context, inv *inventory.Inventory, now time.Time) (list []Current, problems []statements.Problem, err error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		list, problems = nil, nil
		return readCurrent(ctx, tx, owners, now, &list, &problems)
	})
	if err != nil {
		err = fmt.Errorf("read the open periods: %w", err)
	}
	return list, problems, err
}

func readCurrent(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, now time.Time, list *[]Current, problems *[]statements.Problem) error {
	periods, err := openPeriods(ctx, tx, owners)
	if err != nil || periods.begin.IsZero() {
		return err
	}
	var targets []*target
	for _, service := range owners.Services() {
		for _, t := range periods.targets(service.ID, now, func(p rating.Period) bool { return now.Before(p.To.Add(afterEnd)) }) {
			if !t.contract.Direction.Value.IsPercentile() && !t.contract.Allowance(t.period).Unlimited && t.contract.Pool == nil {
				targets = append(targets, t)
			}
		}
	}
	found, err := gather(ctx, tx, gathering{owners: owners, targets: targets, now: now})
	if err != nil {
		return err
	}
	for _, a := range found.accounts {
		lines, err := rateTogether([]*account{a}, owners.Prices())
		if err != nil {
			*problems = append(*problems, statements.Problem{Service: a.contract.Service, Text: err.Error()})
			continue
		}
		row := lines[0].row
		row.Provisional = true
		*list = append(*list, Current{Row: row, Contract: a.contract, Period: a.period})
	}
	open := map[string]*Current{} // the periods that contain now
	for i := range *list {
		if c := &(*list)[i]; c.Period.Contains(now) {
			open[c.Contract.Service] = c
		}
	}
	h := lately{owners: owners, open: open, begin: periods.begin, today: dayOf(now)}
	if err := h.readDays(ctx, tx); err != nil {
		return err
	}
	return h.readSlots(ctx, tx, dayOf(now.Add(-time.Hour)), now)
}

// lately reads what open services have used lately, whatever periods that is in.
type lately struct {
	owners *inventory.Snapshot
	open   map[string]*Current
	begin  time.Time // of the ledger
	today  time.Time
}

// targets has one for each service: the span of which it is asked.
func (h lately) targets(from func(*Current) time.Time, to time.Time) (by map[string][]*target, all []*target) {
	by = map[string][]*target{}
	for service, c := range h.open {
		t := &target{contract: c.Contract, period: rating.Period{From: from(c), To: to}}
		if t.period.From.Before(to) {
			by[service], all = []*target{t}, append(all, t)
		}
	}
	return by, all
}

// owned returns when each service came to own anything: what was before says nothing about it.
func (h lately) owned() map[string]time.Time {
	owned := map[string]time.Time{}
	for _, o := range h.owners.Ownerships() {
		if first, ok := owned[o.Service]; !ok || o.From.Before(first) {
			owned[o.Service] = o.From
		}
	}
	return owned
}

func (h lately) readDays(ctx context.Context, tx *store.Tx) error {
	first := h.today.AddDate(0, 0, -HistoryDays)
	owned := h.owned()
	by, all := h.targets(func(c *Current) time.Time {
		from := dayAfter(later(first, later(h.begin, owned[c.Contract.Service])))
		if from.Before(h.today) {
			c.Days = make([]DayUsage, int(h.today.Sub(from)/(24*time.Hour)))
		}
		return from
	}, h.today)
	if len(all) == 0 {
		return nil
	}
	a := attribution{owners: h.owners, targets: by, charged: true, queries: queriesFor(all, rating.Period{From: first, To: h.today}, nil)}
	a.add = func(p part) {
		c := h.open[p.target.contract.Service]
		if i := int(p.from.Sub(p.target.period.From) / (24 * time.Hour)); i < len(c.Days) {
			in, out := countedOf(p)
			c.Days[i].In += uint64(in.Octets)
			c.Days[i].Out += uint64(out.Octets)
		}
	}
	return a.run(ctx, tx)
}

// readSlots reads the hours of the days from first to that of now.
func (h lately) readSlots(ctx context.Context, tx *store.Tx, first, now time.Time) error {
	to := h.today.AddDate(0, 0, 1)
	by, all := h.targets(func(c *Current) time.Time {
		for day := first; day.Before(to); day = day.AddDate(0, 0, 1) {
			c.Recent = append(c.Recent, DaySlots{Day: day})
		}
		return first
	}, to)
	if len(all) == 0 {
		return nil
	}
	a := attribution{owners: h.owners, targets: by, charged: true}
	a.add = func(p part) {
		c := h.open[p.target.contract.Service]
		day := &c.Recent[int(p.from.Sub(first)/(24*time.Hour))]
		in, out := countedOf(p)
		hour := p.from.Truncate(time.Hour)
		at := int(hour.Sub(day.Day) / SlotLength)
		for i := range SlotsPerHour {
			day.In[at+i] += in.Slots[i]
			day.Out[at+i] += out.Slots[i]
		}
	}
	for _, q := range queriesFor(all, rating.Period{From: first, To: to}, nil) {
		s := segmenter{attribution: &a, from: q.From, to: q.To}
		if err := s.giveHours(ctx, tx, q); err != nil {
			return err
		}
	}
	return nil
}

// countedOf returns what of a part is held against the quota.
func countedOf(p part) (in, out Usage) {
	if !p.target.contract.Counts(p.class) {
		return in, out
	}
	excludedIn, excludedOut := p.target.contract.ExcludedAt(p.from)
	if !excludedIn {
		in = p.in
	}
	if !excludedOut {
		out = p.out
	}
	return in, out
}
