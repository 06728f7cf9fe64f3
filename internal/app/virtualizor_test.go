package app

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVirtualizorIntoTheInventory goes the way of the how-to: read a panel with a certificate of its own,
// look at the file, import it.
func TestVirtualizorIntoTheInventory(t *testing.T) {
	answers := map[string]string{
		"plans1": `{"plans": {"1": {"plid": "1", "plan_name": "KVM 2 GB", "bandwidth": "1000"}}, "error": []}`,
		"users1": `{"users": {"55": {"uid": "55", "email": "ada@example.net"}}}`,
		"vs1":    `{"vs": {"37": {"vpsid": "37", "time": "1789000000", "uid": "55", "plid": "1", "bandwidth": "1000", "ips": {"2": "192.0.2.9"}}}}`,
	}
	panel := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		act := r.URL.Query().Get("act")
		text, ok := answers[act+r.URL.Query().Get("page")]
		if !ok {
			text = fmt.Sprintf("{%q: []}", act)
		}
		if r.URL.Query().Get("adminapikey") != "k" || r.URL.Query().Get("adminapipass") != "p" {
			text = "<html>"
		}
		_, _ = io.WriteString(w, text)
	}))
	defer panel.Close()
	folder := t.TempDir()
	ca := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: panel.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VIRTUALIZOR_KEY", "k")
	t.Setenv("VIRTUALIZOR_PASS", "p")
	desk, err := OpenDesk(t.Context(), write(t, "data: "+folder+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	options := DefaultVirtualizor()
	options.URL, options.CA, options.Place, options.Currency, options.Since = panel.URL, ca, "london", "GBP", "2026-10-01"
	var text, notes bytes.Buffer
	if err := desk.Virtualizor(t.Context(), options, &text, &notes); err != nil || notes.Len() > 0 {
		t.Fatalf("%v, notes %s", err, &notes)
	}
	file, prices := filepath.Join(folder, "vz.yaml"), filepath.Join(folder, "prices.yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(prices, []byte("provider: {name: X, time_zone: UTC, currency: GBP}\nprices: [{sku: overage, place: london, currency: GBP, from: 2026-01-01, noticed: 2025-12-01, per: TB, begun: true, amount: \"60\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := desk.Import(t.Context(), []string{prices, file}, false, false, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &text)
	}
	owner, err := desk.owners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	service, customer, _ := owner("address:192.0.2.9", desk.clock.Now())
	if service != "vz-37" || customer != "vz-u55" {
		t.Fatalf("192.0.2.9 belongs to %q of %q", service, customer)
	}

	f := func(change func(*VirtualizorOptions), usage bool, says string) {
		t.Helper()
		wrong := options
		change(&wrong)
		var out bytes.Buffer
		err := desk.Virtualizor(t.Context(), wrong, &out, io.Discard)
		var hinted *HintError
		if errors.Is(err, ErrUsage) != usage || !errors.As(err, &hinted) || !strings.Contains(err.Error(), says) || out.Len() > 0 {
			t.Fatalf("got %v and %q, want it to say %q", err, &out, says)
		}
	}
	f(func(o *VirtualizorOptions) { o.URL = "panel" }, true, "--url")
	f(func(o *VirtualizorOptions) { o.Prefix = "" }, true, "--prefix")
	f(func(o *VirtualizorOptions) { o.Unit = "TB" }, true, "--unit")
	f(func(o *VirtualizorOptions) { o.Since = "yesterday" }, true, "--since")
	f(func(o *VirtualizorOptions) { o.Pass = "env:HOSTMETER_NO_SUCH_VARIABLE" }, true, "--pass")
	f(func(o *VirtualizorOptions) { o.CA = "" }, false, "certificate")
	f(func(o *VirtualizorOptions) { o.Pass = "x" }, false, "not JSON")
}
