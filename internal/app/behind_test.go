package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/inventory"
	"hostmeter/schemas"
)

// emptyDesk returns a desk over an empty ledger on 6 October 2026. settings are lines of configuration beside the folder of
// its data.
func emptyDesk(t *testing.T, settings string) (*Desk, *clock.Manual) {
	t.Helper()
	cfg, err := LoadConfig(write(t, "data: "+t.TempDir()+"\n"+settings))
	if err != nil {
		t.Fatal(err)
	}
	at := clock.NewManual(time.Date(2026, 10, 6, 0, 0, 0, 0, time.UTC))
	desk, err := openDesk(t.Context(), cfg, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = desk.Close() })
	return desk, at
}

// appWithDesk returns an app over an emptyDesk that is not run, and what it logs.
func appWithDesk(t *testing.T, settings string) (*App, *clock.Manual, *bytes.Buffer) {
	t.Helper()
	desk, at := emptyDesk(t, settings)
	var log bytes.Buffer
	a := New(desk.config, All, at, slog.New(slog.NewTextHandler(&log, nil)))
	a.desk = desk
	return a, at, &log
}

// TestPeriodThatIsHeldIsLoggedOnce closes three times while a period is held, and once after.
func TestPeriodThatIsHeldIsLoggedOnce(t *testing.T) {
	a, at, log := appWithDesk(t, "")
	desk := a.desk
	put := func(text string) {
		t.Helper()
		if _, err := desk.inventory.Import(t.Context(), []inventory.File{{Name: "held.yaml", Text: []byte(text)}}, false); err != nil {
			t.Fatal(err)
		}
	}
	put(`
provider: {name: Example Hosting, time_zone: UTC, currency: GBP}
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}]
plans: [{name: month, quota: 2 GB, direction: sum, period: calendar, sampled: hold}]
customers: [{id: c1, name: Ada Ltd}]
services: [{id: s1, customer: c1, plan: month, place: london, opened: 2026-10-01}]
ownership: [{service: s1, key: "address:10.1.0.1", from: 2026-10-01T00:00:00Z}]
`)
	_, err := desk.ledger.Book(t.Context(), []*schemas.Batch{{
		Collector: "c", LogId: 7, Index: 1, Shards: 1, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
		ReceivedFrom: at.Now().Add(-time.Hour).UnixNano(), ReceivedTo: at.Now().UnixNano(),
		Tallies: []*schemas.Tally{{Meter: "address:10.1.0.1", Minute: at.Now().Add(-time.Hour).Unix() / 60,
			In: &schemas.Traffic{Octets: 2_001_000_000, Packets: 1, Flows: 1, VarianceKib2: 1e8}}}, // 10 MB
	}})
	if err != nil {
		t.Fatal(err)
	}
	at.Advance(30 * 24 * time.Hour)
	if _, err := desk.ledger.Seal(t.Context(), at.Now()); err != nil {
		t.Fatal(err)
	}
	closing := func(lines int) {
		t.Helper()
		if err := a.afterSeal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "\n"); got != lines || !strings.Contains(log.String(), "service=s1") || !strings.Contains(log.String(), "is held: 2 GB lies in the interval") {
			t.Fatalf("want %d lines, the log has:\n%s", lines, log)
		}
	}
	closing(1)
	closing(1)
	closing(1)
	put(`decisions: [{id: d1, service: s1, decision: estimate, from: 2026-10-15T00:00:00Z, by: Jane, reason: the port agrees}]`)
	closing(1)
	if len(a.unclosed) != 0 {
		t.Fatalf("decided, and %v is remembered", a.unclosed)
	}
}
