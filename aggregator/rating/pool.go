package rating

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// A pool is one allowance that several services share, over periods of its own. Its contract says what
// counts, how much is free and what is charged beyond; the services' own contracts say none of that while
// they are in it, and no overage of their own: what the pool uses is charged once.

// InPool returns the contract by which a service's usage is counted in a pool: the pool's, with the
// service's own names, span of life, kind of meter and decisions. Its quota, steps and partial stay too,
// as its part of a pool whose quota is the sum of its members'.
func (c Contract) InPool(pool Contract) Contract {
	member := pool
	member.Pool = &pool
	member.Service, member.Customer, member.Plan = c.Service, c.Customer, c.Plan
	member.Opened, member.Closed = c.Opened, c.Closed
	member.Bills, member.Decisions = c.Bills, c.Decisions
	member.Quota, member.Steps, member.Partial = c.Quota, c.Steps, c.Partial
	fromPool(&member.Direction)
	fromPool(&member.Block)
	fromPool(&member.Grace)
	fromPool(&member.BillInternal)
	fromPool(&member.Free)
	fromPool(&member.Sampled)
	fromPool(&member.Missing)
	fromPool(&member.SKU)
	fromPool(&member.Place)
	fromPool(&member.Currency)
	fromPool(&member.Zone)
	fromPool(&member.Period)
	fromPool(&member.Rounding)
	return member
}

func fromPool[T any](s *Setting[T]) {
	if s.Level == FromContract {
		s.Level = FromPool
	}
}

// SumsQuotas says that a pool has no quota of its own, but the sum of its members'.
func (c Contract) SumsQuotas() bool { return c.Quota.Value.Unit == "" }

// PoolShare is the pool that a service was in, what all of it used, and the service's use of that. Used,
// Excess and Quota are in Unit, BilledQuantity in the unit of the price.
type PoolShare struct {
	Pool     string `json:"pool"`
	Customer string `json:"customer"` // whose the pool is
	Members  int    `json:"members"`  // services that were in it
	// Octets of OfOctets is the service's use of the pool's: what was charged is shared in this proportion.
	Octets         int64           `json:"octets"`
	OfOctets       int64           `json:"of_octets"`
	Unlimited      bool            `json:"unlimited"`
	Unit           Unit            `json:"unit"`
	Quota          decimal.Decimal `json:"quota"`
	Used           decimal.Decimal `json:"used"`
	Excess         decimal.Decimal `json:"excess"`
	BilledQuantity decimal.Decimal `json:"billed_quantity"`
	Currency       string          `json:"currency"`
	AmountExVAT    decimal.Decimal `json:"amount_ex_vat"`
}

// MarshalJSON writes the amount with all digits of its currency, and no quota, null, where there is none.
func (s PoolShare) MarshalJSON() ([]byte, error) {
	type plain PoolShare // without this method
	out := struct {
		plain
		Quota       *decimal.Decimal `json:"quota"`
		AmountExVAT string           `json:"amount_ex_vat"`
	}{plain: plain(s), AmountExVAT: s.AmountExVAT.StringFixed(CurrencyDigits(s.Currency))}
	if !s.Unlimited {
		out.Quota = &s.Quota
	}
	return json.Marshal(out)
}

// Member is a service in a pool and what it used in one of the pool's periods.
type Member struct {
	Contract Contract // as InPool makes it
	Usage    Usage
}

// PoolCharge is the charge of a pool for one of its periods, and its shares, in the order of the members.
type PoolCharge struct {
	// Contract is the pool's, with the quota that it was rated by.
	Contract Contract
	Charge   Charge
	Shares   []Charge
}

// sharePlaces is how many places behind the point a shared quantity has at least: an octet of a TB.
const sharePlaces = 12

// RatePool returns the charge of a pool for one of its periods, and shares it among all services that were in
// it, at least one. The order of the members changes nothing but that of the shares.
//
// used is what the members used together: the usage of an account of the pool, that of Contract.Pool, into which their accounts
// were merged. It is rated as the usage of one service would be. Excess, billed quantity and amount are then each shared in proportion to the members'
// octets in the direction that counted (Shares has the rule; the amount is shared in the currency's smallest
// unit), so that the shares add up to the charge exactly. A member's Used is its own; with a percentile
// those do not add up to the pool's.
//
// A member whose own overage is waived by a decision is not charged its share; nobody else pays it. Errors:
// those of Rate.
func RatePool(p Period, used Usage, members []Member, prices []Price) (PoolCharge, error) {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(members[a].Contract.Service, members[b].Contract.Service) })
	sorted := make([]Member, len(members))
	for i, at := range order {
		sorted[i] = members[at]
	}
	pool := *sorted[0].Contract.Pool
	if pool.SumsQuotas() {
		pool.Quota, pool.Steps, pool.Partial.Value = Setting[Quantity]{Value: sumOfQuotas(p, sorted), Level: FromPool}, nil, PartialFull
	}
	whole, err := Rate(pool, p, used, prices)
	if err != nil {
		return PoolCharge{}, fmt.Errorf("pool %s: %w", pool.Service, err)
	}
	shares, err := share(pool, p, whole, used, sorted)
	if err != nil {
		return PoolCharge{}, fmt.Errorf("pool %s: %w", pool.Service, err)
	}
	out := PoolCharge{Contract: pool, Charge: whole, Shares: make([]Charge, len(members))}
	for i, at := range order {
		out.Shares[at] = shares[i]
	}
	return out, nil
}

// sumOfQuotas adds up what the members have of the period. The unit is the first member's.
func sumOfQuotas(p Period, members []Member) Quantity {
	sum := decimal.Zero
	for _, m := range members {
		quota := m.Contract.Allowance(p)
		if quota.Unlimited {
			return quota
		}
		sum = sum.Add(quota.Size())
	}
	unit := members[0].Contract.Allowance(p).Unit
	return Quantity{Amount: unit.Of(sum), Unit: unit}
}

// Merge adds the account of another service: for what a pool, or a reseller, used in all. Slots add up one by one;
// a class is counted as the other contract counts it.
func (a *Account) Merge(member *Account) {
	a.overflow = a.overflow || member.overflow
	a.sum(&a.usage.InOctets, member.usage.InOctets)
	a.sum(&a.usage.OutOctets, member.usage.OutOctets)
	a.sum(&a.usage.InVarianceKiB2, member.usage.InVarianceKiB2)
	a.sum(&a.usage.OutVarianceKiB2, member.usage.OutVarianceKiB2)
	a.sum(&a.usage.ExcludedInOctets, member.usage.ExcludedInOctets)
	a.sum(&a.usage.ExcludedOutOctets, member.usage.ExcludedOutOctets)
	first := slotsBetween(a.first, member.first)
	for i, from := range member.slots {
		slot := a.slot(first + i)
		if slot == nil {
			continue
		}
		a.sum(&slot.In, from.In)
		a.sum(&slot.Out, from.Out)
		slot.Missing = slot.Missing || from.Missing
		a.bound(slot)
	}
}

// share returns the members' charges.
func share(pool Contract, p Period, whole Charge, used Usage, members []Member) ([]Charge, error) {
	side := pool.Direction.Value
	if used.Percentile != nil {
		side = used.Percentile.Side
	}
	side = used.side(side)
	of, err := used.Billable(side)
	if err != nil {
		return nil, err
	}
	weights := make([]uint64, len(members))
	for i, m := range members {
		if weights[i], err = m.Usage.Billable(side); err != nil {
			return nil, err
		}
	}
	excess := Shares(whole.Excess, weights, sharePlaces)
	billed := Shares(whole.BilledQuantity, weights, sharePlaces)
	amounts := Shares(whole.AmountExVAT, weights, CurrencyDigits(whole.Currency))
	charges := make([]Charge, len(members))
	for i, m := range members {
		contract, waived := m.Contract.decided(p)
		charge, err := memberCharge(contract, p, m.Usage, pool, whole)
		if err != nil {
			return nil, err
		}
		charge.Pool = &PoolShare{
			Pool: pool.Service, Customer: pool.Customer, Members: len(members), Octets: int64(weights[i]), OfOctets: int64(of),
			Unlimited: whole.Unlimited, Unit: whole.Unit, Quota: whole.Quota, Used: whole.Used, Excess: whole.Excess,
			BilledQuantity: whole.BilledQuantity, Currency: whole.Currency, AmountExVAT: whole.AmountExVAT,
		}
		charge.Excess = excess[i]
		switch {
		case whole.Kind == KindHeld:
			charge.Kind, charge.Hold = KindHeld, fmt.Sprintf("pool %s: %s", pool.Service, whole.Hold)
		case whole.Kind == KindNone || weights[i] == 0:
		case waived:
			charge.Kind = KindWaived
		default:
			charge.Kind, charge.BilledQuantity, charge.AmountExVAT = whole.Kind, billed[i], amounts[i]
			charge.waive(contract.Decisions, p)
		}
		charges[i] = charge
	}
	return charges, nil
}

// memberCharge is a member's usage held against the pool's quota, and nothing charged yet.
func memberCharge(c Contract, p Period, u Usage, pool Contract, whole Charge) (Charge, error) {
	rules := []Rule{{"pool", fmt.Sprintf("%s of customer %s", pool.Service, pool.Customer), FromPool}}
	if pool.Quota.Level == FromPool {
		rules = append(rules, Rule{"quota_in_pool", c.Allowance(p).String(), c.Quota.Level})
	}
	c.Quota, c.Steps, c.Partial = pool.Quota, slices.Clone(pool.Steps), pool.Partial
	c.Opened, c.Closed = pool.Opened, pool.Closed
	fromPool(&c.Quota)
	fromPool(&c.Partial)
	for i := range c.Steps {
		fromPool(&c.Steps[i].Quota)
	}
	charge, _, err := measure(c, p, u)
	if err != nil {
		return charge, err
	}
	charge.Kind, charge.Hold, charge.Excess = KindNone, "", decimal.Zero
	charge.PriceUnit, charge.UnitPrice, charge.PriceFrom = whole.PriceUnit, whole.UnitPrice, whole.PriceFrom
	charge.Rules = append(rules, charge.Rules...)
	return charge, nil
}
