package ledger

import (
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"hostmeter/aggregator/rating"
	statements "hostmeter/aggregator/statement"
)

// drawRow draws what is known of a period at some time.
func drawRow(t *rapid.T) statements.Row {
	n := func(name string) int64 { return rapid.Int64Range(0, 1<<50).Draw(t, name) }
	d := func(name string) decimal.Decimal {
		return decimal.New(rapid.Int64Range(0, 1<<50).Draw(t, name), -rapid.Int32Range(0, 12).Draw(t, name+" places"))
	}
	row := statements.Row{
		InOctets: n("in"), OutOctets: n("out"), BillableOctets: n("billable"), EstimatedOctets: n("estimated"), BitsPerSecond: n("rate"),
		ExcludedInOctets: n("excluded in"), ExcludedOutOctets: n("excluded out"), FreeInOctets: n("free in"), FreeOutOctets: n("free out"),
		InternalInOctets: n("internal in"), InternalOutOctets: n("internal out"),
		Used: d("used"), Excess: d("excess"), BilledQuantity: d("billed"), AmountExVAT: d("amount"),
	}
	if rapid.Bool().Draw(t, "pooled") {
		row.Pool = &rating.PoolShare{Pool: "p"}
	}
	return row
}

// TestRevisionsAddUpToWhatIsKnown adjusts a period through what is known of it, one after the other and back to
// the first: the sum of the revisions is what is known each time, and looking again differs in nothing.
func TestRevisionsAddUpToWhatIsKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		known := rapid.SliceOfN(rapid.Custom(drawRow), 1, 4).Draw(t, "known")
		known = append(known, known[0])
		var sum statements.Row
		for _, row := range known {
			if revision := minus(row, sum); differs(revision) {
				sum = plus(sum, revision)
			}
			if differs(minus(row, sum)) {
				t.Fatalf("revisions add up to %+v, known is %+v", sum, row)
			}
		}
	})
}
