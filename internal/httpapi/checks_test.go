package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"hostmeter/internal/auth"
)

// TestPagesBesideTheCharges reads what finance is told of a month as a whole.
func TestPagesBesideTheCharges(t *testing.T) {
	s := newSite(t)
	f := func(path string, want ...string) {
		t.Helper()
		w := s.ask(auth.Finance, "GET", path, "")
		body := strings.ReplaceAll(w.Body.String(), nbsp, " ")
		if w.Code != http.StatusOK {
			t.Fatalf("%s: status %d: %.300s", path, w.Code, body)
		}
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s does not say %q", path, text)
			}
		}
	}
	f("/finance/reconciliation?month=2026-10", `id="days-outside">3</dd>`, "46.9 GB to 50.4 GB", "out: address has 24050000000 octets", "witnesses differ", "released: d7, by Jane: the backup VLAN has no exporter",
		"vnic: none is the service&#39;s", "part=reconciliation&amp;format=csv")
	f("/finance/reconciliation?month=2026-01", "Nothing to compare in January 2026")
	f("/finance/unowned?month=2026-10", "address:192.0.2.214", "4.81 GB", "part=unowned&amp;format=csv")
	f("/finance/unowned?month=2026-01", "Every octet of local traffic in January 2026 has an owner")
	f("/finance/completeness?month=2026-10", "never heard", "29,797", "61,207 datagrams (sequence)", "99.3 %")
	f("/finance/completeness?month=2026-01", "No exporter is known in January 2026")
	f("/finance/addresses", `id="notice-due">3</dd>`, "192.0.2.48/28", "5 of 16", "on 2026-10-18 by ada: mail of that day", "8 beyond what is free")
	f("/finance", "/finance/reconciliation?month=2026-10", "Which ones")
	if w := s.ask(auth.Finance, "GET", "/finance/unowned?month=2026-13", ""); w.Code != http.StatusBadRequest {
		t.Errorf("month 13: status %d", w.Code)
	}
	missing := newSite(t, func(_ *Config, d *Deps) { d.Backend.Checks, d.Backend.Addresses = nil, nil })
	for _, path := range []string{"/finance/reconciliation", "/finance/unowned", "/finance/completeness", "/finance/addresses", "/api/v1/addresses"} {
		if w := missing.ask(auth.Finance, "GET", path, ""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s of a process without it: status %d", path, w.Code)
		}
	}
}

// TestNoticeIsGivenOnThePage records it with the person's name, and shows the page again.
func TestNoticeIsGivenOnThePage(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Finance)
	session := s.login(auth.Finance)
	post := func(form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/finance/addresses/notice", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(session)
		return s.do(r)
	}
	w := post(url.Values{"service": {"s103"}, "prefix": {"192.0.2.48/28"}, "on": {"2026-10-20"}, "reason": {"mail"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/finance/addresses" || !slices.Contains(s.fake.calls, "notice s103 192.0.2.48/28 on 2026-10-20 by user:finance") {
		t.Fatalf("status %d, calls %q", w.Code, s.fake.calls)
	}
	if w := post(url.Values{"service": {"s103"}, "prefix": {"192.0.2.48/28"}}); w.Code != http.StatusConflict {
		t.Errorf("twice: status %d", w.Code)
	}
	if w := post(url.Values{"service": {"s103"}}); w.Code != http.StatusBadRequest {
		t.Errorf("without a prefix: status %d", w.Code)
	}
}
