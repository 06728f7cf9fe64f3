package rating

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostmeter/schemas"
)

// ErrUnits is returned where octets and rates meet in one contract.
var ErrUnits = errors.New("octets and rates do not go together")

// Level is where a setting was found. A contract's own setting wins over its plan's, and a plan's
// over the provider's default.
type Level string

// The levels, the strongest first.
const (
	FromContract Level = "contract"
	FromPool     Level = "pool" // the contract of the pool that the service is in
	FromPlan     Level = "plan"
	FromProvider Level = "provider"
	FromDecision Level = "decision" // of a person; it wins over all of them
)

// Setting is a value and the level that it was found at.
type Setting[T any] struct {
	Value T     `json:"value"`
	Level Level `json:"level"`
}

// Contract is everything that rating needs to know of one service. It is a plain value: a statement
// keeps the one that it was computed with.
type Contract struct {
	Service  string `json:"service"`
	Customer string `json:"customer"`
	Plan     string `json:"plan"`

	Direction Setting[Direction] `json:"direction"`
	Quota     Setting[Quantity]  `json:"quota"`
	// Block is what begun prices round up to; where it is the zero value, one unit of the price.
	Block Setting[Quantity] `json:"block"`
	// Steps are the later quotas, in the order of time.
	Steps []Step `json:"steps,omitempty"`
	// Partial is what quota a period has in which the service was opened or closed.
	Partial Setting[PartialPolicy] `json:"partial"`
	Grace   Setting[Grace]         `json:"grace"`
	// BillInternal counts traffic between two of the provider's own addresses as well.
	BillInternal Setting[bool] `json:"bill_internal"`
	// Free are traffic classes that do not count, with spaces between; "none" is none.
	Free Setting[string] `json:"free"`
	// Bills is the kind of meter that counts: address, vnic or port. The others are witnesses.
	Bills Setting[string] `json:"bills"`
	// Sampled is what a sampled estimate is charged by.
	Sampled Setting[SampledPolicy] `json:"sampled"`
	// Missing is what a percentile makes of slots that were not observed.
	Missing Setting[MissingPolicy] `json:"missing"`

	SKU      Setting[string]     `json:"sku"`
	Place    Setting[string]     `json:"place"`
	Currency Setting[string]     `json:"currency"`
	Zone     Setting[string]     `json:"time_zone"`
	Period   Setting[PeriodKind] `json:"period"`
	Rounding Setting[Rounding]   `json:"rounding"`

	Opened Date `json:"opened"` // the anchor of anniversary periods
	Closed Date `json:"closed"` // no period begins on or after it; the zero value is never

	// Decisions are those in force about the service, in the order in which they were made.
	Decisions []Decision `json:"decisions,omitempty"`

	// Pool is the contract of the pool that the service is in, and nil where it is in none (InPool).
	Pool *Contract `json:"pool,omitempty"`

	// Schedule cuts the periods; it is Period, Opened and Zone once more, ready for use.
	Schedule Schedule `json:"-"`

	// Notices have no part in a charge, and a statement keeps none of them.
	Notices NoticeTerms `json:"-"`
}

// PriceKey returns the key under which the contract's prices are published.
func (c Contract) PriceKey() PriceKey {
	return PriceKey{SKU: c.SKU.Value, Place: c.Place.Value, Currency: c.Currency.Value}
}

// Validate holds together what no setting can say alone. Errors: ErrUnits, ErrPercentileError.
func (c Contract) Validate() error {
	rate := c.Direction.Value.IsPercentile()
	f := func(name string, q Quantity) error {
		if q.Unit == "" || q.Unlimited || q.Unit.IsRate() == rate {
			return nil
		}
		return fmt.Errorf("%s %s with direction %s: %w", name, q, c.Direction.Value, ErrUnits)
	}
	if err := f("quota", c.Quota.Value); err != nil {
		return err
	}
	for _, step := range c.Steps {
		if err := f("quota", step.Quota.Value); err != nil {
			return err
		}
	}
	if err := f("block", c.Block.Value); err != nil {
		return err
	}
	if rate && (c.Sampled.Value == SampledLowerBound || c.Sampled.Value == SampledHold) {
		return fmt.Errorf("sampled %s with direction %s: %w", c.Sampled.Value, c.Direction.Value, ErrPercentileError)
	}
	return nil
}

// Counts says whether a class is held against the quota. What goes between two of the provider's own
// addresses counts where the contract says so; a switch port's and a vNIC's own counters, class port,
// are all there is of those meters, and what else is booked at a port is a witness.
func (c Contract) Counts(class string) bool {
	switch class {
	case schemas.ClassPort:
		return !c.byAddress()
	case schemas.ClassInternal:
		return c.byAddress() && c.BillInternal.Value
	}
	return c.byAddress() && !slices.Contains(strings.Fields(c.Free.Value), class)
}

// byAddress says that flow records bill, and not a port's or a vNIC's own counters.
func (c Contract) byAddress() bool { return c.Bills.Value == string(schemas.KindAddress) }

// whole returns the period of the contract's schedule that p is, or is a part of: where a service enters or
// leaves a pool, its own period is cut.
func (c Contract) whole(p Period) Period {
	if c.Schedule.Zone == nil {
		return p
	}
	if whole := c.Schedule.PeriodAt(p.From); !whole.To.Before(p.To) {
		return whole
	}
	return p
}

// Active returns the part of a period in which the service was open.
func (c Contract) Active(p Period) Period {
	if !c.Opened.IsZero() {
		if opened := c.Opened.In(c.Schedule.Zone); opened.After(p.From) {
			p.From = opened
		}
	}
	if !c.Closed.IsZero() {
		if closed := c.Closed.In(c.Schedule.Zone); closed.Before(p.To) {
			p.To = closed
		}
	}
	return p
}

// Rule is one of the rules that made a charge, and the level that it was found at.
type Rule struct {
	Name  string `json:"name"` // as an import file has it
	Value string `json:"value"`
	Level Level  `json:"level"`
}

// String writes "quota=10 TB (plan)".
func (r Rule) String() string { return r.Name + "=" + r.Value + " (" + string(r.Level) + ")" }

// Rules returns every setting that has a part in the charge of a period, with the level that won.
func (c Contract) Rules(p Period) []Rule {
	rules := []Rule{
		{"direction", string(c.Direction.Value), c.Direction.Level},
		{"quota", c.Quota.Value.String(), c.Quota.Level},
		{"period", string(c.Period.Value), c.Period.Level},
		{"time_zone", c.Zone.Value, c.Zone.Level},
		{"bills", c.Bills.Value, c.Bills.Level},
	}
	if c.byAddress() { // counters know no other end
		rules = append(rules, Rule{"internal", strconv.FormatBool(c.BillInternal.Value), c.BillInternal.Level})
	}
	rules = append(rules, []Rule{
		{"sku", c.SKU.Value, c.SKU.Level},
		{"place", c.Place.Value, c.Place.Level},
		{"currency", c.Currency.Value, c.Currency.Level},
		{"rounding", string(c.Rounding.Value), c.Rounding.Level},
	}...)
	if c.Block.Value.Unit != "" {
		rules = append(rules, Rule{"block", c.Block.Value.String(), c.Block.Level})
	}
	if c.byAddress() && c.Free.Value != "" {
		rules = append(rules, Rule{"free", c.Free.Value, c.Free.Level})
	}
	for _, step := range c.Steps {
		if step.From.Before(p.To) {
			rules = append(rules, step.rule())
		}
	}
	if active := c.Active(p); active != c.whole(p) {
		value := fmt.Sprintf("%s, open from %s to %s", c.Partial.Value, active.From.In(c.Schedule.Zone).Format(time.RFC3339), active.To.In(c.Schedule.Zone).Format(time.RFC3339))
		rules = append(rules, Rule{"partial", value, c.Partial.Level})
	}
	if c.Grace.Value.As != "" {
		rules = append(rules, Rule{"grace", c.Grace.Value.String(), c.Grace.Level})
	}
	if c.Direction.Value.IsPercentile() {
		rules = append(rules, Rule{"missing", string(c.Missing.Value), c.Missing.Level})
	} else if c.byAddress() {
		rules = append(rules, Rule{"sampled", string(c.Sampled.Value), c.Sampled.Level})
	}
	for _, d := range c.AllDecisions() {
		if d.concerns(p) {
			rules = append(rules, d.rule())
		}
	}
	return rules
}

// RuleFrom returns the strongest level among the settings that make the charge of a period: its quotas, direction,
// block and grace. Each setting's own level stands beside it in the contract.
func (c Contract) RuleFrom(p Period) Level {
	levels := []Level{c.Quota.Level, c.Direction.Level, c.Block.Level}
	for _, step := range c.Steps {
		if step.From.Before(p.To) {
			levels = append(levels, step.Quota.Level)
		}
	}
	if c.Grace.Value.As != "" {
		levels = append(levels, c.Grace.Level)
	}
	for _, strongest := range []Level{FromContract, FromPool, FromPlan} {
		for _, level := range levels {
			if level == strongest {
				return strongest
			}
		}
	}
	return FromProvider
}
