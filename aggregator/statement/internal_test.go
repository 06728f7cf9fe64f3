package statement

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/xuri/excelize/v2"

	"hostmeter/aggregator/rating"
)

// TestAFullSheetGoesOnInAnother gives sheets room for three rows: head and two.
func TestAFullSheetGoesOnInAnother(t *testing.T) {
	report := Report{Month: "2026-10"}
	for i := range 7 {
		report.Rows = append(report.Rows, Row{Customer: "c", Service: fmt.Sprint("s", i), Currency: "GBP", AmountExVAT: decimal.NewFromInt(int64(i)), Kind: rating.KindOverage, InOctets: 1e12,
			PeriodFrom: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), PeriodTo: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)})
	}
	var file bytes.Buffer
	b := newWorkbook(&file, "", "", time.Unix(0, 0))
	b.summary(report, false) // of more than three rows itself
	b.rowsMax = 3
	ranges := b.cellsOf("Report", reportColumns, "amount_ex_vat", len(report.Rows))
	if got := fmt.Sprint(ranges); got != "['Report'!$T$2:$T$3 'Report 2'!$T$2:$T$3 'Report 3'!$T$2:$T$3 'Report 4'!$T$2:$T$2]" {
		t.Errorf("the amounts are in %s", got)
	}
	b.sheet("Report", reportColumns)
	for _, row := range report.Rows {
		b.add(row.typedCells()...)
	}
	b.sheet("Sum", []column{{"sum", 10}})
	b.add(cell{style: moneyOf(2), number: "21.00", formula: b.sumIf(report, `"GBP"`, "")})
	b.add(cell{style: integerStyle, number: "7", formula: b.sumIf(report, `"GBP"`, "overage")})
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := fmt.Sprint(f.GetSheetList()); got != "[Summary Report Report 2 Report 3 Report 4 Sum]" {
		t.Errorf("sheets %s", got)
	}
	if got, err := f.GetCellValue("Report 4", "B2"); got != "s6" {
		t.Errorf("the last row is of %q, %v", got, err)
	}
	for at, want := range map[string]string{"A2": "21", "A3": "7"} {
		if got, err := f.CalcCellValue("Sum", at, excelize.Options{RawCellValue: true}); err != nil || got != want {
			t.Errorf("%s comes to %q, want %s (%v)", at, got, want, err)
		}
	}
}

func TestColumnNames(t *testing.T) {
	for i, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 51: "AZ", 52: "BA", 701: "ZZ", 702: "AAA"} {
		if got := columnName(i); got != want {
			t.Errorf("column %d is %s, want %s", i, got, want)
		}
	}
	if got := absolute("A1:AB12"); got != "$A$1:$AB$12" {
		t.Errorf("absolute: %s", got)
	}
}

func TestWords(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	number := decimal.RequireFromString
	f(grouped("1"), "1")
	f(grouped("-1234567.80"), "−1,234,567.80")
	f(grouped("123456"), "123,456")
	f(quantityWords(number("10")), "10")
	f(quantityWords(number("0.1")), "0.1")
	f(quantityWords(number("12.345270666132")), "12.345")
	f(quantityWords(number("9.9999")), "10.000") // not 10: something is hidden
	f(quantityWords(number("0.000000000001")), "< 0.001")
	f(quantityWords(number("-0.0001")), "> −0.001")
	f(quantityWords(number("-0.4")), "−0.4")
	f(quantityWords(number("0")), "0")
	f(moneyWords(number("1234.5"), "GBP"), "GBP\u00a01,234.50")
	f(moneyWords(number("1250"), "JPY"), "JPY\u00a01,250")
	f(moneyWords(number("1.235"), "KWD"), "KWD\u00a01.235")
	f(priceWords(number("60"), "GBP"), "GBP\u00a060.00")
	f(priceWords(number("0.045"), "GBP"), "GBP\u00a00.045") // a price is not rounded
	f(octetWords(999), "999\u00a0octets")
	f(octetWords(1000), "1.000\u00a0kB")
	f(octetWords(-12_345_678_901), "−12.346\u00a0GB")
	f(shareWords(1), "100\u00a0%")
	f(shareWords(0.99999), "99.99\u00a0%")
	f(shareWords(-1), "not known")
	at := func(text string) time.Time {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return t
	}
	f(spanWords(at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z")), "1 Oct 2026 – 31 Oct 2026")
	f(spanWords(at("2026-10-01T03:20:00Z"), at("2026-11-01T00:00:00Z")), "1 Oct 2026 03:20 – 1 Nov 2026 00:00")
	f(visual("Ada Ltd"), "Ada Ltd")
	f(visual("שלום"), "םולש")
	f(visual("Ada שלום Ltd"), "Ada םולש Ltd")
	f(visual("שלום Ada"), "Ada םולש")
}

func TestStepsAreRound(t *testing.T) {
	f := func(highest float64, n int, want float64, text string) {
		t.Helper()
		step := niceStep(highest, n)
		if diff := step - want; diff > 1e-12*want || diff < -1e-12*want || tickText(step, step) != text {
			t.Errorf("step for %g is %g (%s), want %g (%s)", highest, step, tickText(step, step), want, text)
		}
	}
	f(13.2, 4, 5, "5")
	f(2.2, 4, 0.5, "0.5")
	f(500, 2, 250, "250")
	f(1.05, 4, 0.25, "0.25")
	f(1e6, 4, 250_000, "250,000")
	f(0.00003, 2, 0.00002, "0.00002")
	f(0, 4, 1, "1")
}

// TestSentencesOfCharges holds what a customer reads of grace, holds and rates.
func TestSentencesOfCharges(t *testing.T) {
	number := decimal.RequireFromString
	f := func(want string, change func(*Row)) {
		t.Helper()
		row := Row{Unit: rating.TB, Quota: number("10"), Used: number("10.5"), PriceUnit: rating.TB, Currency: "GBP", UnitPrice: number("60"), Kind: rating.KindNone}
		change(&row)
		e := Evidence{Rows: []Row{row}}
		if got := e.sentence(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	f("10.5\u00a0TB used of a quota of 10\u00a0TB: 0.5\u00a0TB over, within the grace of 1\u00a0TB.", func(r *Row) { r.Grace = number("1") })
	f("10.5\u00a0TB used of a quota of 10\u00a0TB: 0.5\u00a0TB over; waived.", func(r *Row) { r.Kind = rating.KindWaived })
	f("10.5\u00a0TB used so far of a quota of 10\u00a0TB: 0.5\u00a0TB over; held: 12 of 8640 slots were not observed.", func(r *Row) {
		r.Kind, r.Provisional, r.Hold = rating.KindHeld, true, "12 of 8640 slots were not observed"
	})
	f("10.5\u00a0TB used, in pool p1, of which 3 services used 22\u00a0TB together of a quota of 20\u00a0TB: 2\u00a0TB over, billed as 2\u00a0TB at GBP\u00a060.00 = GBP\u00a0120.00; the share of this service, 25\u00a0%, is GBP\u00a030.00.", func(r *Row) {
		r.Kind, r.AmountExVAT = rating.KindOverage, number("30")
		r.Pool = &rating.PoolShare{Pool: "p1", Customer: "r1", Members: 3, Octets: 1, OfOctets: 4, Unit: rating.TB, Quota: number("20"), Used: number("22"), Excess: number("2"),
			BilledQuantity: number("2"), Currency: "GBP", AmountExVAT: number("120")}
	})
	f("110\u00a0Mbit/s used of a quota of 100\u00a0Mbit/s: 10\u00a0Mbit/s over, billed as 10\u00a0Mbit/s at GBP\u00a010.00 = GBP\u00a0100.00.", func(r *Row) {
		r.Unit, r.Quota, r.Used, r.Kind, r.PriceUnit = rating.MbitPerSecond, number("100"), number("110"), rating.KindOverage, rating.MbitPerSecond
		r.BilledQuantity, r.UnitPrice, r.AmountExVAT = number("10"), number("10"), number("100")
	})
}

// TestRulesWorthTelling leaves out what stands on the page already.
func TestRulesWorthTelling(t *testing.T) {
	f := func(name, value string, level rating.Level, want bool) {
		t.Helper()
		if got := worthTelling(rating.Rule{Name: name, Value: value, Level: level}); got != want {
			t.Errorf("%s=%s: %v", name, value, got)
		}
	}
	f("quota", "10 TB", rating.FromPlan, false)
	f("quota", "20 TB from 2026-06-12T00:00:00Z", rating.FromPlan, true)
	f("grace", "10 % threshold", rating.FromPlan, true)
	f("sampled", "estimate", rating.FromProvider, false)
	f("sampled", "estimate", rating.FromDecision, true)
	f("sampled", "lower_bound", rating.FromPlan, true)
	f("exclude", "d1 from …, by Jane: DDoS", rating.FromDecision, true)
	f("rounding", "half_even", rating.FromProvider, false)
}

// Batches that a log lost are told on the bill beside what was lost on the way, once, though each exporter has them.
func TestLostBatchesStandOnTheBill(t *testing.T) {
	f := func(want string, lost ...[]Count) {
		t.Helper()
		var e Evidence
		for _, counts := range lost {
			e.Exporters = append(e.Exporters, Exporter{Lost: counts})
		}
		if got := e.losses(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	batches := func(n int64) Count { return Count{Unit: UnitBatches, Reason: LostByLog, Count: n} }
	f("the network's exporters declare no loss", nil)
	f("the network's exporters declare no loss; 3 batches of what was counted could not be read any more before it was booked, and what stood in it is not charged",
		[]Count{batches(3)}, []Count{batches(3)})
	f("the network's exporters declare 7 flows lost on the way, about 0\u00a0octets of all that they saw; losses are never added; 1 batch of what was counted could not be read any more before it was booked, and what stood in it is not charged",
		[]Count{batches(1), {Unit: "flows", Reason: "sequence", Count: 7}})
}
