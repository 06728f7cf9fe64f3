package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hostmeter/internal/auth"
)

func (s *site) postForm(path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return s.do(r)
}

// TestTheLinkAsksAndOnlyAFormDecides: opening the link any number of times changes nothing, a form decides once, and the
// token is in no log.
func TestTheLinkAsksAndOnlyAFormDecides(t *testing.T) {
	s := newSite(t)
	page := "/decide?t=" + fakeToken
	for _, method := range []string{"GET", "HEAD", "GET"} {
		if w := s.ask("", method, page, ""); w.Code != http.StatusOK {
			t.Fatalf("%s: %d", method, w.Code)
		}
	}
	w := s.ask("", "GET", page, "")
	for _, want := range []string{"Transfer quota of s101", "1.850 of 2", "97", "GBP", "12.00", `value="disconnect"`, `method="post"`, "Friday 23 October 2026, 13:37 (Europe/London)"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if s.fake.chosen != nil || len(s.fake.calls) != 0 {
		t.Fatal("opening the link has decided")
	}
	if w := s.postForm("/decide", url.Values{"t": {fakeToken}}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "Please choose one of the four.") {
		t.Fatalf("without a choice: %d", w.Code)
	}
	if w := s.postForm("/decide", url.Values{"t": {fakeToken}, "choice": {"everything"}}); w.Code != http.StatusUnprocessableEntity {
		t.Fatalf("no choice of ours: %d", w.Code)
	}
	if w := s.postForm("/decide", url.Values{"t": {fakeToken}, "choice": {"throttle"}}, "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Fatalf("from another site: %d", w.Code)
	}
	for _, choice := range []string{"throttle", "disconnect"} { // the second one is shown what is decided
		if w := s.postForm("/decide", url.Values{"t": {fakeToken}, "choice": {choice}}); w.Code != http.StatusSeeOther || w.Header().Get("Location") != page {
			t.Fatalf("%s: %d %s", choice, w.Code, w.Header().Get("Location"))
		}
	}
	if s.fake.chosen.Choice != "throttle" || len(s.fake.calls) != 1 {
		t.Fatalf("%+v %v", s.fake.chosen, s.fake.calls)
	}
	if w := s.ask("", "GET", page, ""); !strings.Contains(w.Body.String(), "Throttle: limit the speed") || strings.Contains(w.Body.String(), "<fieldset") {
		t.Fatal("the page does not say what was chosen, or still asks")
	}
	for _, token := range []string{"", "x", fakeToken + "A"} {
		if w := s.ask("", "GET", "/decide?t="+url.QueryEscape(token), ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "this link is not valid") {
			t.Errorf("token %q: %d", token, w.Code)
		}
		if w := s.postForm("/decide", url.Values{"t": {token}, "choice": {"disconnect"}}); w.Code != http.StatusNotFound {
			t.Errorf("token %q: %d", token, w.Code)
		}
	}
	if strings.Contains(s.log.String(), fakeToken) {
		t.Fatal("the log has the token")
	}
}

func TestNoticesPage(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Finance)
	r := httptest.NewRequest("GET", "/notices", nil)
	r.AddCookie(s.login(auth.Finance))
	w := s.do(r)
	for _, want := range []string{"90\u00a0% of the quota used", "will be exceeded", "peaks on 2026-10-20 for 95\u00a0minutes", "asked to choose", "chose throttle", "mail-unsure", "Ada Ltd", "Waiting for a choice",
		"pool p1", "all that c01 resells", "90\u00a0% of the rate bought reached", "934.5"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
