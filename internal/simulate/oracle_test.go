package simulate

import (
	"bytes"
	"encoding/csv"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostmeter/schemas"
)

// TestPeriodsTile: the oracle's own walk leaves no day out and takes none twice, whatever the anchor.
func TestPeriodsTile(t *testing.T) {
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		opened := time.Date(2020, 1, 1+rapid.IntRange(0, 3000).Draw(t, "day"), 0, 0, 0, 0, zone)
		s := &service{opened: opened, plan: &plans[rapid.IntRange(0, 1).Draw(t, "plan")]} // anniversary, calendar
		spans := s.periods(zone, opened.AddDate(3, 0, 0))
		if len(spans) < 34 || spans[0][0].After(opened) || !spans[0][1].After(opened) {
			t.Fatalf("opened %s: %d periods, the first %v", opened, len(spans), spans[0])
		}
		day := opened.Day()
		if s.plan.period == "calendar" {
			day = 1
		}
		for i, span := range spans {
			if i > 0 && !spans[i-1][1].Equal(span[0]) {
				t.Fatalf("%v does not follow %v", span, spans[i-1])
			}
			if h, m, _ := span[0].Clock(); h != 0 || m != 0 {
				t.Fatalf("%v does not begin at midnight", span)
			}
			if span[0].Day() != day && span[0].AddDate(0, 0, 1).Day() != 1 {
				t.Fatalf("%v begins neither on the %d. nor on a month's last day", span, day)
			}
		}
	})
}

func TestPeriodsOfAThirtyFirst(t *testing.T) {
	s := &service{opened: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), plan: planNamed("vps-1")}
	want := []string{"2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"}
	for i, span := range s.periods(time.UTC, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)) {
		if got := span[0].Format(time.DateOnly); got != want[i] {
			t.Errorf("period %d begins on %s, want %s", i, got, want[i])
		}
	}
}

func TestPence(t *testing.T) {
	f := func(exact, want string) {
		t.Helper()
		r, _ := new(big.Rat).SetString(exact)
		if got := pence(r); got != want {
			t.Errorf("%s is rounded to %s, want %s", exact, got, want)
		}
	}
	f("0", "0.00")
	f("60", "60.00")
	f("0.005", "0.00") // a half, to the even one
	f("0.015", "0.02")
	f("0.025", "0.02")
	f("0.0250000001", "0.03")
	f("0.0249999999", "0.02")
	f("0.0151", "0.02")
	f("99.999", "100.00")
}

func TestCharge(t *testing.T) {
	f := func(planName, place, currency string, used uint64, excess, billed, amount string) {
		t.Helper()
		s := &service{plan: planNamed(planName), place: place, currency: currency}
		var r Row
		(&Books{}).charge(s, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), used, &r)
		if r.Excess != excess || r.BilledQuantity != billed || r.AmountVAT != amount {
			t.Errorf("%s, %d octets: excess %s, billed %s, amount %s; want %s, %s, %s", planName, used, r.Excess, r.BilledQuantity, r.AmountVAT, excess, billed, amount)
		}
	}
	f("dedicated-10", "london", "GBP", 10_000_000_000_000, "0", "0", "0.00")
	f("dedicated-10", "london", "GBP", 10_000_000_000_001, "0.000000000001", "1", "60.00")
	f("dedicated-10", "chicago", "USD", 12_010_000_000_000, "2.01", "3", "90.00")
	f("vps-2", "london", "GBP", 2_000_000_000_001, "0.000000000001", "0.1", "6.00")
	f("vps-2", "london", "GBP", 2_100_000_000_000, "0.1", "0.1", "6.00")
	f("vps-100", "prague", "GBP", 151_342_173_184, "51.342173184", "51.342173184", "2.41")
}

func TestPriceOfAPeriodIsThatOfItsBeginning(t *testing.T) {
	s := &service{place: "manchester", currency: "GBP"}
	for day, want := range map[int]string{1: "30.00", 14: "30.00", 15: "36.00", 16: "36.00"} {
		if got := priceAt(s, time.Date(2026, 10, day, 0, 0, 0, 0, time.UTC)).amount; got != want {
			t.Errorf("a period that begins on the %d. costs %s, want %s", day, got, want)
		}
	}
}

// TestReport plays the whole story and finds in its bills what it promises.
func TestReport(t *testing.T) {
	if testing.Short() {
		t.Skip("plays five weeks")
	}
	begin, end := Span()
	p := New(1, begin, end)
	for range p.Play {
	}
	rows, err := p.Books().Report(p.Month())
	if err != nil {
		t.Fatal(err)
	}
	byService, overages, kinds := map[string]Row{}, 0, map[string]bool{}
	for _, r := range rows {
		byService[r.Service] = r
		if r.Kind == "overage" {
			overages++
			kinds[r.Plan] = true
		}
	}
	h := p.Highlights()
	if overages < 10 || len(kinds) != len(plans) {
		t.Errorf("%d overages of %d plans, want at least 10 of all %d", overages, len(kinds), len(plans))
	}
	if r := byService[h.ContractQuota]; r.RuleFrom != "contract" || r.Quota != "12" {
		t.Errorf("the contract's own quota: %+v", r)
	}
	if r := byService[h.EarlyClient]; r.PeriodFrom != "2026-09-30T00:00:00+01:00" || r.PeriodTo != "2026-10-31T00:00:00Z" {
		t.Errorf("the period of an account opened on a 31st: %s to %s", r.PeriodFrom, r.PeriodTo)
	}
	if r := byService[h.InternalFrom]; r.InternalOut == 0 {
		t.Error("no traffic inside the house")
	}
	checkHandover(t, p, byService)
	checkInterval(t, p, rows)
	checkColumns(t, rows)
}

// checkHandover: each of the two owners has what the address carried in its time, beside its own.
func checkHandover(t *testing.T, p *Provider, rows map[string]Row) {
	t.Helper()
	h := p.Highlights()
	counts := slotAfter(h.HandoverAt)
	shared := p.books.meters[schemas.AddressMeter(h.HandoverAddress)]
	for _, owner := range []struct {
		id          string
		first, last time.Time
	}{{h.HandoverFrom, p.begin, counts}, {h.HandoverTo, counts, p.end}} {
		r := rows[owner.id]
		from, _ := time.Parse(time.RFC3339, r.PeriodFrom)
		to, _ := time.Parse(time.RFC3339, r.PeriodTo)
		own := p.meterNamed(t, owner.id).book.Sum(schemas.ClassExternal, from, to)
		part := shared.Sum(schemas.ClassExternal, latest(owner.first, from), earliest(owner.last, to))
		want := own.In.Seen + own.Out.Seen + part.In.Seen + part.Out.Seen
		if r.BillableOctets != number(uint64(want)) || part.In.Seen == 0 {
			t.Errorf("%s is billed %s octets, want %d", owner.id, r.BillableOctets, want)
		}
	}
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// checkInterval: sampled bills are near the truth, and not equal to it.
func checkInterval(t *testing.T, p *Provider, rows []Row) {
	t.Helper()
	sampled := 0
	for _, r := range rows {
		if !r.Sampled || p.story.silent == p.meterNamed(t, r.Service).exporter {
			continue
		}
		sampled++
		seen, _ := new(big.Float).SetString(r.BillableOctets)
		got, _ := seen.Float64()
		if off := math.Abs(got/float64(r.TrueOctets) - 1); off > 0.02 || off == 0 {
			t.Errorf("%s: %s octets of %d, off by %.2g", r.Service, r.BillableOctets, r.TrueOctets, off)
		}
	}
	if sampled < 15 {
		t.Errorf("%d sampled services", sampled)
	}
}

func checkColumns(t *testing.T, rows []Row) {
	t.Helper()
	var b bytes.Buffer
	if err := WriteCSV(&b, rows); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != len(rows)+1 || len(lines[0]) != 24 {
		t.Fatalf("%d lines of %d columns, %v", len(lines), len(lines[0]), err)
	}
}

// TestBinomial: the sampler's mean and variance are those of independent sampling, in both ways that
// it draws.
func TestBinomial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := func(n, rate uint64) {
		t.Helper()
		const draws = 20000
		sum, squares := 0.0, 0.0
		for range draws {
			k := float64(binomial(rng, n, rate))
			sum += k
			squares += k * k
		}
		chance := 1 / float64(rate)
		mean, variance := sum/draws, squares/draws-sum/draws*sum/draws
		wantMean, wantVariance := float64(n)*chance, float64(n)*chance*(1-chance)
		if math.Abs(mean-wantMean) > 5*math.Sqrt(wantVariance/draws) || math.Abs(variance/wantVariance-1) > 0.06 {
			t.Errorf("binomial(%d, 1/%d): mean %.4g, variance %.4g; want %.4g and %.4g", n, rate, mean, variance, wantMean, wantVariance)
		}
	}
	f(1, 100)
	f(500, 100)
	f(1100, 100) // just below the change of method
	f(1300, 100) // just above
	f(3_000_000, 512)
}
