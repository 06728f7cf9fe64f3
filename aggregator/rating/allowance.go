package rating

import (
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// Step is a quota that takes effect at an instant, until the next one does.
type Step struct {
	From    time.Time         `json:"from"`
	Ordered time.Time         `json:"ordered"` // before From where a downgrade had to wait
	Plan    string            `json:"plan"`    // empty where the plan stays
	Quota   Setting[Quantity] `json:"quota"`
}

// PartialPolicy says what quota a period has in which the service was opened or closed.
type PartialPolicy string

// The policies. None is PartialFull.
const (
	PartialFull     PartialPolicy = "full"     // the whole quota
	PartialProrated PartialPolicy = "prorated" // by the share of the period's time in which it was open
)

// ParsePartialPolicy reads "full" or "prorated".
func ParsePartialPolicy(text string) (PartialPolicy, error) {
	switch p := PartialPolicy(text); p {
	case PartialFull, PartialProrated:
		return p, nil
	}
	return "", fmt.Errorf("partial %q: want full or prorated", text)
}

// Compare returns -1, 0 or +1 as q is less than, as much as or more than other, both in octets or both in
// bit/s. No limit is more than any.
func (q Quantity) Compare(other Quantity) int {
	switch {
	case q.Unlimited && other.Unlimited:
		return 0
	case q.Unlimited:
		return 1
	case other.Unlimited:
		return -1
	}
	return q.Size().Cmp(other.Size())
}

// Allowance returns the quota of a period of the contract, and in its steps the last one that is in force
// in it.
//
// Where the quota changes inside the period, or only a part of it counts, the allowance is each quota
// times its share of the period's time, added up, and rounded up to whole octets or bit/s. A period of
// which a part has no limit has none. A period that is cut, because the service enters or leaves a pool, has
// the whole quota, or where partial says so its share of the time.
func (c Contract) Allowance(p Period) Quantity {
	spans := c.quotas(p)
	last := spans[len(spans)-1].quota
	active, whole := p, p
	if c.Partial.Value == PartialProrated {
		active, whole = c.Active(p), c.whole(p)
	}
	for _, s := range spans {
		if s.quota.Unlimited && s.from.Before(active.To) && active.From.Before(s.to) {
			return Quantity{Unlimited: true, Unit: s.quota.Unit}
		}
	}
	if len(spans) == 1 && active == whole {
		return last
	}
	sum := decimal.Zero
	for _, s := range spans {
		if s.from.Before(active.From) {
			s.from = active.From
		}
		if s.to.After(active.To) {
			s.to = active.To
		}
		if s.from.Before(s.to) && !s.quota.Unlimited {
			sum = sum.Add(s.quota.Size().Mul(decimal.NewFromInt(int64(s.to.Sub(s.from)))))
		}
	}
	size, rest := sum.QuoRem(decimal.NewFromInt(int64(whole.To.Sub(whole.From))), 0)
	if rest.IsPositive() {
		size = size.Add(decimal.NewFromInt(1))
	}
	return Quantity{Amount: last.Unit.Of(size), Unit: last.Unit}
}

// quotaSpan is a part of a period with one quota.
type quotaSpan struct {
	from, to time.Time
	quota    Quantity
}

// quotas cuts a period where the quota changes.
func (c Contract) quotas(p Period) []quotaSpan {
	spans := []quotaSpan{{from: p.From, to: p.To, quota: c.Quota.Value}}
	for _, step := range c.Steps {
		switch last := &spans[len(spans)-1]; {
		case !step.From.Before(p.To):
		case step.From.After(last.from):
			last.to = step.From
			spans = append(spans, quotaSpan{from: step.From, to: p.To, quota: step.Quota.Value})
		default:
			last.quota = step.Quota.Value
		}
	}
	return spans
}

// rule writes a step as a rule, "20 TB from 2026-05-12T00:00:00Z, plan dedicated-20".
func (s Step) rule() Rule {
	value := s.Quota.Value.String() + " from " + s.From.UTC().Format(time.RFC3339)
	if s.Ordered.Before(s.From) {
		value += ", ordered " + s.Ordered.UTC().Format(time.RFC3339)
	}
	if s.Plan != "" {
		value += ", plan " + s.Plan
	}
	return Rule{"quota", value, s.Quota.Level}
}
