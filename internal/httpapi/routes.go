package httpapi

import (
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"hostmeter/internal/auth"
	"hostmeter/web"
)

// handler answers a request of somebody who is let in; what it returns becomes a problem.
type handler func(s *Server, w http.ResponseWriter, r *http.Request, who auth.Identity) error

// route is one line of the table of routes.
type route struct {
	method, pattern string
	// roles that are let in, beside admin; public lets in everybody.
	roles    []auth.Role
	public   bool
	page     bool  // answers in HTML, and sends who is not logged in to the login
	bodyMax  int64 // octets of a request's body; 0: none is read
	handle   handler
	readOnly bool // a POST that changes nothing for others (login, logout)
}

var (
	forFinance = []auth.Role{auth.Finance}
	forNOC     = []auth.Role{auth.NOC}
	forBoth    = []auth.Role{auth.Finance, auth.NOC}
	forAdmin   = []auth.Role{} // nobody but admin
)

// routes is the one table that says who may do what. A test walks every line with every role.
var routes = []route{
	// The API: usage and money.
	{method: "GET", pattern: "/api/v1/me", roles: forBoth, handle: (*Server).getMe},
	{method: "GET", pattern: "/api/v1/usage", roles: forBoth, handle: (*Server).getUsage},
	{method: "GET", pattern: "/api/v1/usage-records", roles: forFinance, handle: (*Server).getUsageRecords},
	{method: "GET", pattern: "/api/v1/summary", roles: forFinance, handle: (*Server).getSummary},
	{method: "GET", pattern: "/api/v1/reports/{month}", roles: forFinance, handle: (*Server).getReport},
	{method: "GET", pattern: "/api/v1/evidence", roles: forFinance, handle: (*Server).getEvidence},
	{method: "GET", pattern: "/api/v1/resellers", roles: forFinance, handle: (*Server).getResellers},
	{method: "GET", pattern: "/api/v1/statements", roles: forFinance, handle: (*Server).getStatements},
	{method: "GET", pattern: "/api/v1/addresses", roles: forFinance, handle: (*Server).getAddresses},
	{method: "POST", pattern: "/api/v1/addresses/notices", roles: forFinance, bodyMax: bodyBytesMax, handle: (*Server).postNotice},
	{method: "GET", pattern: "/api/v1/notices", roles: forFinance, handle: (*Server).getNotices},
	{method: "GET", pattern: "/api/v1/quota-decisions", roles: forFinance, handle: (*Server).getQuotaDecisions},
	{method: "GET", pattern: "/api/v1/quota-decisions/{number}", roles: forFinance, handle: (*Server).getQuotaDecision},
	{method: "POST", pattern: "/api/v1/quota-decisions/{number}", roles: forFinance, bodyMax: bodyBytesMax, handle: (*Server).postQuotaDecision},
	// The API: incidents and meters.
	{method: "GET", pattern: "/api/v1/incidents", roles: forNOC, handle: (*Server).getIncidents},
	{method: "GET", pattern: "/api/v1/incidents/{id}", roles: forNOC, handle: (*Server).getIncident},
	{method: "POST", pattern: "/api/v1/incidents/{id}/ack", roles: forNOC, bodyMax: bodyBytesMax, handle: (*Server).postAck},
	{method: "POST", pattern: "/api/v1/incidents/{id}/silence", roles: forNOC, bodyMax: bodyBytesMax, handle: (*Server).postSilence},
	{method: "POST", pattern: "/api/v1/incidents/{id}/resolve", roles: forNOC, bodyMax: bodyBytesMax, handle: (*Server).postResolve},
	{method: "GET", pattern: "/api/v1/exporters", roles: forNOC, handle: (*Server).getExporters},
	{method: "GET", pattern: "/api/v1/meters/{id}/history", roles: forBoth, handle: (*Server).getHistory},
	{method: "GET", pattern: "/api/v1/top", roles: forNOC, handle: (*Server).getTop},
	// The API: inventory.
	{method: "GET", pattern: "/api/v1/customers", roles: forBoth, handle: (*Server).getCustomers},
	{method: "GET", pattern: "/api/v1/services", roles: forBoth, handle: (*Server).getServices},
	{method: "GET", pattern: "/api/v1/pools", roles: forBoth, handle: (*Server).getPools},
	{method: "GET", pattern: "/api/v1/pool-members", roles: forBoth, handle: (*Server).getPoolMembers},
	{method: "GET", pattern: "/api/v1/plans", roles: forFinance, handle: (*Server).getPlans},
	{method: "GET", pattern: "/api/v1/prices", roles: forFinance, handle: (*Server).getPrices},
	{method: "GET", pattern: "/api/v1/prefixes", roles: forBoth, handle: (*Server).getPrefixes},
	{method: "GET", pattern: "/api/v1/ownership", roles: forBoth, handle: (*Server).getOwnership},
	{method: "PUT", pattern: "/api/v1/customers", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putCustomers},
	{method: "PUT", pattern: "/api/v1/services", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putServices},
	{method: "PUT", pattern: "/api/v1/pools", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putPools},
	{method: "PUT", pattern: "/api/v1/pool-members", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putPoolMembers},
	{method: "PUT", pattern: "/api/v1/plans", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putPlans},
	{method: "PUT", pattern: "/api/v1/prices", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putPrices},
	{method: "PUT", pattern: "/api/v1/prefixes", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putPrefixes},
	{method: "PUT", pattern: "/api/v1/ownership", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).putOwnership},
	{method: "GET", pattern: "/api/v1/changes", roles: forFinance, handle: (*Server).getChanges},
	{method: "POST", pattern: "/api/v1/changes", roles: forFinance, bodyMax: bodyBytesMax, handle: (*Server).postChange},
	{method: "GET", pattern: "/api/v1/decisions", roles: forFinance, handle: (*Server).getDecisions},
	{method: "POST", pattern: "/api/v1/decisions", roles: forFinance, bodyMax: bodyBytesMax, handle: (*Server).postDecision},
	{method: "GET", pattern: "/api/v1/credits", roles: forFinance, handle: (*Server).getCredits},
	{method: "POST", pattern: "/api/v1/credits", roles: forFinance, bodyMax: bodyBytesMax, handle: (*Server).postCredit},
	{method: "GET", pattern: "/api/v1/preview", roles: forFinance, handle: (*Server).getPreview},
	{method: "POST", pattern: "/api/v1/preview", roles: forFinance, bodyMax: importBytesMax, readOnly: true, handle: (*Server).postPreview},
	{method: "GET", pattern: "/api/v1/approvals", roles: forFinance, handle: (*Server).getApprovals},
	{method: "POST", pattern: "/api/v1/approvals", roles: forFinance, bodyMax: bodyBytesMax, handle: (*Server).postApproval},
	{method: "POST", pattern: "/api/v1/customers/{id}/erase", roles: forAdmin, bodyMax: bodyBytesMax, handle: (*Server).postErase},
	{method: "GET", pattern: "/api/v1/audit", roles: forFinance, handle: (*Server).getAudit},
	{method: "POST", pattern: "/api/v1/import", roles: forAdmin, bodyMax: importBytesMax, handle: (*Server).postImport},
	{method: "POST", pattern: "/api/v1/reload", roles: forAdmin, handle: (*Server).postReload},
	// Without a login.
	{method: "GET", pattern: "/api/v1/openapi.yaml", public: true, handle: (*Server).getOpenAPI},
	{method: "GET", pattern: "/healthz", public: true, handle: (*Server).getHealth},
	{method: "GET", pattern: "/readyz", public: true, handle: (*Server).getReady},
	{method: "GET", pattern: "/metrics", public: true, handle: (*Server).getMetrics},
	{method: "GET", pattern: "/static/{file}", public: true, handle: (*Server).getStatic},
	{method: "GET", pattern: "/login", public: true, page: true, handle: (*Server).pageLogin},
	{method: "POST", pattern: "/login", public: true, page: true, bodyMax: formBytesMax, readOnly: true, handle: (*Server).postLogin},
	{method: "POST", pattern: "/logout", public: true, page: true, bodyMax: formBytesMax, readOnly: true, handle: (*Server).postLogout},
	// The page behind the links in mails: the link's own signature lets in.
	{method: "GET", pattern: "/decide", public: true, page: true, handle: (*Server).pageDecide},
	{method: "POST", pattern: "/decide", public: true, page: true, bodyMax: formBytesMax, handle: (*Server).postDecide},
	// The pages.
	{method: "GET", pattern: "/{$}", roles: forBoth, page: true, handle: (*Server).pageHome},
	{method: "GET", pattern: "/finance", roles: forFinance, page: true, handle: (*Server).pageFinance},
	{method: "GET", pattern: "/resellers", roles: forFinance, page: true, handle: (*Server).pageResellers},
	{method: "POST", pattern: "/finance/approvals", roles: forFinance, page: true, bodyMax: bodyBytesMax, handle: (*Server).formApproval},
	{method: "POST", pattern: "/finance/credits", roles: forFinance, page: true, bodyMax: formBytesMax, handle: (*Server).formCredit},
	{method: "GET", pattern: "/finance/reconciliation", roles: forFinance, page: true, handle: (*Server).pageReconciliation},
	{method: "GET", pattern: "/finance/unowned", roles: forFinance, page: true, handle: (*Server).pageUnowned},
	{method: "GET", pattern: "/finance/completeness", roles: forFinance, page: true, handle: (*Server).pageCompleteness},
	{method: "GET", pattern: "/finance/addresses", roles: forFinance, page: true, handle: (*Server).pageAddresses},
	{method: "POST", pattern: "/finance/addresses/notice", roles: forFinance, page: true, bodyMax: formBytesMax, handle: (*Server).formNotice},
	{method: "GET", pattern: "/notices", roles: forFinance, page: true, handle: (*Server).pageNotices},
	{method: "GET", pattern: "/noc", roles: forNOC, page: true, handle: (*Server).pageNOC},
	{method: "GET", pattern: "/incidents/{id}", roles: forNOC, page: true, handle: (*Server).pageIncident},
	{method: "POST", pattern: "/incidents/{id}/ack", roles: forNOC, page: true, bodyMax: formBytesMax, handle: (*Server).formAck},
	{method: "POST", pattern: "/incidents/{id}/silence", roles: forNOC, page: true, bodyMax: formBytesMax, handle: (*Server).formSilence},
	{method: "POST", pattern: "/incidents/{id}/resolve", roles: forNOC, page: true, bodyMax: formBytesMax, handle: (*Server).formResolve},
	{method: "GET", pattern: "/meters/{id}", roles: forBoth, page: true, handle: (*Server).pageMeter},
	{method: "GET", pattern: "/admin", roles: forAdmin, page: true, handle: (*Server).pageAdmin},
	{method: "POST", pattern: "/admin/erase", roles: forAdmin, page: true, bodyMax: formBytesMax, handle: (*Server).formErase},
}

// lets says whether role may use the route.
func (rt *route) lets(role auth.Role) bool {
	return rt.public || role == auth.Admin || slices.Contains(rt.roles, role)
}

func (s *Server) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for i := range routes {
		rt := &routes[i]
		mux.HandleFunc(rt.method+" "+rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(rt, w, r) })
	}
	mux.HandleFunc("/", s.serveNothing)
	return mux
}

// serve lets a request in, or not, and answers it.
func (s *Server) serve(rt *route, w http.ResponseWriter, r *http.Request) {
	info := infoOf(r.Context())
	info.route = rt.method + " " + rt.pattern
	r.Body = http.MaxBytesReader(w, r.Body, rt.bodyMax)
	who, err := auth.Identity{}, errNobody
	if !rt.public || rt.page { // a probe costs no look-up
		who, err = s.identify(r)
	}
	if err != nil && !rt.public {
		s.refuse(rt, w, r, err)
		return
	}
	if err == nil {
		info.who = who.Actor()
	}
	if !rt.lets(who.Role) {
		s.fail(w, r, rt.page, who, &problem{Status: http.StatusForbidden, Message: "role " + string(who.Role) + " may not do this",
			Hint: "ask an admin for a user or a token with another role"})
		return
	}
	if err := rt.handle(s, w, r, who); err != nil {
		s.fail(w, r, rt.page, who, err)
	}
}

// errNobody says that a request brought neither a session nor a token.
var errNobody = errors.New("not logged in")

// identify returns who makes the request: by token where one is given, else by session.
func (s *Server) identify(r *http.Request) (auth.Identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return auth.Identity{}, errNobody
		}
		return s.deps.Auth.Bearer(r.Context(), strings.TrimSpace(secret))
	}
	cookie, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return auth.Identity{}, errNobody
	}
	if r.Header.Get("X-Hostmeter-Refresh") != "" { // a page that renews itself is not a person at work
		return s.deps.Auth.PeekSession(r.Context(), cookie.Value)
	}
	return s.deps.Auth.Session(r.Context(), cookie.Value)
}

// refuse answers who is nobody: a page sends to the login, the API says 401.
func (s *Server) refuse(rt *route, w http.ResponseWriter, r *http.Request, err error) {
	known := errors.Is(err, errNobody) || errors.Is(err, auth.ErrSession) || errors.Is(err, auth.ErrToken)
	switch {
	case !known:
		s.fail(w, r, rt.page, auth.Identity{}, err)
	case rt.page:
		s.toLogin(w, r)
	default:
		s.fail(w, r, false, auth.Identity{}, &problem{Status: http.StatusUnauthorized, Message: err.Error(),
			Hint: "send `Authorization: Bearer TOKEN`; `hostmeter token create NAME --role ROLE` makes one"})
	}
}

// serveNothing answers what no route of the table matches: 405 where another method would, else 404.
func (s *Server) serveNothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "" && pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	p := &problem{Status: http.StatusNotFound, Message: "no such page", Hint: "the routes are in /api/v1/openapi.yaml"}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		p = &problem{Status: http.StatusMethodNotAllowed, Message: r.Method + " is not possible here", Hint: "use " + strings.Join(allowed, " or ")}
	}
	who, _ := s.identify(r) // only for the looks of the page
	s.fail(w, r, !isAPI(r), who, p)
}

func (s *Server) getStatic(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	name := "static/" + r.PathValue("file")
	if _, err := fs.Stat(web.Files, name); err != nil {
		return &problem{Status: http.StatusNotFound, Message: "no such file", Hint: "load the page again"}
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // pages name them with ?v=
	http.ServeFileFS(w, r, web.Files, name)
	return nil
}
