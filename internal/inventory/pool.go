package inventory

import (
	"fmt"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
)

// Pool is an allowance that several services share. Its rules are resolved as a service's are, but for
// two: what a plan or the pool itself does not say as quota is the sum of its members' quotas, never the
// provider's; and which meters bill, and what a service has of a period in which it is opened, stay the
// services' own.
type Pool struct {
	ID       string      `json:"pool"` // no service has the same
	Customer string      `json:"customer"`
	Plan     string      `json:"plan"` // may be empty
	Place    string      `json:"place"`
	Currency string      `json:"currency"` // empty: the provider's
	Opened   rating.Date `json:"opened"`   // the first day of a period
	// CommittedUntil is the day before which no downgrade takes effect; zero where there is none.
	CommittedUntil rating.Date `json:"committed_until"`
	Rules
}

// PoolMember says that a service is in a pool, [From, Until). Both are first days of the pool's periods; a zero Until
// is open-ended, and one that is From says that it never was.
type PoolMember struct {
	Service string      `json:"service"`
	From    rating.Date `json:"from"`
	Pool    string      `json:"pool"`
	Until   rating.Date `json:"until"`
}

// poolRules are the settings that a pool has.
var poolRules = slices.DeleteFunc(slices.Clone(ruleColumns), func(column string) bool {
	return slices.Contains([]string{"bills", "partial"}, column)
})

var (
	kindPool = kind{section: "pools", name: "pool", columns: slices.Concat([]string{"pool", "customer", "plan", "place", "currency", "opened", "committed_until"}, poolRules),
		keys: 1, required: []string{"pool", "customer", "opened"}}
	kindMember = kind{section: "pool_members", name: "pool_member", columns: []string{"service", "from", "pool", "until"},
		stored: []string{"service", "from_day", "pool", "until_day"}, keys: 2, required: []string{"service", "from", "pool"}}
)

func readPool(f *fields) Pool {
	return Pool{
		ID:             read(f, "pool", parseID),
		Customer:       read(f, "customer", parseID),
		Plan:           read(f, "plan", parseID),
		Place:          read(f, "place", parseID),
		Currency:       read(f, "currency", parseCurrency),
		Opened:         read(f, "opened", parseDay),
		CommittedUntil: read(f, "committed_until", parseDay),
		Rules:          readRules(f),
	}
}

func (p Pool) row() []string {
	row := []string{p.ID, p.Customer, p.Plan, p.Place, p.Currency, p.Opened.String(), p.CommittedUntil.String()}
	for i, cell := range p.Rules.row() {
		if slices.Contains(poolRules, ruleColumns[i]) {
			row = append(row, cell)
		}
	}
	return row
}

func readMember(f *fields) PoolMember {
	m := PoolMember{
		Service: read(f, "service", parseID),
		From:    read(f, "from", parseDay),
		Pool:    read(f, "pool", parseID),
		Until:   read(f, "until", parseDay),
	}
	if !m.Until.IsZero() && m.Until.Compare(m.From) < 0 {
		f.fail("until", fmt.Errorf("%s is before from", m.Until))
	}
	return m
}

func (m PoolMember) row() []string {
	return []string{m.Service, m.From.String(), m.Pool, m.Until.String()}
}

// contains says whether the service is in the pool at an instant.
func (m PoolMember) contains(at time.Time, zone *time.Location) bool {
	return !at.Before(m.From.In(zone)) && (m.Until.IsZero() || at.Before(m.Until.In(zone)))
}

// poolHistory returns the terms of a pool in the order of time.
func (s *state) poolHistory(pool Pool, changes []ContractChange, zones map[string]*time.Location) ([]terms, *changeFault) {
	alone := *s
	alone.provider.Quota = rating.Quantity{} // it is that of one service
	return alone.history(Service{
		ID: pool.ID, Customer: pool.Customer, Plan: pool.Plan, Place: pool.Place, Currency: pool.Currency,
		Opened: pool.Opened, CommittedUntil: pool.CommittedUntil, Rules: pool.Rules,
	}, changes, zones)
}

// membersByService returns who is in which pool, by service and time.
func (s *state) membersByService() map[string][]PoolMember {
	by := map[string][]PoolMember{}
	for _, m := range s.members.sorted() {
		by[m.Service] = append(by[m.Service], m)
	}
	for _, list := range by {
		slices.SortStableFunc(list, func(a, b PoolMember) int { return a.From.Compare(b.From) })
	}
	return by
}

// PeriodAt returns the period of a service that contains an instant, and the contract by which it is
// charged: that of the period's first instant. While the service is in a pool, periods are the pool's and
// the contract is its own in that pool (rating.Contract.InPool); a period of its own in which it enters or leaves one is
// cut there.
//
// Errors: ErrUnknown.
func (s *Snapshot) PeriodAt(service string, at time.Time) (rating.Contract, rating.Period, error) {
	contract, err := s.Contract(service, at)
	if err != nil {
		return contract, rating.Period{}, err
	}
	zone := contract.Schedule.Zone
	p := contract.Schedule.PeriodAt(at)
	for _, m := range s.members[service] {
		if m.contains(at, zone) {
			return s.periodInPool(service, m.Pool, at)
		}
		if from := m.From.In(zone); from.After(at) && from.Before(p.To) && m.From != m.Until {
			p.To = from
		}
		if !m.Until.IsZero() && m.From != m.Until {
			if until := m.Until.In(zone); !until.After(at) && until.After(p.From) {
				p.From = until
			}
		}
	}
	contract, err = s.Contract(service, p.From)
	return contract, p, err
}

func (s *Snapshot) periodInPool(service, id string, at time.Time) (rating.Contract, rating.Period, error) {
	pool, err := s.Contract(id, at)
	if err != nil {
		return pool, rating.Period{}, err
	}
	p := pool.Schedule.PeriodAt(at)
	if pool, err = s.Contract(id, p.From); err != nil {
		return pool, p, err
	}
	contract, err := s.Contract(service, p.From)
	return contract.InPool(pool), p, err
}

// Pools returns all pools by id.
func (s *Snapshot) Pools() []Pool { return byKey(s.pools) }

// PoolByID returns a pool.
func (s *Snapshot) PoolByID(id string) (Pool, bool) {
	pool, ok := s.pools[id]
	return pool, ok
}

// PoolMembers returns which services are in which pools when, by service and time.
func (s *Snapshot) PoolMembers() []PoolMember {
	var list []PoolMember
	for _, members := range byKey(s.members) {
		list = append(list, members...)
	}
	return list
}
