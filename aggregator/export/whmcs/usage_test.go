package whmcs_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"hostmeter/aggregator/export/whmcs"
)

func usage(octets int64, quota string) whmcs.Usage {
	return whmcs.Usage{Service: "s1", Customer: "c17", Currency: "GBP", Octets: octets, QuotaOctets: decimal.RequireFromString(quota), Unlimited: quota == "0"}
}

func TestUsageIsShownInTheUnitOfWHMCS(t *testing.T) {
	f := func(unit string, u whmcs.Usage, used, limit string) {
		t.Helper()
		server, client := lab(t, func(c *whmcs.Config) {
			c.Usage = whmcs.UsageConfig{Products: map[string]int64{"s1": 301}, Unit: unit, Every: time.Hour, OverageOff: true}
		})
		server.AddProduct(301, map[string]string{"clientid": "17", "bwusage": "0", "bwlimit": "0"})
		for range 2 { // a repeat changes nothing
			if err := client.ShowUsage(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		if p := server.Product(301); p["bwusage"] != used || p["bwlimit"] != limit {
			t.Fatalf("product %v, want %s of %s", p, used, limit)
		}
		if len(server.Items()) != 0 {
			t.Fatal("something was billed")
		}
	}
	f("MiB", usage(10<<20, "1099511627776"), "10", "1048576")
	f("MiB", usage(10<<20+1<<19, "1099511627776"), "11", "1048576") // half a unit is the next
	f("MB", usage(10_000_000, "10000000000000"), "10", "10000000")
	f("B", usage(7, "10000000000000"), "7", "10000000000000")
	f("MiB", usage(5<<20, "0"), "5", "0")
}

func TestUsageInTheWrongUnitIsRefused(t *testing.T) {
	f := func(product map[string]string, scale int64, want error, says string, written bool) {
		t.Helper()
		server, client := lab(t, func(c *whmcs.Config) {
			c.Usage = whmcs.UsageConfig{Products: map[string]int64{"s1": 301}, Unit: "MiB", Every: time.Hour, OverageOff: true}
		})
		server.Scale = scale
		if product != nil {
			server.AddProduct(301, product)
		}
		err := client.ShowUsage(t.Context(), usage(1<<40, "10995116277760"))
		if !errors.Is(err, want) || err == nil || !strings.Contains(err.Error(), says) {
			t.Fatalf("got %v, want %q", err, says)
		}
		if got := server.Product(301)["bwusage"] != "0" && product != nil; got != written {
			t.Fatalf("written %v, want %v", got, written)
		}
	}
	octets := map[string]string{"clientid": "17", "bwusage": "0", "bwlimit": "10995116277760"} // somebody writes octets
	f(octets, 0, whmcs.ErrUnit, "would be 10485760 in MiB", false)
	f(map[string]string{"clientid": "17", "bwusage": "0", "bwlimit": "0"}, 1<<20, whmcs.ErrUnit, "was written as 1048576 and is 1", true) // a release that takes octets
	f(map[string]string{"clientid": "18", "bwusage": "0", "bwlimit": "0"}, 0, whmcs.ErrUnfit, "of client 18", false)
	f(nil, 0, whmcs.ErrUnfit, "no product 301", false)
}

func TestUsageAndOverageAreNotBothWritten(t *testing.T) {
	cfg := whmcs.DefaultConfig()
	_, client := lab(t, nil)
	if err := client.ShowUsage(t.Context(), usage(1, "1")); err != nil { // no product is named
		t.Fatal(err)
	}
	lab(t, func(c *whmcs.Config) { cfg = *c })
	cfg.Usage.Products = map[string]int64{"s1": 301}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "usage.overage_off") {
		t.Fatalf("got %v", err)
	}
	cfg.Usage.OverageOff = true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Usage.Unit = "GB"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "usage.unit") {
		t.Fatalf("got %v", err)
	}
}
