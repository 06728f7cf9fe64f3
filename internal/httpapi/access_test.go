package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hostmeter/internal/auth"
)

// wanted is who may use which route, written apart from the table that the server goes by: letters of
// finance, noc, admin; "public" for everybody.
var wanted = map[string]string{
	"GET /api/v1/me": "fna", "GET /api/v1/usage": "fna", "GET /api/v1/usage-records": "fa", "GET /api/v1/summary": "fa",
	"GET /api/v1/reports/{month}": "fa", "GET /api/v1/evidence": "fa", "GET /api/v1/statements": "fa", "GET /api/v1/resellers": "fa", "GET /api/v1/addresses": "fa", "POST /api/v1/addresses/notices": "fa",
	"GET /api/v1/incidents": "na", "GET /api/v1/incidents/{id}": "na", "POST /api/v1/incidents/{id}/ack": "na",
	"POST /api/v1/incidents/{id}/silence": "na", "POST /api/v1/incidents/{id}/resolve": "na",
	"GET /api/v1/exporters": "na", "GET /api/v1/meters/{id}/history": "fna", "GET /api/v1/top": "na",
	"GET /api/v1/customers": "fna", "GET /api/v1/services": "fna", "GET /api/v1/pools": "fna", "GET /api/v1/pool-members": "fna",
	"PUT /api/v1/pools": "a", "PUT /api/v1/pool-members": "a",
	"GET /api/v1/plans": "fa", "GET /api/v1/prices": "fa",
	"GET /api/v1/prefixes": "fna", "GET /api/v1/ownership": "fna",
	"PUT /api/v1/customers": "a", "PUT /api/v1/services": "a", "PUT /api/v1/plans": "a", "PUT /api/v1/prices": "a",
	"PUT /api/v1/prefixes": "a", "PUT /api/v1/ownership": "a", "POST /api/v1/import": "a", "POST /api/v1/reload": "a",
	"POST /api/v1/customers/{id}/erase": "a", "GET /api/v1/audit": "fa", "GET /api/v1/changes": "fa", "POST /api/v1/changes": "fa",
	"GET /api/v1/decisions": "fa", "POST /api/v1/decisions": "fa", "GET /api/v1/credits": "fa", "POST /api/v1/credits": "fa", "POST /finance/credits": "fa",
	"GET /api/v1/preview": "fa", "POST /api/v1/preview": "fa",
	"GET /api/v1/approvals": "fa", "POST /api/v1/approvals": "fa", "POST /finance/approvals": "fa", "POST /admin/erase": "a",
	"GET /api/v1/openapi.yaml": "public", "GET /healthz": "public", "GET /readyz": "public", "GET /metrics": "public",
	"GET /static/{file}": "public", "GET /login": "public", "POST /login": "public", "POST /logout": "public",
	"GET /api/v1/notices": "fa", "GET /api/v1/quota-decisions": "fa", "GET /api/v1/quota-decisions/{number}": "fa", "POST /api/v1/quota-decisions/{number}": "fa",
	"GET /decide": "public", "POST /decide": "public", "GET /notices": "fa",
	"GET /{$}": "fna", "GET /finance": "fa", "GET /resellers": "fa", "GET /finance/reconciliation": "fa", "GET /finance/unowned": "fa", "GET /finance/completeness": "fa", "GET /finance/addresses": "fa", "POST /finance/addresses/notice": "fa", "GET /noc": "na", "GET /incidents/{id}": "na", "POST /incidents/{id}/ack": "na",
	"POST /incidents/{id}/silence": "na", "POST /incidents/{id}/resolve": "na", "GET /meters/{id}": "fna", "GET /admin": "a",
}

var wildcard = regexp.MustCompile(`\{[a-z]+\}`)

// pathOf fills a pattern with something that exists.
func pathOf(pattern string) string {
	pattern = strings.TrimSuffix(pattern, "{$}")
	pattern = strings.ReplaceAll(pattern, "{month}", "2026-10")
	pattern = strings.ReplaceAll(pattern, "{file}", "style.css")
	pattern = strings.ReplaceAll(pattern, "{number}", "4")
	if strings.Contains(pattern, "meters/") {
		return strings.ReplaceAll(pattern, "{id}", "address:192.0.2.9")
	}
	return wildcard.ReplaceAllString(pattern, "i-0004")
}

// credential is one way to be somebody, or to be nobody.
type credential struct {
	name string
	role auth.Role // "" for nobody
	add  func(r *http.Request)
}

func credentials(s *site) []credential {
	bearer := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	cookie := func(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }
	out := []credential{
		{"nobody", "", func(*http.Request) {}},
		{"a wrong token", "", bearer("hostmeter_" + strings.Repeat("A", 43))},
		{"an empty token", "", bearer("")},
		{"basic authentication", "", func(r *http.Request) { r.SetBasicAuth("admin", password) }},
		{"a wrong session", "", cookie(&http.Cookie{Name: "hostmeter", Value: strings.Repeat("A", 43)})},
		{"an admin's token as a session", "", cookie(&http.Cookie{Name: "hostmeter", Value: s.tokens[auth.Admin]})},
	}
	for _, role := range auth.Roles {
		s.addUser(role)
		session := s.login(role)
		out = append(out, credential{"session of " + string(role), role, cookie(session)},
			credential{"token of " + string(role), role, bearer(s.tokens[role])},
			credential{"a session of " + string(role) + " as a token", "", bearer(session.Value)})
	}
	return out
}

// TestEveryRouteWithEveryRole walks the whole table of routes as everybody and nobody.
func TestEveryRouteWithEveryRole(t *testing.T) {
	s := newSite(t)
	all := credentials(s)
	checked := 0
	for i := range routes {
		rt := &routes[i]
		name := rt.method + " " + rt.pattern
		want, known := wanted[name]
		if !known {
			t.Errorf("%s: the test does not know who may use it", name)
			continue
		}
		for _, c := range all {
			if name == "POST /logout" && c.role != "" {
				continue // it would end the session that the next lines need
			}
			r := httptest.NewRequest(rt.method, pathOf(rt.pattern), nil)
			c.add(r)
			before := len(s.fake.calls)
			w := s.do(r)
			checked++
			allowed := want == "public" || c.role != "" && strings.Contains(want, string(c.role)[:1])
			got, location := w.Code, w.Header().Get("Location")
			toLogin := got == http.StatusSeeOther && strings.HasPrefix(location, "/login")
			switch {
			case allowed && (got == 403 || got == 401 && name != "POST /login" || toLogin && name != "POST /logout"):
				t.Errorf("%s as %s: status %d %s, want to be let in", name, c.name, got, location)
			case !allowed && c.role == "" && rt.page && !toLogin:
				t.Errorf("%s as %s: status %d, want to be sent to the login", name, c.name, got)
			case !allowed && c.role == "" && !rt.page && got != 401:
				t.Errorf("%s as %s: status %d, want 401", name, c.name, got)
			case !allowed && c.role != "" && got != 403:
				t.Errorf("%s as %s: status %d, want 403", name, c.name, got)
			}
			if !allowed && len(s.fake.calls) != before {
				t.Errorf("%s as %s was refused, and did it: %v", name, c.name, s.fake.calls[before:])
			}
			if !allowed && leaks(strings.ReplaceAll(w.Body.String(), "192.0.2.9", "")) { // the address that was asked for
				t.Errorf("%s as %s: the refusal tells of customers", name, c.name)
			}
		}
		delete(wanted, name)
	}
	for name := range wanted {
		t.Errorf("%s: no such route", name)
	}
	if checked < len(routes)*14 {
		t.Fatalf("only %d requests were made", checked)
	}
}

func leaks(body string) bool {
	return slices.ContainsFunc(append(slices.Clone(customerNames), "192.0.2.", "example.net"), func(text string) bool { return strings.Contains(body, text) })
}

// TestMethodsThatNoRouteHas asks every path with every other method: nothing is done by accident.
func TestMethodsThatNoRouteHas(t *testing.T) {
	s := newSite(t)
	has := map[string]bool{}
	for _, rt := range routes {
		has[rt.method+" "+rt.pattern] = true
	}
	for _, rt := range routes {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "BREW"} {
			if has[method+" "+rt.pattern] {
				continue
			}
			w := s.ask(auth.Admin, method, pathOf(rt.pattern), "")
			if w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), rt.method) {
				t.Errorf("%s %s: status %d, Allow %q; want 405 and %s", method, rt.pattern, w.Code, w.Header().Get("Allow"), rt.method)
			}
		}
	}
	if len(s.fake.calls) > 0 {
		t.Errorf("something was done: %v", s.fake.calls)
	}
	for _, path := range []string{"/api/v1/nothing", "/nothing", "/api", "/finance/", "/static/../web.go", "/static/..%2fweb.go", "/static/templates%2flayout.html"} {
		if w := s.ask(auth.Admin, "GET", path, ""); w.Code != http.StatusNotFound && w.Code != http.StatusTemporaryRedirect && w.Code != http.StatusMovedPermanently {
			t.Errorf("GET %s: status %d", path, w.Code)
		}
	}
}

// TestCrossOriginWritesAreRefused sends every changing route as a foreign page would make a browser send it.
func TestCrossOriginWritesAreRefused(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Admin)
	session := s.login(auth.Admin)
	foreign := [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		{"Origin", "https://evil.example"}, // a browser too old for Sec-Fetch-Site
		{"Origin", "null"},
	}
	send := func(rt *route, headers []string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(rt.method, pathOf(rt.pattern), nil)
		r.AddCookie(session)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return s.do(r)
	}
	for i := range routes {
		rt := &routes[i]
		if rt.method == "GET" {
			continue
		}
		for _, headers := range foreign {
			if w := send(rt, headers); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "cross-origin") {
				t.Errorf("%s %s with %v: status %d, want 403", rt.method, rt.pattern, headers, w.Code)
			}
		}
	}
	if len(s.fake.calls) > 0 {
		t.Errorf("something was done: %v", s.fake.calls)
	}
	ack := &route{method: "POST", pattern: "/incidents/{id}/ack"}
	for _, own := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://example.com"}} { // httptest's Host
		if w := send(ack, own); w.Code != http.StatusSeeOther {
			t.Errorf("our own page with %v: status %d", own, w.Code)
		}
	}
}

func TestSessionLife(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.NOC)
	cookie := s.login(auth.NOC)
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Secure || cookie.Path != "/" || cookie.Name != "hostmeter" {
		t.Errorf("cookie without TLS: %+v", cookie)
	}
	status := func(headers ...string) int {
		r := httptest.NewRequest("GET", "/api/v1/me", nil)
		r.AddCookie(cookie)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return s.do(r).Code
	}
	if status() != 200 {
		t.Fatal("a new session is not let in")
	}
	for range 23 { // used every half hour less a bit, it lasts …
		s.clock.Advance(29 * time.Minute)
		if status() != 200 {
			t.Fatal("a session in use ended")
		}
	}
	s.clock.Advance(time.Hour - 7*time.Minute) // … 12 h in all, whatever happens
	if status() != 401 {
		t.Fatal("a session outlived its 12 hours, or its idle time")
	}

	cookie = s.login(auth.NOC)
	for range 2 { // a page that renews itself is nobody at work
		s.clock.Advance(14 * time.Minute)
		if status("X-Hostmeter-Refresh", "1") != 200 {
			t.Fatal("ended before its idle time")
		}
	}
	s.clock.Advance(2 * time.Minute)
	if status("X-Hostmeter-Refresh", "1") != 401 {
		t.Fatal("a page that renews itself kept the session alive")
	}

	cookie = s.login(auth.NOC)
	r := httptest.NewRequest("POST", "/logout", nil)
	r.AddCookie(cookie)
	if w := s.do(r); w.Code != http.StatusSeeOther || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: status %d, cookie %v", w.Code, w.Result().Cookies())
	}
	if status() != 401 {
		t.Fatal("a session outlived its logout")
	}
}

func TestLoginAlwaysMakesANewSession(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Finance)
	first := s.login(auth.Finance)
	second := s.login(auth.Finance)
	if first.Value == second.Value || len(first.Value) < 22 {
		t.Fatalf("sessions %q and %q", first.Value, second.Value)
	}
	fixed := s.tryLogin(string(auth.Finance), password, "Cookie", "hostmeter=chosen-by-somebody-else")
	if c := fixed.Result().Cookies()[0]; strings.Contains(c.Value, "chosen") {
		t.Fatal("the session is one that the browser brought")
	}
}

func TestCookieBehindTLS(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Deps) { c.TrustForwarded = true })
	s.addUser(auth.NOC)
	cookie := s.login(auth.NOC, "X-Forwarded-Proto", "https", "X-Forwarded-For", "198.51.100.7")
	if cookie.Name != "__Host-hostmeter" || !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("cookie behind TLS: %+v", cookie)
	}
	w := s.ask("", "GET", "/api/v1/me", "", "X-Forwarded-Proto", "https", "Cookie", cookie.Name+"="+cookie.Value)
	if w.Code != 200 || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("status %d, Strict-Transport-Security %q", w.Code, w.Header().Get("Strict-Transport-Security"))
	}
	// Over TLS a cookie without the prefix could have been planted by a neighbour without TLS.
	if w := s.ask("", "GET", "/api/v1/me", "", "X-Forwarded-Proto", "https", "Cookie", "hostmeter="+cookie.Value); w.Code != 401 {
		t.Errorf("a cookie without the prefix was taken: status %d", w.Code)
	}
	if !strings.Contains(s.log.String(), `"client":"198.51.100.7"`) {
		t.Error("the access log does not know the client behind the proxy")
	}
	plain := newSite(t)
	plain.addUser(auth.NOC)
	if c := plain.login(auth.NOC, "X-Forwarded-Proto", "https"); c.Secure {
		t.Error("X-Forwarded-Proto was believed without http.trust_forwarded")
	}
}

func TestLoginRateLimit(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Finance)
	for i := range 5 {
		if w := s.tryLogin("finance", "wrong"); w.Code != http.StatusUnauthorized {
			t.Fatalf("failure %d: status %d", i+1, w.Code)
		}
	}
	w := s.tryLogin("finance", password)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Fatalf("sixth attempt: status %d, Retry-After %q; want 429 even with the right password", w.Code, w.Header().Get("Retry-After"))
	}
	s.clock.Advance(61 * time.Second)
	if w := s.tryLogin("finance", password); w.Code != http.StatusSeeOther {
		t.Fatalf("after a minute: status %d", w.Code)
	}
	unknown, wrong := s.tryLogin("nobody", "wrong"), s.tryLogin("finance", "wrong")
	strip := func(w *httptest.ResponseRecorder, name string) string {
		return strings.ReplaceAll(w.Body.String(), `value="`+name+`"`, "")
	}
	if unknown.Code != wrong.Code || strip(unknown, "nobody") != strip(wrong, "finance") {
		t.Errorf("the answer tells whether a name exists: %d, %d\n%s\n%s", unknown.Code, wrong.Code, strip(unknown, "nobody"), strip(wrong, "finance"))
	}
}

func TestLoginSendsOnlyToThisSite(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if got := localPath(path); got != want {
			t.Errorf("localPath(%q) = %q, want %q", path, got, want)
		}
	}
	f("/noc", "/noc")
	f("/finance?month=2026-10", "/finance?month=2026-10")
	for _, path := range []string{"", "noc", "//evil.example", "https://evil.example/", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "javascript:alert(1)", "/\n", "%zz"} {
		f(path, "/")
	}
}

// TestNoSecretIsLoggedOrAnswered does all that handles secrets and looks for them everywhere.
func TestNoSecretIsLoggedOrAnswered(t *testing.T) {
	s := newSite(t)
	s.addUser(auth.Admin)
	cookie := s.login(auth.Admin)
	secrets := []string{password, "canary-wrong-guess", cookie.Value, s.tokens[auth.Admin], s.tokens[auth.NOC], s.tokens[auth.Finance]}
	var answers bytes.Buffer
	answers.WriteString(s.tryLogin("admin", "canary-wrong-guess").Body.String())
	answers.WriteString(s.tryLogin("canary-wrong-guess", "canary-wrong-guess").Header().Get("Location"))
	for _, rt := range routes {
		for _, role := range []auth.Role{auth.Admin, auth.NOC, auth.Finance} {
			answers.WriteString(s.ask(role, rt.method, pathOf(rt.pattern), "").Body.String())
		}
		if rt.pattern == "/logout" {
			continue // it would end the session that the next lines need
		}
		r := httptest.NewRequest(rt.method, pathOf(rt.pattern)+"?token="+url.QueryEscape(s.tokens[auth.Admin]), nil)
		r.AddCookie(cookie)
		answers.WriteString(s.do(r).Body.String())
	}
	for _, secret := range secrets {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("secret %.12s… is in the log", secret)
		}
		if strings.Contains(answers.String(), secret) {
			t.Errorf("secret %.12s… is in an answer", secret)
		}
	}
	if strings.Contains(answers.String(), "argon2id") {
		t.Error("a password's hash is in an answer")
	}
	if n := strings.Count(s.log.String(), `"http request"`); n < len(routes)*4 {
		t.Errorf("the access log has %d lines: the test looks at nothing", n)
	}
}

func TestSecurityHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/finance", "/api/v1/me", "/nothing", "/static/app.js", "/healthz"} {
		h := s.ask(auth.Admin, "GET", path, "").Header()
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, policy)
		}
		for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "X-Request-Id", "Cross-Origin-Opener-Policy"} {
			if h.Get(name) == "" {
				t.Errorf("%s: no %s", path, name)
			}
		}
	}
	if got := s.ask(auth.Admin, "GET", "/finance", "").Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("pages: Cache-Control %q", got)
	}
}

// TestPagesHaveNoInlineCode: what the content policy would not run should not be there.
func TestPagesHaveNoInlineCode(t *testing.T) {
	s := newSite(t)
	inline := regexp.MustCompile(`(?i)<script(>| [^>]*[^>"]*>[^<])|\son[a-z]+=|style=|javascript:|https?://[^"' <]*\.(js|css|woff)`)
	for _, path := range []string{"/login", "/finance", "/resellers", "/noc", "/incidents/i-0007", "/meters/address:192.0.2.9", "/admin", "/nothing"} {
		w := s.ask(auth.Admin, "GET", path, "")
		if found := inline.FindString(w.Body.String()); found != "" {
			t.Errorf("%s has %q", path, found)
		}
		if w.Code != 200 && path != "/nothing" {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
}

// TestHostileTextIsEscaped puts markup where customers and exporters can put text.
func TestHostileTextIsEscaped(t *testing.T) {
	s := newSite(t)
	const hostile = `<img src=x onerror=alert(1)>"'&`
	for i := range s.fake.customers {
		s.fake.customers[i].Name = hostile
	}
	for i := range s.fake.incidents {
		d := &s.fake.incidents[i]
		d.Summary, d.Rule, d.Evidence.RuleText, d.Evidence.Metric, d.Evidence.Unit, d.AcknowledgedBy = hostile, hostile, hostile, hostile, hostile, hostile
		d.Events = append(d.Events, Event{fakeNow, hostile, hostile, hostile})
	}
	for _, path := range []string{"/finance", "/resellers", "/noc", "/incidents/i-0007", "/incidents/i-0003", "/meters/address:192.0.2.9", "/admin"} {
		w := s.ask(auth.Admin, "GET", path, "")
		if w.Code != 200 || strings.Contains(w.Body.String(), "<img") {
			t.Errorf("%s: status %d, markup came through: %t", path, w.Code, strings.Contains(w.Body.String(), "<img"))
		}
		if !strings.Contains(w.Body.String(), "&lt;img") {
			t.Errorf("%s shows no hostile text: the test looks at nothing", path)
		}
	}
}

func TestBodiesAreLimited(t *testing.T) {
	s := newSite(t)
	large := `[{"id":"` + strings.Repeat("x", bodyBytesMax) + `"}]`
	f := func(method, path, body, kind string, want int) {
		t.Helper()
		if w := s.ask(auth.Admin, method, path, body, "Content-Type", kind); w.Code != want {
			t.Errorf("%s %s with %d bytes: status %d, want %d", method, path, len(body), w.Code, want)
		}
	}
	f("PUT", "/api/v1/customers", large, "application/json", 413)
	f("POST", "/api/v1/incidents/i-0007/ack", large, "application/json", 413)
	f("POST", "/incidents/i-0007/ack", "note="+strings.Repeat("x", formBytesMax), "application/x-www-form-urlencoded", 413)
	f("POST", "/login", "name="+strings.Repeat("x", formBytesMax), "application/x-www-form-urlencoded", 413)
	f("POST", "/api/v1/import", "#"+strings.Repeat("x", importBytesMax), "application/yaml", 413)
	f("POST", "/api/v1/import", "#"+strings.Repeat("x", bodyBytesMax*2), "application/yaml", 200)
}

func TestImportOfFiles(t *testing.T) {
	s := newSite(t)
	body := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../customers.csv\"\r\n\r\nid,name\r\n--b--\r\n"
	w := s.ask(auth.Admin, "POST", "/api/v1/import?dry_run=true", body, "Content-Type", "multipart/form-data; boundary=b")
	if w.Code != 200 || !slices.Contains(s.fake.calls, "import customers.csv dry=true by token:token-admin") {
		t.Errorf("status %d, calls %v", w.Code, s.fake.calls)
	}
	if w := s.ask(auth.Admin, "POST", "/api/v1/import", "--b\r\n", "Content-Type", "multipart/form-data; boundary=b"); w.Code != 400 {
		t.Errorf("half a part: status %d", w.Code)
	}
	if w := s.ask(auth.Admin, "POST", "/api/v1/import?dry_run=yes", "x: 1", "Content-Type", "application/yaml"); w.Code != 400 {
		t.Errorf("dry_run=yes: status %d: it must not import", w.Code)
	}
}

func TestFaultsOfTheBackend(t *testing.T) {
	s := newSite(t)
	s.fake.failing = fmt.Errorf("password of the database is canary-inner-fault")
	for _, path := range []string{"/api/v1/summary", "/api/v1/incidents", "/finance", "/noc", "/admin", "/api/v1/customers"} {
		w := s.ask(auth.Admin, "GET", path, "")
		if w.Code != 500 || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%s: status %d: %.200s", path, w.Code, w.Body)
		}
	}
	if w := s.ask("", "GET", "/readyz", ""); w.Code != 503 || strings.Contains(w.Body.String(), "canary") {
		t.Errorf("readyz: status %d: %s", w.Code, w.Body)
	}
	if w := s.ask("", "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz: status %d", w.Code)
	}
	s.fake.failing = fmt.Errorf("asking: %w", ErrUnavailable)
	if w := s.ask(auth.Admin, "GET", "/api/v1/summary", ""); w.Code != 503 {
		t.Errorf("unavailable: status %d", w.Code)
	}
}

// TestHalfAListIsNoList: an error after the first row must not leave something that looks whole.
func TestHalfAListIsNoList(t *testing.T) {
	s := newSite(t)
	s.fake.failing = fmt.Errorf("disk is gone")
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the connection was not broken off")
		}
	}()
	s.ask(auth.Admin, "GET", "/api/v1/usage", "")
}

// TestProcessWithoutParts serves with an empty Backend: no route may panic, and each says so.
func TestProcessWithoutParts(t *testing.T) {
	s := newSite(t, func(_ *Config, d *Deps) { d.Backend, d.Metrics = Backend{}, nil })
	for _, rt := range routes {
		body := ""
		if rt.method == "PUT" || strings.HasSuffix(rt.pattern, "import") {
			body = `[{"id":"c1"}]`
		}
		w := s.ask(auth.Admin, rt.method, pathOf(rt.pattern), body)
		if w.Code == 500 {
			t.Errorf("%s %s: status 500: %s", rt.method, rt.pattern, w.Body)
		}
		if strings.HasPrefix(rt.pattern, "/api/v1/") && !rt.public && rt.pattern != "/api/v1/me" && w.Code != 503 {
			t.Errorf("%s %s: status %d, want 503", rt.method, rt.pattern, w.Code)
		}
	}
	if strings.Contains(s.log.String(), "panicked") {
		t.Error("a handler panicked")
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	s := newSite(t, func(_ *Config, d *Deps) {
		d.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("bug") })
	})
	func() {
		defer func() { _ = recover() }() // net/http's business
		if w := s.ask("", "GET", "/metrics", ""); w.Code != 500 {
			t.Errorf("status %d", w.Code)
		}
	}()
	if !strings.Contains(s.log.String(), "request panicked") {
		t.Error("the log does not tell of the panic")
	}
}

// TestFormsOfFinanceAndAdmin sends the forms of the pages, as a browser does.
func TestFormsOfFinanceAndAdmin(t *testing.T) {
	s := newSite(t)
	f := func(role auth.Role, path, body string, status int, call string) {
		t.Helper()
		before := len(s.fake.calls)
		w := s.ask(role, "POST", path, body, "Content-Type", "application/x-www-form-urlencoded")
		got := strings.Join(s.fake.calls[before:], "\n")
		if w.Code != status || got != call {
			t.Errorf("%s %s: status %d and %q, want %d and %q: %.200s", path, body, w.Code, got, status, call, w.Body)
		}
	}
	by := "token:token-" + string(auth.Finance)
	f(auth.Finance, "/finance/approvals", "number=17&do=approve", 303, "approve [17] by "+by)
	f(auth.Finance, "/finance/approvals", "number=17&do=waive&reason=goodwill", 303, "waive [17] by "+by+": goodwill")
	f(auth.Finance, "/finance/approvals", "number=17&do=waive&reason=", 422, "")
	f(auth.Finance, "/finance/approvals", "do=approve", 422, "")
	f(auth.Finance, "/finance/approvals", "number=x&do=approve", 400, "")
	f(auth.Finance, "/finance/approvals", "number=99&do=approve", 409, "")
	f(auth.Finance, "/finance/credits", "statement=s101/2026-10-01&reason=late", 303, "credit s101/2026-10-01 by "+by+": late")
	f(auth.Finance, "/finance/credits", "statement=s101/2026-10-01&reason=", 422, "")
	f(auth.Admin, "/admin/erase", "customer=c01&confirm=c02&reason=letter", 422, "")
	f(auth.Admin, "/admin/erase", "customer=c01&confirm=c01&reason=letter", 303, "erase c01 by token:token-"+string(auth.Admin)+": letter")
	f(auth.Finance, "/admin/erase", "customer=c02&confirm=c02&reason=letter", 403, "")
	page := s.ask(auth.Finance, "GET", "/finance", "").Body.String()
	for _, want := range []string{`name="number" value="17" checked`, "60.00 GBP", `name="statement" value="s101/2026-10-01"`, "2026-12-01"} {
		if !strings.Contains(page, want) {
			t.Errorf("the finance page has no %s", want)
		}
	}
	if page := s.ask(auth.Admin, "GET", "/admin", "").Body.String(); strings.Contains(page, "Ada Ltd") || !strings.Contains(page, "erase customer") {
		t.Error("the admin page names who was erased, or has no audit")
	}
}
