package rating

import (
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// DecisionKind is what a person has decided about a service's usage or charge.
type DecisionKind string

// The kinds of decisions.
const (
	// DecideExclude takes the usage of a time range out of the account, as that of an attack.
	DecideExclude DecisionKind = "exclude"
	// These four settle a period, held or not: they are what the contract says in it.
	DecideEstimate   DecisionKind = "estimate"
	DecideLowerBound DecisionKind = "lower_bound"
	DecideIgnore     DecisionKind = "ignore"
	DecideZero       DecisionKind = "zero"
	// DecideRelease lets a period go whose usage is disputed: it is charged by what was counted.
	DecideRelease DecisionKind = "release"
	// DecideWaive does not charge a period's overage, or a part of it (Amount).
	DecideWaive DecisionKind = "waive"
	// DecideCredit gives what a closed period was charged too much although the window for credits is over.
	DecideCredit DecisionKind = "credit"
	// These four are what the customer has chosen about a quota that is exceeded, or was forecast to be. They
	// charge nothing and waive nothing: what was used is charged as ever.
	DecideUpgrade    DecisionKind = "upgrade"
	DecideThrottle   DecisionKind = "throttle"
	DecideDisconnect DecisionKind = "disconnect"
	DecideNothing    DecisionKind = "nothing"
)

// Decision is what somebody has decided, and why. It wins over every setting.
type Decision struct {
	ID   string       `json:"id"`
	Kind DecisionKind `json:"decision"`
	// From and Until are, of an exclusion, whole slots [From, Until). Of the others From is an instant in
	// the period, and Until zero; that of a choice is when it was made.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Direction is what an exclusion is of: In, Out, or Sum for both.
	Direction Direction `json:"direction"`
	// Amount is how much of the charge is waived, in the contract's currency and ex VAT: what lies between Beyond and
	// Beyond + Amount. Where it is zero, all is.
	Amount decimal.Decimal `json:"amount,omitzero"`
	Beyond decimal.Decimal `json:"beyond,omitzero"`
	By     string          `json:"by"`
	Reason string          `json:"reason"`
}

// concerns says whether a decision is about a period.
func (d Decision) concerns(p Period) bool {
	if d.Kind == DecideExclude {
		return p.Overlaps(d.From, d.Until)
	}
	return p.Contains(d.From)
}

// rule writes the decision as a rule.
func (d Decision) rule() Rule {
	value := d.ID
	switch {
	case !d.Amount.IsZero():
		value = fmt.Sprintf("%s, %s of what is charged beyond %s", d.ID, d.Amount, d.Beyond)
	case d.Kind.IsChoice():
		value = fmt.Sprintf("%s at %s", d.ID, d.From.UTC().Format(time.RFC3339))
	case d.Kind == DecideExclude:
		value = fmt.Sprintf("%s from %s to %s, %s", d.ID, d.From.UTC().Format(time.RFC3339), d.Until.UTC().Format(time.RFC3339), d.Direction)
	}
	return Rule{string(d.Kind), value + ", by " + d.By + ": " + d.Reason, FromDecision}
}

// decided returns the contract as decisions have it in a period: of several that settle the same, the last
// one in the list.
func (c Contract) decided(p Period) (decided Contract, waived bool) {
	for _, d := range c.Decisions {
		if !d.concerns(p) {
			continue
		}
		switch d.Kind {
		case DecideEstimate, DecideLowerBound:
			c.Sampled = Setting[SampledPolicy]{Value: SampledPolicy(d.Kind), Level: FromDecision}
		case DecideIgnore, DecideZero:
			c.Missing = Setting[MissingPolicy]{Value: MissingPolicy(d.Kind), Level: FromDecision}
		case DecideWaive:
			waived = waived || d.Amount.IsZero()
		}
	}
	return c, waived
}

// waive takes out of a charge what decisions waive of a part of it. Each is about what those before it have left. The
// quantity goes with the amount.
func (c *Charge) waive(decisions []Decision, p Period) {
	charged := c.AmountExVAT
	for _, d := range decisions {
		if d.Kind == DecideWaive && d.concerns(p) {
			beyond := decimal.Max(c.AmountExVAT.Sub(d.Beyond), decimal.Zero)
			c.AmountExVAT = c.AmountExVAT.Sub(decimal.Min(beyond, d.Amount))
		}
	}
	switch {
	case c.AmountExVAT.Equal(charged):
	case c.AmountExVAT.IsZero():
		c.Kind, c.BilledQuantity = KindWaived, decimal.Zero
	default:
		c.BilledQuantity = exact(c.BilledQuantity.Sub(charged.Sub(c.AmountExVAT).DivRound(c.UnitPrice, sharePlaces)))
	}
}

// AllDecisions returns those about the service, behind those about the pool that it is in.
func (c Contract) AllDecisions() []Decision {
	if c.Pool == nil || len(c.Pool.Decisions) == 0 {
		return c.Decisions
	}
	return slices.Concat(c.Pool.Decisions, c.Decisions)
}

// Credited says whether a person has decided that a period's credits are given after their window.
func (c Contract) Credited(p Period) bool {
	return slices.ContainsFunc(c.AllDecisions(), func(d Decision) bool { return d.Kind == DecideCredit && d.concerns(p) })
}

// exclusions are decisions that exclude traffic.
type exclusions []Decision

// exclusions returns those about the service and about its pool.
func (c Contract) exclusions() exclusions {
	var list exclusions
	for _, d := range c.AllDecisions() {
		if d.Kind == DecideExclude {
			list = append(list, d)
		}
	}
	return list
}

// at says which directions are excluded in the slot that contains an instant.
func (x exclusions) at(at time.Time) (in, out bool) {
	for _, d := range x {
		if !at.Before(d.From) && at.Before(d.Until) {
			in = in || d.Direction != Out
			out = out || d.Direction != In
		}
	}
	return in, out
}

// ExcludedAt says which directions are excluded in the slot that contains an instant.
func (c Contract) ExcludedAt(at time.Time) (in, out bool) { return c.exclusions().at(at) }

// Released says whether a person has let a period of the service, or of the pool, go whose usage is disputed.
func (c Contract) Released(p Period) bool {
	return slices.ContainsFunc(c.Decisions, func(d Decision) bool { return d.Kind == DecideRelease && d.concerns(p) })
}

// Cuts returns the instants at which an exclusion begins or ends: no Part lies on both sides of one.
func (c Contract) Cuts() []time.Time {
	var cuts []time.Time
	for _, d := range c.exclusions() {
		cuts = append(cuts, d.From, d.Until)
	}
	return cuts
}
