// Package whmcs puts charges into WHMCS: billable items, and credits.
//
// It owns the calls and what their answers mean: whether a call had an effect, had none, or may have
// had one. It promises never to repeat a call that may have had an effect: what it cannot tell it returns
// as an error that is neither ErrUntouched nor ErrRefused, and Find looks for the charge by its key,
// which stands in the description. It keeps no state; the journal is its caller's.
//
// WHMCS lists no billable items. What Find does not find may still wait for an invoice there.
// Source: WHMCS API reference, AddBillableItem, AddCredit, GetClientsDetails, GetInvoices, GetInvoice,
// GetCredits.
package whmcs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Charge is one amount that a client is to pay, or to get back where it is below nothing.
type Charge struct {
	// Key names the charge for good; it is put into the description in brackets.
	Key         string
	Customer    string
	Description string
	Amount      decimal.Decimal // without VAT
	Currency    string
	AmountText  string // of the absolute amount, with the digits of its currency
}

// Request is a call as the journal keeps it: without credentials.
type Request struct {
	Action string            `json:"action"`
	Fields map[string]string `json:"fields"`
}

// Client talks to one WHMCS. It is for one goroutine.
type Client struct {
	cfg        Config
	http       *http.Client
	currencies map[int64]string // by client, since Forget
}

// New returns a client that has touched nothing yet. c is for tests; nil is one that uses a connection
// once: with a connection that is used again, a call could be repeated below us.
func New(cfg Config, c *http.Client) *Client {
	if c == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableKeepAlives = true
		transport.ForceAttemptHTTP2, transport.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
		c = &http.Client{Transport: transport}
	}
	one := *c
	one.Timeout = cfg.Timeout
	one.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{cfg: cfg, http: &one, currencies: map[int64]string{}}
}

// Forget drops what was learnt of clients: it may have changed.
func (c *Client) Forget() { clear(c.currencies) }

// Build returns the call for a charge. It asks nobody.
//
// Errors: ErrUnfit.
func (c *Client) Build(charge Charge) (Request, error) {
	client, err := c.cfg.client(charge.Customer, charge.Currency)
	if err != nil {
		return Request{}, err
	}
	fields := map[string]string{
		"clientid":    strconv.FormatInt(client, 10),
		"description": charge.Description + " [" + charge.Key + "]",
		"amount":      charge.AmountText,
	}
	if charge.Amount.IsNegative() {
		switch c.cfg.Credits {
		case CreditBalance:
			fields["type"] = "add"
			return Request{Action: "AddCredit", Fields: fields}, nil
		case NegativeItem:
			fields["amount"] = "-" + charge.AmountText
		default:
			return Request{}, fmt.Errorf("%w: an amount below nothing is a person's to decide: see handover.whmcs.credits", ErrUnfit)
		}
	}
	fields["invoiceaction"] = c.cfg.InvoiceAction
	if c.cfg.LegacyHours {
		fields["hours"] = "1"
	} else {
		fields["unit"], fields["quantity"] = "quantity", "1"
	}
	return Request{Action: "AddBillableItem", Fields: fields}, nil
}

// Check asks WHMCS for the client and compares the currency: an amount there is always in the client's.
// It has no effect, and shows whether calls get through at all.
//
// Errors: ErrUnfit where the charge cannot be sent; any other where WHMCS did not answer as it should.
func (c *Client) Check(ctx context.Context, request Request, currency string) error {
	client, err := strconv.ParseInt(request.Fields["clientid"], 10, 64)
	if err != nil {
		return fmt.Errorf("%w: clientid %q", ErrUnfit, request.Fields["clientid"])
	}
	theirs, known := c.currencies[client]
	if !known {
		var answer struct {
			Currency string `json:"currency_code"`
			Client   struct {
				Currency string `json:"currency_code"`
			} `json:"client"`
		}
		err := c.call(ctx, "GetClientsDetails", map[string]string{"clientid": request.Fields["clientid"]}, &answer)
		if errors.Is(err, ErrRefused) {
			return fmt.Errorf("%w: %w", ErrUnfit, err)
		}
		if err != nil {
			return err
		}
		if theirs = answer.Client.Currency; theirs == "" {
			theirs = answer.Currency
		}
		c.currencies[client] = theirs
	}
	if theirs != currency {
		return fmt.Errorf("%w: the charge is in %s and client %d pays in %q: name one that pays in %s in handover.whmcs.clients, as CUSTOMER/%s", ErrUnfit, currency, client, theirs, currency, currency)
	}
	return nil
}

// Send makes the call, once, and returns the id of what it made; a credit has none.
//
// Errors: ErrUntouched, ErrRefused; any other leaves open whether the charge is there.
func (c *Client) Send(ctx context.Context, request Request) (id string, err error) {
	var answer struct {
		BillableID number  `json:"billableid"`
		Balance    *number `json:"newbalance"`
	}
	if err := c.call(ctx, request.Action, request.Fields, &answer); err != nil {
		return "", err
	}
	switch {
	case request.Action == "AddCredit" && answer.Balance == nil:
		return "", fmt.Errorf("%s: success without a balance", request.Action)
	case request.Action == "AddCredit":
		return "", nil
	case answer.BillableID == "" || answer.BillableID == "0":
		return "", fmt.Errorf("%s: success without a billableid", request.Action)
	}
	return string(answer.BillableID), nil
}

// Names says whether a description is that of the charge with a key.
func Names(description, key string) bool { return strings.Contains(description, "["+key+"]") }

// Find looks for a charge that was sent at or after since, by its key, and returns where it stands. None
// is no proof that it is not there: an item that is on no invoice yet cannot be seen.
//
// Errors: ErrUntouched and ErrUnanswered, where other looks would fail alike; any other is this charge's own.
func (c *Client) Find(ctx context.Context, request Request, key string, since time.Time) (places []string, err error) {
	named := func(description string) bool { return Names(description, key) }
	var found []Entry
	if request.Action == "AddCredit" {
		found, err = c.findCredits(ctx, request.Fields["clientid"], named)
	} else {
		found, err = c.findItems(ctx, request.Fields["clientid"], since, named)
	}
	for _, entry := range found {
		places = append(places, entry.Place)
	}
	return places, err
}

// Entry is what a client was charged on an invoice, or got as a credit.
type Entry struct {
	Place       string // "17 on invoice 3", or "credit 5"
	Description string
	Amount      string // as WHMCS writes it; of a credit without a sign
}

// Entries returns those of a customer's invoices since an instant, and of the credits, whose description match says
// yes to. What is on no invoice yet is not among them.
//
// Errors: ErrUnfit where the customer has no client; those of Find.
func (c *Client) Entries(ctx context.Context, customer, currency string, since time.Time, match func(description string) bool) ([]Entry, error) {
	client, err := c.cfg.client(customer, currency)
	if err != nil {
		return nil, err
	}
	id := strconv.FormatInt(client, 10)
	items, err := c.findItems(ctx, id, since, match)
	if err != nil {
		return nil, err
	}
	credits, err := c.findCredits(ctx, id, match)
	return append(items, credits...), err
}

type credit struct {
	ID          number `json:"id"`
	Description string `json:"description"`
	Amount      number `json:"amount"`
}

func (c *Client) findCredits(ctx context.Context, client string, match func(string) bool) (found []Entry, err error) {
	var answer struct {
		Credits json.RawMessage `json:"credits"`
	}
	if err := c.call(ctx, "GetCredits", map[string]string{"clientid": client}, &answer); err != nil {
		return nil, err
	}
	list, err := inner[credit](answer.Credits, "credit")
	if err != nil {
		return nil, fmt.Errorf("GetCredits: read the answer: %w", err)
	}
	for _, entry := range list {
		if match(entry.Description) {
			found = append(found, Entry{Place: "credit " + string(entry.ID), Description: entry.Description, Amount: string(entry.Amount)})
		}
	}
	return found, nil
}

type invoice struct {
	ID   number `json:"id"`
	Date string `json:"date"`
}

type item struct {
	RelID       number `json:"relid"`
	Description string `json:"description"`
	Amount      number `json:"amount"`
}

const (
	invoicePage  = 100
	invoicesMost = 2000 // of one client since the charge was sent: more is a fault of ours or theirs
	clockSlack   = 48 * time.Hour
)

// findItems reads the client's invoices, the newest first, down to those from before the charge. The order
// is what makes paging safe: an invoice that is made meanwhile moves others back, never past us.
func (c *Client) findItems(ctx context.Context, client string, since time.Time, match func(string) bool) (found []Entry, err error) {
	oldest := since.Add(-clockSlack).Format(time.DateOnly)
	seen := map[number]bool{}
	for start := 0; start < invoicesMost; {
		var answer struct {
			Total    number          `json:"totalresults"`
			Invoices json.RawMessage `json:"invoices"`
		}
		err := c.call(ctx, "GetInvoices", map[string]string{"userid": client, "orderby": "date", "order": "desc",
			"limitstart": strconv.Itoa(start), "limitnum": strconv.Itoa(invoicePage)}, &answer)
		if err != nil {
			return nil, err
		}
		list, err := inner[invoice](answer.Invoices, "invoice")
		if err != nil {
			return nil, fmt.Errorf("GetInvoices: read the answer: %w", err)
		}
		past := false
		for _, one := range list {
			if one.Date < oldest {
				past = true
				continue
			}
			if seen[one.ID] {
				continue
			}
			seen[one.ID] = true
			items, err := c.itemsWith(ctx, one.ID, match)
			if err != nil {
				return nil, err
			}
			found = append(found, items...)
		}
		start += len(list)
		total, err := strconv.Atoi(string(answer.Total))
		if err != nil {
			return nil, fmt.Errorf("GetInvoices: totalresults %q is no number", answer.Total)
		}
		if past || len(list) == 0 || start >= total {
			return found, nil
		}
	}
	return nil, fmt.Errorf("client %s has more than %d invoices since %s", client, invoicesMost, oldest)
}

func (c *Client) itemsWith(ctx context.Context, id number, match func(string) bool) (found []Entry, err error) {
	var answer struct {
		Items json.RawMessage `json:"items"`
	}
	if err := c.call(ctx, "GetInvoice", map[string]string{"invoiceid": string(id)}, &answer); err != nil {
		return nil, err
	}
	items, err := inner[item](answer.Items, "item")
	if err != nil {
		return nil, fmt.Errorf("GetInvoice: read the answer: %w", err)
	}
	for _, one := range items {
		if match(one.Description) {
			found = append(found, Entry{Place: fmt.Sprintf("%s on invoice %s", one.RelID, id), Description: one.Description, Amount: string(one.Amount)})
		}
	}
	return found, nil
}
