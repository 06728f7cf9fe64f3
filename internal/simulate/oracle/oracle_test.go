package oracle

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func contractIn(zone, period, opened string) (*World, *Service) {
	w := &World{Provider: Settings{"time_zone": zone, "period": period, "currency": "GBP", "quota": "10 TB"}}
	s := &Service{ID: "s1", Opened: opened, Place: "london"}
	w.Services = []*Service{s}
	return w, s
}

// TestPeriodsTile: the oracle's own walk leaves no instant out and takes none twice, whatever the anchor and the zone.
func TestPeriodsTile(t *testing.T) {
	zones := []string{"UTC", "Europe/London", "Africa/Cairo", "Asia/Beirut", "America/Santiago", "Australia/Lord_Howe"}
	rapid.Check(t, func(t *rapid.T) {
		opened := time.Date(2024, 1, 1+rapid.IntRange(0, 1200).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
		kind := rapid.SampledFrom([]string{"calendar", "anniversary"}).Draw(t, "period")
		w, s := contractIn(rapid.SampledFrom(zones).Draw(t, "zone"), kind, opened.Format(time.DateOnly))
		c := w.termsOf(s)[0].contract
		list := c.periodsUntil(c.opened.AddDate(3, 0, 0))
		if len(list) < 34 || list[0].From.After(c.opened) || !list[0].To.After(c.opened) {
			t.Fatalf("opened %s: %d periods, the first %v", s.Opened, len(list), list[0])
		}
		day := opened.Day()
		if kind == "calendar" {
			day = 1
		}
		for i, p := range list {
			if i > 0 && !list[i-1].To.Equal(p.From) {
				t.Fatalf("%v does not follow %v", p, list[i-1])
			}
			if p.From.Day() != day && p.From.AddDate(0, 0, 1).Day() != 1 {
				t.Fatalf("%v begins neither on the %d. nor on a month's last day", p, day)
			}
			if before := p.From.Add(-time.Second); before.Day() == p.From.Day() {
				t.Fatalf("%v does not begin with its day", p)
			}
		}
	})
}

func TestPeriodsOfAThirtyFirst(t *testing.T) {
	w, s := contractIn("UTC", "anniversary", "2026-01-31")
	want := []string{"2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"}
	for i, p := range w.termsOf(s)[0].contract.periodsUntil(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)) {
		if got := p.From.Format(time.DateOnly); got != want[i] {
			t.Errorf("period %d begins on %s, want %s", i, got, want[i])
		}
	}
}

func TestMoney(t *testing.T) {
	f := func(exact, currency, rounding, want string) {
		t.Helper()
		r, _ := new(big.Rat).SetString(exact)
		if got := money(r, currency, rounding); got != want {
			t.Errorf("%s %s is rounded %s to %s, want %s", exact, currency, rounding, got, want)
		}
	}
	f("0", "GBP", "half_even", "0.00")
	f("60", "GBP", "half_even", "60.00")
	f("0.005", "GBP", "half_even", "0.00") // a half, to the even one
	f("0.005", "GBP", "half_up", "0.01")
	f("0.015", "GBP", "half_even", "0.02")
	f("0.025", "GBP", "half_even", "0.02")
	f("0.0250000001", "GBP", "half_even", "0.03")
	f("0.0249999999", "GBP", "half_up", "0.02")
	f("99.999", "GBP", "half_even", "100.00")
	f("12.5", "JPY", "half_even", "12")
	f("12.5", "JPY", "half_up", "13")
}

// TestCharge holds the oracle itself against amounts that were reckoned by hand.
func TestCharge(t *testing.T) {
	prices := []Price{
		{SKU: "overage", Place: "london", Currency: "GBP", From: "2026-01-01", Per: "TB", Begun: true, Amount: "60.00"},
		{SKU: "overage", Place: "london", Currency: "GBP", From: "2026-10-15", Per: "TB", Begun: true, Amount: "70.00"},
		{SKU: "flat", Place: "london", Currency: "GBP", From: "2026-01-01", Per: "GB", Amount: "0.047"},
	}
	f := func(settings Settings, opened string, in, out uint64, want string) {
		t.Helper()
		w, s := contractIn("UTC", "anniversary", opened)
		w.Prices, s.Settings = prices, settings
		w.Begin = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
		w.Owned = []Ownership{{Service: "s1", Key: "address:192.0.2.9"}}
		usage := &Usage{}
		usage.Add("external", time.Date(2026, 10, 20, 12, 0, 0, 0, time.UTC), in, out, 0, 0)
		w.Usage = map[string]*Usage{"address:192.0.2.9": usage}
		rows, err := w.Report("2026-10", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		if len(rows) == 0 && err == nil {
			rows, err = w.Report("2026-11", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		}
		if err != nil || len(rows) != 1 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if got := strings.Join([]string{rows[0].Quota, rows[0].Excess, rows[0].BilledQuantity, rows[0].AmountVAT}, " "); got != want {
			t.Errorf("%v, %d in, %d out: %s, want %s", settings, in, out, got, want)
		}
	}
	const tb = 1_000_000_000_000
	f(nil, "2026-10-01", 4*tb, 6*tb, "10 0 0 0.00")
	f(nil, "2026-10-01", 4*tb+1, 6*tb, "10 0.000000000001 1 60.00")
	f(nil, "2026-10-15", 4*tb+1, 6*tb, "10 0.000000000001 1 70.00") // the price of the period's first day
	f(Settings{"block": "0.1 TB"}, "2026-10-01", 4*tb+1, 6*tb, "10 0.000000000001 0.1 6.00")
	f(Settings{"direction": "out", "quota": "5 TB"}, "2026-10-01", 90*tb, 6*tb, "5 1 1 60.00")
	f(Settings{"direction": "max", "quota": "5 TB"}, "2026-10-01", 7*tb, 6*tb, "5 2 2 120.00")
	f(Settings{"grace": "10 % threshold"}, "2026-10-01", 11*tb, 0, "10 0 0 0.00")
	f(Settings{"grace": "10 % threshold"}, "2026-10-01", 11*tb, 1, "10 1.000000000001 2 120.00")
	f(Settings{"grace": "10 % allowance"}, "2026-10-01", 11*tb, 1, "10 0.000000000001 1 60.00")
	f(Settings{"sku": "flat", "quota": "100 GB"}, "2026-10-01", 151_342_173_184, 0, "100 51.342173184 51.342173184 2.41")
}

// TestCompare: the oracle's own report has no differences, and each kind of difference is found.
func TestCompare(t *testing.T) {
	rows := []Row{
		{Customer: "c01", Service: "s01", PeriodFrom: "2026-10-01T00:00:00+01:00", PeriodTo: "2026-10-30T00:00:00Z", Kind: "none", AmountVAT: "0.00", InOctets: "7"},
		{Customer: "c01", Service: "s02", PeriodFrom: "2026-10-01T00:00:00+01:00", PeriodTo: "2026-10-30T00:00:00Z", Kind: "overage", AmountVAT: "60.00", InOctets: "7"},
	}
	var b bytes.Buffer
	if err := WriteCSV(&b, rows); err != nil {
		t.Fatal(err)
	}
	f := func(old, changed string, want int) {
		t.Helper()
		text := strings.Replace(b.String(), old, changed, 1)
		if old != "" && text == b.String() {
			t.Fatalf("%q is not in the report", old)
		}
		got, err := Compare(strings.NewReader(text), rows)
		if err != nil || len(got) != want {
			t.Errorf("%q for %q: %d differences %v, %v; want %d", changed, old, len(got), got, err, want)
		}
	}
	lines := strings.SplitAfter(b.String(), "\n")
	f("", "", 0)
	f(",60.00,", ",60,", 0)
	f("2026-10-30T00:00:00Z", "2026-10-30T00:00:00+00:00", 0)
	f(",60.00,", ",60.01,", 1)
	f(lines[1], "", 1)
	f(lines[1], lines[1]+lines[1], 1)
	f("c01,s01,", "c01,s99,", 2)
	f(",none,", ",overage,", 1)
	adjusted := strings.Replace(strings.Replace(lines[1], ",none,", ",adjustment,", 1), ",7,", ",-2,", 1)
	f(lines[1], strings.Replace(lines[1], ",7,", ",9,", 1)+adjusted, 0)
	f(lines[1], lines[1]+adjusted, 1)
}
