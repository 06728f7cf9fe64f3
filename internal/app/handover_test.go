package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export"
	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/ledger"
	"hostmeter/internal/clock"
	"hostmeter/internal/store"
)

// eventSink takes events and keeps their data by type, in the order in which they came.
type eventSink struct {
	mu   sync.Mutex
	data map[string][]json.RawMessage
	ids  []string
	came func() // where it is not nil, called with each
}

func (s *eventSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Type, ID string
		Data     json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[event.Type] = append(s.data[event.Type], event.Data)
	s.ids = append(s.ids, event.ID)
	if s.came != nil {
		s.came()
	}
}

func (s *eventSink) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.data[kind])
}

// checkHandover hands the demo's month over to a WHMCS and a webhook, twice, and compares what is there with
// the report, line by line.
func checkHandover(t *testing.T, out string, report []map[string]string) {
	t.Helper()
	clients, names := map[int]string{}, map[string]int{}
	for _, line := range report {
		if name := payer(line); names[name] == 0 {
			names[name] = len(names) + 1
			clients[len(names)] = line["currency"]
		}
	}
	server := whmcstest.New(time.Now, clients)
	defer server.Close()
	sink := &eventSink{data: map[string][]json.RawMessage{}}
	hook := httptest.NewServer(sink)
	defer hook.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "data: %s\nhandover:\n  whmcs: {url: %q, identifier: id, secret: secret, since: 2026-10-01, delay: 0s, correction_window: 0s, credits: credit, clients: {", filepath.Join(out, "data"), server.API())
	for name, id := range names {
		fmt.Fprintf(&text, "%s: %d, ", name, id)
	}
	fmt.Fprintf(&text, "}}\n  webhooks: [{name: billing, url: %q, secrets: [a]}]\n", hook.URL)
	path := write(t, text.String())
	desk, err := OpenDesk(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := desk.Backup(t.Context(), backup, io.Discard); err != nil {
		t.Fatal(err)
	}
	var plan bytes.Buffer
	if err := desk.PlanHandover(t.Context(), 1, false, &plan); err != nil || len(server.Items()) != 0 {
		t.Fatalf("dry run: %v, and WHMCS has %d items", err, len(server.Items()))
	}
	for range 2 {
		if err := desk.HandOver(t.Context(), io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	compareCharges(t, server.Items(), report, names)
	compareEvents(t, desk, sink)
	if planned := strings.Count(plan.String(), "AddBillableItem"); planned != len(server.Items()) {
		t.Errorf("%d items were planned and %d sent:\n%s", planned, len(server.Items()), &plan)
	}
	desk.Close()
	handOverAfterRestore(t, path, backup, server, sink)
}

// handOverAfterRestore brings the ledger back as it was before anything was handed over. Everything is found at the
// receivers, or known there by its id.
func handOverAfterRestore(t *testing.T, path, backup string, server *whmcstest.Server, sink *eventSink) {
	t.Helper()
	server.InvoiceAll()
	items, told := len(server.Items()), sink.ids
	if err := Restore(t.Context(), path, RestoreOptions{File: backup, Replace: true}, io.Discard); err != nil {
		t.Fatal(err)
	}
	desk, err := OpenDesk(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	sink.ids = nil
	if err := desk.HandOver(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := len(server.Items()); n != items {
		t.Errorf("WHMCS has %d items after the restore, and had %d", n, items)
	}
	if !slices.Equal(sink.ids, told) {
		t.Errorf("%d events after the restore, %d before it, with other ids", len(sink.ids), len(told))
	}
	h, err := desk.handover()
	if err != nil {
		t.Fatal(err)
	}
	open, err := h.Charges(t.Context(), export.Pending, export.Intended, export.Parked)
	if err != nil || len(open) != 0 {
		t.Errorf("%d charges are not found again, %v: %+v", len(open), err, open)
	}
}

// payer names a client as the configuration does: a customer may pay in two currencies.
func payer(line map[string]string) string { return line["customer"] + "/" + line["currency"] }

func compareCharges(t *testing.T, items []whmcstest.Item, report []map[string]string, names map[string]int) {
	t.Helper()
	charged := 0
	for _, line := range report {
		amount, err := decimal.NewFromString(line["amount_ex_vat"])
		if err != nil {
			t.Fatal(err)
		}
		if amount.IsZero() || line["statement"] == "" {
			continue
		}
		charged++
		found := 0
		for _, item := range items {
			theirs, err := decimal.NewFromString(item.Amount)
			if err == nil && theirs.Equal(amount) && item.Client == names[payer(line)] && strings.HasPrefix(item.Description, line["service"]+" "+line["plan"]+" ("+line["period_from"][:10]) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the charge of statement %s is at WHMCS %d times", line["statement"], found)
		}
	}
	if charged < 5 || charged > len(items) {
		t.Errorf("%d lines of the report are charged, WHMCS has %d items", charged, len(items))
	}
}

// compareEvents: an event's data is what the API's feed says.
func compareEvents(t *testing.T, desk *Desk, sink *eventSink) {
	t.Helper()
	got := sink.data["hostmeter.usage-record.v1"]
	var after int64
	for {
		records, err := desk.ledger.UsageRecords(t.Context(), after, ledger.MaxUsageRecords)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			want, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if int(r.Seq) > len(got) || !bytes.Equal(got[r.Seq-1], want) {
				t.Fatalf("record %d of %d events: want %s", r.Seq, len(got), want)
			}
			after = r.Seq
		}
	}
	n := 0
	if err := desk.ledger.Statements(t.Context(), ledger.StatementQuery{}, func(ledger.Statement) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if int(after) != len(got) || after < 100 || sink.count("hostmeter.statement.v1") != n || n < 50 {
		t.Fatalf("%d events of %d records, %d of %d statements", len(got), after, sink.count("hostmeter.statement.v1"), n)
	}
}

// TestRunHandsOver: the process does it by itself.
func TestRunHandsOver(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sink := &eventSink{data: map[string][]json.RawMessage{}, came: stop}
	hook := httptest.NewServer(sink)
	defer hook.Close()
	cfg, err := LoadConfig(write(t, fmt.Sprintf("data: %s\nhttp: {listen: \"127.0.0.1:0\"}\ncollector: {udp: [{listen: \"127.0.0.1:0\"}], local: [192.0.2.0/24], exporters: [{address: 192.0.2.250}]}\n"+
		"handover: {every: 5ms, webhooks: [{name: billing, url: %q, secrets: [a]}]}\n", t.TempDir(), hook.URL)))
	if err != nil {
		t.Fatal(err)
	}
	a := New(cfg, All, clock.Real{}, slog.New(slog.DiscardHandler))
	defer a.Close()
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = a.desk.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO usage_record (seq, id, kind, customer, service, meter, class, direction, period_from, period_to,
			from_at, to_at, day, octets, packets, variance_kib2, coverage, recorded_at, corrects)
			VALUES (1, 'r1', 'usage', 'c1', 's1', 'address:192.0.2.9', 'external', 'in', 0, 1, 0, 1, 0, 7, 1, 0, '', 1, '')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	select {
	case err := <-ended: // the event has stopped it
		if err != nil || sink.count("hostmeter.usage-record.v1") != 1 {
			t.Fatalf("%d events, %v", sink.count("hostmeter.usage-record.v1"), err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was handed over")
	}
}
