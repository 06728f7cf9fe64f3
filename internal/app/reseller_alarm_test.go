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
	"hostmeter/internal/inventory"
	"hostmeter/schemas"
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

// TestAPoolAndAResellerAreToldFromUsageOn books days of two services in a reseller's pool: the reseller is told of the pool, and of the
// rate that it has bought when more than 5 % of the month lie above it; of the members nothing is told. The incident ends with the month.
func TestAPoolAndAResellerAreToldFromUsageOn(t *testing.T) {
	cfg, err := LoadConfig(write(t, "data: "+t.TempDir()+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	at := clock.NewManual(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	desk, err := openDesk(t.Context(), cfg, at)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	text := `
provider: {name: Example Hosting, time_zone: UTC, currency: GBP}
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}]
plans: [{name: vps, quota: 1 GB, direction: sum, period: calendar}]
customers: [{id: r1, name: Resell Ltd, rate_bought: 10 Mbit/s}, {id: c3, name: Eve Ltd, reseller: r1}]
services: [{id: a, customer: c3, plan: vps, place: london, opened: 2026-10-01}, {id: b, customer: r1, plan: vps, place: london, opened: 2026-10-01}]
pools: [{pool: p, customer: r1, place: london, opened: 2026-10-01, period: calendar, quota: 2 TB}]
pool_members: [{service: a, pool: p, from: 2026-10-01}, {service: b, pool: p, from: 2026-10-01}]
ownership: [{service: a, key: "address:10.1.0.1", from: 2026-10-01T00:00:00Z}, {service: b, key: "address:10.1.0.2", from: 2026-10-01T00:00:00Z}]
`
	if _, err := desk.inventory.Import(t.Context(), []inventory.File{{Name: "inventory.yaml", Text: []byte(text)}}, false); err != nil {
		t.Fatal(err)
	}
	told := func() string {
		t.Helper()
		list, err := noticeDesk{desk}.Notices(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, n := range list {
			if n.Customer != "r1" {
				t.Errorf("%s was told: %+v", n.Customer, n)
			}
			texts = append(texts, n.About()+": "+strings.ReplaceAll(n.What(), "\u00a0", " "))
		}
		return strings.Join(texts, "; ")
	}
	open := func() int {
		t.Helper()
		list, err := incidentDesk{desk}.Incidents(t.Context(), httpapi.IncidentFilter{State: "open", Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for day := uint64(1); day <= 8; day++ { // 8 Mbit/s of each service, 173 GB of both a day
		from := at.Now()
		at.Advance(24 * time.Hour)
		batch := &schemas.Batch{Collector: "c", LogId: 7, Index: day, Shards: 1, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
			ReceivedFrom: at.Now().Add(-time.Hour).UnixNano(), ReceivedTo: at.Now().UnixNano()}
		for slot := range int64(288) {
			for _, meter := range []string{"address:10.1.0.1", "address:10.1.0.2"} {
				batch.Tallies = append(batch.Tallies, &schemas.Tally{Meter: meter, Minute: from.Unix()/60 + 5*slot, Out: &schemas.Traffic{Octets: 300_000_000, Packets: 300_000, Flows: 1}})
			}
		}
		if _, err := desk.ledger.Book(t.Context(), []*schemas.Batch{batch}); err != nil {
			t.Fatal(err)
		}
		if err := desk.notices.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if day == 1 && (told() != "" || open() != 0) { // 288 slots of the 446 that may be above
			t.Fatalf("after a day: %s, %d incidents", told(), open())
		}
	}
	const want = "all that r1 resells: 100 % of the rate bought reached; pool p: 50 % of the quota used"
	if got := told(); got != want || open() != 1 {
		t.Fatalf("told %q, want %q; %d incidents", got, want, open())
	}
	var out strings.Builder
	if err := desk.ListNotices(t.Context(), 10, false, &out); err != nil || !strings.Contains(out.String(), "all that r1 resells") || !strings.Contains(out.String(), "pool p") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	at.Set(time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC))
	if err := desk.notices.Look(t.Context()); err != nil || open() != 0 {
		t.Fatalf("the month is over: %v, %d incidents", err, open())
	}
}
