package statement_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/reconcile"
	"hostmeter/aggregator/statement"
	"hostmeter/schemas"
)

// evidenceOf makes up evidence for each service and period of a report: every day the same usage, in
// whole hours, with what is left on the last day.
func evidenceOf(t testing.TB, report statement.Report) statement.Evidences {
	t.Helper()
	return func(yield func(statement.Evidence, error) bool) {
		for i := 0; i < len(report.Rows); {
			n := i + 1
			for n < len(report.Rows) && report.Rows[n].Service == report.Rows[i].Service && report.Rows[n].PeriodFrom.Equal(report.Rows[i].PeriodFrom) {
				n++
			}
			if !yield(madeUp(report.Rows[i:n], true), nil) {
				return
			}
			i = n
		}
	}
}

func madeUp(rows []statement.Row, hours bool) statement.Evidence {
	row := rows[0]
	zone := row.PeriodFrom.Location()
	e := statement.Evidence{CustomerName: "Łódź & Söhne <GmbH>", Rows: rows, Contract: rating.Contract{
		Service: row.Service, Customer: row.Customer, Plan: row.Plan,
		Direction: rating.Setting[rating.Direction]{Value: row.Direction, Level: rating.FromPlan},
		Quota:     rating.Setting[rating.Quantity]{Value: rating.Quantity{Amount: row.Quota, Unit: row.Unit, Unlimited: row.Unlimited}, Level: rating.FromContract},
		Block:     rating.Setting[rating.Quantity]{Value: rating.Quantity{Amount: decimal.NewFromInt(1), Unit: rating.TB}, Level: rating.FromPlan},
		Bills:     rating.Setting[string]{Value: "address", Level: rating.FromProvider},
		Place:     rating.Setting[string]{Value: "london", Level: rating.FromContract},
		Period:    rating.Setting[rating.PeriodKind]{Value: rating.Anniversary, Level: rating.FromProvider},
		Rounding:  rating.Setting[rating.Rounding]{Value: rating.HalfEven, Level: rating.FromProvider},
		Zone:      rating.Setting[string]{Value: row.TimeZone, Level: rating.FromProvider},
		Schedule:  rating.Schedule{Kind: rating.Anniversary, Zone: zone},
	}}
	if row.PriceUnit != "" {
		e.Price = &rating.Price{PriceKey: rating.PriceKey{SKU: "overage", Place: "london", Currency: row.Currency}, From: rating.Date{Year: 2026, Month: 1, Day: 1},
			Noticed: rating.Date{Year: 2025, Month: 12, Day: 1}, Per: row.PriceUnit, Begun: true, Amount: row.UnitPrice}
	}
	in, out := e.Sum()
	days := int64(row.PeriodTo.Sub(row.PeriodFrom).Hours()+1) / 24
	for day := range days {
		from := row.PeriodFrom.AddDate(0, 0, int(day))
		u := statement.Usage{From: from, To: from.AddDate(0, 0, 1), Class: "external", Counted: true, InOctets: in / days, OutOctets: out / days, InPackets: in / days / 900, OutPackets: out / days / 900}
		if day == days-1 {
			u.InOctets, u.OutOctets = in-in/days*(days-1), out-out/days*(days-1)
		}
		e.Days = append(e.Days, u)
		if !hours {
			continue
		}
		for hour := range int64(24) {
			h := u
			h.From, h.To = from.Add(time.Duration(hour)*time.Hour), from.Add(time.Duration(hour+1)*time.Hour)
			h.InOctets, h.OutOctets = u.InOctets/24, u.OutOctets/24
			if hour == 23 {
				h.InOctets, h.OutOctets = u.InOctets-u.InOctets/24*23, u.OutOctets-u.OutOctets/24*23
			}
			e.Hours = append(e.Hours, h)
		}
	}
	e.Owned = []statement.Owned{{Meter: "address:192.0.2.9", Key: "address:192.0.2.8/29", From: row.PeriodFrom, To: row.PeriodTo, InOctets: in, OutOctets: out}}
	gap := statement.Gap{Exporter: "192.0.2.250", From: row.PeriodFrom.Add(50 * time.Hour), To: row.PeriodFrom.Add(51 * time.Hour)}
	e.Slots = statement.Slots{Expected: days * 288, Present: days*288 - 12, Missing: 12, Gaps: []statement.Gap{gap}}
	e.Exporters = []statement.Exporter{{Exporter: "192.0.2.250", MinutesExpected: days * 1440, MinutesObserved: days*1440 - 60, Datagrams: 12345, Records: 370350,
		ReportedOctets: 1 << 40, Octets: 1000 << 40, Lost: []statement.Count{{Unit: "datagrams", Count: 7}}, Dropped: []statement.Count{{Unit: "records", Reason: "no_template", Count: 3}}, LostOctets: 7_000_000}}
	e.Reconciliation = reconciledDays(row, days, in, out)
	for _, r := range rows {
		if !r.Provisional {
			e.Closings = append(e.Closings, statement.Closing{Revision: r.Revision, Number: int64(r.Revision), Hash: strings.Repeat("0f", 32), ClosedAt: row.PeriodTo.Add(25 * time.Hour), RatingVersion: 1})
		}
	}
	return e
}

// reconciledDays makes up what a service's other meters said: a switch port from the third day on, which is outside on
// the fourth.
func reconciledDays(row statement.Row, days, in, out int64) []statement.Reconciled {
	var list []statement.Reconciled
	for day := range days {
		figures := []reconcile.Figure{{Kind: schemas.KindAddress, In: reconcile.Amount{Octets: uint64(in / days)}, Out: reconcile.Amount{Octets: uint64(out / days)}}}
		missing := []reconcile.Missing{{Kind: schemas.KindVNIC, Reason: "none is the service's"}}
		result := reconcile.Result{Verdict: reconcile.NotCompared}
		if day >= 2 {
			figures = append(figures, reconcile.Figure{Kind: schemas.KindPort, In: figures[0].In, Out: figures[0].Out})
			result = reconcile.Result{Verdict: reconcile.Agrees, In: reconcile.Band{Low: in/days - 9, High: in/days + 9}, Out: reconcile.Band{Low: out/days - 9, High: out/days + 9}}
		} else {
			missing = append(missing, reconcile.Missing{Kind: schemas.KindPort, Reason: "nothing was read of it"})
		}
		if day == 3 {
			result.Verdict, result.Reason = reconcile.Outside, "=out: address has 1 octets, its witnesses allow 2 to 3"
		}
		r := statement.NewReconciled(time.Date(2026, 10, 1+int(day), 0, 0, 0, 0, time.UTC), reconcile.Day{Bills: schemas.KindAddress, Figures: figures, Missing: missing}, result)
		r.Customer, r.Service, r.PeriodFrom, r.Released = row.Customer, row.Service, row.PeriodFrom, "d1, by Jane: seen on the switch"
		list = append(list, r)
	}
	return list
}

func TestEvidenceAsJSON(t *testing.T) {
	write := func(evidence statement.Evidences) string {
		var b bytes.Buffer
		if err := statement.WriteEvidenceJSON(&b, evidence); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	text := write(evidenceOf(t, sample(t)))
	if text != write(evidenceOf(t, sample(t))) {
		t.Fatal("the same evidence gave another text")
	}
	var list []struct {
		Rows []struct {
			Service string
			Amount  string `json:"amount_ex_vat"`
		}
		Hours          []map[string]any
		Reconciliation []map[string]any
		Price          map[string]any
		Exporters      []map[string]any
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || len(list[1].Rows) != 2 || list[1].Rows[1].Amount != "-60.00" || len(list[1].Hours) != 31*24 || list[1].Price["noticed"] != "2025-12-01" {
		t.Fatalf("read back %+v", list)
	}
	days := list[1].Reconciliation
	if len(days) != 31 || days[0]["day"] != "2026-10-01" || days[0]["verdict"] != "not_compared" || days[3]["verdict"] != "outside" || days[3]["in"].(map[string]any)["band"] == nil ||
		days[3]["in"].(map[string]any)["vnic_octets"] != nil || days[3]["released"] != "d1, by Jane: seen on the switch" {
		t.Fatalf("reconciliation %v", days)
	}
	if strings.Contains(text, "null") && !strings.Contains(strings.ReplaceAll(text, `"price": null`, ""), "null") {
		t.Log("null stands for a price that was not needed")
	}
	if got := write(func(func(statement.Evidence, error) bool) {}); got != "[]\n" {
		t.Fatalf("no evidence is %q", got)
	}
	broken := func(yield func(statement.Evidence, error) bool) { yield(statement.Evidence{}, io.ErrUnexpectedEOF) }
	if err := statement.WriteEvidenceJSON(io.Discard, broken); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("an error in the middle: %v", err)
	}
}

func TestInterval(t *testing.T) {
	e := statement.Evidence{Rows: []statement.Row{{BillableOctets: 1000, StandardErrorOctets: 90}, {BillableOctets: -100, StandardErrorOctets: 100}}}
	if billable, low, high := e.Interval95(); billable != 900 || low != 704 || high != 1096 {
		t.Fatalf("interval of %d is [%d, %d], want [704, 1096] of 900", billable, low, high)
	}
	e.Rows[1].StandardErrorOctets = 1000
	if _, low, _ := e.Interval95(); low != 0 {
		t.Fatalf("a negative bound: %d", low)
	}
}

// month is a report of many services, each a row, some of them over their quota.
func month(services int) statement.Report {
	report := statement.Report{Month: "2026-10", Provider: "Example Hosting", TimeZone: "UTC"}
	sum := decimal.Zero
	for i := range services {
		row := statement.Row{Customer: fmt.Sprintf("c%d", i/2), Service: fmt.Sprintf("s%d", i), Plan: "dedicated-10", TimeZone: "UTC",
			PeriodFrom: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), PeriodTo: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Direction: rating.Sum,
			InOctets: int64(i) * 1e9, OutOctets: int64(i) * 2e9, BillableOctets: int64(i) * 3e9, Coverage: 1, Quota: decimal.NewFromInt(10), Unit: rating.TB,
			Used: decimal.NewFromInt(int64(i) * 3).Shift(-3), PriceUnit: rating.TB, UnitPrice: decimal.NewFromInt(60), Currency: "GBP", Kind: rating.KindNone, RuleFrom: rating.FromPlan,
			Statement: fmt.Sprintf("s%d/2026-10-01", i), Revision: 1}
		if row.BillableOctets > 10e12 {
			row.Kind, row.Excess = rating.KindOverage, row.Used.Sub(row.Quota)
			row.BilledQuantity = row.Excess.Ceil()
			row.AmountExVAT = row.BilledQuantity.Mul(row.UnitPrice)
		}
		sum = sum.Add(row.AmountExVAT)
		report.Rows = append(report.Rows, row)
	}
	report.Totals = []statement.Total{{Currency: "GBP", AmountExVAT: sum}}
	return report
}
