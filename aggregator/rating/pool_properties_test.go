package rating_test

import (
	"fmt"
	"math/big"
	"reflect"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

// drawnPool is a pool of services, each with usage of its own, in one of its periods.
type drawnPool struct {
	drawn
	members []rating.Contract
	parts   [][]rating.Part // by member
}

func drawPool(t *rapid.T) drawnPool {
	d := drawnPool{drawn: draw(t)}
	pool := d.contract
	pool.Service, pool.Customer = "pool", "r"
	pool.Closed, pool.Partial.Value = rating.Date{}, rating.PartialFull
	own := d.contract
	if rapid.Bool().Draw(t, "sums quotas") {
		pool.Quota, pool.Steps = rating.Setting[rating.Quantity]{}, nil
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "members") {
		member := own
		member.Service, member.Customer = fmt.Sprintf("s%d", i), "c"
		member.Decisions = nil
		if rapid.IntRange(0, 5).Draw(t, "waived") == 0 {
			member.Decisions = []rating.Decision{{ID: "w", Kind: rating.DecideWaive, From: d.period.From}}
		}
		d.members = append(d.members, member.InPool(pool))
		var parts []rating.Part
		for range rapid.IntRange(0, 8).Draw(t, "parts") {
			parts = append(parts, drawPart(t, rating.SlotAfter(d.period.From)))
		}
		d.parts = append(d.parts, parts)
	}
	d.contract = pool
	return d
}

// charge rates the pool; order says which member's account is made first.
func (d drawnPool) charge(t *rapid.T, order []int, parts [][]rating.Part) rating.PoolCharge {
	t.Helper()
	whole := rating.NewAccount(d.contract, d.period, d.until)
	var members []rating.Member
	for _, i := range order {
		account := rating.NewAccount(d.members[i], d.period, d.until)
		for _, part := range parts[i] {
			account.Add(part)
		}
		whole.Merge(account)
		members = append(members, rating.Member{Contract: d.members[i], Usage: usageOf(t, account)})
	}
	pool, err := rating.RatePool(d.period, usageOf(t, whole), members, d.prices)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func usageOf(t *rapid.T, account *rating.Account) rating.Usage {
	t.Helper()
	usage, err := account.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return usage
}

func (d drawnPool) order() []int {
	order := make([]int, len(d.members))
	for i := range order {
		order[i] = i
	}
	return order
}

func TestPoolUsageIsChargedOnceAndSharedWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawPool(t)
		pool := d.charge(t, d.order(), d.parts)
		excess, billed, amount := decimal.Zero, decimal.Zero, decimal.Zero
		in, waived := int64(0), false
		for _, c := range pool.Shares {
			excess, billed, amount = excess.Add(c.Excess), billed.Add(c.BilledQuantity), amount.Add(c.AmountExVAT)
			in += c.InOctets
			waived = waived || c.Kind == rating.KindWaived
			if c.Pool == nil || !c.Pool.AmountExVAT.Equal(pool.Charge.AmountExVAT) || c.Pool.Octets == 0 && !c.AmountExVAT.IsZero() {
				t.Fatalf("%+v of %+v", c, pool.Charge)
			}
		}
		if in != pool.Charge.InOctets || !excess.Equal(pool.Charge.Excess) {
			t.Fatalf("shares have %d in and %s over, the pool %d and %s", in, excess, pool.Charge.InOctets, pool.Charge.Excess)
		}
		if waived {
			if amount.GreaterThan(pool.Charge.AmountExVAT) {
				t.Fatalf("%s is more than %s, and a share is waived", amount, pool.Charge.AmountExVAT)
			}
			return
		}
		if !billed.Equal(pool.Charge.BilledQuantity) || !amount.Equal(pool.Charge.AmountExVAT) {
			t.Fatalf("shares add up to %s for %s, the pool is %s for %s", amount, billed, pool.Charge.AmountExVAT, pool.Charge.BilledQuantity)
		}
	})
}

func TestPoolUsageOrderAndSplittingChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawPool(t)
		want := d.charge(t, d.order(), d.parts)
		pieces := make([][]rating.Part, len(d.parts))
		for i, parts := range d.parts {
			for _, part := range rapid.Permutation(parts).Draw(t, "permuted parts") {
				first, rest := part, part
				first.In.Octets = rapid.Uint64Range(0, part.In.Octets).Draw(t, "split in")
				rest.In.Octets -= first.In.Octets
				rest.Out.Octets, rest.At = 0, part.At.Truncate(rating.SlotLength)
				pieces[i] = append(pieces[i], rest, first)
			}
		}
		order := rapid.Permutation(d.order()).Draw(t, "permuted members")
		got := d.charge(t, order, pieces)
		for i, at := range order {
			if !reflect.DeepEqual(got.Shares[i], want.Shares[at]) || !reflect.DeepEqual(got.Charge, want.Charge) {
				t.Fatalf("got %+v\nwant %+v", got, want)
			}
		}
	})
}

// TestPoolUsageOfOneMemberIsItsOwn holds a pool of one service to what the service alone would be charged.
func TestPoolUsageOfOneMemberIsItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawPool(t)
		d.members, d.parts = d.members[:1], d.parts[:1]
		d.members[0].Decisions = nil
		pool := d.charge(t, []int{0}, d.parts)
		alone := *d.members[0].Pool
		if alone.SumsQuotas() {
			alone.Quota, alone.Steps, alone.Partial = d.members[0].Quota, d.members[0].Steps, d.members[0].Partial
			alone.Opened, alone.Closed = d.members[0].Opened, d.members[0].Closed
		}
		account := rating.NewAccount(alone, d.period, d.until)
		for _, part := range d.parts[0] {
			account.Add(part)
		}
		want, err := rating.Rate(alone, d.period, usageOf(t, account), d.prices)
		if err != nil {
			t.Fatal(err)
		}
		got := pool.Shares[0]
		if pool.Charge.Unit != want.Unit || got.Kind != want.Kind || !got.AmountExVAT.Equal(want.AmountExVAT) || !got.Excess.Equal(want.Excess) || !got.BilledQuantity.Equal(want.BilledQuantity) || !got.Quota.Equal(want.Quota) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

// TestShareOfAnAmount compares with a twin in fractions that gives out the steps that are left one by one.
func TestShareOfAnAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		places := rapid.Int32Range(0, 12).Draw(t, "places")
		total := decimal.New(rapid.Int64Range(-1_000_000_000_000, 1_000_000_000_000).Draw(t, "total"), -rapid.Int32Range(0, 20).Draw(t, "total places"))
		weights := rapid.SliceOfN(rapid.Uint64Range(0, rapid.SampledFrom([]uint64{2, 100, 1 << 62}).Draw(t, "greatest")), 1, 8).Draw(t, "weights")
		got := rating.Shares(total, weights, places)
		want := slowShares(total, weights, max(places, -total.Exponent()))
		sum := decimal.Zero
		for i := range got {
			sum = sum.Add(got[i])
			if !got[i].Equal(want[i]) {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
		if !sum.Equal(total) {
			t.Fatalf("%s add up to %s, want %s", got, sum, total)
		}
	})
}

func slowShares(total decimal.Decimal, weights []uint64, places int32) []decimal.Decimal {
	sum := new(big.Rat)
	for _, w := range weights {
		sum.Add(sum, new(big.Rat).SetFrac(new(big.Int).SetUint64(w), big.NewInt(1)))
	}
	step, left := decimal.New(1, -places), total.Abs()
	parts, lost := make([]decimal.Decimal, len(weights)), make([]*big.Rat, len(weights))
	for i, w := range weights {
		share := big.NewRat(1, int64(len(weights)))
		if sum.Sign() > 0 {
			share = new(big.Rat).SetFrac(new(big.Int).SetUint64(w), big.NewInt(1))
			share.Quo(share, sum)
		}
		share.Mul(share, total.Abs().Rat())
		steps := new(big.Rat).Quo(share, step.Rat())
		parts[i] = decimal.NewFromBigInt(new(big.Int).Quo(steps.Num(), steps.Denom()), -places)
		lost[i] = share.Sub(share, parts[i].Rat())
		left = left.Sub(parts[i])
	}
	for ; left.IsPositive(); left = left.Sub(step) {
		most := 0
		for i := range lost {
			if lost[i].Cmp(lost[most]) > 0 {
				most = i
			}
		}
		parts[most], lost[most] = parts[most].Add(step), big.NewRat(-1, 1)
	}
	for i := range parts {
		if total.IsNegative() {
			parts[i] = parts[i].Neg()
		}
	}
	return parts
}
