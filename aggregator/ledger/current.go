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

// Current is a period, of a service or of a pool, that is not closed and has a quota, and what was used before and in it.
type Current struct {
	// Row is provisional. That of a pool has its id as the service, and is what all of its members used and are charged.
	Row      statements.Row
	Contract rating.Contract
	Period   rating.Period
	Members  int // services in the pool; 0 where it is a service
	// Burst is of contracts that count slots.
	Burst rating.Burst
	// Days are the last full UTC days of what counts, at most HistoryDays, the oldest first, since the service, or the first
	// member of the pool, owned a meter. They end where the day of now begins; none where slots count.
	Days []DayUsage
	// Recent are the days that contain now and the hour before; none where slots count.
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

// Current returns the periods that are open at now, or were in the last 24 hours, of the services that are in no pool, and of
// the pools. Those without a quota, and those that count a percentile, are left out. What cannot be rated is a problem.
func (l *Ledger) Current(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]Current, []statements.Problem, error) {
	return l.current(ctx, inv, now, false)
}

// CurrentPercentiles is Current for those that count a percentile: that of the slots that were observed until now, whatever
// the contract makes of the others in the end. It reads every hour of the periods.
func (l *Ledger) CurrentPercentiles(ctx context.Context, inv *inventory.Inventory, now time.Time) ([]Current, []statements.Problem, error) {
	return l.current(ctx, inv, now, true)
}

func (l *Ledger) current(ctx context.Context, inv *inventory.Inventory, now time.Time, percentiles bool) (list []Current, problems []statements.Problem, err error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		list, problems, err = readCurrent(ctx, tx, owners, now, percentiles)
		return err
	})
	if err != nil {
		err = fmt.Errorf("read the open periods: %w", err)
	}
	return list, problems, err
}

func readCurrent(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, now time.Time, percentiles bool) (list []Current, problems []statements.Problem, err error) {
	periods, err := openPeriods(ctx, tx, owners)
	if err != nil || periods.begin.IsZero() {
		return nil, nil, err
	}
	var targets []*target
	for _, service := range owners.Services() {
		for _, t := range periods.targets(service.ID, now, func(p rating.Period) bool { return now.Before(p.To.Add(afterEnd)) }) {
			if t.contract.Direction.Value.IsPercentile() != percentiles || t.contract.Pool == nil && t.contract.Allowance(t.period).Unlimited {
				continue
			}
			if percentiles {
				observedOnly(&t.contract)
			}
			targets = append(targets, t)
		}
	}
	found, err := gather(ctx, tx, gathering{owners: owners, targets: targets, now: now, burst: percentiles})
	if err != nil {
		return nil, nil, err
	}
	h := lately{owners: owners, begin: periods.begin, today: dayOf(now), of: map[string]watched{}}
	for _, group := range together(found.accounts) {
		c, err := currentOf(group, owners.Prices())
		switch {
		case err != nil:
			problems = append(problems, statements.Problem{Service: rated{accounts: group}.subject(), Text: err.Error()})
			continue
		case c.Row.Unlimited:
			continue
		}
		if list = append(list, c); !percentiles && c.Period.Contains(now) {
			for _, a := range group {
				h.of[a.contract.Service] = watched{at: len(list) - 1, contract: a.contract}
			}
		}
	}
	h.list = list
	if err := h.readDays(ctx, tx); err != nil {
		return nil, nil, err
	}
	return list, problems, h.readSlots(ctx, tx, dayOf(now.Add(-time.Hour)), now)
}

// observedOnly leaves slots out that were not observed.
func observedOnly(c *rating.Contract) {
	c.Missing.Value = rating.MissingIgnore
	if c.Pool != nil {
		pool := *c.Pool
		pool.Missing.Value = rating.MissingIgnore
		c.Pool = &pool
	}
}

// currentOf returns the period of a service, or of the pool whose members' accounts these are.
func currentOf(group []*account, prices []rating.Price) (Current, error) {
	first := group[0]
	if first.contract.Pool == nil {
		lines, err := rateTogether(group, prices)
		if err != nil {
			return Current{}, err
		}
		return newCurrent(lines[0].row, first.target, first.burst), nil
	}
	pool, used, _, err := ratePool(group, prices)
	if err != nil {
		return Current{}, err
	}
	whole := account{target: &target{contract: pool.Contract, period: first.period}, coverage: unknownCoverage}
	var burst rating.Burst
	if used.Percentile != nil && !pool.Charge.Unlimited {
		burst = first.pool.Burst(used.Percentile.Side, pool.Contract.Limit(first.period))
	}
	c := newCurrent(whole.row(pool.Charge, used), whole.target, burst)
	c.Members = len(group)
	return c, nil
}

func newCurrent(row statements.Row, t *target, burst rating.Burst) Current {
	row.Provisional = true
	return Current{Row: row, Contract: t.contract, Period: t.period, Burst: burst}
}

// lately reads what open services have used lately, whatever periods that is in.
type lately struct {
	owners *inventory.Snapshot
	list   []Current
	of     map[string]watched // by service
	begin  time.Time          // of the ledger
	today  time.Time
}

// watched is a service whose usage is that of a period in the list: its own, or its pool's.
type watched struct {
	at       int
	contract rating.Contract
}

// targets has one for each service: the span of which it is asked, by the place in the list.
func (h lately) targets(from func(at int) time.Time, to time.Time) (by map[string][]*target, all []*target) {
	by = map[string][]*target{}
	for service, w := range h.of {
		t := &target{contract: w.contract, period: rating.Period{From: from(w.at), To: to}}
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

// since returns the first full day of each place in the list: a pool's is that of the member that came first.
func (h lately) since(first time.Time) map[int]time.Time {
	owned, since := h.owned(), map[int]time.Time{}
	for service, w := range h.of {
		from := dayAfter(later(first, later(h.begin, owned[service])))
		if known, ok := since[w.at]; !ok || from.Before(known) {
			since[w.at] = from
		}
	}
	return since
}

func (h lately) readDays(ctx context.Context, tx *store.Tx) error {
	first := h.today.AddDate(0, 0, -HistoryDays)
	since := h.since(first)
	for at, from := range since {
		if from.Before(h.today) {
			h.list[at].Days = make([]DayUsage, int(h.today.Sub(from)/(24*time.Hour)))
		}
	}
	by, all := h.targets(func(at int) time.Time { return since[at] }, h.today)
	if len(all) == 0 {
		return nil
	}
	a := attribution{owners: h.owners, targets: by, charged: true, queries: queriesFor(all, rating.Period{From: first, To: h.today}, nil)}
	a.add = func(p part) {
		c := &h.list[h.of[p.target.contract.Service].at]
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
	by, all := h.targets(func(int) time.Time { return first }, to)
	if len(all) == 0 {
		return nil
	}
	for _, w := range h.of {
		if c := &h.list[w.at]; c.Recent == nil {
			for day := first; day.Before(to); day = day.AddDate(0, 0, 1) {
				c.Recent = append(c.Recent, DaySlots{Day: day})
			}
		}
	}
	a := attribution{owners: h.owners, targets: by, charged: true}
	a.add = func(p part) {
		day := &h.list[h.of[p.target.contract.Service].at].Recent[int(p.from.Sub(first)/(24*time.Hour))]
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
