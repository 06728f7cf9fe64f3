package whmcs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs"
	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/rating"
	"hostmeter/internal/config"
)

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

func lab(t *testing.T, change func(*whmcs.Config)) (*whmcstest.Server, *whmcs.Client) {
	t.Helper()
	server := whmcstest.New(func() time.Time { return start }, map[int]string{17: "GBP", 18: "USD"})
	t.Cleanup(server.Close)
	cfg := whmcs.DefaultConfig()
	cfg.URL, cfg.Identifier, cfg.Secret = server.API(), config.NewSecret("id"), config.NewSecret("secret")
	cfg.Since, cfg.ClientPrefix, cfg.Clients = rating.Date{Year: 2026, Month: 10, Day: 1}, "c", map[string]int64{"ada": 17, "ada/USD": 18}
	cfg.Timeout = time.Second
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return server, whmcs.New(cfg, nil)
}

func charge(customer, amount, currency string) whmcs.Charge {
	return whmcs.Charge{Key: "hm-1-0123456789ab", Customer: customer, Description: "s1 plan\ntransfer", Amount: decimal.RequireFromString(amount),
		AmountText: strings.TrimPrefix(amount, "-"), Currency: currency}
}

func TestRequests(t *testing.T) {
	f := func(change func(*whmcs.Config), c whmcs.Charge, action string, want map[string]string) {
		t.Helper()
		server, client := lab(t, change)
		request, err := client.Build(c)
		if err != nil {
			t.Fatal(err)
		}
		if request.Action != action || len(request.Fields) != len(want) {
			t.Fatalf("got %s %v, want %s %v", request.Action, request.Fields, action, want)
		}
		for name, value := range want {
			if request.Fields[name] != value {
				t.Fatalf("%s is %q, want %q", name, request.Fields[name], value)
			}
		}
		server.Legacy = want["hours"] != ""
		if id, err := client.Send(t.Context(), request); err != nil || (id == "") != (action == "AddCredit") {
			t.Fatalf("sent: %q, %v", id, err)
		}
		items := server.With("[hm-1-0123456789ab]")
		if len(items) != 1 || items[0].Client != 17 || items[0].Amount != want["amount"] || items[0].Credit != (action == "AddCredit") {
			t.Fatalf("WHMCS has %+v", items)
		}
	}
	text := "s1 plan\ntransfer [hm-1-0123456789ab]"
	f(nil, charge("c17", "60.00", "GBP"), "AddBillableItem", map[string]string{
		"clientid": "17", "description": text, "amount": "60.00", "unit": "quantity", "quantity": "1", "invoiceaction": "nextinvoice"})
	f(func(c *whmcs.Config) { c.LegacyHours, c.InvoiceAction = true, "nextcron" }, charge("ada", "60.00", "GBP"), "AddBillableItem", map[string]string{
		"clientid": "17", "description": text, "amount": "60.00", "hours": "1", "invoiceaction": "nextcron"})
	f(func(c *whmcs.Config) { c.Credits = whmcs.CreditBalance }, charge("c17", "-60.00", "GBP"), "AddCredit", map[string]string{
		"clientid": "17", "description": text, "amount": "60.00", "type": "add"})
	f(func(c *whmcs.Config) { c.Credits = whmcs.NegativeItem }, charge("c17", "-0.50", "GBP"), "AddBillableItem", map[string]string{
		"clientid": "17", "description": text, "amount": "-0.50", "unit": "quantity", "quantity": "1", "invoiceaction": "nextinvoice"})
}

func TestWhatCannotBeSent(t *testing.T) {
	f := func(c whmcs.Charge, says string) {
		t.Helper()
		server, client := lab(t, nil)
		request, err := client.Build(c)
		if err == nil {
			err = client.Check(t.Context(), request, c.Currency)
		}
		if !errors.Is(err, whmcs.ErrUnfit) || !strings.Contains(err.Error(), says) {
			t.Fatalf("got %v, want it to say %q", err, says)
		}
		if len(server.Items()) != 0 {
			t.Fatal("it was sent")
		}
	}
	f(charge("bob", "60.00", "GBP"), "handover.whmcs.clients")
	f(charge("c017", "60.00", "GBP"), "handover.whmcs.clients") // no client 017: it would be another customer's number
	f(charge("c-17", "60.00", "GBP"), "handover.whmcs.clients")
	f(charge("c19", "60.00", "GBP"), "Client Not Found")
	f(charge("c18", "60.00", "GBP"), `pays in "USD"`)
	f(charge("c17", "-60.00", "GBP"), "handover.whmcs.credits")
	f(charge("ada", "60.00", "EUR"), "CUSTOMER/EUR")
}

// TestACustomerMayHaveAClientForEachCurrency, because WHMCS's clients have one.
func TestACustomerMayHaveAClientForEachCurrency(t *testing.T) {
	_, client := lab(t, nil)
	for currency, want := range map[string]string{"GBP": "17", "USD": "18"} {
		request, err := client.Build(charge("ada", "60.00", currency))
		if err != nil || request.Fields["clientid"] != want {
			t.Fatalf("%s: %v, %v", currency, request.Fields, err)
		}
		if err := client.Check(t.Context(), request, currency); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatAnAnswerSays: for each way in which a call goes wrong, what is said of its effect must be true.
func TestWhatAnAnswerSays(t *testing.T) {
	f := func(fault whmcstest.Fault, want error, effect bool) {
		t.Helper()
		server, client := lab(t, func(c *whmcs.Config) { c.Timeout = 200 * time.Millisecond })
		request, err := client.Build(charge("c17", "60.00", "GBP"))
		if err != nil {
			t.Fatal(err)
		}
		server.Fail(func(string) whmcstest.Fault { return fault })
		_, err = client.Send(t.Context(), request)
		if err == nil {
			t.Fatal("success")
		}
		for _, known := range []error{whmcs.ErrUntouched, whmcs.ErrRefused, whmcs.ErrUnfit} {
			if errors.Is(err, known) != (known == want) {
				t.Fatalf("fault %d: got %v", fault, err)
			}
		}
		server.EndLate()
		if got := len(server.Items()) > 0; got != effect {
			t.Fatalf("fault %d: effect %v, want %v", fault, got, effect)
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("fault %d: the error shows too much: %q", fault, err)
		}
	}
	f(whmcstest.Forbidden, whmcs.ErrUntouched, false)
	f(whmcstest.WrongIP, whmcs.ErrUntouched, false)
	f(whmcstest.Busy, whmcs.ErrUntouched, false)
	for _, open := range []whmcstest.Fault{whmcstest.ErrorPage, whmcstest.Closed, whmcstest.Maintenance, whmcstest.Database} {
		f(open, nil, false)
	}
	for _, open := range []whmcstest.Fault{whmcstest.LostAnswer, whmcstest.LostPage, whmcstest.Hang, whmcstest.LateEffect, whmcstest.Truncated, whmcstest.EmptySuccess, whmcstest.LateError, whmcstest.Filtered, whmcstest.FilteredDenied, whmcstest.FilteredJSON, whmcstest.Twice} {
		f(open, nil, true)
	}
}

func TestRefusalsOfTheReference(t *testing.T) {
	f := func(action string, fields map[string]string) {
		t.Helper()
		server, client := lab(t, nil)
		_, err := client.Send(t.Context(), whmcs.Request{Action: action, Fields: fields})
		if !errors.Is(err, whmcs.ErrRefused) || len(server.Items()) != 0 {
			t.Fatalf("%s %v: got %v and %d items", action, fields, err, len(server.Items()))
		}
	}
	f("AddBillableItem", map[string]string{"clientid": "99", "description": "x", "amount": "1", "unit": "quantity"})
	f("AddBillableItem", map[string]string{"clientid": "17", "amount": "1", "unit": "quantity"})
	f("AddBillableItem", map[string]string{"clientid": "17", "description": "x", "amount": "1", "unit": "quantity", "invoiceaction": "soon"})
	f("AddCredit", map[string]string{"clientid": "99", "description": "x", "amount": "1"})
	f("AddCredit", map[string]string{"clientid": "17", "description": "x", "amount": "-1"})
	f("AddCredit", map[string]string{"clientid": "17", "description": "x"})
	f("AddCredit", map[string]string{"clientid": "17", "description": "x", "amount": "1", "type": "gift"})
}

func TestNobodyListens(t *testing.T) {
	server, client := lab(t, nil)
	request, err := client.Build(charge("c17", "60.00", "GBP"))
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if _, err := client.Send(t.Context(), request); !errors.Is(err, whmcs.ErrUntouched) {
		t.Fatalf("got %v", err)
	}
}

// TestRedirectsAreNotFollowed: the credentials are for one address.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	_, client := lab(t, func(c *whmcs.Config) { c.URL = server.URL })
	_, err := client.Send(t.Context(), whmcs.Request{Action: "AddBillableItem"})
	if err == nil || errors.Is(err, whmcs.ErrUntouched) {
		t.Fatalf("got %v", err)
	}
}

func TestFind(t *testing.T) {
	server, client := lab(t, func(c *whmcs.Config) { c.Credits = whmcs.CreditBalance })
	find := func(request whmcs.Request, want ...string) {
		t.Helper()
		found, err := client.Find(context.Background(), request, "hm-1-0123456789ab", start)
		if err != nil || strings.Join(found, ";") != strings.Join(want, ";") {
			t.Fatalf("found %q, %v, want %q", found, err, want)
		}
	}
	item, err := client.Build(charge("c17", "60.00", "GBP"))
	if err != nil {
		t.Fatal(err)
	}
	credit, err := client.Build(charge("c17", "-60.00", "GBP"))
	if err != nil {
		t.Fatal(err)
	}
	find(item)
	find(credit)
	for _, request := range []whmcs.Request{item, credit} {
		if _, err := client.Send(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	find(item) // it waits for an invoice, where nobody can see it
	find(credit, "credit 2")
	server.InvoiceAll()
	server.AddInvoices(17, 230) // the page with it is the third
	find(item, "1 on invoice 1")
	server.Fail(func(action string) whmcstest.Fault { return whmcstest.Maintenance })
	if _, err := client.Find(t.Context(), item, "hm-1-0123456789ab", start); err == nil {
		t.Fatal("a page of maintenance was taken for an empty list")
	}
	if _, err := client.Find(t.Context(), credit, "hm-1-0123456789ab", start); err == nil {
		t.Fatal("a page of maintenance was taken for an empty list")
	}
}

func TestFindStopsBeforeTheCharge(t *testing.T) {
	server, client := lab(t, nil)
	item, err := client.Build(charge("c17", "60.00", "GBP"))
	if err != nil {
		t.Fatal(err)
	}
	server.AddInvoices(17, 40)
	if found, err := client.Find(t.Context(), item, "hm-1-0123456789ab", start.Add(30*24*time.Hour)); err != nil || len(found) != 0 {
		t.Fatalf("found %q, %v", found, err)
	}
	for _, action := range server.Calls() {
		if action == "GetInvoice" {
			t.Fatal("it read invoices from before the charge")
		}
	}
}
