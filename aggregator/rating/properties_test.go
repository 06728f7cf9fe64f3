package rating_test

import (
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

// These hold for every contract. `make properties` draws 100,000 cases of each; the ordinary run draws 100.
// TestPeriodsTile is the one about periods.

// draw makes a contract, one of its periods, prices, and usage in the period's first day.
type drawn struct {
	contract rating.Contract
	period   rating.Period
	prices   []rating.Price
	parts    []rating.Part
	until    time.Time
}

var classes = []string{"external", "internal", "backup", "scrubbed"}

func draw(t *rapid.T) drawn {
	d := drawn{}
	c := &d.contract
	percentile := rapid.Bool().Draw(t, "percentile")
	units := []rating.Unit{rating.GB, rating.TB, rating.GiB, rating.TiB}
	directions := []rating.Direction{rating.Sum, rating.In, rating.Out, rating.Max}
	if percentile {
		units = []rating.Unit{rating.MbitPerSecond, rating.GbitPerSecond}
		directions = []rating.Direction{rating.P95, rating.P95In, rating.P95Out, rating.P95Sum}
	}
	quantity := func(name string) rating.Quantity {
		return rating.Quantity{Amount: decimal.New(rapid.Int64Range(1, 5_000).Draw(t, name), -2), Unit: rapid.SampledFrom(units).Draw(t, name+" unit")}
	}
	c.Schedule = drawSchedule(t)
	c.Direction.Value = rapid.SampledFrom(directions).Draw(t, "direction")
	c.Quota.Value, c.Block.Value = quantity("quota"), quantity("block")
	c.Bills.Value, c.Currency.Value = "address", rapid.SampledFrom([]string{"GBP", "JPY", "BHD"}).Draw(t, "currency")
	c.BillInternal.Value = rapid.Bool().Draw(t, "internal")
	c.Free.Value = rapid.SampledFrom([]string{"", "none", "backup", "backup scrubbed"}).Draw(t, "free")
	c.Missing.Value = rapid.SampledFrom([]rating.MissingPolicy{rating.MissingIgnore, rating.MissingZero}).Draw(t, "missing")
	c.Rounding.Value = rapid.SampledFrom([]rating.Rounding{rating.HalfEven, rating.HalfUp}).Draw(t, "rounding")
	c.Partial.Value = rapid.SampledFrom([]rating.PartialPolicy{rating.PartialFull, rating.PartialProrated}).Draw(t, "partial")
	if rapid.Bool().Draw(t, "grace") {
		c.Grace.Value = rating.Grace{Percent: decimal.New(rapid.Int64Range(0, 500).Draw(t, "percent"), -1),
			As: rapid.SampledFrom([]rating.GraceKind{rating.GraceThreshold, rating.GraceAllowance}).Draw(t, "grace kind")}
	}
	d.period = c.Schedule.PeriodAt(time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "at"), 0))
	length := int64(d.period.To.Sub(d.period.From) / time.Second)
	at := int64(0)
	for range rapid.IntRange(0, 2).Draw(t, "steps") {
		at += rapid.Int64Range(1, length).Draw(t, "step at")
		c.Steps = append(c.Steps, rating.Step{From: d.period.From.Add(time.Duration(at) * time.Second), Quota: rating.Setting[rating.Quantity]{Value: quantity("step")}})
	}
	if rapid.IntRange(0, 3).Draw(t, "closes") == 0 {
		c.Closed = rating.DateOf(d.period.From.In(c.Schedule.Zone)).AddDays(rapid.IntRange(2, 20).Draw(t, "closed"))
	}
	first := rating.SlotAfter(d.period.From)
	if rapid.Bool().Draw(t, "excluded") {
		from := first.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "excluded from")) * rating.SlotLength)
		c.Decisions = append(c.Decisions, rating.Decision{ID: "d", Kind: rating.DecideExclude, From: from,
			Until:     from.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "excluded slots")) * rating.SlotLength),
			Direction: rapid.SampledFrom([]rating.Direction{rating.In, rating.Out, rating.Sum}).Draw(t, "excluded direction")})
	}
	d.prices = []rating.Price{{PriceKey: rating.PriceKey{Currency: c.Currency.Value}, From: rating.Date{Year: 2000, Month: 1, Day: 1}, Per: rapid.SampledFrom(units).Draw(t, "per"),
		Begun: rapid.Bool().Draw(t, "begun"), Amount: decimal.New(rapid.Int64Range(0, 100_000).Draw(t, "price"), -3)}}
	d.until = first.Add(40 * rating.SlotLength)
	for range rapid.IntRange(0, 30).Draw(t, "parts") {
		d.parts = append(d.parts, drawPart(t, first))
	}
	return d
}

func drawPart(t *rapid.T, first time.Time) rating.Part {
	octets := func(name string) rating.Amount {
		return rating.Amount{Octets: rapid.Uint64Range(0, 1<<43).Draw(t, name)}
	}
	slot := rapid.IntRange(0, 39).Draw(t, "slot")
	return rating.Part{At: first.Add(time.Duration(slot)*rating.SlotLength + time.Duration(rapid.IntRange(0, 299).Draw(t, "second"))*time.Second),
		Class: rapid.SampledFrom(classes).Draw(t, "class"), In: octets("in"), Out: octets("out")}
}

func (d drawn) charge(t *rapid.T, parts []rating.Part) rating.Charge {
	t.Helper()
	charge, _ := d.rate(t, parts)
	return charge
}

func (d drawn) rate(t *rapid.T, parts []rating.Part) (rating.Charge, rating.Usage) {
	t.Helper()
	account := rating.NewAccount(d.contract, d.period, d.until)
	account.Miss(d.period.From.Add(time.Hour), d.period.From.Add(65*time.Minute))
	for _, part := range parts {
		account.Add(part)
	}
	usage, err := account.Usage()
	if err != nil {
		t.Fatal(err)
	}
	charge, err := rating.Rate(d.contract, d.period, usage, d.prices)
	if err != nil {
		t.Fatal(err)
	}
	return charge, usage
}

func TestMoreUsageNeverCostsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		before := d.charge(t, d.parts)
		more := append(d.parts[:len(d.parts):len(d.parts)], drawPart(t, rating.SlotAfter(d.period.From)))
		after := d.charge(t, more)
		if after.AmountExVAT.LessThan(before.AmountExVAT) || after.Used.LessThan(before.Used) || after.BilledQuantity.LessThan(before.BilledQuantity) {
			t.Fatalf("%s for %s became %s for %s", before.AmountExVAT, before.Used, after.AmountExVAT, after.Used)
		}
	})
}

func TestSplittingUsageInsideASlotChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		var pieces []rating.Part
		for _, part := range d.parts {
			first := part
			first.In.Octets = rapid.Uint64Range(0, part.In.Octets).Draw(t, "split in")
			first.Out.Octets = rapid.Uint64Range(0, part.Out.Octets).Draw(t, "split out")
			rest := part
			rest.At = part.At.Truncate(rating.SlotLength).Add(time.Duration(rapid.IntRange(0, 299).Draw(t, "split second")) * time.Second)
			rest.In.Octets -= first.In.Octets
			rest.Out.Octets -= first.Out.Octets
			pieces = append(pieces, first, rest)
		}
		want, wantUsage := d.rate(t, d.parts)
		if got, usage := d.rate(t, pieces); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(usage, wantUsage) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestOrderOfUsageChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		want, wantUsage := d.rate(t, d.parts)
		permuted := rapid.Permutation(d.parts).Draw(t, "permuted")
		if got, usage := d.rate(t, permuted); !reflect.DeepEqual(got, want) || !reflect.DeepEqual(usage, wantUsage) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// TestAmountIsQuantityTimesPrice holds what a reader of the report may compute again.
func TestAmountIsQuantityTimesPrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		charge, usage := d.rate(t, d.parts)
		product := charge.BilledQuantity.Mul(charge.UnitPrice)
		half := decimal.New(5, -rating.CurrencyDigits(charge.Currency)-1)
		if charge.AmountExVAT.Sub(product).Abs().GreaterThan(half) {
			t.Fatalf("%s is not %s times %s", charge.AmountExVAT, charge.BilledQuantity, charge.UnitPrice)
		}
		beyond := charge.Used.Sub(charge.Quota)
		if d.contract.Grace.Value.As == rating.GraceAllowance {
			beyond = beyond.Sub(charge.Grace)
		}
		if charge.Kind == rating.KindOverage && !charge.Excess.Equal(beyond) || charge.Kind == rating.KindNone && !charge.Excess.IsZero() {
			t.Fatalf("%s: excess %s of %s used, quota %s, grace %s", charge.Kind, charge.Excess, charge.Used, charge.Quota, charge.Grace)
		}
		var counted uint64
		for _, class := range usage.Classes {
			if class.Counted {
				counted += class.InOctets + class.OutOctets
			}
		}
		if counted != usage.InOctets+usage.OutOctets+usage.ExcludedInOctets+usage.ExcludedOutOctets {
			t.Fatalf("classes have %d octets, usage %+v", counted, usage)
		}
	})
}

// TestAllowanceAgreesWithFractions adds up second by second's share, as fractions, and rounds up once.
func TestAllowanceAgreesWithFractions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		c, p := d.contract, d.period
		end := p.To
		if !c.Closed.IsZero() && c.Partial.Value == rating.PartialProrated && c.Closed.In(c.Schedule.Zone).Before(end) {
			end = c.Closed.In(c.Schedule.Zone)
		}
		got := c.Allowance(p)
		sum, quota, at := new(big.Rat), c.Quota.Value, p.From
		cut, last := end.Before(p.To), c.Quota.Value
		add := func(to time.Time) {
			if to.After(end) {
				to = end
			}
			if at.Before(to) {
				share := big.NewRat(int64(to.Sub(at)), int64(p.To.Sub(p.From)))
				sum.Add(sum, share.Mul(share, quota.Size().Rat()))
				at = to
			}
		}
		for _, step := range c.Steps {
			if step.From.Before(p.To) {
				add(step.From)
				quota, last, cut = step.Quota.Value, step.Quota.Value, true
			}
		}
		add(end)
		want := sum
		if cut {
			whole := new(big.Int).Quo(sum.Num(), sum.Denom())
			if !sum.IsInt() {
				whole.Add(whole, big.NewInt(1))
			}
			want = new(big.Rat).SetInt(whole)
		}
		if got.Size().Rat().Cmp(want) != 0 || got.Unit != last.Unit {
			t.Fatalf("got %s, want %s octets in %s", got, want.FloatString(3), last.Unit)
		}
	})
}

// TestPeriodsOfAnchorsAddUp walks two leap-year-wide spans for the anchors at the end of a month.
func TestPeriodsOfAnchorsAddUp(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/London"} {
		for _, span := range [][2]string{{"2023-12-%d", "2025-03-31"}, {"2025-12-%d", "2026-12-31"}} {
			for day := 28; day <= 31; day++ {
				first := date(t, span[0][:8]+time.Date(2000, 1, day, 0, 0, 0, 0, time.UTC).Format("02"))
				s := rating.Schedule{Kind: rating.Anniversary, Anchor: first, Zone: zone(t, name)}
				days, periods, p := 0, 0, s.PeriodAt(first.In(s.Zone))
				for p.From.Before(date(t, span[1]).In(s.Zone)) {
					for at := rating.DateOf(p.From.In(s.Zone)); at.In(s.Zone).Before(p.To); at = at.AddDays(1) {
						days++
					}
					periods++
					next := s.Next(p)
					if !next.From.Equal(p.To) {
						t.Fatalf("anchor %d in %s: %v, then %v", day, name, p, next)
					}
					p = next
				}
				last := rating.DateOf(p.From.In(s.Zone))
				want := int(time.Date(last.Year, last.Month, last.Day, 0, 0, 0, 0, time.UTC).Sub(time.Date(first.Year, first.Month, first.Day, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
				if days != want || periods < 12 {
					t.Fatalf("anchor %d in %s: %d periods have %d days, want %d", day, name, periods, days, want)
				}
			}
		}
	}
}
