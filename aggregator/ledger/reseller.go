package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/internal/inventory"
	"hostmeter/internal/store"
	"hostmeter/schemas"
)

// Resellers rolls the usage of a calendar month up to the resellers: those who sell to a customer, or have
// bought a rate. The month is that of the provider's zone, whatever the periods of the services are; what
// counts of a service is what its contract counts. Amounts are of the month's report. Errors: ErrMonth.
func (l *Ledger) Resellers(ctx context.Context, inv *inventory.Inventory, month string, now time.Time) (statements.Resellers, error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return statements.Resellers{}, err
	}
	r, err := l.newReporting(owners, month, now)
	if err != nil {
		return statements.Resellers{}, err
	}
	var out statements.Resellers
	err = l.db.View(ctx, func(tx *store.Tx) error {
		if err := r.compute(ctx, tx); err != nil {
			return err
		}
		out, err = rollUp(ctx, tx, r)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("resellers of %s: %w", month, err)
	}
	return out, nil
}

// rolling adds up resellers.
type rolling struct {
	owners  *inventory.Snapshot
	now     time.Time
	month   rating.Period
	sums    map[string]*rating.Account // by reseller
	above   map[string][]string        // the resellers above a service, itself one of them
	targets map[string][]*target       // by service
	usage   map[string]*statements.ResoldService
}

func rollUp(ctx context.Context, tx *store.Tx, report *reporting) (statements.Resellers, error) {
	zone, err := loadZone(zoneOf(report.owners))
	if err != nil {
		return statements.Resellers{}, err
	}
	month := rating.Period{From: report.first.In(zone), To: report.next().In(zone)}
	out := statements.Resellers{Month: report.report.Month, Provider: report.report.Provider, TimeZone: zoneOf(report.owners), From: month.From.In(zone), To: month.To.In(zone)}
	sealed, _, err := sealedThrough(ctx, tx)
	if err != nil {
		return out, err
	}
	out.Provisional = sealed.Before(month.To)
	r, err := newRolling(ctx, tx, report.owners, month, report.now)
	if err != nil {
		return out, err
	}
	for _, row := range report.report.Rows {
		if s := r.usage[row.Service]; s != nil {
			s.Totals = statements.AddTotals(s.Totals, statements.Totals([]statements.Row{row}))
		}
	}
	for _, customer := range r.owners.Customers() {
		if sum := r.sums[customer.ID]; sum != nil {
			one, err := r.reseller(customer, sum)
			if err != nil {
				return out, err
			}
			out.Resellers = append(out.Resellers, one)
		}
	}
	return out, nil
}

// newRolling adds up the resellers of a month as far as it is over.
func newRolling(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, month rating.Period, now time.Time) (*rolling, error) {
	r := &rolling{owners: owners, now: now, month: month, sums: map[string]*rating.Account{}, above: map[string][]string{},
		targets: map[string][]*target{}, usage: map[string]*statements.ResoldService{}}
	if err := r.prepare(month.From.Location()); err != nil {
		return nil, err
	}
	return r, r.add(ctx, tx)
}

// CurrentReseller is a reseller that has bought a rate, in a month that is not over, or was not 24 hours ago: the 95th percentile
// of all that its customers used until now, of the slots that were observed.
type CurrentReseller struct {
	statements.Reseller
	Month    rating.Period
	TimeZone string // the provider's
	Bought   rating.Quantity
	Burst    rating.Burst // against the rate bought
}

// CurrentResellers returns those that have bought a rate, by month and id. It reads every hour of the month.
func (l *Ledger) CurrentResellers(ctx context.Context, inv *inventory.Inventory, now time.Time) (list []CurrentReseller, err error) {
	owners, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(owners.Customers(), func(c inventory.Customer) bool { return c.RateBought.Unit != "" }) {
		return nil, nil
	}
	zone, err := loadZone(zoneOf(owners))
	if err != nil {
		return nil, err
	}
	months := rating.Schedule{Kind: rating.Calendar, Zone: zone}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		list = nil
		month := months.PeriodAt(now.Add(-afterEnd))
		for ; !month.From.After(now); month = months.PeriodAt(month.To) {
			some, err := currentResellers(ctx, tx, owners, rating.Period{From: month.From.In(zone), To: month.To.In(zone)}, now)
			if err != nil {
				return err
			}
			list = append(list, some...)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read the resellers' month: %w", err)
	}
	return list, err
}

func currentResellers(ctx context.Context, tx *store.Tx, owners *inventory.Snapshot, month rating.Period, now time.Time) (list []CurrentReseller, err error) {
	r, err := newRolling(ctx, tx, owners, month, now)
	if err != nil {
		return nil, err
	}
	for _, customer := range owners.Customers() {
		sum, bought := r.sums[customer.ID], customer.RateBought
		if sum == nil || bought.Unit == "" {
			continue
		}
		one, err := r.reseller(customer, sum)
		if err != nil {
			return nil, err
		}
		list = append(list, CurrentReseller{Reseller: one, Month: month, TimeZone: zoneOf(owners), Bought: bought, Burst: sum.Burst(one.Percentile.Side, bought.Size())})
	}
	return list, nil
}

// prepare finds out who is above whom, and makes a sum for each reseller.
func (r *rolling) prepare(zone *time.Location) error {
	for _, customer := range r.owners.Customers() {
		for _, id := range []string{customer.Reseller, customer.ID} {
			if id == "" || id == customer.ID && customer.RateBought.Unit == "" || r.sums[id] != nil {
				continue
			}
			whole := rating.Contract{Service: id, Customer: id}
			whole.Direction.Value, whole.Missing.Value = rating.P95, rating.MissingIgnore
			whole.Bills.Value = string(schemas.KindAddress)
			whole.Schedule = rating.Schedule{Kind: rating.Calendar, Zone: zone}
			r.sums[id] = rating.NewAccount(whole, r.month, r.now)
		}
	}
	for _, service := range r.owners.Services() {
		above := r.resellersOf(service.Customer)
		if len(above) == 0 {
			continue
		}
		contract, _, err := r.owners.PeriodAt(service.ID, r.month.From)
		if err != nil {
			return err
		}
		contract.Direction.Value, contract.Missing.Value = rating.P95, rating.MissingIgnore
		r.above[service.ID] = above
		r.targets[service.ID] = []*target{{contract: contract, period: r.month}}
		r.usage[service.ID] = &statements.ResoldService{Customer: service.Customer, Service: service.ID, Plan: contract.Plan}
	}
	return nil
}

// resellersOf returns the customer and those above it that are resellers.
func (r *rolling) resellersOf(id string) (above []string) {
	for id != "" {
		if r.sums[id] != nil {
			above = append(above, id)
		}
		customer, _ := r.owners.CustomerByID(id)
		id = customer.Reseller
	}
	return above
}

// add reads the month once, for all resellers.
func (r *rolling) add(ctx context.Context, tx *store.Tx) error {
	var all []*target
	for _, targets := range r.targets {
		all = append(all, targets...)
	}
	if len(all) == 0 {
		return nil
	}
	a := attribution{owners: r.owners, targets: r.targets, charged: true, queries: queriesFor(all, r.month, nil), add: r.give}
	if err := a.run(ctx, tx); err != nil {
		return err
	}
	known := newCoverages(nil)
	for _, o := range r.owners.Ownerships() {
		for _, t := range r.targets[o.Service] {
			if string(o.Key.Kind()) != t.contract.Bills.Value || !o.From.Before(r.month.To) || !o.Until.IsZero() && !o.Until.After(r.month.From) {
				continue
			}
			for _, id := range r.above[o.Service] {
				whole := &account{target: t, sums: r.sums[id]}
				if err := whole.missSlots(ctx, tx, known, r.owners, o, r.now); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// give adds what counts of a part to its service and to all resellers above it.
func (r *rolling) give(p part) {
	c := p.target.contract
	if !c.Counts(p.class) {
		return
	}
	if in, out := c.ExcludedAt(p.from); in || out {
		if in {
			p.in = Usage{}
		}
		if out {
			p.out = Usage{}
		}
	}
	s := r.usage[c.Service]
	s.InOctets += int64(p.in.Octets)
	s.OutOctets += int64(p.out.Octets)
	p.class = schemas.ClassExternal // it counts, whatever it is
	for _, id := range r.above[c.Service] {
		whole := &account{target: p.target, sums: r.sums[id]}
		whole.add(p)
	}
}

// reseller holds what was used together against the rate that was bought.
func (r *rolling) reseller(customer inventory.Customer, sum *rating.Account) (statements.Reseller, error) {
	usage, err := sum.Usage()
	if err != nil {
		return statements.Reseller{}, err
	}
	one := statements.Reseller{Reseller: customer.ID, Unit: rating.MbitPerSecond, Percentile: *usage.Percentile, InOctets: int64(usage.InOctets), OutOctets: int64(usage.OutOctets)}
	used := decimal.NewFromInt(one.Percentile.BitsPerSecond)
	if bought := customer.RateBought; bought.Unit != "" {
		one.Unit, one.RateBought = bought.Unit, &bought.Amount
		if excess := used.Sub(bought.Size()); excess.IsPositive() {
			one.Over, one.Excess = true, bought.Unit.Of(excess)
		}
	}
	one.Used = one.Unit.Of(used)
	for service, above := range r.above {
		if slices.Contains(above, customer.ID) {
			one.Services = append(one.Services, *r.usage[service])
		}
	}
	slices.SortFunc(one.Services, func(a, b statements.ResoldService) int {
		if c := strings.Compare(a.Customer, b.Customer); c != 0 {
			return c
		}
		return strings.Compare(a.Service, b.Service)
	})
	for _, s := range one.Services {
		one.Totals = statements.AddTotals(one.Totals, s.Totals)
	}
	return one, nil
}
