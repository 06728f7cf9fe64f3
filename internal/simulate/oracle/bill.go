package oracle

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bill charges a service for one of its periods.
func (w *World) Bill(s *Service, p Period) (Row, error) { return w.measured(s, p).charge() }

// measured is the bill of a period as far as it needs no price.
func (w *World) measured(s *Service, p Period) *bill {
	c, inside := w.charged(s, p)
	from := ruleFrom(inside)
	c, waived := c.decided(s, p)
	total := w.add(s, c, p)
	b := &bill{contract: c, place: s.Place, period: p, total: total, quota: w.allowance(s, c, p, inside), waived: waived, prices: w.Prices}
	b.row = Row{
		Customer: s.Customer, Service: s.ID, Plan: c.plan, PeriodFrom: p.From.Format(time.RFC3339), PeriodTo: p.To.Format(time.RFC3339),
		TimeZone: c.text("time_zone"), Direction: c.text("direction"), InOctets: total.in.String(), OutOctets: total.out.String(),
		Currency: c.text("currency"), RuleFrom: from, FreeIn: total.freeIn.String(), FreeOut: total.freeOut.String(),
		ExcludedIn: total.excludedIn.String(), ExcludedOut: total.excludedOut.String(), Slots: "0", SlotsMissing: "0", BitsPerSecond: "0",
		BillableOctets: "0", Estimated: "0", Grace: "0", Excess: "0", BilledQuantity: "0",
	}
	b.measure()
	return b
}

// bill is one charge in the making.
type bill struct {
	contract contract
	place    string
	period   Period
	total    sums
	quota    quantity
	waived   bool
	prices   []Price
	row      Row

	used, line *big.Rat // what counts, and what it may come to without a charge
	hold       bool
}

// decided is the contract as decisions have it in a period, the last one where several settle the same.
func (c contract) decided(s *Service, p Period) (decided contract, waived bool) {
	for _, d := range s.inForce() {
		if d.Kind == "exclude" || !p.contains(d.From) {
			continue
		}
		switch d.Kind {
		case "estimate", "lower_bound":
			c.levels[0] = with(c.levels[0], "sampled", d.Kind)
		case "ignore", "zero":
			c.levels[0] = with(c.levels[0], "missing", d.Kind)
		case "waive":
			waived = true
		}
	}
	return c, waived
}

// ruleFrom is the strongest level that said a quota, the direction, the block or the grace of a period.
func ruleFrom(inside []terms) string {
	strongest := "provider"
	for i, t := range inside {
		names := []string{"quota"}
		if i == 0 { // the other settings of a change count from the next period on
			names = []string{"quota", "direction", "block", "grace"}
		}
		for _, name := range names {
			_, level := t.contract.find(name)
			if level == "contract" || level == "plan" && strongest == "provider" {
				strongest = level
			}
		}
	}
	return strongest
}

func (b *bill) charge() (Row, error) {
	b.row.Used = in(b.used, b.row.Unit)
	if !b.quota.unlimited {
		b.row.Quota = in(b.quota.base, b.row.Unit)
	}
	price, found := b.price()
	if found {
		b.row.UnitPrice, b.row.PriceUnit = price.Amount, price.Per
	}
	b.row.Kind, b.row.AmountVAT = "none", money(new(big.Rat), b.row.Currency, "")
	over := !b.quota.unlimited && b.used.Cmp(b.line) > 0
	switch {
	case b.hold && !b.waived:
		b.row.Kind = "held"
		return b.row, nil
	case !over:
		if b.hold {
			b.row.Kind = "waived"
		}
		return b.row, nil
	}
	excess := new(big.Rat).Sub(b.used, b.quota.base)
	if strings.HasSuffix(b.contract.text("grace"), "allowance") {
		excess.Sub(b.used, b.line)
	}
	b.row.Kind, b.row.Excess = "overage", in(excess, b.row.Unit)
	if b.waived {
		b.row.Kind = "waived"
		return b.row, nil
	}
	if !found {
		return b.row, fmt.Errorf("no price for %s at %s in %s", b.contract.text("sku"), b.place, b.row.Currency)
	}
	billed := b.billed(excess, price)
	b.row.BilledQuantity = in(billed, price.Per)
	amount, _ := new(big.Rat).SetString(price.Amount)
	amount.Mul(amount, billed.Quo(billed, sizeOf(price.Per)))
	b.row.AmountVAT = money(amount, b.row.Currency, b.contract.text("rounding"))
	return b.row, nil
}

// billed is the excess, or, where what is begun is charged, whole blocks.
func (b *bill) billed(excess *big.Rat, price Price) *big.Rat {
	if !price.Begun {
		return new(big.Rat).Set(excess)
	}
	block := sizeOf(price.Per)
	if text := b.contract.text("block"); text != "" {
		block = parseQuantity(text).base
	}
	blocks := ceiling(new(big.Rat).Quo(excess, block))
	return block.Mul(block, new(big.Rat).SetInt(blocks))
}

// price is the version with the latest date that is not after the period's first day.
func (b *bill) price() (Price, bool) {
	var best Price
	c := b.contract
	for _, p := range b.prices {
		if p.SKU == c.text("sku") && p.Place == b.place && p.Currency == b.row.Currency &&
			p.From <= b.period.From.Format(time.DateOnly) && p.From > best.From {
			best = p
		}
	}
	return best, best.From != ""
}

// measure fills in what counts, and what it is held against.
func (b *bill) measure() {
	c := b.contract
	b.row.Unit = b.quota.unit
	if b.row.Unit == "" {
		b.row.Unit = "GB"
		if c.isPercentile() {
			b.row.Unit = "Mbit/s"
		}
	}
	b.line = new(big.Rat)
	if !b.quota.unlimited {
		b.line.Set(b.quota.base)
		if percent, _, ok := strings.Cut(c.text("grace"), " %"); ok {
			share, _ := new(big.Rat).SetString(percent)
			share.Mul(share, big.NewRat(1, 100)).Mul(share, b.quota.base)
			b.line.Add(b.line, share)
			b.row.Grace = in(share, b.row.Unit)
		}
	}
	if c.isPercentile() {
		b.percentile()
		return
	}
	low, estimate, high := b.interval()
	b.row.Estimated, b.row.BillableOctets = estimate.String(), estimate.String()
	b.used = new(big.Rat).SetInt(estimate)
	if c.text("sampled") == "lower_bound" {
		b.row.BillableOctets = low.String()
		b.used.SetInt(low)
	}
	charged := func(n *big.Int) bool { return new(big.Rat).SetInt(n).Cmp(b.line) > 0 }
	b.hold = c.text("sampled") == "hold" && !b.quota.unlimited && charged(low) != charged(high)
}

// interval is the estimate of what counts and the ends of its 95 % interval.
func (b *bill) interval() (low, estimate, high *big.Int) {
	t := b.total
	inLow, inHigh := ends(t.in, t.inVariance)
	outLow, outHigh := ends(t.out, t.outVariance)
	switch b.contract.text("direction") {
	case "in":
		return inLow, t.in, inHigh
	case "out":
		return outLow, t.out, outHigh
	case "max":
		return greater(inLow, outLow), greater(t.in, t.out), greater(inHigh, outHigh)
	}
	sum := new(big.Int).Add(t.in, t.out)
	low, high = ends(sum, new(big.Int).Add(t.inVariance, t.outVariance))
	return low, sum, high
}

func greater(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

// ends are an estimate less and plus 1.96 standard errors, in whole octets away from it, the lower not below nothing.
// The variance is in KiB squared: of octets it is 2^20 times that.
func ends(estimate, variance *big.Int) (low, high *big.Int) {
	// The least whole number whose square is not below 1.96^2 * 2^20 * variance.
	square := new(big.Rat).SetInt(variance)
	square.Mul(square, big.NewRat(196*196, 100*100)).Mul(square, big.NewRat(1<<20, 1))
	least := ceiling(square)
	half := new(big.Int).Sqrt(least)
	if new(big.Int).Mul(half, half).Cmp(least) < 0 {
		half.Add(half, big.NewInt(1))
	}
	low = new(big.Int).Sub(estimate, half)
	if low.Sign() < 0 {
		low.SetInt64(0)
	}
	return low, new(big.Int).Add(estimate, half)
}

// percentile sorts the slots of the direction. Of p95, the greater of in and out counts.
func (b *bill) percentile() {
	var best ranked
	switch b.contract.text("direction") {
	case "p95_in":
		best = b.rank(true, false)
	case "p95_out":
		best = b.rank(false, true)
	case "p95_sum":
		best = b.rank(true, true)
	default:
		best = b.rank(true, false)
		if out := b.rank(false, true); out.octets.Cmp(best.octets) > 0 {
			best = out
		}
	}
	bits := new(big.Int).Mul(best.octets, big.NewInt(8))
	bits.Quo(bits, big.NewInt(300))
	b.used = new(big.Rat).SetInt(bits)
	b.row.BitsPerSecond, b.row.Slots, b.row.SlotsMissing = bits.String(), strconv.Itoa(best.slots), strconv.Itoa(best.missing)
	b.hold = b.contract.text("missing") == "hold" && best.missing > 0 && !b.quota.unlimited
}

// ranked is the slot that counts, and of how many it was taken.
type ranked struct {
	octets         *big.Int
	slots, missing int
}

// rank leaves out the slots that are excluded in one of the directions, and those that are missing but for the policy
// that takes them for what was seen in them. Of n slots it takes the one with the rank 95 n / 100, rounded up.
func (b *bill) rank(ofIn, ofOut bool) ranked {
	r := ranked{octets: new(big.Int)}
	var list []*big.Int
	for _, s := range b.total.slots {
		if ofIn && s.inExcluded || ofOut && s.outExcluded {
			continue
		}
		r.slots++
		if s.missing {
			r.missing++
			if b.contract.text("missing") != "zero" {
				continue
			}
		}
		octets := new(big.Int)
		if ofIn {
			octets.Add(octets, s.in)
		}
		if ofOut {
			octets.Add(octets, s.out)
		}
		list = append(list, octets)
	}
	if len(list) == 0 {
		return r
	}
	slices.SortFunc(list, func(a, b *big.Int) int { return a.Cmp(b) })
	rank := ceiling(big.NewRat(int64(len(list))*95, 100))
	r.octets = list[rank.Int64()-1]
	return r
}
