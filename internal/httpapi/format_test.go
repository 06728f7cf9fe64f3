package httpapi

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
)

func TestFiguresForPeople(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got = strings.ReplaceAll(got, nbsp, " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(octetsText(0), "0 B")
	f(octetsText(999), "999 B")
	f(octetsText(1000), "1.00 kB")
	f(octetsText(999_499), "999 kB")
	f(octetsText(999_500), "1.00 MB") // not "1000 kB"
	f(octetsText(9_996_000), "10.00 MB")
	f(octetsText(12_345_678_901), "12.3 GB")
	f(octetsText(math.MaxUint64), "18.4 EB")
	f(bitRateText(0), "0 bit/s")
	f(bitRateText(0.25), "0.25 bit/s")
	f(bitRateText(200e6), "200 Mbit/s")
	f(bitRateText(math.NaN()), "–")
	f(bitRateText(math.Inf(1)), "–")
	f(ratioText(nil), "–")
	f(ratioText(ptr(0.0)), "0.0 %")
	f(ratioText(ptr(0.95)), "95.0 %")
	f(ratioText(ptr(0.99999)), "99.9 %") // only the whole is 100 %
	f(ratioText(ptr(1.0)), "100 %")
	f(ratioText(ptr(1.02)), "102 %")
	f(moneyText(nil, "GBP"), "–")
	f(moneyText(ptr(decimal.RequireFromString("0")), "GBP"), "GBP 0.00")
	f(moneyText(ptr(decimal.RequireFromString("1234567.5")), "GBP"), "GBP 1,234,567.50")
	f(moneyText(ptr(decimal.RequireFromString("-60")), "EUR"), "EUR −60.00")
	f(moneyText(ptr(decimal.RequireFromString("1.235")), "KWD"), "KWD 1.235")
	f(quantityText(decimal.RequireFromString("10")), "10")
	f(quantityText(decimal.RequireFromString("1234.56789")), "1,234.568")
	f(usedText(decimal.RequireFromString("1"), "TB"), "1.000")
	f(usedText(decimal.RequireFromString("1474.96"), "GB"), "1,475.0")
	f(rateText(0), "0.0 /s")
	f(rateText(4912.1), "4,912 /s")
	f(agoText(-time.Second), "now")
	f(agoText(59*time.Second), "59 s")
	f(agoText(47*time.Hour+5*time.Minute), "47 h 05 min")
	f(agoText(75*time.Hour), "3 d 3 h")
	f(countsText(nil), "0")
	f(countsText([]Count{{"sets", "no template", 14}, {"records", "", 0}, {"flows", "", 1207}}), "14 sets (no template), 1,207 flows")
	f(timeText(time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), london()), "2026-10-25 01:30 BST")
	f(timeText(time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), london()), "2026-10-25 01:30 GMT") // the hour that is there twice
	f(spanText(time.Date(2026, 9, 30, 0, 0, 0, 0, london()), time.Date(2026, 10, 31, 0, 0, 0, 0, london())), "30 Sep to 31 Oct")
	f(spanText(time.Date(2026, 12, 31, 0, 0, 0, 0, london()), time.Date(2027, 1, 31, 0, 0, 0, 0, london())), "31 Dec 2026 to 31 Jan 2027")
	f(metricText("out_bits_per_second"), "out, bits per second")
	f(metricText("cpu_ratio"), "CPU ratio")
	f(tickValue(2.5e9, "bit/s"), "2.5 Gbit/s")
	f(tickValue(100e6, "bit/s"), "100 Mbit/s")
	f(tickValue(0.25, "ratio"), "25 %")
	f(skewText(-1.4), "right")
	f(skewText(3599.8), "3600 s ahead")
	f(skewText(-12), "12 s behind")
	f(sampledText(Exporter{}), "")
	f(sampledText(Exporter{SamplingInEffect: ptr(1023.6)}), "1 in 1024 in effect")
	f(sampledText(Exporter{SamplingInEffect: ptr(1310.2), SamplingDoubts: make([]SamplingDoubt, 2)}), "1 in 1310 in effect: 2 in doubt")
}

// TestDirections: the settings of contracts in the words of who reads the page.
func TestDirections(t *testing.T) {
	for direction, want := range map[string]string{
		"sum": "", "in": "in only", "out": "out only", "max": "max(in, out)", "p95": "95th pct.", "p95_in": "95th pct.\u00a0in", "p95_sum": "95th pct.\u00a0sum",
	} {
		if got := directionText(direction); got != want {
			t.Errorf("%s is %q, want %q", direction, got, want)
		}
	}
}

func TestMonths(t *testing.T) {
	for _, text := range []string{"2026-00", "2026-13", "2026-1", "26-10", "2026-10-01", "", "1969-12", "2026-10 ", "٢٠٢٦-10"} {
		if month, err := ParseMonth(text); err == nil {
			t.Errorf("ParseMonth(%q) = %q", text, month)
		}
	}
	from, to := Month("2026-10").Bounds(london())
	if got := to.Sub(from); got != 31*day+time.Hour { // the clocks go back in it
		t.Errorf("October 2026 in London has %s", got)
	}
	if got := MonthOf(time.Date(2026, 9, 30, 23, 30, 0, 0, time.UTC), london()); got != "2026-10" {
		t.Errorf("half past midnight of 1 October in London is in %s", got)
	}
}

func TestFinanceRows(t *testing.T) {
	d := func(text string) *decimal.Decimal { return ptr(decimal.RequireFromString(text)) }
	f := func(used, forecast, quota, level string, bars bar) {
		t.Helper()
		row := newFinanceRow(ServiceSummary{Used: *d(used), Forecast: d(forecast), Quota: d(quota), Unit: "TB", TimeZone: "Europe/London"}, fakeNow)
		if row.Level != level || row.Bar != bars {
			t.Errorf("used %s, forecast %s of %s: level %q %+v, want %q %+v", used, forecast, quota, row.Level, row.Bar, level, bars)
		}
	}
	f("1", "2", "4", "", bar{25, 50, 100, true})
	f("4", "4", "4", "", bar{100, 100, 100, true}) // exactly the quota is not over it
	f("3", "5", "4", "near", bar{60, 100, 80, true})
	f("8", "8", "4", "over", bar{100, 100, 100 * 4 / 6.0, true})
	f("0", "0", "0", "", bar{}) // a quota of nothing: no division by it
	unmetered := newFinanceRow(ServiceSummary{Used: *d("3"), Unit: "TB", TimeZone: "nowhere"}, fakeNow)
	if unmetered.Bar.Metered || unmetered.QuotaText != "unmetered" || unmetered.ForecastText != missing || unmetered.OverageText != missing {
		t.Errorf("unmetered: %+v", unmetered)
	}
}

func TestFinanceTotalsKeepCurrenciesApart(t *testing.T) {
	d := func(text string) *decimal.Decimal { return ptr(decimal.RequireFromString(text)) }
	view := newFinanceView(Summary{Month: "2026-10", Services: []ServiceSummary{
		{Overage: d("6.00"), Currency: "GBP", State: "closed", InOctets: 1, OutOctets: 2}, {Overage: d("60.00"), Currency: "GBP", State: "closed"},
		{Overage: d("30.00"), Currency: "USD", State: "closed", Coverage: ptr(0.5)}, {Overage: nil, Currency: "EUR", State: "closed", Coverage: ptr(0.7)}}}, "quota")
	if got := strings.ReplaceAll(strings.Join(view.Expected, ", "), nbsp, " "); got != "GBP 66.00, USD 30.00" {
		t.Errorf("expected overage: %s", got)
	}
	if view.InOctets != 1 || view.OutOctets != 2 || *view.Lowest != 0.5 || !view.Charged {
		t.Errorf("totals: %+v", view)
	}
}

func TestChartBreaksAtGapsAndThinsOut(t *testing.T) {
	from := fakeNow
	at := func(i int) time.Time { return from.Add(time.Duration(i) * time.Minute) }
	c := chart{from: from, to: at(10), zone: time.UTC, unit: "bit/s", threshold: ptr(5.0), series: []chartSeries{{name: "a<b", points: []Point{
		{at(-1), ptr(99.0)}, {at(0), ptr(1.0)}, {at(1), ptr(2.0)}, {at(2), nil}, {at(3), ptr(math.NaN())}, {at(4), ptr(3.0)}, {at(5), ptr(4.0)}}}}}
	svg := string(c.svg())
	line := svg[strings.Index(svg, `class="line s0"`):]
	if got := strings.Count(line, "M"); got != 2 {
		t.Errorf("the line has %d parts, want 2: %s", got, line)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, "a<b") || strings.Contains(svg, "style=") {
		t.Errorf("svg: %s", svg)
	}
	many := wave(from, from.Add(93*day), 1, 1e6)
	many[5000].Value = ptr(9e9) // a peak that must still be seen
	thin := columns(many, from, from.Add(93*day))
	highest := 0.0
	for _, p := range thin {
		highest = max(highest, *p.Value)
	}
	if len(thin) > chartColumns+1 || highest != 9e9 {
		t.Errorf("%d points of %d, the highest %g", len(thin), len(many), highest)
	}
	if empty := (chart{from: from, to: from}).svg(); empty != "" {
		t.Errorf("a chart of nothing: %s", empty)
	}
	for _, v := range []float64{0, 1e-9, 3, 1e18} { // the axis ends, whatever the values
		flat := chart{from: from, to: at(10), zone: time.UTC, series: []chartSeries{{points: []Point{{at(1), &v}}}}}
		if n := strings.Count(string(flat.svg()), `class="grid"`); n < 3 || n > 8 {
			t.Errorf("highest %g: %d lines on the axis", v, n)
		}
	}
}
