package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"hostmeter/internal/auth"
	"hostmeter/schemas"
)

// description loads and checks schemas/openapi.yaml.
func description(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	plain := func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		text, err := io.ReadAll(body)
		return string(text), err
	}
	openapi3filter.RegisterBodyDecoder("application/jsonl", plain)
	openapi3filter.RegisterBodyDecoder("application/yaml", plain)
	openapi3filter.RegisterBodyDecoder("text/csv", plain)
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringDateTime))
	doc, err := openapi3.NewLoader().LoadFromData(schemas.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// isDescribed says whether a route belongs into the description: pages and static files do not.
func isDescribed(rt route) bool {
	return !rt.page && !strings.HasPrefix(rt.pattern, "/static/")
}

// TestOpenAPINamesEveryRoute compares the table of routes with the description: paths, methods, roles.
func TestOpenAPINamesEveryRoute(t *testing.T) {
	doc, _ := description(t)
	described := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	for _, rt := range routes {
		if !isDescribed(rt) {
			continue
		}
		name := rt.method + " " + rt.pattern
		if !described[name] {
			t.Errorf("%s is not in schemas/openapi.yaml", name)
			continue
		}
		delete(described, name)
		operation := doc.Paths.Value(rt.pattern).GetOperation(rt.method)
		var want []string
		for _, role := range auth.Roles {
			if !rt.public && rt.lets(role) {
				want = append(want, string(role))
			}
		}
		var got []string
		list, _ := operation.Extensions["x-roles"].([]any)
		for _, role := range list {
			got = append(got, fmt.Sprint(role))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: x-roles %v, the table of routes says %v", name, got, want)
		}
		if open := operation.Security != nil && len(*operation.Security) == 0; open != rt.public {
			t.Errorf("%s: described as open %t, the table of routes says %t", name, open, rt.public)
		}
	}
	for name := range described {
		t.Errorf("%s is described, and no route", name)
	}
}

// exchange is a request to the API and the status that it has to be answered with.
type exchange struct {
	role         auth.Role
	method, path string
	body         string
	status       int
	headers      []string
}

var exchanges = []exchange{
	{auth.NOC, "GET", "/api/v1/me", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/usage", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/usage?by=hour&from=2026-10-01&to=2026-10-02T00:00:00%2B01:00&service=s101", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/usage?by=meter", "", 200, []string{"Accept", "application/jsonl"}},
	{auth.Finance, "GET", "/api/v1/usage?by=week", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/usage?form=2026-10-01", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/usage?from=2026-10-02&to=2026-10-01", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/usage?from=2020-10-02&to=2026-10-01", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/usage-records?after=3&limit=30", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/usage-records?after=118", "", 200, []string{"Accept", "text/html, application/jsonl;q=0.9"}},
	{auth.Finance, "GET", "/api/v1/usage-records?after=1000", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/usage-records?after=-1", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/summary", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/summary?month=2026-01", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/summary?month=2026-13", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?format=json", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?format=xlsx", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?format=pdf", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?format=pdf&customer=c01", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?format=xls", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/evidence?month=2026-10&service=s101", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/evidence?month=2026-10&service=s101&format=xlsx", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/evidence?month=2026-10&service=nobody", "", 404, nil},
	{auth.Finance, "GET", "/api/v1/evidence?month=2026-10", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/evidence?service=s101&format=csv", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?part=unowned", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?part=reconciliation&format=json", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?part=completeness&format=xlsx", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?part=unowned&customer=c01", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?part=nothing", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/addresses", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/addresses?format=csv", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/addresses?format=xlsx", "", 400, nil},
	{auth.Finance, "POST", "/api/v1/addresses/notices", `{"service":"s103","prefix":"192.0.2.48/28","on":"2026-10-20","reason":"mail of that day"}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/addresses/notices", `{"service":"s103","prefix":"192.0.2.48/28"}`, 409, nil},
	{auth.Finance, "POST", "/api/v1/addresses/notices", `{"service":"s103","prefix":"192.0.2.0/31"}`, 404, nil},
	{auth.Finance, "POST", "/api/v1/addresses/notices", `{"service":"s103"}`, 400, nil},
	{auth.Finance, "POST", "/api/v1/addresses/notices", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-01", "", 404, nil},
	{auth.Finance, "GET", "/api/v1/reports/2026-10?format=csv&reseller=c01", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/resellers", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/resellers?month=2026-10&reseller=c01&format=csv", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/resellers?reseller=nobody", "", 404, nil},
	{auth.Finance, "GET", "/api/v1/resellers?format=pdf", "", 400, nil},
	{auth.NOC, "GET", "/api/v1/pools", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/pool-members", "", 200, nil},
	{auth.Admin, "PUT", "/api/v1/pools", `[{"pool":"p1","customer":"c1","plan":"","place":"london","currency":"","opened":"2026-01-01","quota":"20 TB"}]`, 200, nil},
	{auth.Admin, "PUT", "/api/v1/pool-members", `[{"service":"s1","pool":"p1","from":"2026-02-01","until":null}]`, 200, nil},
	{auth.Finance, "GET", "/api/v1/statements?month=2026-09", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/notices", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/notices?after=2&limit=1", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/notices?after=x", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/quota-decisions", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/quota-decisions?state=all", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/quota-decisions?state=closed", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/quota-decisions/4", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/quota-decisions/5", "", 404, nil},
	{auth.Finance, "GET", "/api/v1/quota-decisions/0", "", 404, nil},
	{auth.Finance, "POST", "/api/v1/quota-decisions/4", `{"choice":"everything"}`, 422, nil},
	{auth.Finance, "POST", "/api/v1/quota-decisions/4", "", 400, nil},
	{auth.Finance, "POST", "/api/v1/quota-decisions/9", `{"choice":"nothing"}`, 404, nil},
	{auth.Finance, "POST", "/api/v1/quota-decisions/4", `{"choice":"throttle","note":"ticket 17"}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/quota-decisions/4", `{"choice":"upgrade"}`, 409, nil},
	{auth.NOC, "GET", "/api/v1/incidents", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/incidents?state=open&acknowledged=false&since=2026-10-01", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/incidents?rule=none", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/incidents/i-0007", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/incidents/i-0002", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/incidents/i-9999", "", 404, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/ack", `{"note":"on it"}`, 200, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/ack", "", 200, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/ack", `{"notes":"on it"}`, 400, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0002/ack", "", 409, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-9999/ack", "", 404, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `{"for":"4h"}`, 200, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `{"until":"2026-10-22T00:00:00Z","note":"maintenance"}`, 200, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `{"for":"-4h"}`, 400, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `{"for":"9000h"}`, 400, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `{}`, 400, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `{"for":"4h"} {"for":"5h"}`, 400, nil},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/silence", `for=4h`, 415, []string{"Content-Type", "application/x-www-form-urlencoded"}},
	{auth.NOC, "POST", "/api/v1/incidents/i-0007/resolve", `{"note":"port was shut"}`, 200, nil},
	{auth.NOC, "GET", "/api/v1/exporters", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/meters/address:192.0.2.9/history", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/meters/address:203.0.113.1/history", "", 404, nil},
	{auth.NOC, "GET", "/api/v1/meters/elephant/history", "", 400, nil},
	{auth.NOC, "GET", "/api/v1/top?by=out&limit=5", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/top?limit=0", "", 400, nil},
	{auth.NOC, "GET", "/api/v1/customers", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/services", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/plans", "", 200, nil},
	{auth.Finance, "GET", "/api/v1/prices", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/prefixes", "", 200, nil},
	{auth.NOC, "GET", "/api/v1/ownership", "", 200, nil},
	{auth.Admin, "PUT", "/api/v1/customers", `[{"id":"c99","name":"New Ltd","email":"","reseller":null}]`, 200, nil},
	{auth.Admin, "PUT", "/api/v1/customers", `[{"id":"","name":"New Ltd","email":"","reseller":null}]`, 422, nil},
	{auth.Admin, "PUT", "/api/v1/customers", `[]`, 400, nil},
	{auth.Admin, "PUT", "/api/v1/customers", "", 400, nil},
	{auth.Finance, "GET", "/api/v1/preview", "", 200, nil},
	{auth.Finance, "POST", "/api/v1/preview", "ownership: []\n", 200, []string{"Content-Type", "application/yaml"}},
	{auth.Finance, "POST", "/api/v1/preview", "wrong", 422, []string{"Content-Type", "application/yaml"}},
	{auth.Finance, "GET", "/api/v1/approvals", "", 200, nil},
	{auth.Finance, "POST", "/api/v1/approvals", `{"approve":[17]}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/approvals", `{"approve":[99]}`, 409, nil},
	{auth.Finance, "POST", "/api/v1/approvals", `{"waive":[17]}`, 422, nil},
	{auth.Finance, "POST", "/api/v1/approvals", `{"waive":[17],"reason":"goodwill"}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/approvals", `{"waive":[17],"approve":[18],"reason":"goodwill"}`, 422, nil},
	{auth.Finance, "POST", "/api/v1/approvals", `{}`, 422, nil},
	{auth.Finance, "GET", "/api/v1/changes", "", 200, nil},
	{auth.Finance, "POST", "/api/v1/changes", `{"service":"s101","quota":"20 TB"}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/changes", `{"service":"s101","quota":"20 TB","by":"me"}`, 400, nil},
	{auth.Finance, "GET", "/api/v1/decisions", "", 200, nil},
	{auth.Finance, "POST", "/api/v1/decisions", `{"service":"s101","decision":"waive","from":"2026-10-15T00:00:00Z","reason":"goodwill"}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/decisions", `{"service":"s101","decision":"waive","from":"2026-10-15T00:00:00Z","reason":"goodwill","by":"somebody else"}`, 400, nil},
	{auth.NOC, "POST", "/api/v1/decisions", `{"service":"s101","decision":"waive","from":"2026-10-15T00:00:00Z","reason":"goodwill"}`, 403, nil},
	{auth.Finance, "GET", "/api/v1/credits", "", 200, nil},
	{auth.Finance, "POST", "/api/v1/credits", `{"statement":"s101/2026-10-01","reason":"we were told late"}`, 200, nil},
	{auth.Finance, "POST", "/api/v1/credits", `{"statement":"s101/2026-10-01","reason":""}`, 422, nil},
	{auth.Finance, "POST", "/api/v1/credits", `{"statement":"s101/2026-11-01","reason":"we were told late"}`, 404, nil},
	{auth.Admin, "POST", "/api/v1/customers/c01/erase", `{"reason":"letter of 2 November","confirm":"c01"}`, 200, nil},
	{auth.Admin, "POST", "/api/v1/customers/c01/erase", `{"reason":"letter of 2 November","confirm":"c02"}`, 422, nil},
	{auth.Admin, "POST", "/api/v1/customers/c01/erase", `{"reason":" ","confirm":"c01"}`, 422, nil},
	{auth.Admin, "POST", "/api/v1/customers/c77/erase", `{"reason":"letter","confirm":"c77"}`, 404, nil},
	{auth.Finance, "GET", "/api/v1/audit?subject=c01", "", 200, nil},
	{auth.Admin, "PUT", "/api/v1/services", `[{"id":"s1","customer":"c1","plan":"p","place":"london","currency":"GBP","opened":"2026-01-31","quota":"20 TB"}]`, 200, nil},
	{auth.Admin, "PUT", "/api/v1/plans", `[{"name":"p","class":"dedicated","quota":"10 TB"}]`, 200, nil},
	{auth.Admin, "PUT", "/api/v1/prices", `[{"sku":"overage","place":"london","currency":"GBP","from":"2026-01-01","noticed":"2025-12-01","per":"TB","begun":true,"amount":"60.00"}]`, 200, nil},
	{auth.Admin, "PUT", "/api/v1/prefixes", `[{"prefix":"192.0.2.0/24","exporters":["192.0.2.250"]}]`, 200, nil},
	{auth.Admin, "PUT", "/api/v1/ownership", `[{"service":"s1","key":"address:192.0.2.9","from":"2026-01-31T00:00:00Z","until":null}]`, 200, nil},
	{auth.Admin, "POST", "/api/v1/import?dry_run=true", "plans: []\n", 200, []string{"Content-Type", "application/yaml"}},
	{auth.Admin, "POST", "/api/v1/import", "x", 415, []string{"Content-Type", "text/plain"}},
	{auth.Admin, "POST", "/api/v1/reload", "", 200, nil},
	{"", "GET", "/api/v1/openapi.yaml", "", 200, nil},
	{"", "GET", "/healthz", "", 200, nil},
	{"", "GET", "/readyz", "", 200, nil},
	{"", "GET", "/api/v1/me", "", 401, nil},
	{auth.NOC, "GET", "/api/v1/prices", "", 403, nil},
}

// TestResponsesMatchOpenAPI checks the body of each exchange against the description, and that each
// described operation is among them with a success.
func TestResponsesMatchOpenAPI(t *testing.T) {
	doc, router := description(t)
	s := newSite(t)
	answered := map[string]bool{}
	for _, e := range exchanges {
		w := s.ask(e.role, e.method, e.path, e.body, e.headers...)
		if w.Code != e.status {
			t.Errorf("%s %s %s: status %d, want %d: %.200s", e.method, e.path, e.body, w.Code, e.status, w.Body)
			continue
		}
		name := matches(t, router, e, w)
		answered[name] = answered[name] || w.Code == 200
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			if !answered[operation.OperationID] && operation.OperationID != "getMetrics" {
				t.Errorf("no exchange has shown that %s %s works", method, path)
			}
		}
	}
}

// matches checks one answer against the description and returns its operation.
func matches(t *testing.T, router routers.Router, e exchange, w *httptest.ResponseRecorder) string {
	t.Helper()
	r := httptest.NewRequest(e.method, e.path, strings.NewReader(e.body))
	found, params, err := router.FindRoute(r)
	if err != nil {
		t.Fatalf("%s %s: %v", e.method, e.path, err)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	request := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: found, Options: options}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(e.headers); i += 2 {
		r.Header.Set(e.headers[i], e.headers[i+1])
	}
	if w.Code == 200 { // what the server takes is what is described
		if err := openapi3filter.ValidateRequest(context.Background(), request); err != nil {
			t.Errorf("%s %s: the description refuses what the server takes: %v", e.method, e.path, err)
		}
	}
	response := &openapi3filter.ResponseValidationInput{RequestValidationInput: request, Status: w.Code, Header: w.Header(), Options: options}
	response.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
		t.Errorf("%s %s: the answer is not as described: %v", e.method, e.path, err)
	}
	return found.Operation.OperationID
}

// TestOpenAPICheckCanFail makes sure that an answer with a field too many is noticed.
func TestOpenAPICheckCanFail(t *testing.T) {
	_, router := description(t)
	r := httptest.NewRequest("GET", "/api/v1/me", nil)
	found, params, err := router.FindRoute(r)
	if err != nil {
		t.Fatal(err)
	}
	response := &openapi3filter.ResponseValidationInput{Status: 200, Header: http.Header{"Content-Type": {"application/json"}},
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: found}}
	response.SetBodyBytes([]byte(`{"name":"a","role":"noc","kind":"user","password_hash":"x"}`))
	if openapi3filter.ValidateResponse(context.Background(), response) == nil {
		t.Fatal("an undescribed field passed")
	}
}
