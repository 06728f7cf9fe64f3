package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// unknownCoverage stands where no exporter accounts for what a service owns.
const unknownCoverage = -1

// account is the usage of a target. While it is open, sums adds up; then usage is what came of it.
type account struct {
	*target
	sums     *rating.Account
	pool     *rating.Account // of all members, where the service is in one
	usage    rating.Usage
	err      error
	disputed string // by the witnesses of what bills
	compared []comparedDay
	burst    rating.Burst // where it was asked for, and the contract counts slots
	coverage float64
	missing  []string
}

func (a *account) open(now time.Time) { a.sums = rating.NewAccount(a.contract, a.period, now) }

// finish closes an account that is whole, which its pool's has in it from then on.
func (a *account) finish(of pools, g gathering) {
	of.merge(a, g.now)
	a.usage, a.err = a.sums.Usage()
	if p := a.usage.Percentile; g.burst && p != nil {
		a.burst = a.sums.Burst(p.Side, a.contract.Limit(a.period))
	}
	a.sums = nil
}

// add adds a part of a day or an hour; of an hour with its slots where these count.
func (a *account) add(p part) {
	add := rating.Part{At: p.from, Class: p.class, In: amountOf(p.in), Out: amountOf(p.out)}
	if a.contract.Direction.Value.IsPercentile() {
		hour := p.from.Truncate(time.Hour)
		first, end := p.from.Sub(hour)/SlotLength, p.to.Sub(hour)/SlotLength
		add.InSlots, add.OutSlots = p.in.Slots[first:end], p.out.Slots[first:end]
	}
	a.sums.Add(add)
}

func amountOf(u Usage) rating.Amount {
	return rating.Amount{Octets: uint64(u.Octets), VarianceKiB2: u.VarianceKiB2}
}

// gathering is what is asked of the ledger at once.
type gathering struct {
	owners  *inventory.Snapshot
	targets []*target
	now     time.Time // coverage is not expected of the future
	// through leaves out late entries with a greater number, and observed such observations; nil takes them all.
	through  *Booking
	observed *Observation
	// month, where it is set, is the span whose unowned traffic is asked for.
	month rating.Period
	// reconcile, where it is set, asks for the comparison with witnesses, and listed for its days.
	reconcile *ReconcileConfig
	listed    bool
	// burst asks for the slots above the limit of contracts that count slots.
	burst bool
}

// gathered has one account for each target, in their order.
type gathered struct {
	accounts []*account
	unowned  []statements.Unowned
}

// gather adds up the usage and the coverage of the targets. Those whose contracts count slots come in groups, behind
// the others, so that only a group's slots are in memory.
func gather(ctx context.Context, tx *store.Tx, g gathering) (gathered, error) {
	var out gathered
	byTarget := make(map[*target]*account, len(g.targets))
	slotted := map[*target]*slottedAccount{}
	owned := ownedBy(g.owners)
	witnessed := map[*target]*witnesses{}
	a := attribution{owners: g.owners, targets: map[string][]*target{}, charged: true}
	span := g.month
	for _, t := range g.targets {
		account := &account{target: t, coverage: unknownCoverage}
		byTarget[t] = account
		out.accounts = append(out.accounts, account)
		if t.contract.Direction.Value.IsPercentile() {
			slotted[t] = &slottedAccount{account: account}
		} else {
			account.open(g.now)
		}
		if g.reconcile != nil {
			witnessed[t] = newWitnesses(t, owned[t.contract.Service])
		}
		a.targets[t.contract.Service] = append(a.targets[t.contract.Service], t)
		if span.From.IsZero() || t.period.From.Before(span.From) {
			span.From = t.period.From
		}
		span.To = later(span.To, t.period.To)
	}
	for _, targets := range a.targets {
		slices.SortFunc(targets, func(x, y *target) int { return x.period.From.Compare(y.period.From) })
	}
	if span.From.IsZero() {
		return out, nil
	}
	a.queries = queriesFor(g.targets, span, g.through)
	for _, w := range witnessed {
		if w.days != nil {
			a.queries[0].Kind = ""
			a.witness = func(p part) { witnessed[p.target].add(p) }
			break
		}
	}
	a.add = func(p part) { byTarget[p.target].add(p) }
	a.note = func(t *target, meter schemas.MeterID) { slotted[t].note(meter) }
	unowned := map[[2]string]*statements.Unowned{}
	if !g.month.From.IsZero() {
		a.unownedIn = g.month
		billed := map[string]bool{string(schemas.KindAddress): true}
		for _, t := range g.targets {
			billed[t.contract.Bills.Value] = true
		}
		a.unowned = func(meter schemas.MeterID, class string, in, out Usage) {
			if billed[string(meter.Kind())] { // of others it is no loss to anybody
				addUnowned(unowned, meter, class, in, out)
			}
		}
	}
	if err := a.run(ctx, tx); err != nil {
		return gathered{}, err
	}
	out.unowned = sortedUnowned(unowned)
	coverage, of := newCovering(g, owned), pools{}
	for _, account := range out.accounts {
		if slotted[account.target] == nil {
			if err := coverage.cover(ctx, tx, account); err != nil {
				return gathered{}, err
			}
			account.finish(of, g)
		}
	}
	if err := gatherSlots(ctx, tx, g, slotted, coverage, of); err != nil {
		return gathered{}, err
	}
	return out, compareAccounts(ctx, tx, g, coverage.known, witnessed, out.accounts)
}

// ownedBy returns the ownership of each service.
func ownedBy(owners *inventory.Snapshot) map[string][]inventory.Ownership {
	owned := map[string][]inventory.Ownership{}
	for _, o := range owners.Ownerships() {
		owned[o.Service] = append(owned[o.Service], o)
	}
	return owned
}

// compareAccounts judges each account's days by their witnesses, and disputes what is outside.
func compareAccounts(ctx context.Context, tx *store.Tx, g gathering, known *coverages, witnessed map[*target]*witnesses, accounts []*account) error {
	if g.reconcile == nil {
		return nil
	}
	c, err := newComparing(ctx, tx, *g.reconcile, g.owners, known)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		w := witnessed[a.target]
		if w.days == nil && !g.listed {
			continue // nothing to compare with
		}
		days, err := c.judge(ctx, tx, w)
		if err != nil {
			return err
		}
		if g.reconcile.Action == ReconcileHold {
			a.disputed = dispute(days)
		}
		if g.listed {
			a.compared = days
		}
	}
	return nil
}

// queriesFor reads only address meters where no contract bills by others.
func queriesFor(targets []*target, span rating.Period, through *Booking) []Query {
	q := Query{From: dayOf(span.From), To: dayAfter(span.To), Kind: schemas.KindAddress, Through: through}
	for _, t := range targets {
		if t.contract.Bills.Value != string(schemas.KindAddress) {
			q.Kind = ""
		}
	}
	return []Query{q}
}

func addUnowned(into map[[2]string]*statements.Unowned, meter schemas.MeterID, class string, in, out Usage) {
	key := [2]string{string(meter), class}
	u := into[key]
	if u == nil {
		u = &statements.Unowned{Meter: key[0], Class: class}
		into[key] = u
	}
	u.InOctets += int64(in.Octets)
	u.OutOctets += int64(out.Octets)
}

func sortedUnowned(unowned map[[2]string]*statements.Unowned) []statements.Unowned {
	list := make([]statements.Unowned, 0, len(unowned))
	for _, u := range unowned {
		if u.InOctets != 0 || u.OutOctets != 0 {
			list = append(list, *u)
		}
	}
	slices.SortFunc(list, func(a, b statements.Unowned) int {
		if c := strings.Compare(a.Meter, b.Meter); c != 0 {
			return c
		}
		return strings.Compare(a.Class, b.Class)
	})
	return list
}

// covering fills in the coverage of accounts, over the exporters that account for what their services owned.
type covering struct {
	gathering
	owned map[string][]inventory.Ownership // by service
	known *coverages
}

func newCovering(g gathering, owned map[string][]inventory.Ownership) *covering {
	return &covering{gathering: g, owned: owned, known: newCoverages(g.observed)}
}

func (c *covering) cover(ctx context.Context, tx *store.Tx, a *account) error {
	var expected []inventory.Accounting
	until := earlier(a.period.To, c.now)
	for _, o := range c.owned[a.contract.Service] {
		if string(o.Key.Kind()) != a.contract.Bills.Value || !o.From.Before(a.period.To) || !o.Until.IsZero() && !o.Until.After(a.period.From) {
			continue
		}
		expected = append(expected, c.owners.ExportersOf(o.Key, a.period.From, until)...)
		if err := a.missSlots(ctx, tx, c.known, c.owners, o, c.now); err != nil {
			return err
		}
	}
	covered, err := c.known.of(ctx, tx, expected)
	a.coverage, a.missing = covered.Share, missingNames(covered)
	return err
}

// missSlots marks the slots in which an exporter that accounted for a key then was not observed while the
// service owned it.
func (a *account) missSlots(ctx context.Context, tx *store.Tx, known *coverages, owners *inventory.Snapshot, o inventory.Ownership, now time.Time) error {
	if !a.contract.Direction.Value.IsPercentile() {
		return nil
	}
	from, to := later(inventory.SlotAfter(o.From), a.period.From), earlier(a.period.To, now)
	if !o.Until.IsZero() {
		to = earlier(to, inventory.SlotAfter(o.Until))
	}
	c, err := known.of(ctx, tx, owners.ExportersOf(o.Key, from, to))
	for _, m := range c.Missing {
		a.sums.Miss(m.From, m.To)
	}
	return err
}

// coverages remembers what many services ask.
type coverages struct {
	through *Observation // what was told late is taken up to it
	known   map[string]Coverage
}

func newCoverages(through *Observation) *coverages {
	return &coverages{through: through, known: map[string]Coverage{}}
}

// of returns the coverage of exporters in the spans in which they were expected; of none it is not known.
func (c *coverages) of(ctx context.Context, tx *store.Tx, expected []inventory.Accounting) (Coverage, error) {
	if len(expected) == 0 {
		return Coverage{Share: unknownCoverage}, nil
	}
	expected = joined(expected)
	key := keyOfSpans(expected)
	if covered, ok := c.known[key]; ok {
		return covered, nil
	}
	covered, err := coverage(ctx, tx, expected, c.through)
	if err != nil {
		return covered, fmt.Errorf("coverage: %w", err)
	}
	c.known[key] = covered
	return covered, nil
}

// keyOfSpans is a text that is the same for the same spans alone.
func keyOfSpans(spans []inventory.Accounting) string {
	var key []byte
	for _, span := range spans {
		key = fmt.Appendln(key, span.Exporter, span.From.UnixNano(), span.Until.UnixNano())
	}
	return string(key)
}

func missingNames(c Coverage) []string {
	names := make([]string, 0, len(c.Missing))
	for _, m := range c.Missing {
		names = append(names, m.Exporter)
	}
	return slices.Compact(names) // Missing is sorted by exporter
}
