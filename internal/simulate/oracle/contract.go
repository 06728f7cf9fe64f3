package oracle

import (
	"math/big"
	"slices"
	"strings"
	"time"
)

// contract is the settings of a service, resolved.
type contract struct {
	levels    [3]Settings // contract, plan, provider
	plan      string
	zone      *time.Location
	opened    time.Time
	openedDay int
}

var levelNames = [3]string{"contract", "plan", "provider"}

// defaults are the settings of a contract about which nobody says anything.
var defaults = Settings{
	"direction": "sum", "period": "calendar", "sku": "overage", "bills": "address", "internal": "false", "missing": "ignore",
	"sampled": "estimate", "partial": "full", "rounding": "half_even", "time_zone": "UTC",
}

// find returns a setting and the level that won; the level is empty where nobody says it.
func (c contract) find(name string) (text, level string) {
	for i, settings := range c.levels {
		if text := settings[name]; text != "" {
			return text, levelNames[i]
		}
	}
	return defaults[name], ""
}

func (c contract) text(name string) string {
	text, _ := c.find(name)
	return text
}

func (c contract) isPercentile() bool { return strings.HasPrefix(c.text("direction"), "p95") }

// terms are a contract from an instant on: zero for those that the service was opened with.
type terms struct {
	from     time.Time
	contract contract
}

func (t terms) quota() quantity { return parseQuantity(t.contract.text("quota")) }

// termsOf is the history that a service's orders make. An upgrade is true when it is ordered. A downgrade waits for the
// first anniversary day that is neither before the order nor before the commitment is over, and a later order
// replaces one that waits.
func (w *World) termsOf(s *Service) []terms {
	list := []terms{{contract: w.contractOf(s, s.Plan, s.Settings)}}
	orders := slices.Clone(s.Orders)
	slices.SortFunc(orders, func(a, b Order) int { return a.At.Compare(b.At) })
	for _, order := range orders {
		for list[len(list)-1].from.After(order.At) {
			list = list[:len(list)-1]
		}
		now := list[len(list)-1]
		plan, own := now.contract.plan, now.contract.levels[0]
		if order.Plan != "" {
			plan = order.Plan
		}
		if order.Quota != "" {
			own = with(own, "quota", order.Quota)
		}
		next := terms{from: order.At, contract: w.contractOf(s, plan, own)}
		if next.quota().less(now.quota()) {
			wait := order.At
			if s.Committed != "" {
				wait = later(wait, next.contract.midnight(s.Committed))
			}
			next.from = next.contract.anniversaryFrom(wait)
		}
		list = append(list, next)
	}
	return list
}

func with(settings Settings, name, text string) Settings {
	copied := Settings{name: text}
	for k, v := range settings {
		if k != name {
			copied[k] = v
		}
	}
	return copied
}

func (w *World) contractOf(s *Service, plan string, own Settings) contract {
	c := contract{plan: plan, levels: [3]Settings{own, w.Plans[plan], w.Provider}}
	zone, err := time.LoadLocation(c.text("time_zone"))
	if err != nil {
		panic("oracle: zone " + c.text("time_zone")) // a fault of whoever drew it
	}
	c.zone = zone
	c.opened = c.midnight(s.Opened)
	day, err := time.Parse(time.DateOnly, s.Opened)
	if err != nil {
		panic("oracle: date " + s.Opened)
	}
	c.openedDay = day.Day()
	return c
}

// charged returns the contract that a period is charged by, that of its first instant, and all the terms whose quota is
// in force in it, the first from the period's beginning on.
func (w *World) charged(s *Service, p Period) (contract, []terms) {
	var inside []terms
	for _, t := range w.termsOf(s) {
		switch {
		case !t.from.After(p.From):
			inside = []terms{t}
		case t.from.Before(p.To):
			inside = append(inside, t)
		}
	}
	return inside[0].contract, inside
}

// allowance is the quota of a period: each quota times its share of the period's time, added up and rounded up, or the
// quota itself where it is one for the whole period. What is in force last says the unit; with no limit there is none.
func (w *World) allowance(s *Service, c contract, p Period, inside []terms) quantity {
	active := p
	if c.text("partial") == "prorated" {
		active = w.active(s, c, p)
	}
	last := inside[len(inside)-1].quota()
	if len(inside) == 1 && active.equal(p) || len(inside) == 1 && last.unlimited {
		return last
	}
	sum := new(big.Rat)
	for i, t := range inside {
		from, to := later(p.From, t.from), p.To
		if i+1 < len(inside) {
			to = inside[i+1].from
		}
		from, to = later(from, active.From), earlier(to, active.To)
		if !from.Before(to) {
			continue
		}
		quota := t.quota()
		if quota.unlimited {
			return quantity{unlimited: true}
		}
		share := big.NewRat(int64(to.Sub(from)), int64(p.To.Sub(p.From)))
		sum.Add(sum, share.Mul(share, quota.base))
	}
	return quantity{base: new(big.Rat).SetInt(ceiling(sum)), unit: last.unit}
}

// active is the part of a period in which the service was open.
func (w *World) active(s *Service, c contract, p Period) Period {
	p.From = later(p.From, c.midnight(s.Opened).In(c.zone))
	if s.Closed != "" {
		p.To = earlier(p.To, c.midnight(s.Closed).In(c.zone))
	}
	return p
}
