package statement_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample(t testing.TB) statement.Report {
	t.Helper()
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	number := decimal.RequireFromString
	closed := statement.Row{
		Customer: "c1", Service: "s1", Plan: "dedicated-10", TimeZone: "Europe/London",
		PeriodFrom: time.Date(2026, 9, 30, 0, 0, 0, 0, london), PeriodTo: time.Date(2026, 10, 31, 0, 0, 0, 0, london),
		Direction: rating.Sum, InOctets: 4000000000001, OutOctets: 6000000000000, BillableOctets: 10000000000001,
		StandardErrorOctets: 5120, Coverage: 0.99996, Quota: number("10"), Unit: rating.TB, Used: number("10.000000000001"), Excess: number("0.000000000001"),
		BilledQuantity: number("1"), PriceUnit: rating.TB, UnitPrice: number("60"), Currency: "GBP", AmountExVAT: number("60"),
		Kind: rating.KindOverage, RuleFrom: rating.FromPlan, Statement: "s1/2026-09-30", Revision: 1,
		EstimatedOctets: 10000000000001, Classes: []rating.ClassUsage{{Class: "external", InOctets: 4000000000001, OutOctets: 6000000000000, Counted: true}},
		Rules: []rating.Rule{{Name: "direction", Value: "sum", Level: rating.FromProvider}, {Name: "quota", Value: "10 TB", Level: rating.FromPlan}},
	}
	closed.Pool = &rating.PoolShare{Pool: "=p1", Customer: "r1", Members: 3, Octets: 1, OfOctets: 4, Unit: rating.TB, Quota: number("10"), Used: number("10.000000000004"),
		Excess: number("0.000000000004"), BilledQuantity: number("1"), Currency: "GBP", AmountExVAT: number("240")}
	adjusted := closed
	adjusted.InOctets, adjusted.BillableOctets, adjusted.Used, adjusted.Excess = -1, -1, number("-0.000000000001"), number("-0.000000000001")
	adjusted.BilledQuantity, adjusted.AmountExVAT, adjusted.Kind, adjusted.Revision, adjusted.Coverage = number("-1"), number("-60"), rating.KindAdjustment, 2, 1
	unlimited := statement.Row{
		Customer: "=cmd|'/C calc'!A1", Service: "+s2", Plan: "-p,\"q\"", TimeZone: "UTC", PeriodFrom: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC),
		PeriodTo: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Direction: rating.Out, Coverage: -1, Unlimited: true, Unit: rating.GB,
		Currency: "JPY", Kind: rating.KindNone, RuleFrom: rating.FromContract, Statement: "@x", Provisional: true, Missing: []string{"192.0.2.250"},
	}
	return statement.Report{Month: "2026-10", Provider: "Böhm <Hosting> & Söhne", TimeZone: "Europe/London", Rows: []statement.Row{unlimited, closed, adjusted},
		Totals:  []statement.Total{{Currency: "GBP", AmountExVAT: number("0")}},
		Unowned: []statement.Unowned{{Meter: "address:192.0.2.77", Class: "external", InOctets: 7}},
		Exporters: []statement.Completeness{
			{Exporter: statement.Exporter{Exporter: "192.0.2.250", MinutesExpected: 44700, MinutesObserved: 44685, Datagrams: 90_000, Records: 2_000_000, ReportedOctets: 10_000_000_000_008,
				Octets: 10_000_000_000_008, Lost: []statement.Count{{Unit: "datagrams", Reason: "sequence", Count: 12}}, LostOctets: 1_333_333_333, Dropped: []statement.Count{{Unit: "records", Reason: "no_direction", Count: 3}}},
				Protocols: []string{"ipfix"}, Coverage: 0.99953, OctetsOnce: 9_000_000_000_008, OctetsTransit: 1_000_000_000_000,
				Gaps: []statement.Gap{{Exporter: "192.0.2.250", From: time.Date(2026, 10, 3, 4, 10, 0, 0, time.UTC), To: time.Date(2026, 10, 3, 4, 15, 0, 0, time.UTC)},
					{Exporter: "192.0.2.250", From: time.Date(2026, 10, 20, 22, 0, 0, 0, time.UTC), To: time.Date(2026, 10, 20, 22, 10, 0, 0, time.UTC)}}},
			{Exporter: statement.Exporter{Exporter: "192.0.2.251", MinutesExpected: 44700}}, // never heard
		}}
}

func TestFormatsAreWhatOthersRead(t *testing.T) {
	f := func(file string, write func(*bytes.Buffer) error) {
		t.Helper()
		var first, second bytes.Buffer
		if err := write(&first); err != nil {
			t.Fatal(err)
		}
		if err := write(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Fatalf("%s: the same report gave another text (%v)", file, err)
		}
		if *update {
			if err := os.WriteFile(file, first.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), want) {
			t.Fatalf("%s: got\n%s\nwant\n%s", file, first.Bytes(), want)
		}
	}
	f("testdata/report.csv", func(b *bytes.Buffer) error { return statement.WriteCSV(b, sample(t)) })
	f("testdata/unowned.csv", func(b *bytes.Buffer) error { return statement.WriteUnownedCSV(b, sample(t)) })
	f("testdata/completeness.csv", func(b *bytes.Buffer) error { return statement.WriteCompletenessCSV(b, sample(t)) })
	f("testdata/report.json", func(b *bytes.Buffer) error { return statement.WriteJSON(b, sample(t)) })
}

// TestNoCellIsAFormula reads the CSV back as a spreadsheet would.
func TestNoCellIsAFormula(t *testing.T) {
	var b bytes.Buffer
	if err := statement.WriteCSV(&b, sample(t)); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		if len(record) != 47 {
			t.Fatalf("%d columns, want 47", len(record))
		}
		for i, cell := range record {
			_, err := decimal.NewFromString(cell)
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) && err != nil {
				t.Errorf("%s is %q, which is a formula", records[0][i], cell)
			}
		}
	}
}

func TestRowsSurviveJSON(t *testing.T) {
	for _, row := range sample(t).Rows {
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		var back statement.Row
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || !bytes.Equal(text, again) {
			t.Fatalf("%s\nbecame\n%s, %v", text, again, err)
		}
		if back.Coverage != row.Coverage || !back.PeriodTo.Equal(row.PeriodTo) || !back.AmountExVAT.Equal(row.AmountExVAT) || !reflect.DeepEqual(back.Missing, row.Missing) {
			t.Fatalf("got %+v, want %+v", back, row)
		}
	}
}
