package app

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/auth"
	"hostmeter/internal/clock"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
	"hostmeter/internal/mail/mailtest"
	"hostmeter/schemas"
)

// TestFromUsageToTheStatement goes the whole way of a notice: usage is booked for weeks, the forecast exceeds the quota, a mail
// server takes the mail, its link is opened and its form sent, and the closed statement says what was chosen in every file.
func TestFromUsageToTheStatement(t *testing.T) {
	post, err := mailtest.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer post.Close()
	cfg, err := LoadConfig(write(t, "data: "+t.TempDir()+`
mail: {server: "`+post.Addr()+`", tls: none, from: billing@example.net}
notices: {link_to: "https://billing.example.net", link_key: 0123456789abcdef}
`))
	if err != nil {
		t.Fatal(err)
	}
	at := clock.NewManual(time.Date(2026, 9, 14, 0, 0, 0, 0, time.UTC))
	desk, err := openDesk(t.Context(), cfg, at)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	a := New(cfg, All, at, slog.New(slog.DiscardHandler))
	a.desk = desk
	text := `
provider: {name: Example Hosting, time_zone: UTC, currency: GBP}
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}]
plans: [{name: month, quota: 3 GB, direction: sum, period: calendar, notice_at: none}]
customers: [{id: c1, name: Ada Ltd, email: ada@example.org}]
services: [{id: s1, customer: c1, plan: month, place: london, opened: 2026-09-14}]
ownership: [{service: s1, key: "address:10.1.0.1", from: 2026-09-14T00:00:00Z}]
`
	if _, err := desk.inventory.Import(t.Context(), []inventory.File{{Name: "inventory.yaml", Text: []byte(text)}}, false); err != nil {
		t.Fatal(err)
	}
	index := uint64(0)
	days := func(n int) { // 150 MB a day, in the second minute of it
		t.Helper()
		for range n {
			index++
			at.Advance(24 * time.Hour)
			_, err := desk.ledger.Book(t.Context(), []*schemas.Batch{{
				Collector: "c", LogId: 7, Index: index, Shards: 1, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
				ReceivedFrom: at.Now().Add(-time.Hour).UnixNano(), ReceivedTo: at.Now().UnixNano(),
				Tallies: []*schemas.Tally{{Meter: "address:10.1.0.1", Minute: at.Now().Add(-24*time.Hour).Unix()/60 + 1,
					Out: &schemas.Traffic{Octets: 150_000_000 + index%2*1_000_000, Packets: 1, Flows: 1}}},
			}})
			if err == nil {
				_, err = desk.ledger.Seal(t.Context(), at.Now())
			}
			if err == nil {
				err = a.afterSeal(t.Context())
			}
			if err == nil {
				err = errors.Join(desk.notices.Look(t.Context()), desk.notices.SendDue(t.Context()))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// The ledger begins on 14 September, in its second minute; so the 14th full day is the 28th.
	days(14)
	if len(post.Taken()) != 0 {
		t.Fatal("13 full days are not enough to know")
	}
	days(5) // 17 days of September are 2.6 GB; those of October will be 4.7
	taken := post.Taken()
	if len(taken) != 1 || taken[0].To != "ada@example.org" {
		t.Fatalf("%d mails, want the one of October", len(taken))
	}
	summary, err := summarizer{desk}.Summary(t.Context(), "2026-10", at.Now())
	if err != nil || len(summary.Services) != 1 {
		t.Fatalf("%+v, %v", summary, err)
	}
	row := summary.Services[0]
	if row.Exceeds == nil || *row.Exceeds < 0.99 || row.Forecast.StringFixed(1) != "4.7" || row.Overage.StringFixed(2) != "1.00" {
		t.Fatalf("%+v", row)
	}

	link, err := url.Parse(regexp.MustCompile(`https://billing\.example\.net/decide\S+`).FindString(taken[0].Text))
	if err != nil {
		t.Fatal(err)
	}
	server, err := httpapi.New(httpapi.DefaultConfig(), httpapi.Deps{Backend: a.backend(), Auth: auth.New(desk.db, at, cfg.HTTP.Session), Clock: at, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		return w
	}
	if w := ask(httptest.NewRequest("GET", link.RequestURI(), nil)); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Confirm this choice") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	form := url.Values{"t": {link.Query().Get("t")}, "choice": {"throttle"}}
	r := httptest.NewRequest("POST", link.Path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if w := ask(r); w.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	chosen := "throttle=choice-1 at " + at.Now().Format(time.RFC3339) + ", by customer c1: by the link in the mail of notice 1 (decision)"
	days(32)
	for _, format := range []string{"csv", "json", "pdf"} {
		var file bytes.Buffer
		if err := desk.ExportReport(t.Context(), ExportOptions{Month: "2026-10", Format: format, Customer: "c1"}, &file); err != nil {
			t.Fatal(format, err)
		}
		switch format {
		case "csv":
			if !strings.Contains(file.String(), chosen) || !strings.Contains(file.String(), "s1/2026-10-01") {
				t.Errorf("the closed statement does not say %q:\n%s", chosen, &file)
			}
		case "json":
			if !strings.Contains(file.String(), `"name": "throttle"`) && !strings.Contains(file.String(), `"name":"throttle"`) {
				t.Errorf("the JSON does not say it:\n%s", &file)
			}
		}
	}
	if err := desk.VerifyStatements(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := len(post.Taken()); n != 4 {
		t.Fatalf("%d mails, want 4: October's question and choice, November's question and that nobody answered", n)
	}
}
