package inventory

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"hostmeter/aggregator/rating"
)

// checkPool holds a pool to what services are held to, and to an id and a first day of its own.
func (c *change) checkPool(pool Pool, changes []ContractChange, prices []rating.Price) {
	fault := func(column, format string, args ...any) { c.faultIn(&kindPool, pool.ID, column, format, args...) }
	if _, taken := c.services.rows[pool.ID]; taken {
		fault("pool", "%q is a service already", pool.ID)
	}
	if _, ok := c.customers.rows[pool.Customer]; !ok {
		fault("customer", "customer %q is not known", pool.Customer)
	}
	if _, ok := c.plans.rows[pool.Plan]; !ok && pool.Plan != "" {
		fault("plan", "plan %q is not known", pool.Plan)
		return
	}
	history, wrong := c.poolHistory(pool, changes, c.zones)
	if wrong != nil {
		c.faultHistory(wrong, fault)
		return
	}
	schedule := history[0].contract.Schedule
	opened := pool.Opened.In(schedule.Zone)
	if first := schedule.PeriodAt(opened).From; !first.Equal(opened) {
		fault("opened", "%s is not the first day of one of the pool's periods, as %s is", pool.Opened, rating.DateOf(first.In(schedule.Zone)))
	}
	c.checkTerms(history, prices, fault)
}

// checkMembers holds memberships to the pools' periods, and services to one pool at a time.
func (c *change) checkMembers() {
	by := c.membersByService()
	for _, service := range slices.Sorted(maps.Keys(by)) {
		list := by[service]
		for i, m := range list {
			fault := func(column, format string, args ...any) {
				c.faultIn(&kindMember, kindMember.keyOf(m.row()), column, format, args...)
			}
			c.checkMember(service, m, fault)
			if i == 0 || m.From == m.Until {
				continue
			}
			if before := list[i-1]; before.From != before.Until && (before.Until.IsZero() || m.From.Compare(before.Until) < 0) {
				fault("from", "service %s is in pool %s from %s already; give that row an until first", service, before.Pool, before.From)
			}
		}
	}
}

func (c *change) checkMember(id string, m PoolMember, fault func(column, format string, args ...any)) {
	service, ok := c.services.rows[id]
	if !ok {
		fault("service", "service %q is not known", id)
		return
	}
	pool, ok := c.pools.rows[m.Pool]
	if !ok {
		fault("pool", "pool %q is not known", m.Pool)
		return
	}
	if !sellsTo(c.customers.rows, pool.Customer, service.Customer) {
		fault("pool", "pool %s is of customer %s, who is neither %s, whose the service is, nor a reseller to it", m.Pool, pool.Customer, service.Customer)
	}
	own, wrong1 := c.history(service, nil, c.zones)
	shared, wrong2 := c.poolHistory(pool, nil, c.zones)
	if wrong1 != nil || wrong2 != nil {
		return // said already
	}
	contract, terms := own[0].contract, shared[0].contract
	if contract.Zone.Value != terms.Zone.Value {
		fault("pool", "pool %s has time_zone %s, and the service %s: periods would not meet", m.Pool, terms.Zone.Value, contract.Zone.Value)
		return
	}
	for _, bound := range []struct {
		column string
		day    rating.Date
	}{{"from", m.From}, {"until", m.Until}} {
		if bound.day.IsZero() {
			continue
		}
		zone := terms.Schedule.Zone
		at := bound.day.In(zone)
		if p := terms.Schedule.PeriodAt(at); !p.From.Equal(at) {
			fault(bound.column, "%s is inside a period of pool %s: want its first day, %s, or the next one's, %s", bound.day, m.Pool, rating.DateOf(p.From.In(zone)), rating.DateOf(p.To.In(zone)))
		}
	}
	if m.From.Compare(pool.Opened) < 0 {
		fault("from", "pool %s was opened on %s", m.Pool, pool.Opened)
	}
	if terms.SumsQuotas() {
		if err := contract.InPool(terms).Validate(); err != nil {
			fault("pool", "pool %s adds up its members' quotas: %v", m.Pool, err)
		}
	}
}

// sellsTo says whether reseller is the customer itself, or a reseller above it.
func sellsTo(customers map[string]Customer, reseller, customer string) bool {
	for seen := map[string]bool{}; customer != "" && !seen[customer]; customer = customers[customer].Reseller {
		if customer == reseller {
			return true
		}
		seen[customer] = true
	}
	return false
}

// poolClosedTo is the end of a pool's last closed period: of those of its members while they were in it.
func (c *change) poolClosedTo(pool string) (closed time.Time) {
	for _, m := range c.members.rows {
		end, ok := c.closedTo[m.Service]
		service := c.services.rows[m.Service]
		contract, err := resolve(c.provider, c.plans.rows[service.Plan], service, c.zones)
		if m.Pool != pool || !ok || err != nil || !m.From.In(contract.Schedule.Zone).Before(end) {
			continue
		}
		if until := m.Until.In(contract.Schedule.Zone); !m.Until.IsZero() && until.Before(end) {
			end = until
		}
		if end.After(closed) {
			closed = end
		}
	}
	return closed
}

// checkMemberTime refuses a membership that would change closed periods, of the service or of the pool.
func (c *change) checkMemberTime(row Row, old []string, m PoolMember) {
	since := m.From
	if old != nil && old[2] == m.Pool { // another end, so only the time from the earlier of both ends on
		was := readMember(&fields{get: cellOf(&kindMember, old)})
		since = earlierEnd(was.Until, m.Until)
	}
	service, known := c.services.rows[m.Service]
	contract, err := resolve(c.provider, c.plans.rows[service.Plan], service, c.zones)
	if !known || err != nil {
		return // said elsewhere
	}
	zone := contract.Schedule.Zone
	if end, ok := c.closedTo[m.Service]; ok && since.In(zone).Before(end) {
		c.fault(row.at("from"), "from: the periods of service %s are closed to %s: its pool changes from then on, not before", m.Service, formatTime(end))
		return
	}
	for _, other := range c.members.rows {
		end, closed := c.closedTo[other.Service]
		if other.Pool != m.Pool || other.Service == m.Service || !closed || !other.From.In(zone).Before(end) {
			continue
		}
		if !other.Until.IsZero() && other.Until.In(zone).Before(end) {
			end = other.Until.In(zone)
		}
		if since.In(zone).Before(end) {
			c.fault(row.at("from"), "from: the periods of pool %s are closed to %s: it has other members from then on, not before", m.Pool, formatTime(end))
			return
		}
	}
}

// earlierEnd returns the earlier of two ends, of which zero is none.
func earlierEnd(a, b rating.Date) rating.Date {
	if a.IsZero() || !b.IsZero() && b.Compare(a) < 0 {
		return b
	}
	return a
}

// checkNotPooled refuses a decision about a service that only its pool's charge could heed.
func (c *change) checkNotPooled(d Decision, contract rating.Contract) error {
	switch d.Kind {
	case rating.DecideEstimate, rating.DecideLowerBound, rating.DecideIgnore, rating.DecideZero:
		for _, m := range c.members.rows {
			if m.Service == d.Service && m.contains(d.From, contract.Schedule.Zone) {
				return fmt.Errorf("service %s is in pool %s then, which is charged as a whole: decide about service: %s", d.Service, m.Pool, m.Pool)
			}
		}
	}
	return nil
}
