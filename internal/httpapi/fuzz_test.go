package httpapi

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hostmeter/internal/auth"
)

// FuzzQuery sends queries and identifiers of all kinds to every reading route of the API and the
// pages: whatever comes, the answer is a result, or says what is wrong with the question, and is never
// a fault of ours.
func FuzzQuery(f *testing.F) {
	s := newSite(f)
	var reading []string
	for _, rt := range routes {
		if rt.method == "GET" {
			reading = append(reading, rt.pattern)
		}
	}
	for i := range reading {
		f.Add(uint8(i), "i-0007", "from=2026-10-01&to=2026-10-02&by=hour")
	}
	f.Add(uint8(1), "address:2001:db8:7::/48", "from=9999-12-31T23:59:59Z")
	f.Add(uint8(2), "port:192.0.2.1/17", "after=9223372036854775807&limit=10000")
	f.Add(uint8(3), "\x00\xff", "month=2026-10&month=2026-11")
	f.Add(uint8(5), "..%2f..", "%zz;=&&")
	f.Add(uint8(12), "guest:x", "from=0001-01-01T00:00:00Z&to=1677-01-01")
	f.Fuzz(func(t *testing.T, pick uint8, id, query string) {
		path := strings.TrimSuffix(reading[int(pick)%len(reading)], "{$}")
		path = wildcard.ReplaceAllString(path, strings.ReplaceAll(url.PathEscape(id), "$", "%24"))
		r := httptest.NewRequest("GET", "/", nil)
		u, err := url.Parse(path)
		if err != nil {
			t.Skip()
		}
		r.URL, r.RequestURI = u, path
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+s.tokens[auth.Admin])
		w := s.do(r)
		if w.Code >= 500 {
			t.Fatalf("GET %s?%s: status %d: %.300s", path, query, w.Code, w.Body)
		}
		if w.Code >= 400 && strings.HasPrefix(path, "/api/") {
			var p problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Message == "" || p.Hint == "" {
				t.Fatalf("GET %s?%s: status %d without a reason and a hint: %.300s", path, query, w.Code, w.Body)
			}
		}
	})
}

// FuzzAction sends bodies of all kinds to the actions on incidents.
func FuzzAction(f *testing.F) {
	s := newSite(f)
	f.Add("silence", `{"for":"4h"}`)
	f.Add("silence", `{"until":"2026-10-22"}`)
	f.Add("ack", `{"note":"x"}`)
	f.Add("resolve", `null`)
	f.Add("ack", `[]`)
	f.Add("silence", `{"for":"9223372036854775807ns"}`)
	f.Fuzz(func(t *testing.T, what, body string) {
		if what != "silence" && what != "ack" && what != "resolve" {
			t.Skip()
		}
		if w := s.ask(auth.NOC, "POST", "/api/v1/incidents/i-0004/"+what, body); w.Code >= 500 {
			t.Fatalf("%s %q: status %d: %s", what, body, w.Code, w.Body)
		}
	})
}
