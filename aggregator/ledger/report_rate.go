package ledger

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement" // in this package a statement is also one of SQL
	"hostmeter/schemas"
)

// rated is what accounts are charged together: those of one pool in one of its periods, or one alone.
type rated struct {
	lines []ratedLine // none where err says why
	// accounts are what was asked for, also where there are no lines.
	accounts []*account
	err      error
}

// ratedLine is a row and the usage that it was rated with.
type ratedLine struct {
	account *account
	row     statements.Row
	usage   rating.Usage
	// poolUsage is what the pool used, where the service is in one.
	poolUsage *rating.Usage
}

// subject names what is charged together: the pool, or the service.
func (r rated) subject() string {
	c := r.accounts[0].contract
	if c.Pool != nil {
		return c.Pool.Service
	}
	return c.Service
}

// held says what is held, where something is.
func (r rated) held() error {
	if len(r.lines) == 0 || r.lines[0].row.Kind != rating.KindHeld {
		return nil
	}
	row, what := r.lines[0].row, "service "
	if row.Pool != nil {
		what = "pool "
	}
	return fmt.Errorf("%s%s: the period from %s is held: %s (import a decision about it)", what, r.subject(), row.PeriodFrom.Format(time.DateOnly), row.Hold)
}

// poolPeriod is a period of a pool.
type poolPeriod struct {
	pool string
	from int64 // nanoseconds
}

// poolPeriodOf returns the pool's period of a target that is in one.
func poolPeriodOf(t *target) poolPeriod {
	return poolPeriod{t.contract.Pool.Service, t.period.From.UnixNano()}
}

// pools are the accounts of what pools used.
type pools map[poolPeriod]*rating.Account

// merge adds a member's account, which is whole, to its pool's.
func (p pools) merge(a *account, now time.Time) {
	if a.contract.Pool == nil {
		return
	}
	key := poolPeriodOf(a.target)
	if p[key] == nil {
		p[key] = rating.NewAccount(*a.contract.Pool, a.period, now)
	}
	p[key].Merge(a.sums)
	a.pool = p[key]
}

// together puts accounts of one pool and period into one group, in the place of the first of them.
func together(accounts []*account) [][]*account {
	at := map[poolPeriod]int{}
	var groups [][]*account
	for _, a := range accounts {
		if a.contract.Pool == nil {
			groups = append(groups, []*account{a})
			continue
		}
		key := poolPeriodOf(a.target)
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], a)
	}
	return groups
}

// rate rates accounts, one after the other; all members of a pool's period must be among them. prices are those for
// the first of the accounts that are charged together.
func rate(accounts []*account, prices func(*account) []rating.Price) iter.Seq[rated] {
	return func(yield func(rated) bool) {
		for _, group := range together(accounts) {
			r := rated{accounts: group}
			if r.lines, r.err = rateTogether(group, prices(group[0])); r.err != nil {
				r.lines = nil
			}
			if !yield(r) {
				return
			}
		}
	}
}

func rateTogether(group []*account, prices []rating.Price) ([]ratedLine, error) {
	first := group[0]
	if first.contract.Pool == nil {
		usage, err := first.disputedUsage()
		if err != nil {
			return nil, err
		}
		charge, err := rating.Rate(first.contract, first.period, usage, prices)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", first.contract.Service, err)
		}
		return []ratedLine{{account: first, row: first.row(charge, usage), usage: usage}}, nil
	}
	pool, used, members, err := ratePool(group, prices)
	if err != nil {
		return nil, err
	}
	var lines []ratedLine
	for i, a := range group {
		lines = append(lines, ratedLine{account: a, row: a.row(pool.Shares[i], members[i].Usage), usage: members[i].Usage, poolUsage: &used})
	}
	return lines, nil
}

// ratePool rates the accounts of all that are in a pool in one of its periods. used is what they used together.
func ratePool(group []*account, prices []rating.Price) (pool rating.PoolCharge, used rating.Usage, members []rating.Member, err error) {
	if used, err = group[0].pool.Usage(); err != nil {
		return pool, used, nil, err
	}
	used.Disputed = disputes(group)
	members = make([]rating.Member, len(group))
	for i, a := range group {
		members[i].Contract = a.contract
		if members[i].Usage, err = a.disputedUsage(); err != nil {
			return pool, used, nil, err
		}
	}
	pool, err = rating.RatePool(group[0].period, used, members, prices)
	return pool, used, members, err
}

// disputedUsage returns what was added up, and what witnesses contradict in it.
func (a *account) disputedUsage() (rating.Usage, error) {
	usage := a.usage
	usage.Disputed = a.disputed
	return usage, a.err
}

// disputes says what witnesses contradict in a pool's usage: that of the members about which no person has decided.
func disputes(members []*account) string {
	var texts []string
	for _, a := range members {
		if a.disputed != "" && !a.contract.Released(a.period) {
			texts = append(texts, fmt.Sprintf("service %s: %s", a.contract.Service, a.disputed))
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// row writes a charge as a line of the report.
func (a *account) row(charge rating.Charge, usage rating.Usage) statements.Row {
	zone := a.contract.Schedule.Zone
	row := statements.Row{
		Customer:            a.contract.Customer,
		Service:             a.contract.Service,
		Plan:                a.contract.Plan,
		PeriodFrom:          a.period.From.In(zone),
		PeriodTo:            a.period.To.In(zone),
		TimeZone:            a.contract.Zone.Value,
		Direction:           charge.Direction,
		InOctets:            charge.InOctets,
		OutOctets:           charge.OutOctets,
		ExcludedInOctets:    charge.ExcludedInOctets,
		ExcludedOutOctets:   charge.ExcludedOutOctets,
		BillableOctets:      charge.BillableOctets,
		StandardErrorOctets: charge.StandardErrorOctets,
		Coverage:            a.coverage,
		Unlimited:           charge.Unlimited,
		Quota:               charge.Quota,
		Unit:                charge.Unit,
		Used:                charge.Used,
		Excess:              charge.Excess,
		BilledQuantity:      charge.BilledQuantity,
		PriceUnit:           charge.PriceUnit,
		UnitPrice:           charge.UnitPrice,
		Currency:            charge.Currency,
		AmountExVAT:         charge.AmountExVAT,
		Kind:                charge.Kind,
		RuleFrom:            charge.RuleFrom,
		Missing:             a.missing,
		BitsPerSecond:       charge.BitsPerSecond,
		EstimatedOctets:     charge.EstimatedOctets,
		Grace:               charge.Grace,
		Hold:                charge.Hold,
		Disputed:            usage.Disputed,
		Rules:               charge.Rules,
		Classes:             usage.Classes,
		Pool:                charge.Pool,
	}
	for _, class := range usage.Classes {
		if class.Class == schemas.ClassInternal {
			row.InternalInOctets, row.InternalOutOctets = int64(class.InOctets), int64(class.OutOctets)
		}
		if !class.Counted && a.contract.Bills.Value == string(schemas.KindAddress) {
			row.FreeInOctets += int64(class.InOctets)
			row.FreeOutOctets += int64(class.OutOctets)
		}
	}
	if p := usage.Percentile; p != nil {
		row.Slots, row.SlotsMissing = p.Slots, p.Missing
	}
	return row
}
