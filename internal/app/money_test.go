package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/clock"
	"hostmeter/internal/httpapi"
	"hostmeter/internal/inventory"
	"hostmeter/schemas"
)

// moneyDesk returns a desk with a closed October of service s1, 3 GB of 2 GB, of which a test may find 2.5 GB to be nobody's. provider is more of the provider's settings.
func moneyDesk(t *testing.T, provider string) (*Desk, *clock.Manual) {
	t.Helper()
	desk, at := emptyDesk(t, "")
	importText(t, desk, `
provider: {name: Example Hosting, time_zone: UTC, currency: GBP`+provider+`}
prices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: GB, begun: true, amount: "0.50"}]
plans: [{name: month, quota: 2 GB, direction: sum, period: calendar}, {name: large, quota: 20 GB, direction: sum, period: calendar}]
customers: [{id: c1, name: Ada Lovelace, email: ada@example.net}]
services: [{id: s1, customer: c1, plan: month, place: london, opened: 2026-10-01}]
ownership: [{service: s1, key: "address:10.1.0.1", from: 2026-10-01T00:00:00Z}, {service: s1, key: "address:10.1.0.2", from: 2026-10-01T00:00:00Z}]
`)
	minute := at.Now().Add(-time.Hour).Unix() / 60
	for i, address := range []string{"address:10.1.0.1", "address:10.1.0.2"} {
		_, err := desk.ledger.Book(t.Context(), []*schemas.Batch{{
			Collector: "c", LogId: 7, Index: uint64(i + 1), Shards: 1, Exporters: []string{"192.0.2.250"}, Classes: []string{schemas.ClassExternal},
			ReceivedFrom: at.Now().Add(-time.Hour).UnixNano(), ReceivedTo: at.Now().UnixNano(),
			Tallies: []*schemas.Tally{{Meter: address, Minute: minute, In: &schemas.Traffic{Octets: uint64(i+1) * 1_250_000_000, Packets: 1, Flows: 1}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	at.Set(time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC))
	if err := desk.CloseDue(t.Context(), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	return desk, at
}

func importText(t *testing.T, desk *Desk, text string) {
	t.Helper()
	if _, err := desk.inventory.Import(t.Context(), []inventory.File{{Name: "more.yaml", Text: []byte(text)}}, false); err != nil {
		t.Fatal(err)
	}
}

// TestCreditByCommandAndAPI finds a credit too late, allows it, and sees it given.
func TestCreditByCommandAndAPI(t *testing.T) {
	desk, at := moneyDesk(t, "")
	at.Set(time.Date(2026, 12, 5, 0, 0, 0, 0, time.UTC))
	importText(t, desk, `ownership: [{service: s1, key: "address:10.1.0.2", from: 2026-10-01T00:00:00Z, until: 2026-10-01T00:05:00Z}]`)
	var out bytes.Buffer
	if err := desk.CloseDue(t.Context(), &out); err == nil || !strings.Contains(err.Error(), "a credit of 1.00 GBP comes more than 1 month after its period") {
		t.Fatalf("closing: %v", err)
	}
	if err := desk.ListCredits(t.Context(), false, &out); err != nil || !strings.Contains(out.String(), "s1/2026-10-01  c1        2026-10-01 to 2026-11-01  1.00 GBP       2027-01-01") {
		t.Fatalf("list: %v\n%s", err, &out)
	}
	if err := desk.AllowCredit(t.Context(), "s1/2026-10-01", "Ada Lovelace wrote", "local:bob", &out); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "names the customer") {
		t.Fatalf("a name in the reason: %v", err)
	}
	if err := desk.AllowCredit(t.Context(), "s1/2026-09-01", "late", "local:bob", &out); err == nil || !strings.Contains(err.Error(), "no credit waits") {
		t.Fatalf("no credit: %v", err)
	}
	api := creditDesk{desk}
	if list, err := api.Credits(t.Context()); err != nil || len(list) != 1 || list[0].Amount != "1.00" || *list[0].Until != "2027-01-01" {
		t.Fatalf("by API: %+v, %v", list, err)
	}
	if _, err := api.AllowCredit(t.Context(), "s1/2026-09-01", "late", "user:ada"); !errors.Is(err, httpapi.ErrNotFound) {
		t.Fatalf("no credit by API: %v", err)
	}
	decision, err := api.AllowCredit(t.Context(), "s1/2026-10-01", "we were told late", "user:ada")
	if err != nil || decision.Decision != "credit" || decision.By != "user:ada" || decision.From != "2026-10-01T00:00:00Z" {
		t.Fatalf("allowed: %+v, %v", decision, err)
	}
	out.Reset()
	if err := desk.CloseDue(t.Context(), &out); err != nil || !strings.Contains(out.String(), "1 adjustments") {
		t.Fatalf("closing: %v\n%s", err, &out)
	}
	out.Reset()
	if err := desk.ListAudit(t.Context(), "s1", false, &out); err != nil || !strings.Contains(out.String(), "user:ada  decide credit  s1  "+decision.ID+": we were told late") {
		t.Fatalf("audit: %v\n%s", err, &out)
	}
}

// TestOrdersAndDecisionsByAPI goes through the same checks as an import.
func TestOrdersAndDecisionsByAPI(t *testing.T) {
	desk, _ := moneyDesk(t, "")
	api := inventoryDesk{desk}
	put := func(change httpapi.InventoryChange) (httpapi.Difference, error) {
		return api.Put(t.Context(), change, "token:whmcs")
	}
	refused := func(change httpapi.InventoryChange, want string) {
		t.Helper()
		var invalid *httpapi.InvalidError
		if _, err := put(change); !errors.As(err, &invalid) || len(invalid.Lines) != 1 || !strings.Contains(invalid.Lines[0], want) {
			t.Errorf("got %v %+v, want %q", err, invalid, want)
		}
	}
	order := httpapi.Change{Service: "s1", At: "2026-11-12T00:00:00Z", Plan: "large"}
	for turn, added := range []int{1, 0} {
		if difference, err := put(httpapi.InventoryChange{Changes: []httpapi.Change{order}}); err != nil || difference.Added != added {
			t.Fatalf("ordered, time %d: %+v, %v", turn, difference, err)
		}
	}
	if list, err := api.Changes(t.Context()); err != nil || len(list) != 1 || list[0] != order {
		t.Errorf("changes: %+v, %v", list, err)
	}
	refused(httpapi.InventoryChange{Changes: []httpapi.Change{{Service: "s1", At: "2026-10-12T00:00:00Z", Plan: "large"}}}, "the periods of service s1 are closed to 2026-11-01T00:00:00Z")
	refused(httpapi.InventoryChange{Changes: []httpapi.Change{{Service: "s1", At: "2026-11-13T00:00:00Z"}}}, "neither a plan nor a quota")
	refused(httpapi.InventoryChange{Changes: []httpapi.Change{{Service: "s9", At: "2026-11-13T00:00:00Z", Plan: "large"}}}, `"s9" is neither a service nor a pool`)

	waive := httpapi.Decision{ID: "d1", Service: "s1", Decision: "waive", From: "2026-10-15T00:00:00Z", By: "user:ada", Reason: "goodwill"}
	if _, err := put(httpapi.InventoryChange{Decisions: []httpapi.Decision{waive}}); err != nil {
		t.Fatal(err)
	}
	if list, err := api.Decisions(t.Context()); err != nil || len(list) != 1 || list[0] != waive {
		t.Errorf("decisions: %+v, %v", list, err)
	}
	other := waive
	other.Reason = "another"
	refused(httpapi.InventoryChange{Decisions: []httpapi.Decision{other}}, "decision d1 is made and is not changed")
	refused(httpapi.InventoryChange{Decisions: []httpapi.Decision{{ID: "d2", Service: "s1", Decision: "waive", By: "user:ada", Reason: "x"}}}, "from: a decision to waive needs one")
	refused(httpapi.InventoryChange{Decisions: []httpapi.Decision{{ID: "d2", Service: "s1", Decision: "credit", From: "2026-11-15T00:00:00Z", By: "user:ada", Reason: "x"}}}, "there is nothing to credit yet")

	var out bytes.Buffer
	if err := desk.ListAudit(t.Context(), "s1", false, &out); err != nil || !strings.Contains(out.String(), "token:whmcs  order change  s1  at 2026-11-12T00:00:00Z: large") ||
		!strings.Contains(out.String(), "user:ada     decide waive  s1  d1: goodwill") || strings.Count(out.String(), "order change") != 1 {
		t.Errorf("audit: %v\n%s", err, &out)
	}
}

// TestEraseByCommandAndAPI asks for the identifier twice, and shows it everywhere afterwards.
func TestEraseByCommandAndAPI(t *testing.T) {
	desk, _ := moneyDesk(t, "")
	var out, before, after bytes.Buffer
	report := ExportOptions{Month: "2026-10", Format: "csv"}
	if err := desk.ExportReport(t.Context(), report, &before); err != nil {
		t.Fatal(err)
	}
	if err := desk.Erase(t.Context(), "c1", EraseOptions{Reason: "letter", By: "local:bob"}, strings.NewReader("c2\n"), &out); !errors.Is(err, ErrUsage) {
		t.Fatalf("another identifier: %v", err)
	}
	if names, err := desk.customerNames(t.Context()); err != nil || names["c1"] != "Ada Lovelace" {
		t.Fatalf("names %v, %v", names, err)
	}
	if err := desk.Erase(t.Context(), "c1", EraseOptions{Reason: "letter", By: "local:bob"}, strings.NewReader("c1\n"), &out); err != nil || !strings.Contains(out.String(), "go on under the identifier: s1") {
		t.Fatalf("erased: %v\n%s", err, &out)
	}
	if names, err := desk.customerNames(t.Context()); err != nil || names["c1"] != "" {
		t.Fatalf("names %v, %v", names, err)
	}
	again, err := eraser{desk}.Erase(t.Context(), "c1", "letter", "user:ada")
	if err != nil || !again.Already || !again.Scrubbed {
		t.Fatalf("again: %+v, %v", again, err)
	}
	if _, err := (eraser{desk}).Erase(t.Context(), "c9", "letter", "user:ada"); !errors.Is(err, httpapi.ErrNotFound) {
		t.Fatalf("unknown: %v", err)
	}
	if err := desk.ExportReport(t.Context(), report, &after); err != nil || !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Fatalf("the report is another one: %v\n%s\n%s", err, &before, &after)
	}
	if err := desk.VerifyStatements(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var evidence bytes.Buffer
	if err := desk.ExportEvidence(t.Context(), ExportOptions{Month: "2026-10", Format: "json", Service: "s1"}, &evidence); err != nil || strings.Contains(evidence.String(), "Lovelace") {
		t.Fatalf("evidence: %v\n%s", err, &evidence)
	}
}

// TestApprovalByCommandAndAPI waives the one charge that waits, and sees it adjusted to nothing.
func TestApprovalByCommandAndAPI(t *testing.T) {
	desk, _ := moneyDesk(t, ", approval: required")
	api := approvalDesk{desk}
	list, err := api.Unapproved(t.Context())
	if err != nil || len(list) != 1 || list[0].Statement != "s1/2026-10-01" || list[0].Amount != "1.00" {
		t.Fatalf("waiting: %+v, %v", list, err)
	}
	number := list[0].Number
	var out bytes.Buffer
	if err := desk.Waive(t.Context(), []int64{number}, "Ada Lovelace is nice", "local:bob", &out); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "names the customer") {
		t.Fatalf("a name in the reason: %v", err)
	}
	if err := api.Waive(t.Context(), []int64{number, 99}, "goodwill", "user:ada"); !errors.Is(err, httpapi.ErrConflict) {
		t.Fatalf("one that does not wait: %v", err)
	}
	if decided, err := (inventoryDesk{desk}).Decisions(t.Context()); err != nil || len(decided) != 0 {
		t.Fatalf("decided: %+v, %v", decided, err)
	}
	if err := desk.Waive(t.Context(), []int64{number}, "goodwill", "local:bob", &out); err != nil {
		t.Fatal(err)
	}
	if err := desk.CloseDue(t.Context(), &out); err != nil || !strings.Contains(out.String(), "0 statements and 1 adjustments") {
		t.Fatalf("closing: %v\n%s", err, &out)
	}
	if list, err := api.Unapproved(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("still waiting: %+v, %v", list, err)
	}
	report, err := desk.report(t.Context(), "2026-10")
	if err != nil || len(report.Totals) != 1 || !report.Totals[0].AmountExVAT.IsZero() {
		t.Fatalf("totals: %+v, %v", report.Totals, err)
	}
	if err := desk.Approve(t.Context(), []int64{number}, false, "local:bob", &out); err == nil || !strings.Contains(err.Error(), "waits for no approval") {
		t.Fatalf("approved after the waiver: %v", err)
	}
}

// TestApproveAll approves what waits.
func TestApproveAll(t *testing.T) {
	desk, _ := moneyDesk(t, ", approval: required")
	var out bytes.Buffer
	if err := desk.ListUnapproved(t.Context(), false, &out); err != nil || !strings.Contains(out.String(), "1       s1/2026-10-01  1         c1        2026-10-01 to 2026-11-01  1.00 GBP") {
		t.Fatalf("list: %v\n%s", err, &out)
	}
	state := func(want string) {
		t.Helper()
		list, err := (reporter{desk}).Statements(t.Context(), "2026-10")
		if err != nil || len(list) != 1 || list[0].Approval != want {
			t.Fatalf("statements: %+v, %v; want one that is %q", list, err, want)
		}
	}
	state("waiting")
	if err := desk.Approve(t.Context(), nil, true, "local:bob", &out); err != nil || !strings.Contains(out.String(), "1 charges are approved by local:bob") {
		t.Fatalf("approved: %v\n%s", err, &out)
	}
	state("approved")
	if list, err := (approvalDesk{desk}).Unapproved(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("still waiting: %+v, %v", list, err)
	}
}

// TestCorrectionIsPreviewed sees what a correction of ownership would make of a closed period, and writes nothing.
func TestCorrectionIsPreviewed(t *testing.T) {
	desk, at := moneyDesk(t, "")
	at.Set(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
	correction := `ownership: [{service: s1, key: "address:10.1.0.2", from: 2026-10-01T00:00:00Z, until: 2026-10-01T00:05:00Z}]`
	files := []httpapi.ImportFile{{Name: "correction.yaml", Text: []byte(correction)}}
	version := func() int64 {
		snapshot, err := desk.inventory.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return snapshot.Version
	}
	before := version()
	preview, err := previewer{desk}.Preview(t.Context(), files)
	if err != nil || len(preview.Statements) != 0 || len(preview.Adjustments) != 1 || len(preview.Problems) != 0 {
		t.Fatalf("preview: %+v, %v", preview, err)
	}
	seen := preview.Adjustments[0]
	if seen.Statement != "s1/2026-10-01" || seen.Revision != 2 || seen.InOctets != -2_500_000_000 || seen.Amount != "-1.00" {
		t.Fatalf("preview: %+v", seen)
	}
	var out bytes.Buffer
	if err := desk.PreviewImport(t.Context(), []string{write(t, correction)}, false, &out); err != nil ||
		!strings.Contains(out.String(), "would adjust  c1        s1/2026-10-01  2026-10-01 to 2026-11-01  -2500000000  0    -1.00 GBP") || !strings.Contains(out.String(), "nothing was written") {
		t.Fatalf("preview: %v\n%s", err, &out)
	}
	decision := `decisions: [{id: d1, service: s1, decision: waive, from: 2026-10-15T00:00:00Z, by: Jane, reason: goodwill}]`
	if preview, err = (previewer{desk}).Preview(t.Context(), []httpapi.ImportFile{{Name: "decision.yaml", Text: []byte(decision)}}); err != nil || len(preview.Adjustments) != 1 || preview.Adjustments[0].Amount != "-1.00" {
		t.Fatalf("preview of a decision: %+v, %v", preview, err)
	}
	if version() != before {
		t.Fatal("a preview wrote something")
	}
	if preview, err = (previewer{desk}).Preview(t.Context(), nil); err != nil || len(preview.Statements)+len(preview.Adjustments) != 0 {
		t.Fatalf("as things are: %+v, %v", preview, err)
	}
	importText(t, desk, correction)
	if err := desk.PreviewClosing(t.Context(), false, &out); err != nil {
		t.Fatal(err)
	}
	if preview, err = (previewer{desk}).Preview(t.Context(), nil); err != nil || len(preview.Adjustments) != 1 || preview.Adjustments[0] != seen {
		t.Fatalf("after the import: %+v, %v", preview, err)
	}
	state := func(month, want string) {
		t.Helper()
		report, err := desk.report(t.Context(), month)
		if err != nil || len(report.Rows) == 0 || string(report.Rows[0].State) != want {
			t.Fatalf("%s: %+v, %v; want %s", month, report.Rows, err, want)
		}
	}
	state("2026-10", "closed")
	state("2026-11", "open")
	if err := desk.CloseDue(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	report, err := desk.report(t.Context(), "2026-10")
	if err != nil || len(report.Rows) != 2 || report.Rows[1].InOctets != seen.InOctets || report.Rows[1].AmountExVAT.StringFixed(2) != seen.Amount {
		t.Fatalf("issued: %+v, %v", report.Rows, err)
	}
	told, err := reporter{desk}.Statements(t.Context(), "2026-10")
	if err != nil || len(told) != 2 || told[1].InOctets != seen.InOctets || told[1].BillableOctets != seen.InOctets {
		t.Fatalf("told by the API: %+v, %v", told, err)
	}
	state("2026-10", "corrected")
	at.Set(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC))
	state("2026-11", "provisional")
	at.Set(time.Date(2026, 12, 4, 0, 0, 0, 0, time.UTC))
	if _, err := desk.ledger.Seal(t.Context(), at.Now()); err != nil {
		t.Fatal(err)
	}
	state("2026-11", "closing")
	if err := desk.CloseDue(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	state("2026-11", "closed")
}
