package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"hostmeter/internal/auth"
)

// TestWalkThroughThePages is what finance and the NOC do on a morning, in a real browser.
func TestWalkThroughThePages(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Admin)
	base := s.listen()
	start := startBrowser(t, 1280, 900)
	if err := chromedp.Do(start, chromedp.Navigate(base+"/noc")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(start, 60*time.Second)
	defer cancel()
	complaints := listenForComplaints(t, ctx)

	if err := browserLogin(ctx, base, "admin"); err != nil {
		t.Fatal(err)
	}
	s.seeTotals(t, ctx, base)
	s.filterServices(t, ctx)
	s.downloadReport(t, ctx)
	s.acknowledgeInBrowser(t, ctx, base)
	s.seeRenewal(t, ctx, base)
	s.openMeterWithSlash(t, ctx, base)
	logOut(t, ctx, base)
	if all := complaints(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
}

// listenForComplaints gathers script errors and what the content policy stopped.
func listenForComplaints(t *testing.T, ctx context.Context) func() []string {
	t.Helper()
	var mu sync.Mutex
	var all []string
	add := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, text)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *cdplog.EventEntryAdded:
			if e.Entry.Level == cdplog.EntryLevelError {
				add(e.Entry.Text)
			}
		case *runtime.EventExceptionThrown:
			add(e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func textOf(t *testing.T, ctx context.Context, selector string) string {
	t.Helper()
	text, err := chromedp.Run(ctx, chromedp.Text(selector))
	if err != nil {
		t.Fatalf("text of %s: %v", selector, err)
	}
	return strings.ReplaceAll(strings.TrimSpace(text), nbsp, " ")
}

// seeTotals reads the month's total and compares it with the sum over the API's services.
func (s *site) seeTotals(t *testing.T, ctx context.Context, base string) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/finance?month=2026-09")); err != nil {
		t.Fatal(err)
	}
	var summary Summary
	if err := json.Unmarshal(s.ask(auth.Finance, "GET", "/api/v1/summary?month=2026-09", "").Body.Bytes(), &summary); err != nil {
		t.Fatal(err)
	}
	var octets uint64
	for _, service := range summary.Services {
		octets += service.InOctets + service.OutOctets
	}
	if got, want := textOf(t, ctx, "#total-usage"), strings.ReplaceAll(octetsText(octets), nbsp, " "); got != want || octets == 0 {
		t.Errorf("the page's total is %q, the API's %q", got, want)
	}
	if got := textOf(t, ctx, "#unowned"); !strings.Contains(got, "4.81 GB") {
		t.Errorf("traffic that nobody owns: %q", got)
	}
}

func (s *site) filterServices(t *testing.T, ctx context.Context) {
	t.Helper()
	visible := chromedp.Evaluate[int](`[...document.querySelectorAll("#services tbody tr")].filter(r => r.offsetHeight > 0).length`)
	before, err := chromedp.Run(ctx, visible)
	if err != nil || before != 60 {
		t.Fatalf("%d rows are shown, want 60; %v", before, err)
	}
	if err := chromedp.Do(ctx, chromedp.SendKeys(`input[type=search]`, "kestrel")); err != nil {
		t.Fatal(err)
	}
	after, err := chromedp.Run(ctx, visible)
	if err != nil || after != 3 {
		t.Errorf("%d rows are shown of Kestrel Mail, want 3; %v", after, err)
	}
}

func (s *site) downloadReport(t *testing.T, ctx context.Context) {
	t.Helper()
	dir := t.TempDir()
	on := true
	_, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir, EventsEnabled: &on})
	if err != nil {
		t.Fatal(err)
	}
	progress := chromedp.BrowserEvents(ctx, browser.DownloadProgress)
	if err := chromedp.Do(ctx, chromedp.Click(`#download-csv`)); err != nil {
		t.Fatal(err)
	}
	for event, err := range progress {
		if err != nil || event.State == browser.DownloadProgressStateCanceled {
			t.Fatalf("download: %v %s", err, event.State)
		}
		if event.State == browser.DownloadProgressStateCompleted {
			break
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "hostmeter-report-2026-09.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if want := s.ask(auth.Finance, "GET", "/api/v1/reports/2026-09?format=csv", "").Body.String(); string(got) != want || !strings.Contains(want, "s160") {
		t.Errorf("the file has %d bytes and is not what the API sends (%d bytes)", len(got), len(want))
	}
}

func (s *site) acknowledgeInBrowser(t *testing.T, ctx context.Context, base string) {
	t.Helper()
	err := chromedp.Do(ctx, chromedp.Navigate(base+"/incidents/i-0007"), chromedp.WaitVisible(`svg.chart path.line`),
		chromedp.SendKeys(`#ack input[name=note]`, "customer called"), chromedp.Click(`#ack button`), chromedp.WaitNotPresent(`#ack`),
		chromedp.WaitVisible(`#flags .badge`))
	if err != nil {
		t.Fatal(err)
	}
	if got := textOf(t, ctx, "#flags"); !strings.Contains(got, "acknowledged by admin") {
		t.Errorf("after the acknowledgement: %q", got)
	}
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	d, err := s.fake.find("i-0007")
	if err != nil || d.AcknowledgedBy != "user:admin" || d.Events[len(d.Events)-1].Note != "customer called" {
		t.Errorf("the desk knows of %q, %+v", d.AcknowledgedBy, d.Events)
	}
}

// seeRenewal changes what the desk says and waits for the open page to say it too.
func (s *site) seeRenewal(t *testing.T, ctx context.Context, base string) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/noc"), chromedp.WaitVisible(`#open table`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.fake.Resolve(ctx, "i-0003", "user:somebody", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelectorAll("#open tbody tr").length === 2 && document.querySelectorAll("#recent tbody tr").length === 2`)); err != nil {
		t.Errorf("the page did not renew itself: %v", err)
	}
}

func (s *site) openMeterWithSlash(t *testing.T, ctx context.Context, base string) {
	t.Helper()
	err := chromedp.Do(ctx, chromedp.Navigate(base+"/noc"), chromedp.Click(`#top a[href*="2001:db8"]`), chromedp.WaitVisible(`h1.meter`), chromedp.WaitVisible(`svg.chart`))
	if err != nil {
		t.Fatal(err)
	}
	if got := textOf(t, ctx, "h1"); got != "address:2001:db8:7:15::/64" {
		t.Errorf("the meter's page is of %q", got)
	}
}

func logOut(t *testing.T, ctx context.Context, base string) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Click(`.who button`), chromedp.WaitVisible(`input[name=password]`), chromedp.Navigate(base+"/finance")); err != nil {
		t.Fatal(err)
	}
	where, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil || where != fmt.Sprintf("%s/login?next=%%2Ffinance", base) {
		t.Errorf("after the logout the pages lead to %q, %v", where, err)
	}
}

// TestPagesFitAPhone: no page is wider than a phone's 390 pixels or a laptop's 1280.
func TestPagesFitAPhone(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Admin)
	base := s.listen()
	ctx := startBrowser(t, 1280, 900)
	if err := browserLogin(ctx, base, "admin"); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int64{390, 1280} {
		for _, path := range []string{"/finance", "/finance?month=2026-01", "/finance/reconciliation", "/finance/unowned", "/finance/completeness", "/finance/addresses", "/noc", "/incidents/i-0007", "/incidents/i-0003", "/meters/address:192.0.2.9", "/admin", "/nothing"} {
			if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate(base+path)); err != nil {
				t.Fatal(err)
			}
			got, err := chromedp.Run(ctx, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`))
			if err != nil {
				t.Fatal(err)
			}
			if got > width {
				t.Errorf("%s is %d pixels wide on a screen of %d", path, got, width)
			}
		}
	}
}
