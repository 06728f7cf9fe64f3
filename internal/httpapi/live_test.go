package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
)

// TestLiveAnswersMatchOpenAPI asks a running hostmeter (HOSTMETER_SITE=http://NAME:PASSWORD@HOST:PORT,
// such as the demo's) all that can be read, and checks what the real ledger and detector say against
// the description.
func TestLiveAnswersMatchOpenAPI(t *testing.T) {
	if os.Getenv("HOSTMETER_SITE") == "" {
		t.Skip("no running hostmeter is asked: HOSTMETER_SITE names none")
	}
	base, name, secret := siteForPictures(t)
	jar, _ := cookiejar.New(nil) // never fails
	client := &http.Client{Jar: jar}
	login, err := client.PostForm(base+"/login", url.Values{"name": {name}, "password": {secret}, "next": {"/api/v1/me"}})
	if err != nil || login.StatusCode != 200 {
		t.Fatalf("login: %v %+v", err, login)
	}
	_ = login.Body.Close()
	_, router := description(t)
	ask := func(path string) []byte {
		t.Helper()
		answer, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		for key := range answer.Header {
			w.Header().Set(key, answer.Header.Get(key))
		}
		w.WriteHeader(answer.StatusCode)
		_, _ = w.Write(text)
		if answer.StatusCode != 200 {
			t.Errorf("%s: status %d: %.200s", path, answer.StatusCode, text)
		}
		matches(t, router, exchange{method: "GET", path: path}, w)
		t.Logf("%s: %d bytes", path, len(text))
		return text
	}
	for _, path := range []string{"/api/v1/me", "/api/v1/usage", "/api/v1/usage?by=meter", "/api/v1/usage-records?limit=10000", "/api/v1/summary", "/api/v1/exporters",
		"/api/v1/customers", "/api/v1/services", "/api/v1/plans", "/api/v1/prices", "/api/v1/prefixes", "/api/v1/ownership", "/readyz", "/healthz", "/metrics"} {
		ask(path)
	}
	closed := previousMonth(t, ask("/api/v1/summary"))
	for _, path := range []string{"/api/v1/summary?month=", "/api/v1/statements?month="} {
		ask(path + string(closed))
	}
	ask("/api/v1/reports/" + string(closed) + "?format=csv")
	var incidents []Incident
	if err := json.Unmarshal(ask("/api/v1/incidents"), &incidents); err != nil {
		t.Fatal(err)
	}
	for _, incident := range incidents {
		ask("/api/v1/incidents/" + url.PathEscape(incident.ID))
		ask("/api/v1/meters/" + url.PathEscape(incident.Meter) + "/history")
	}
	var top []TopMeter
	if err := json.Unmarshal(ask("/api/v1/top"), &top); err != nil || len(top) == 0 {
		t.Errorf("top meters: %d, %v", len(top), err)
	}
}

func previousMonth(t *testing.T, text []byte) Month {
	t.Helper()
	var summary Summary
	if err := json.Unmarshal(text, &summary); err != nil {
		t.Fatal(err)
	}
	from, _ := summary.Month.Bounds(london())
	return MonthOf(from.AddDate(0, 0, -1), london())
}
