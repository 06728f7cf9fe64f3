package rating

import (
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

// disputedContract bills GBP 1 for each GB begun beyond 2 GB.
func disputedContract(decisions ...Decision) (Contract, Period, []Price) {
	schedule := Schedule{Kind: Calendar, Zone: time.UTC}
	c := Contract{
		Service: "s1", Direction: Setting[Direction]{Value: Sum}, Quota: Setting[Quantity]{Value: mustQuantity("2 GB")}, SKU: Setting[string]{Value: "overage"},
		Currency: Setting[string]{Value: "GBP"}, Zone: Setting[string]{Value: "UTC"}, Rounding: Setting[Rounding]{Value: HalfEven}, Schedule: schedule, Decisions: decisions,
	}
	price := Price{PriceKey: c.PriceKey(), From: Date{2026, 1, 1}, Per: GB, Begun: true, Amount: decimal.NewFromInt(1)}
	return c, schedule.PeriodAt(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)), []Price{price}
}

func mustQuantity(text string) Quantity {
	q, err := ParseQuantity(text)
	if err != nil {
		panic(err)
	}
	return q
}

func TestDisputedUsageIsHeldUntilItIsReleased(t *testing.T) {
	f := func(name string, want Kind, amount, rule string, usage Usage, decisions ...Decision) {
		t.Helper()
		c, p, prices := disputedContract(decisions...)
		charge, err := Rate(c, p, usage, prices)
		if err != nil || charge.Kind != want || charge.AmountExVAT.String() != amount || (charge.Hold != "") != (want == KindHeld) {
			t.Errorf("%s: %s %s (%s), %v", name, charge.Kind, charge.AmountExVAT, charge.Hold, err)
		}
		texts := []string{}
		for _, r := range charge.Rules {
			texts = append(texts, r.String())
		}
		if !strings.Contains(strings.Join(texts, "; "), rule) {
			t.Errorf("%s: rules %s", name, texts)
		}
	}
	inside, next := time.Date(2026, 10, 9, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 9, 0, 0, 0, 0, time.UTC)
	release := Decision{ID: "d1", Kind: DecideRelease, From: inside, By: "Jane", Reason: "the port carries the backup VLAN too"}
	over := Usage{InOctets: 3e9, Disputed: "3 days are outside"}
	f("held", KindHeld, "0", "", over)
	f("held, though nothing would be charged", KindHeld, "0", "", Usage{InOctets: 1, Disputed: "3 days are outside"})
	f("released", KindOverage, "1", "release=d1, by Jane: the port carries the backup VLAN too (decision)", over, release)
	f("another period is released", KindHeld, "0", "", over, Decision{ID: "d1", Kind: DecideRelease, From: next, By: "Jane"})
	f("waived", KindWaived, "0", "waive=d2", over, Decision{ID: "d2", Kind: DecideWaive, From: inside, By: "Jane"})
	f("not disputed", KindOverage, "1", "", Usage{InOctets: 3e9})
}

// TestReleasedIsAsIfUndisputed holds a released charge to that of the same usage without a dispute.
func TestReleasedIsAsIfUndisputed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usage := Usage{InOctets: rapid.Uint64Range(0, 9e9).Draw(t, "in"), OutOctets: rapid.Uint64Range(0, 9e9).Draw(t, "out"), InVarianceKiB2: rapid.Uint64Range(0, 1e9).Draw(t, "variance")}
		c, p, prices := disputedContract(Decision{ID: "d1", Kind: DecideRelease, From: time.Date(2026, 10, 9, 0, 0, 0, 0, time.UTC), By: "Jane"})
		c.Sampled.Value = rapid.SampledFrom([]SampledPolicy{SampledEstimate, SampledLowerBound, SampledHold}).Draw(t, "sampled")
		want, err := Rate(c, p, usage, prices)
		if err != nil {
			t.Fatal(err)
		}
		usage.Disputed = "outside"
		got, err := Rate(c, p, usage, prices)
		if err != nil || got.Kind != want.Kind || !got.AmountExVAT.Equal(want.AmountExVAT) || got.Hold != want.Hold {
			t.Errorf("%s %s, want %s %s: %v", got.Kind, got.AmountExVAT, want.Kind, want.AmountExVAT, err)
		}
	})
}
