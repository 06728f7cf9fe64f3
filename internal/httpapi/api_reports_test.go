package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"hostmeter/internal/auth"
)

// TestFilesHaveTypesAndNames asks for each format and looks at what a browser would make of it.
func TestFilesHaveTypesAndNames(t *testing.T) {
	s := newSite(t)
	f := func(path, wantType, wantName string) {
		t.Helper()
		w := s.ask(auth.Finance, "GET", path, "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != wantType || w.Header().Get("Content-Disposition") != "attachment; filename*=UTF-8''"+wantName {
			t.Errorf("%s: %d, %v: %.80s", path, w.Code, w.Header(), w.Body)
		}
	}
	const sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	f("/api/v1/reports/2026-10?format=xlsx", sheet, "hostmeter-report-2026-10.xlsx")
	f("/api/v1/reports/2026-10?format=xlsx&customer=c01", sheet, "hostmeter-report-2026-10-c01.xlsx")
	f("/api/v1/reports/2026-10?format=pdf", "application/zip", "hostmeter-statements-2026-10.zip")
	f("/api/v1/reports/2026-10?format=pdf&customer=c01", "application/pdf", "statement-2026-10-c01.pdf")
	f("/api/v1/reports/2026-10?format=pdf&customer=..%2F%22%C3%BC", "application/pdf", "statement-2026-10-..%2F%22%C3%BC.pdf")
	f("/api/v1/evidence?month=2026-10&service=s101&format=pdf", "application/pdf", "hostmeter-evidence-2026-10-s101.pdf")
	f("/api/v1/evidence?month=2026-10&service=s101", "application/json; charset=utf-8", "hostmeter-evidence-2026-10-s101.json")
	for _, want := range []string{
		`note token:token-finance download report of "2026-10": hostmeter-report-2026-10.xlsx`,
		`note token:token-finance download report of "c01": statement-2026-10-c01.pdf`,
		`note token:token-finance download evidence of "s101": hostmeter-evidence-2026-10-s101.pdf`,
	} {
		if !slices.Contains(s.fake.calls, want) {
			t.Errorf("%s: not in %q", want, s.fake.calls)
		}
	}
	if body := s.ask(auth.Finance, "GET", "/api/v1/reports/2026-10?format=pdf&customer=c07", "").Body.String(); !strings.Contains(body, `"c07"`) {
		t.Errorf("the customer did not arrive: %s", body)
	}
}
