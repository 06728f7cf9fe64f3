package rating_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

func contract(t testing.TB, quota, block, direction string, key rating.PriceKey) rating.Contract {
	t.Helper()
	c := rating.Contract{Service: "s1", Customer: "c1", Plan: "p1", Opened: date(t, "2026-01-31")}
	var err error
	if c.Quota.Value, err = rating.ParseQuantity(quota); err != nil {
		t.Fatal(err)
	}
	if block != "" {
		if c.Block.Value, err = rating.ParseQuantity(block); err != nil {
			t.Fatal(err)
		}
	}
	c.Direction.Value = rating.Direction(direction)
	c.SKU.Value, c.Place.Value, c.Currency.Value = key.SKU, key.Place, key.Currency
	c.Rounding.Value = rating.HalfEven
	c.Schedule = rating.Schedule{Kind: rating.Anniversary, Anchor: c.Opened, Zone: zone(t, "Europe/London")}
	return c
}

func price(t testing.TB, from, amount string) rating.Price {
	return rating.Price{PriceKey: rating.PriceKey{SKU: "overage", Place: "london", Currency: "GBP"}, From: date(t, from), Noticed: date(t, from).AddDays(-10),
		Per: rating.TB, Begun: true, Amount: decimal.RequireFromString(amount)}
}

func TestPriceVersionAppliesFromTheFirstPeriodOnOrAfterItsDate(t *testing.T) {
	prices := []rating.Price{price(t, "2026-05-01", "70"), price(t, "2026-01-01", "60"), price(t, "2026-05-31", "80")}
	c := contract(t, "1 TB", "", "sum", rating.PriceKey{SKU: "overage", Place: "london", Currency: "GBP"})
	f := func(day, want string) {
		t.Helper()
		got, ok := rating.PriceFor(c, c.Schedule.PeriodAt(date(t, day).In(c.Schedule.Zone)), prices)
		if !ok || got.Amount.String() != want {
			t.Fatalf("price at %s is %s (%v), want %s", day, got.Amount, ok, want)
		}
	}
	f("2026-04-30", "60") // [Apr 30, May 31) began before May 1
	f("2026-05-15", "60")
	f("2026-05-31", "80") // begins on the day of the version
	if _, ok := rating.PriceFor(c, c.Schedule.PeriodAt(date(t, "2025-12-31").In(c.Schedule.Zone)), prices); ok {
		t.Fatal("a price applied to a period that began before its date")
	}
	_, err := rating.Rate(c, c.Schedule.PeriodAt(date(t, "2025-12-31").In(c.Schedule.Zone)), rating.Usage{InOctets: 2e12}, prices)
	if !errors.Is(err, rating.ErrNoPrice) {
		t.Fatalf("got %v, want ErrNoPrice", err)
	}
}

func TestNotice(t *testing.T) {
	p := price(t, "2026-05-01", "60")
	if err := p.Validate(); err != nil {
		t.Fatalf("ten days of notice: %v", err)
	}
	p.Noticed = date(t, "2026-04-22")
	if err := p.Validate(); !errors.Is(err, rating.ErrNotice) {
		t.Fatalf("nine days of notice: got %v", err)
	}
}

// TestRateAgreesWithFractions compares with a twin over exact fractions that knows nothing of decimals.
func TestRateAgreesWithFractions(t *testing.T) {
	units := map[rating.Unit]int64{rating.GB: 1e9, rating.TB: 1e12, rating.GiB: 1 << 30, rating.TiB: 1 << 40}
	london := zone(t, "Europe/London")
	rapid.Check(t, func(t *rapid.T) {
		unit := func(name string) rating.Unit {
			return rapid.SampledFrom([]rating.Unit{rating.GB, rating.TB, rating.GiB, rating.TiB}).Draw(t, name)
		}
		quantity := func(name string) rating.Quantity {
			return rating.Quantity{Amount: decimal.New(rapid.Int64Range(1, 100_000).Draw(t, name), -2), Unit: unit(name + " unit")}
		}
		c := rating.Contract{}
		c.Quota.Value, c.Block.Value = quantity("quota"), quantity("block")
		c.Direction.Value, c.Rounding.Value = rating.Sum, rapid.SampledFrom([]rating.Rounding{rating.HalfEven, rating.HalfUp}).Draw(t, "rounding")
		c.Currency.Value = "GBP"
		c.Schedule = rating.Schedule{Kind: rating.Calendar, Zone: london}
		p := rating.Price{PriceKey: rating.PriceKey{Currency: "GBP"}, From: rating.Date{Year: 2020, Month: 1, Day: 1}, Per: unit("per"), Begun: rapid.Bool().Draw(t, "begun"),
			Amount: decimal.New(rapid.Int64Range(0, 100_000).Draw(t, "price"), -3)}
		used := rapid.Uint64Range(0, math.MaxInt64).Draw(t, "used")
		charge, err := rating.Rate(c, c.Schedule.PeriodAt(rating.Date{Year: 2026, Month: 5, Day: 5}.In(london)), rating.Usage{InOctets: used / 3, OutOctets: used - used/3}, []rating.Price{p})
		if err != nil {
			t.Fatal(err)
		}
		octets := func(q rating.Quantity) *big.Rat {
			return new(big.Rat).Mul(q.Amount.Rat(), new(big.Rat).SetInt64(units[q.Unit]))
		}
		excess := new(big.Rat).Sub(new(big.Rat).SetInt(new(big.Int).SetUint64(used)), octets(c.Quota.Value))
		if excess.Sign() <= 0 {
			if charge.Kind != rating.KindNone || !charge.AmountExVAT.IsZero() {
				t.Fatalf("within the quota, got %+v", charge)
			}
			return
		}
		if p.Begun {
			block := octets(c.Block.Value)
			blocks := new(big.Rat).Quo(excess, block)
			n := new(big.Int).Quo(blocks.Num(), blocks.Denom())
			if !blocks.IsInt() {
				n.Add(n, big.NewInt(1))
			}
			excess.Mul(block, new(big.Rat).SetInt(n))
		}
		billed := excess.Quo(excess, new(big.Rat).SetInt64(units[p.Per]))
		if charge.BilledQuantity.Rat().Cmp(billed) != 0 {
			t.Fatalf("billed %s, want %s", charge.BilledQuantity, billed.FloatString(20))
		}
		if want := roundPennies(new(big.Rat).Mul(billed, p.Amount.Rat()), c.Rounding.Value); charge.AmountExVAT.Shift(2).String() != want {
			t.Fatalf("amount %s, want %s pennies", charge.AmountExVAT, want)
		}
	})
}

func roundPennies(pounds *big.Rat, rule rating.Rounding) string {
	pennies := pounds.Mul(pounds, big.NewRat(100, 1))
	whole, rest := new(big.Int).QuoRem(pennies.Num(), pennies.Denom(), new(big.Int))
	half := new(big.Int).Lsh(rest, 1).Cmp(pennies.Denom())
	if half > 0 || half == 0 && (rule == rating.HalfUp || whole.Bit(0) == 1) {
		whole.Add(whole, big.NewInt(1))
	}
	return whole.String()
}

func TestOverflowIsAnError(t *testing.T) {
	c := contract(t, "10 TB", "", "sum", rating.PriceKey{})
	p := c.Schedule.PeriodAt(date(t, "2026-05-05").In(c.Schedule.Zone))
	for _, u := range []rating.Usage{{InOctets: math.MaxUint64, OutOctets: 1}, {InOctets: math.MaxInt64, OutOctets: 1}} {
		if _, err := rating.Rate(c, p, u, nil); !errors.Is(err, rating.ErrOverflow) {
			t.Errorf("%+v: got %v, want ErrOverflow", u, err)
		}
	}
}

func TestStandardErrorCountsOneDirection(t *testing.T) {
	u := rating.Usage{InVarianceKiB2: 9, OutVarianceKiB2: 16}
	for direction, want := range map[rating.Direction]int64{rating.Sum: 5 * 1024, rating.In: 3 * 1024, rating.Out: 4 * 1024} {
		if got := u.StandardErrorOctets(direction); got != want {
			t.Errorf("%s: %d, want %d", direction, got, want)
		}
	}
}

func FuzzParseQuantity(f *testing.F) {
	for _, text := range []string{"10 TB", "0.1TiB", "unlimited", "1e9 GB", "-1 TB", ".5 GB"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := rating.ParseQuantity(text)
		if err != nil {
			return
		}
		again, err := rating.ParseQuantity(q.String())
		if err != nil || !again.Equal(q) {
			t.Fatalf("%q reads as %s, which reads as %s, %v", text, q, again, err)
		}
	})
}

func FuzzParseGrace(f *testing.F) {
	for _, text := range []string{"10 % threshold", "0.5% allowance", "-1 % threshold", "10 %", "1e9 % allowance"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := rating.ParseGrace(text)
		if err != nil {
			return
		}
		again, err := rating.ParseGrace(g.String())
		if err != nil || again.As != g.As || !again.Percent.Equal(g.Percent) {
			t.Fatalf("%q reads as %s, which reads as %s, %v", text, g, again, err)
		}
	})
}
