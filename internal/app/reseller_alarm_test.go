package app

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/ledger"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
	"hostmeter/detector/rule"
	"hostmeter/internal/clock"
	"hostmeter/internal/httpapi"
)

// TestAResellerOverItsRateIsOneIncident a month, which its receivers are told of, and which ends with the month.
func TestAResellerOverItsRateIsOneIncident(t *testing.T) {
	cfg, err := LoadConfig(write(t, "data: "+t.TempDir()+`
notify: {alertmanager: [{url: "http://127.0.0.1:1"}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	at := clock.NewManual(time.Date(2026, 10, 20, 9, 0, 0, 0, time.UTC))
	desk, err := openDesk(t.Context(), cfg, at)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	alarm := resellerAlarm{desk.db, desk.incidents}
	r := ledger.CurrentReseller{
		Reseller: statement.Reseller{Reseller: "r1", Unit: rating.MbitPerSecond, Used: decimal.RequireFromString("612.5"), Over: true,
			Percentile: rating.Percentile{Side: rating.Out, BitsPerSecond: 612_500_000}},
		Month:    rating.Period{From: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		TimeZone: "UTC", Bought: rating.Quantity{Amount: decimal.NewFromInt(500), Unit: rating.MbitPerSecond},
		Burst: rating.Burst{Slots: 4000, Missing: 1000, Above: 300, Allowed: 446},
	}
	over := func() {
		t.Helper()
		if err := alarm.Over(t.Context(), r, at.Now()); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []httpapi.Incident {
		t.Helper()
		list, err := incidentDesk{desk}.Incidents(t.Context(), httpapi.IncidentFilter{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	r.Over = false
	over()
	if got := list(); len(got) != 0 {
		t.Fatalf("below the rate: %+v", got)
	}
	r.Over = true
	over()
	at.Advance(time.Hour)
	over()
	got := list()
	if len(got) != 1 || got[0].Meter != "reseller:r1" || got[0].Customer != "r1" || got[0].State != "open" || got[0].Rule != rule.ResellerRate ||
		got[0].Summary != "out_bits_per_second beyond 500 Mbit/s for 8 % of the observed time of 465h0m0s (80 % observed)" {
		t.Fatalf("%+v", got)
	}
	sent, err := desk.incidents.Notifications(t.Context(), got[0].ID)
	if err != nil || len(sent) != 1 {
		t.Fatalf("notifications %+v, %v", sent, err)
	}
	detail, err := incidentDesk{desk}.Incident(t.Context(), got[0].ID)
	if err != nil || !strings.Contains(detail.Evidence.RuleText, "above 500 Mbit/s; until now it is 612.5 Mbit/s") {
		t.Fatalf("%+v, %v", detail.Evidence, err)
	}
	at.Set(r.Month.To)
	over()
	if got := list(); len(got) != 1 || got[0].State != "resolved" {
		t.Fatalf("the month is over: %+v", got)
	}
	if err := desk.ListIncidents(t.Context(), "", 10, false, io.Discard); err != nil {
		t.Fatal(err)
	}
}
