package rating

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

// TestABurstThatIsCertainStaysSo fills the rest of a period with nothing, which is the least that can come: with every slot observed
// the percentile is then above the rate just where it was certain before; slots that are not observed leave it above.
func TestABurstThatIsCertainStaysSo(t *testing.T) {
	from := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		p := Period{From: from, To: from.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "slots of the period")) * SlotLength)}
		c := Contract{Schedule: Schedule{Kind: Calendar, Zone: time.UTC}}
		c.Direction.Value, c.Missing.Value, c.Bills.Value = P95Out, MissingIgnore, "address"
		total := int(p.To.Sub(p.From) / SlotLength)
		over := rapid.IntRange(0, total).Draw(t, "slots that are over")
		rate := decimal.NewFromInt(rapid.Int64Range(0, 60).Draw(t, "rate"))
		now, end := NewAccount(c, p, from.Add(time.Duration(over)*SlotLength)), NewAccount(c, p, p.To)
		missing, above, hidden := 0, 0, false
		for i := range over {
			at := from.Add(time.Duration(i) * SlotLength)
			if rapid.IntRange(0, 9).Draw(t, "observed") == 0 {
				now.Miss(at, at.Add(SlotLength))
				end.Miss(at, at.Add(SlotLength))
				missing, hidden = missing+1, true
				continue
			}
			octets := rapid.Uint64Range(0, 2500).Draw(t, "octets")
			if decimal.NewFromInt(int64(octets * 8 / 300)).GreaterThan(rate) {
				above++
			}
			for _, a := range []*Account{now, end} {
				a.Add(Part{At: at, Class: "external", Out: Amount{Octets: octets}})
			}
		}
		b := now.Burst(Out, rate)
		if b.Slots != over-missing || b.Missing != missing || b.Above != above || b.Allowed != total-(total*95+99)/100 {
			t.Fatalf("%+v, want %d, %d, %d, %d", b, over-missing, missing, above, total-(total*95+99)/100)
		}
		usage, err := end.Usage()
		if err != nil {
			t.Fatal(err)
		}
		isAbove := decimal.NewFromInt(usage.Percentile.BitsPerSecond).GreaterThan(rate)
		if b.IsCertain() && !isAbove || !hidden && b.IsCertain() != isAbove {
			t.Fatalf("%+v is certain %v, and with nothing behind it the percentile is %+v", b, b.IsCertain(), usage.Percentile)
		}
	})
}

func TestAWeekIsKnown(t *testing.T) {
	f := func(b Burst, want bool) {
		t.Helper()
		if b.IsKnown() != want {
			t.Fatalf("%+v is known: %v, want %v", b, b.IsKnown(), want)
		}
	}
	f(Burst{Slots: 2015, Above: 432, Allowed: 432}, false)
	f(Burst{Slots: 2016}, true)
	f(Burst{Slots: 433, Above: 433, Allowed: 432}, true)
	f(Burst{}, false)
}
