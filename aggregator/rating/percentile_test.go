package rating_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
)

// TestRanks holds the definition for the months that there are, and for few slots.
func TestRanks(t *testing.T) {
	f := func(n, rank int) {
		t.Helper()
		list := make([]rating.Slot, n)
		for i := range list {
			list[i].In = uint64(n-i) * 75 // the greatest first: sorting is a part of it
		}
		p := rating.Percentile95(list, rating.P95In, rating.MissingIgnore)
		if p.Rank != rank || p.Octets != uint64(rank)*75 || p.BitsPerSecond != int64(rank)*2 || p.Counted != n || p.Slots != n {
			t.Fatalf("%d slots: got %+v, want rank %d", n, p, rank)
		}
	}
	f(0, 0)
	f(1, 1)
	f(19, 19) // below 20 slots nothing may be above
	f(20, 19)
	f(21, 20)
	f(8064, 7661)
	f(8352, 7935) // 7934.4, rounded up
	f(8640, 8208)
	f(8916, 8471) // 8470.2
	f(8928, 8482) // 8481.6
	f(8940, 8493)
}

// TestPercentileAgreesWithCounting compares with a twin that does not sort: it asks of each slot how many
// are at most as great.
func TestPercentileAgreesWithCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := make([]rating.Slot, rapid.IntRange(0, 60).Draw(t, "slots"))
		for i := range list {
			list[i] = rating.Slot{In: rapid.Uint64Range(0, 5).Draw(t, "in") * 1e9, Out: rapid.Uint64Range(0, 5).Draw(t, "out") * 1e9,
				Missing: rapid.IntRange(0, 5).Draw(t, "missing") == 0, InExcluded: rapid.IntRange(0, 9).Draw(t, "excluded") == 0}
		}
		policy := rapid.SampledFrom([]rating.MissingPolicy{rating.MissingIgnore, rating.MissingZero, rating.MissingHold}).Draw(t, "policy")
		side := rapid.SampledFrom([]rating.Direction{rating.P95In, rating.P95Out, rating.P95Sum}).Draw(t, "side")
		var values []uint64
		for _, s := range list {
			if s.Missing && policy != rating.MissingZero || s.InExcluded && side != rating.P95Out {
				continue
			}
			values = append(values, map[rating.Direction]uint64{rating.P95In: s.In, rating.P95Out: s.Out, rating.P95Sum: s.In + s.Out}[side])
		}
		var want uint64 // the least value such that at least 95 % of the slots are not above it
		found := false
		for _, v := range values {
			notAbove := 0
			for _, w := range values {
				if w <= v {
					notAbove++
				}
			}
			if notAbove*100 >= len(values)*95 && (!found || v < want) {
				want, found = v, true
			}
		}
		if got := rating.Percentile95(list, side, policy); got.Octets != want || got.Counted != len(values) {
			t.Fatalf("got %+v, want %d octets of %d slots", got, want, len(values))
		}
	})
}

func TestRatesDoNotOverflow(t *testing.T) {
	p := rating.Percentile95([]rating.Slot{{In: 1<<63 - 1}}, rating.P95, rating.MissingIgnore)
	if p.BitsPerSecond != 245_956_587_649_460_688 { // (2^63 - 1) * 8 / 300, rounded down
		t.Fatalf("got %+v", p)
	}
	c := contract(t, "1 Mbit/s", "", "p95", rating.PriceKey{})
	period := c.Schedule.PeriodAt(date(t, "2026-05-05").In(c.Schedule.Zone))
	c.Bills.Value = "address"
	a := rating.NewAccount(c, period, period.To)
	a.Add(rating.Part{At: period.From, Class: "external", In: rating.Amount{Octets: 1 << 62}})
	a.Add(rating.Part{At: period.From, Class: "external", Out: rating.Amount{Octets: 1 << 62}})
	if _, err := a.Usage(); err == nil {
		t.Fatal("a slot of 2^63 octets is no error")
	}
}

// TestMissMarksEverySlotThatItTouches covers spans that begin and end inside slots, and outside the period.
func TestMissMarksEverySlotThatItTouches(t *testing.T) {
	f := func(from, to time.Duration, want int) {
		t.Helper()
		c := contract(t, "1 Mbit/s", "", "p95", rating.PriceKey{})
		period := c.Schedule.PeriodAt(date(t, "2026-05-05").In(c.Schedule.Zone))
		a := rating.NewAccount(c, period, period.To)
		a.Miss(period.From.Add(from), period.From.Add(to))
		usage, err := a.Usage()
		if err != nil || usage.Percentile.Missing != want {
			t.Fatalf("missing [%s, %s): got %+v, %v, want %d", from, to, usage.Percentile, err, want)
		}
	}
	f(time.Hour, 2*time.Hour, 12)
	f(time.Minute, 2*time.Minute, 1)
	f(4*time.Minute, 6*time.Minute, 2)
	f(-time.Hour, 5*time.Minute, 1)
	f(-time.Hour, 0, 0)
	f(time.Hour, time.Hour, 0)
	f(-time.Hour, 40*24*time.Hour, 8928)
}
