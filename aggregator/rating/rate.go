package rating

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/shopspring/decimal"
)

// ErrOverflow is returned where octets do not fit into 63 bits, which is 9.2 exabytes.
var ErrOverflow = errors.New("octets overflow")

// ErrNoSlots is returned where a percentile is asked of usage that has none.
var ErrNoSlots = errors.New("usage has no five-minute slots")

// Usage is what a service used in a period, of the classes that its contract counts.
//
// Variances are those of the sampling estimate in KiB squared, as the ledger keeps them.
type Usage struct {
	InOctets        uint64 `json:"in_octets"`
	OutOctets       uint64 `json:"out_octets"`
	InVarianceKiB2  uint64 `json:"in_variance_kib2"`
	OutVarianceKiB2 uint64 `json:"out_variance_kib2"`
	// ExcludedInOctets and ExcludedOutOctets would have counted, but for a decision.
	ExcludedInOctets  uint64 `json:"excluded_in_octets"`
	ExcludedOutOctets uint64 `json:"excluded_out_octets"`
	// Classes is all that was used, whether it counts or not.
	Classes []ClassUsage `json:"classes,omitempty"`
	// Percentile is there where the contract's direction is one.
	Percentile *Percentile `json:"percentile,omitempty"`
	// Disputed says what other meters of the service contradict in it; empty where they do not, or there are none.
	Disputed string `json:"disputed,omitempty"`
}

// Billable returns the octets that count in a direction; with a percentile no octets do. Errors:
// ErrOverflow.
func (u Usage) Billable(d Direction) (uint64, error) {
	switch d = u.side(d); d {
	case In:
		return fits(u.InOctets, 0)
	case Out:
		return fits(u.OutOctets, 0)
	case Sum:
		return fits(u.InOctets, u.OutOctets)
	}
	return 0, nil
}

// side returns the greater direction for Max, in where both are equal, and any other as it is.
func (u Usage) side(d Direction) Direction {
	switch {
	case d != Max:
		return d
	case u.OutOctets > u.InOctets:
		return Out
	}
	return In
}

// StandardErrorOctets returns the standard error of Billable as an estimate, in whole octets,
// rounded up: the root of the variance. It is shown; what a contract may charge by is Interval. That of a percentile is not
// known, and 0.
func (u Usage) StandardErrorOctets(d Direction) int64 {
	if d.IsPercentile() {
		return 0
	}
	d = u.side(d)
	variance := 0.0
	if d != Out {
		variance += float64(u.InVarianceKiB2)
	}
	if d != In {
		variance += float64(u.OutVarianceKiB2)
	}
	return int64(math.Ceil(math.Sqrt(variance) * 1024))
}

// Kind is what a line of a statement is.
type Kind string

// The kinds of charges.
const (
	KindNone       Kind = "none"       // the quota was enough
	KindOverage    Kind = "overage"    // use beyond the quota
	KindAdjustment Kind = "adjustment" // the difference to what a closed statement said
	KindWaived     Kind = "waived"     // an overage that a person decided not to charge
	KindHeld       Kind = "held"       // not to be charged, nor closed, until a person has decided
)

// Charge is one priced line. Quota, Used and Excess are exact and in Unit; BilledQuantity is in
// PriceUnit, and AmountExVAT is BilledQuantity times UnitPrice, rounded once by the contract's rule.
type Charge struct {
	Kind                Kind            `json:"kind"`
	Direction           Direction       `json:"direction"`
	InOctets            int64           `json:"in_octets"`
	OutOctets           int64           `json:"out_octets"`
	ExcludedInOctets    int64           `json:"excluded_in_octets"` // by a decision, beside InOctets
	ExcludedOutOctets   int64           `json:"excluded_out_octets"`
	BillableOctets      int64           `json:"billable_octets"`  // 0 where a percentile counts
	EstimatedOctets     int64           `json:"estimated_octets"` // BillableOctets, but where a lower bound is charged
	BitsPerSecond       int64           `json:"bits_per_second"`  // 0 where octets count
	StandardErrorOctets int64           `json:"standard_error_octets"`
	Unlimited           bool            `json:"unlimited"`
	Unit                Unit            `json:"unit"`
	Quota               decimal.Decimal `json:"quota"`
	Used                decimal.Decimal `json:"used"`
	Excess              decimal.Decimal `json:"excess"`
	Grace               decimal.Decimal `json:"grace"`      // beyond the quota; what it is, is in Rules
	PriceUnit           Unit            `json:"price_unit"` // empty where no price is known
	BilledQuantity      decimal.Decimal `json:"billed_quantity"`
	UnitPrice           decimal.Decimal `json:"unit_price"`
	PriceFrom           Date            `json:"price_from"` // the date of the price version
	Currency            string          `json:"currency"`
	AmountExVAT         decimal.Decimal `json:"amount_ex_vat"`
	RuleFrom            Level           `json:"rule_from"`
	// Hold says why a charge is held; empty where it is not.
	Hold string `json:"hold"`
	// Rules are all that had a part in the charge.
	Rules []Rule `json:"rules"`
	// Pool is whose share of a pool's charge this is; nil where the service is in none.
	Pool *PoolShare `json:"pool,omitempty"`
}

// Rate returns the charge of a contract for what was used in one of its periods.
//
// The excess is what was used beyond the quota, or, where grace is an allowance, beyond quota and grace;
// where grace is a threshold there is none until it is crossed. With a price for what is begun, the excess is rounded up to whole blocks; one octet over the quota
// begins a block. Without, the exact excess is charged. A charge that is held has no amount, and says
// why. Errors: ErrNoPrice where there is an excess and no version applies, ErrOverflow, ErrUnits.
func Rate(c Contract, p Period, u Usage, prices []Price) (Charge, error) {
	c, waived := c.decided(p)
	charge, excess, err := measure(c, p, u)
	if err != nil {
		return Charge{}, err
	}
	price, ok := PriceFor(c, p, prices)
	if ok {
		charge.PriceUnit, charge.UnitPrice, charge.PriceFrom = price.Per, price.Amount, price.From
	}
	if charge.Kind == KindNone || charge.Kind == KindHeld && !waived {
		return charge, nil
	}
	if waived { // held or not, for then nobody has to decide any more
		charge.Kind, charge.Hold, charge.Excess = KindWaived, "", charge.Unit.Of(excess)
		return charge, nil
	}
	if !ok {
		return Charge{}, fmt.Errorf("%w for %s in the period that starts on %s", ErrNoPrice, c.PriceKey(), DateOf(p.From.In(c.Schedule.Zone)))
	}
	if price.Per.IsRate() != charge.Unit.IsRate() {
		return Charge{}, fmt.Errorf("price (%s) per %s with direction %s: %w", price.PriceKey, price.Per, charge.Direction, ErrUnits)
	}
	charge.BilledQuantity = billed(c.Block.Value, price, excess)
	charge.AmountExVAT = c.Rounding.Value.round(charge.BilledQuantity.Mul(price.Amount), CurrencyDigits(charge.Currency))
	charge.waive(c.Decisions, p)
	return charge, nil
}

// measure fills in all of a charge that needs no price, and returns the excess in octets, or bit/s, that of a held one too.
func measure(c Contract, p Period, u Usage) (Charge, decimal.Decimal, error) {
	in, err1 := fits(u.InOctets, 0)
	out, err2 := fits(u.OutOctets, 0)
	billable, err3 := u.Billable(c.Direction.Value)
	excludedIn, err4 := fits(u.ExcludedInOctets, 0)
	excludedOut, err5 := fits(u.ExcludedOutOctets, 0)
	if err := errors.Join(err1, err2, err3, err4, err5, c.Validate()); err != nil {
		return Charge{}, decimal.Zero, err
	}
	quota := c.Allowance(p)
	charge := Charge{
		Kind:                KindNone,
		Direction:           c.Direction.Value,
		InOctets:            int64(in),
		OutOctets:           int64(out),
		ExcludedInOctets:    int64(excludedIn),
		ExcludedOutOctets:   int64(excludedOut),
		BillableOctets:      int64(billable),
		EstimatedOctets:     int64(billable),
		StandardErrorOctets: u.StandardErrorOctets(c.Direction.Value),
		Unlimited:           quota.Unlimited,
		Unit:                quota.Unit,
		Quota:               quota.Amount,
		Currency:            c.Currency.Value,
		RuleFrom:            c.RuleFrom(p),
		Rules:               c.Rules(p),
	}
	counted := decimal.NewFromUint64(billable)
	interval := Interval{Low: counted, Estimate: counted, High: counted}
	if c.Direction.Value.IsPercentile() {
		if u.Percentile == nil {
			return Charge{}, decimal.Zero, fmt.Errorf("direction %s: %w", c.Direction.Value, ErrNoSlots)
		}
		charge.BitsPerSecond = u.Percentile.BitsPerSecond
		counted = decimal.NewFromInt(charge.BitsPerSecond)
		if quota.Unlimited {
			charge.Unit = MbitPerSecond
		}
		if u.Percentile.Missing > 0 && c.Missing.Value == MissingHold && !quota.Unlimited {
			charge.hold("%d of %d slots were not observed", u.Percentile.Missing, u.Percentile.Slots)
		}
	} else {
		interval = u.Interval(c.Direction.Value)
		if c.Sampled.Value == SampledLowerBound {
			counted = interval.Low
			charge.BillableOctets = counted.IntPart()
		}
	}
	charge.Used = charge.Unit.Of(counted)
	grace := c.Grace.Value.of(quota.Size())
	charge.Grace = charge.Unit.Of(grace)
	line := quota.Size().Add(grace) // what goes beyond it is charged for
	if !quota.Unlimited && c.Sampled.Value == SampledHold && interval.holds(line) {
		charge.hold("%s %s lies in the interval of the estimate, %s to %s %s", charge.Unit.Of(line), charge.Unit,
			charge.Unit.Of(interval.Low), charge.Unit.Of(interval.High), charge.Unit)
	}
	if u.Disputed != "" && !quota.Unlimited && !c.Released(p) {
		charge.hold("%s", u.Disputed)
	}
	excess := counted.Sub(quota.Size())
	if c.Grace.Value.As == GraceAllowance {
		excess = counted.Sub(line)
	}
	switch {
	case quota.Unlimited || !counted.GreaterThan(line):
		excess = decimal.Zero
	case charge.Kind != KindHeld:
		charge.Kind = KindOverage
		charge.Excess = charge.Unit.Of(excess)
	}
	return charge, excess, nil
}

// hold holds a charge, for one more reason.
func (c *Charge) hold(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if c.Kind == KindHeld {
		reason = c.Hold + "; " + reason
	}
	c.Kind, c.Hold = KindHeld, reason
}

// billed returns the quantity that an excess is charged as, in the unit of the price.
func billed(block Quantity, price Price, excess decimal.Decimal) decimal.Decimal {
	if !price.Begun {
		return price.Per.Of(excess)
	}
	size := decimal.NewFromInt(price.Per.Size())
	if block.Amount.IsPositive() {
		size = block.Size()
	}
	blocks, rest := excess.QuoRem(size, 0)
	if rest.IsPositive() {
		blocks = blocks.Add(decimal.NewFromInt(1))
	}
	return price.Per.Of(blocks.Mul(size))
}

// fits adds two counts of octets and refuses a sum that a signed difference could not hold.
func fits(a, b uint64) (uint64, error) {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 || sum > math.MaxInt64 {
		return 0, fmt.Errorf("%d + %d: %w", a, b, ErrOverflow)
	}
	return sum, nil
}
