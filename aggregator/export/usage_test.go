package export

import (
	"context"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs/whmcstest"
	"hostmeter/aggregator/rating"
	"hostmeter/aggregator/statement"
)

// TestUsageIsShown from time to time; a product that is not as it should be holds up no other.
func TestUsageIsShown(t *testing.T) {
	l := sqliteLab(t)
	l.cfg.WHMCS.Usage.Products, l.cfg.WHMCS.Usage.OverageOff = map[string]int64{"s1": 301, "s2": 302, "s4": 304}, true
	l.server.AddProduct(302, map[string]string{"clientid": "1", "bwusage": "0", "bwlimit": "0"})
	rows := []statement.Row{
		{Service: "s1", Customer: "c1", Currency: "GBP", BillableOctets: 1 << 30, Quota: decimal.NewFromInt(10), Unit: rating.TB},
		{Service: "s2", Customer: "c1", Currency: "GBP", BillableOctets: 1 << 30, Quota: decimal.NewFromInt(10), Unit: rating.TiB},
		{Service: "s3", Customer: "c1", Currency: "GBP", BillableOctets: 1 << 30, Quota: decimal.NewFromInt(10), Unit: rating.TiB},
	}
	h := l.process()
	h.biller.open = func(context.Context) ([]statement.Row, error) { return rows, nil }
	round := func() {
		t.Helper()
		if err := h.biller.round(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if p := l.server.Product(302); p["bwusage"] != "1024" || p["bwlimit"] != "10485760" {
		t.Fatalf("product %v", p)
	}
	rows[1].BillableOctets *= 2
	l.clock.Advance(time.Hour)
	round() // not yet
	if p := l.server.Product(302); p["bwusage"] != "1024" {
		t.Fatalf("product %v", p)
	}
	l.clock.Advance(6 * time.Hour)
	round()
	if p := l.server.Product(302); p["bwusage"] != "2048" || len(l.server.Items()) != 0 {
		t.Fatalf("product %v", p)
	}
	l.server.Fail(func(string) whmcstest.Fault { return whmcstest.ErrorPage })
	l.clock.Advance(7 * time.Hour)
	if err := h.biller.round(t.Context(), false); err == nil {
		t.Fatal("a page of errors was taken for success")
	}
}
