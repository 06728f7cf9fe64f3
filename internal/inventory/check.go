package inventory

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"hostmeter/aggregator/rating"
	"hostmeter/schemas"
)

// check holds the whole state that would be to the promises of the package.
func (c *change) check() {
	for _, customer := range c.customers.sorted() {
		c.checkCustomer(customer)
		c.checkReseller(customer)
	}
	prices := c.prices.sorted()
	changes := c.changesByService()
	for _, service := range c.services.sorted() {
		c.checkService(service, changes[service.ID], prices)
	}
	for _, pool := range c.pools.sorted() {
		c.checkPool(pool, changes[pool.ID], prices)
	}
	c.checkMembers()
	for _, d := range c.decisions.sorted() {
		c.checkDecision(d)
	}
	c.checkCredits()
	for _, change := range c.changes.sorted() {
		_, service := c.services.rows[change.Service]
		if _, pool := c.pools.rows[change.Service]; !service && !pool {
			c.faultIn(&kindChange, kindChange.keyOf(change.row()), "service", "%q is neither a service nor a pool", change.Service)
		}
	}
	c.checkOwnership()
	for _, e := range c.edits {
		if e.kind == &kindService {
			c.checkCounters(c.services.rows[e.new[0]])
		}
	}
}

// checkCounters refuses settings of a service that say something of flow records alone, where a port's or a vNIC's own
// counters bill. What a plan or the provider says is for others too.
func (c *change) checkCounters(service Service) {
	contract, ok := c.firstTerms(service.ID)
	if !ok || contract.Bills.Value == string(schemas.KindAddress) {
		return
	}
	fault := func(column, value, why string) {
		c.faultIn(&kindService, service.ID, column, "%s has no effect with bills: %s, whose counters %s; leave it out, or bill by address", value, contract.Bills.Value, why)
	}
	if service.Free != "" && service.Free != "none" {
		fault("free", service.Free, "know no other end")
	}
	if service.Internal != nil && !*service.Internal {
		fault("internal", "false", "know no other end and hold internal traffic too")
	}
	if service.Sampled == rating.SampledHold || service.Sampled == rating.SampledLowerBound {
		fault("sampled", string(service.Sampled), "are exact")
	}
}

// faultIn is fault at a cell of the row of this change that has the key, or of what is stored.
func (c *change) faultIn(k *kind, key, column, format string, args ...any) {
	where := fmt.Sprintf("%s %s (stored)", k.name, key)
	if row, ok := c.where[k.section+" "+key]; ok {
		where = row.at(column)
	}
	c.fault(where, column+": "+format, args...)
}

// checkCustomer wants a name of who is imported, unless it was erased.
func (c *change) checkCustomer(customer Customer) {
	if row, ok := c.where["customers "+customer.ID]; ok && customer.Name == "" && customer.Erased.IsZero() {
		c.fault(row.at("name"), "name: missing")
	}
}

func (c *change) checkReseller(customer Customer) {
	seen := map[string]bool{customer.ID: true}
	for id := customer.Reseller; id != ""; id = c.customers.rows[id].Reseller {
		if _, ok := c.customers.rows[id]; !ok {
			c.faultIn(&kindCustomer, customer.ID, "reseller", "customer %q is not known", id)
			return
		}
		if seen[id] {
			c.faultIn(&kindCustomer, customer.ID, "reseller", "%q sells to itself in the end", id)
			return
		}
		seen[id] = true
	}
}

func (c *change) checkService(service Service, changes []ContractChange, prices []rating.Price) {
	fault := func(column, format string, args ...any) {
		c.faultIn(&kindService, service.ID, column, format, args...)
	}
	if _, ok := c.customers.rows[service.Customer]; !ok {
		fault("customer", "customer %q is not known", service.Customer)
	}
	if _, ok := c.plans.rows[service.Plan]; !ok {
		fault("plan", "plan %q is not known", service.Plan)
		return
	}
	if !service.Closed.IsZero() && service.Closed.Compare(service.Opened) < 0 {
		fault("closed", "%s is before opened, %s", service.Closed, service.Opened)
	}
	history, wrong := c.history(service, changes, c.zones)
	if wrong != nil {
		c.faultHistory(wrong, fault)
		return
	}
	if history[0].contract.Quota.Value.Unit == "" {
		fault("plan", "neither the service nor plan %q has a quota (write unlimited where there is none)", service.Plan)
		return
	}
	c.checkTerms(history, prices, fault)
}

// faultHistory names what is wrong in the terms of a service or a pool: at the order that makes it so, or in its own row.
func (c *change) faultHistory(wrong *changeFault, fault func(column, format string, args ...any)) {
	if wrong.change.Service != "" {
		c.faultIn(&kindChange, kindChange.keyOf(wrong.change.row()), wrong.column, "%v", wrong.err)
		return
	}
	fault(wrong.column, "%v", wrong.err)
}

// checkTerms holds each of the terms of a service or a pool to what makes sense together, and to a price.
func (c *change) checkTerms(history []terms, prices []rating.Price, fault func(column, format string, args ...any)) {
	contract := history[0].contract
	if contract.Currency.Value == "" {
		fault("currency", "missing, and the provider has none")
		return
	}
	for i, t := range history {
		if i > 0 { // the fault is the change's, and its plan's
			key := kindChange.keyOf(ContractChange{Service: contract.Service, At: t.ordered}.row())
			fault = func(_, format string, args ...any) { c.faultIn(&kindChange, key, "plan", format, args...) }
		}
		if err := t.contract.Validate(); err != nil {
			fault("plan", "%v", err)
			return
		}
		if i+1 == len(history) || history[i+1].from.After(c.now) { // in force now, or later
			c.checkPrice(t.contract, later(t.from, contract.Opened.In(contract.Schedule.Zone)), prices, fault)
		}
	}
}

// firstTerms returns the contract that a service, or a pool, began with; false where there is none, or none that can be resolved.
func (c *change) firstTerms(id string) (rating.Contract, bool) {
	if service, ok := c.services.rows[id]; ok {
		contract, err := resolve(c.provider, c.plans.rows[service.Plan], service, c.zones)
		return contract, err == nil
	}
	pool, ok := c.pools.rows[id]
	if !ok {
		return rating.Contract{}, false
	}
	history, wrong := c.poolHistory(pool, nil, c.zones)
	if wrong != nil {
		return rating.Contract{}, false
	}
	return history[0].contract, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checkPrice wants a price for the period that is open now, or the first one of terms that are not in
// force yet: what is used too much must cost something.
func (c *change) checkPrice(contract rating.Contract, at time.Time, prices []rating.Price, fault func(column, format string, args ...any)) {
	if contract.Quota.Value.Unlimited {
		return
	}
	at = later(at, c.now)
	if !contract.Closed.IsZero() && !at.Before(contract.Closed.In(contract.Schedule.Zone)) {
		return
	}
	period := contract.Schedule.PeriodAt(at)
	price, ok := rating.PriceFor(contract, period, prices)
	if ok && price.Per.IsRate() != contract.Direction.Value.IsPercentile() {
		fault("plan", "price (%s) is per %s, and direction %s: %v", price.PriceKey, price.Per, contract.Direction.Value, rating.ErrUnits)
	}
	if !ok {
		fault("place", "no price for (%s) in the period that starts on %s; a price applies from the first period that starts on or after its date",
			contract.PriceKey(), rating.DateOf(period.From.In(contract.Schedule.Zone)))
	}
}

// checkPriceVersion refuses to change a price that customers have been charged by, be it by a new version that is
// dated back. What had no price may be given one.
func (c *change) checkPriceVersion(row Row, key string, added bool) {
	price, today := c.prices.rows[key], rating.DateOf(c.now.UTC())
	if !added {
		if price.From.Compare(today) <= 0 {
			c.fault(row.Where, "price (%s) from %s is in effect and is not changed; add a version with its own date and notice", price.PriceKey, price.From)
		}
		return
	}
	if price.From.Compare(today) >= 0 {
		return
	}
	for other, before := range c.prices.rows {
		_, imported := c.where[kindPrice.section+" "+other]
		if before.PriceKey == price.PriceKey && before.From.Compare(price.From) < 0 && !imported {
			c.fault(row.at("from"), "from: %s has passed, and the periods since then have the price from %s: give the new price a date to come, and settle what was charged by a credit",
				price.From, before.From)
			return
		}
	}
}

// checkChangeTime refuses a new or another order that lies in a closed period: that keeps the contract which
// it was closed with.
func (c *change) checkChangeTime(row Row, key string) {
	order := c.changes.rows[key]
	what, end := "service", c.closedTo[order.Service]
	if _, ok := c.pools.rows[order.Service]; ok {
		what, end = "pool", c.poolClosedTo(order.Service)
	}
	if order.At.Before(end) {
		c.fault(row.at("at"), "at: the periods of %s %s are closed to %s: give that time or a later one, and settle the closed period by a decision or a credit",
			what, order.Service, formatTime(end))
	}
}

func (c *change) checkOwnership() {
	byKey := map[schemas.MeterID][]Ownership{}
	for _, o := range c.ownership.rows {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	keys := make([]schemas.MeterID, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		spans := byKey[key]
		sort.Slice(spans, func(i, j int) bool { return spans[i].From.Before(spans[j].From) })
		for i, o := range spans {
			id := kindOwnership.keyOf(o.row())
			if _, ok := c.services.rows[o.Service]; !ok {
				c.faultIn(&kindOwnership, id, "service", "service %q is not known", o.Service)
			}
			if i > 0 && (spans[i-1].Until.IsZero() || o.From.Before(spans[i-1].Until)) {
				c.overlap(spans[i-1], o)
			}
		}
	}
}

// overlap blames the row that is in this change, the later one where both are.
func (c *change) overlap(earlier, later Ownership) {
	blamed, other := later, earlier
	if _, ok := c.where["ownership "+kindOwnership.keyOf(later.row())]; !ok {
		blamed, other = earlier, later
	}
	until := formatTime(other.Until)
	if until == "" {
		until = "until further notice"
	}
	c.faultIn(&kindOwnership, kindOwnership.keyOf(blamed.row()), "key", "%s belongs to service %s from %s, %s; give that row an until first",
		blamed.Key, other.Service, formatTime(other.From), until)
}
