package ledger

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// VerifyOwned adds up again what was told of the books to those who bought it, under the ownership that is known
// now, from the day of since on (all of it where since is zero), and returns what does not agree, at most
// maxFindings of each law. What retention has taken is left out.
//
//   - services: what services used, what is a witness of it, and what nobody owned are together what the meters
//     used, by kind of meter, octet for octet.
//   - feed: the usage records of a day are what its hours say.
//   - periods: a statement with its adjustments is what its period's hours say.
//
// Late usage and changes of ownership that have come since the feed and the statements were last brought up to
// date are no finding: the days and periods that they touch are looked at when that is done.
func (l *Ledger) VerifyOwned(ctx context.Context, inv *inventory.Inventory, since, now time.Time) ([]Finding, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	v := &ownedVerifier{owners: owners, now: now}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		if err := v.begin(ctx, tx, since); err != nil || !v.from.Before(v.to) {
			return err
		}
		for _, law := range []func(context.Context, *store.Tx) error{v.services, v.feed, v.periods} {
			v.found = 0
			if err := law(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	return v.findings, err
}

type ownedVerifier struct {
	verifier
	owners *inventory.Snapshot
	now    time.Time
	// from and to bound the sealed days that are looked at.
	from, to time.Time
	since    time.Time
	pruned   int64
}

func (v *ownedVerifier) begin(ctx context.Context, tx *store.Tx, since time.Time) error {
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	hour, found, err := firstHour(ctx, tx, max(state.slotsPruned, 0), farHour)
	if err != nil || !found {
		return err
	}
	v.pruned, v.since = state.slotsPruned, since
	v.from = dayAfter(later(hourTime(hour).Truncate(24*time.Hour), since))
	if state.sealedThrough > 0 {
		v.to = dayOf(hourTime(state.sealedThrough))
	}
	return nil
}

// octetSums are in and out.
type octetSums [2]big.Int

func (s *octetSums) add(in, out Usage) {
	s[0].Add(&s[0], new(big.Int).SetUint64(uint64(in.Octets)))
	s[1].Add(&s[1], new(big.Int).SetUint64(uint64(out.Octets)))
}

// services compares two ways through the same days: meter by meter, and by who owned what.
func (v *ownedVerifier) services(ctx context.Context, tx *store.Tx) error {
	q := Query{From: v.from, To: v.to}
	used, given := map[schemas.MeterKind]*octetSums{}, map[schemas.MeterKind]*octetSums{}
	add := func(into map[schemas.MeterKind]*octetSums, meter schemas.MeterID, in, out Usage) {
		if into[meter.Kind()] == nil {
			into[meter.Kind()] = &octetSums{}
		}
		into[meter.Kind()].add(in, out)
	}
	if err := days(ctx, tx, q, func(row UsageRow) error {
		add(used, row.Meter, row.In, row.Out)
		return nil
	}); err != nil {
		return err
	}
	give := func(meter schemas.MeterID, in, out Usage) { add(given, meter, in, out) }
	e := emission{owners: v.owners}
	a := attribution{
		owners: v.owners, targets: e.targets(v.from, v.to), queries: []Query{q},
		add:     func(p part) { give(p.meter, p.in, p.out) },
		unowned: func(meter schemas.MeterID, _ string, in, out Usage) { give(meter, in, out) }, unownedIn: rating.Period{From: v.from, To: v.to},
		other: give,
	}
	if err := a.run(ctx, tx); err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(used)) {
		if given[kind] == nil {
			given[kind] = &octetSums{}
		}
		for i, direction := range []string{"in", "out"} {
			if used[kind][i].Cmp(&given[kind][i]) != 0 {
				v.find("services", "meters of kind %s used %s octets %s from %s to %s, and services, witnesses and unowned traffic have %s",
					kind, &used[kind][i], direction, v.from.Format(time.DateOnly), v.to.Format(time.DateOnly), &given[kind][i])
			}
		}
	}
	return nil
}

// feed makes the records of each day again.
func (v *ownedVerifier) feed(ctx context.Context, tx *store.Tx) error {
	e := emission{owners: v.owners}
	if err := e.plan(ctx, tx); err != nil {
		return err
	}
	pending := e.days
	e.days = map[time.Time]map[schemas.MeterID]bool{}
	for day := v.from; !day.Add(24 * time.Hour).After(earlier(v.to, e.through)); day = day.Add(24 * time.Hour) {
		if _, waits := pending[day]; waits {
			continue
		}
		wanted, err := e.wanted(ctx, tx, day, e.through)
		if err != nil {
			return err
		}
		told, err := e.told(ctx, tx, day)
		if err != nil {
			return err
		}
		v.compareFeed(day, wanted, told)
	}
	return nil
}

func (v *ownedVerifier) compareFeed(day time.Time, wanted, told map[recordKey]*amounts) {
	keys := maps.Clone(wanted)
	maps.Copy(keys, told)
	for _, key := range slices.SortedFunc(maps.Keys(keys), compareKeys) {
		var w, t amounts
		if wanted[key] != nil {
			w = *wanted[key]
		}
		if told[key] != nil {
			t = *told[key]
		}
		if w.octets != t.octets || w.packets != t.packets {
			v.find("feed", "%s, %s %s (%s) on %s: the hours have %d octets and %d packets, the feed %d and %d", key.service, key.meter, key.direction, key.class,
				day.Format(time.DateOnly), w.octets, w.packets, t.octets, t.packets)
		}
	}
}

// periods rates each closed period again, as an adjustment would be.
func (v *ownedVerifier) periods(ctx context.Context, tx *store.Tx) (err error) {
	c := closing{owners: v.owners, now: v.now}
	if c.head, err = readHead(ctx, tx); err != nil {
		return err
	}
	if err := c.readBooks(ctx, tx); err != nil {
		return err
	}
	pending, err := c.changedSpans(ctx, tx)
	if err != nil {
		return err
	}
	all := []changedSpan{{Period: rating.Period{From: v.since, To: v.now}}}
	list, err := toldOf(ctx, tx, v.owners, all, v.pruned)
	if err != nil {
		return err
	}
	open := map[string]bool{} // what is charged together is looked at together
	for _, t := range list {
		if t.period.From.Before(v.since) || overlapsAny(t.contract, t.period, pending) {
			open[t.group()] = true
		}
	}
	list = slices.DeleteFunc(list, func(t *told) bool { return open[t.group()] })
	targets := make([]*target, len(list))
	for i, t := range list {
		targets[i] = &t.target
	}
	booking := c.booking
	found, err := gather(ctx, tx, gathering{owners: v.owners, targets: targets, now: v.now, through: &booking})
	if err != nil {
		return err
	}
	c.revise(list, found.accounts, func(body StatementBody) bool {
		v.find("periods", "statement %s: its hours have %+d octets in, %+d out, and %s %s more than it says (revisions included)",
			body.Row.Statement, body.Row.InOctets, body.Row.OutOctets, body.Row.AmountExVAT, body.Row.Currency)
		return true
	}, func(_ []*account, first *told, err error) {
		v.find("periods", "statement %s cannot be computed again: %s", first.statement, err)
	})
	return nil
}

// exporters looks at each account by itself: what was counted is all somewhere, and what is held or lost is not
// less than nothing in the end. What an exporter sent is not written anywhere: it is received and lost together.
func (v *verifier) exporters(ctx context.Context, tx *store.Tx) error {
	type balance struct{ exporter, protocol, count string }
	sums := map[balance]int64{}
	state, err := readState(ctx, tx)
	if err != nil {
		return err
	}
	err = accounts(ctx, tx, "", time.Time{}, time.Time{}, func(a Account) error {
		if a.Octets != a.OctetsOnce+a.OctetsBoth+a.OctetsTransit+a.OctetsUncounted {
			v.find("exporters", "%s (%s), hour %s: counted %d octets, of which %d booked once, %d at both ends, %d in transit and %d left out",
				a.Exporter, a.Protocol, a.Hour.Format(time.RFC3339), a.Octets, a.OctetsOnce, a.OctetsBoth, a.OctetsTransit, a.OctetsUncounted)
		}
		for kind, list := range map[string][]Count{"held": a.Held, "lost": a.Lost, "dropped": a.Dropped} {
			for _, c := range list {
				sums[balance{a.Exporter, a.Protocol, fmt.Sprintf("%s %s %s", kind, c.Unit, c.Reason)}] += c.Count
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range slices.SortedFunc(maps.Keys(sums), func(a, b balance) int {
		return slices.Compare([]string{a.exporter, a.protocol, a.count}, []string{b.exporter, b.protocol, b.count})
	}) {
		if sums[key] < 0 && state.hoursPruned == math.MinInt64 { // what was held in an hour that has gone may end in one that has not
			v.find("exporters", "%s (%s): %s is %d in all", key.exporter, key.protocol, key.count, sums[key])
		}
	}
	return nil
}
