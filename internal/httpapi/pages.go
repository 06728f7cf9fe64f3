package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostmeter/internal/auth"
	"hostmeter/web"
)

// page is what every template gets.
type page struct {
	Title, Active         string
	Provider, Notice      string
	Version, Zone, Assets string
	Who                   auth.Identity
	LoggedIn              bool
	Now                   time.Time
	Body                  any
}

// May says whether the person may open a part of the site; the table of routes knows.
func (p page) May(path string) bool {
	for i := range routes {
		if routes[i].method == "GET" && routes[i].pattern == path {
			return routes[i].lets(p.Who.Role)
		}
	}
	return false
}

type problemView struct {
	Status        int
	Text          string
	Message, Hint string
	Request       string
}

var pageNames = []string{"login", "finance", "resellers", "notices", "decide", "noc", "incident", "meter", "admin", "problem",
	"reconciliation", "unowned", "completeness", "addresses"}

func parsePages(zone *time.Location) (map[string]*template.Template, error) {
	layout, err := template.New("layout.html").Funcs(pageFuncs(zone)).ParseFS(web.Files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template, len(pageNames))
	for _, name := range pageNames {
		clone, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if pages[name], err = clone.ParseFS(web.Files, "templates/"+name+".html"); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

func pageFuncs(zone *time.Location) template.FuncMap {
	return template.FuncMap{
		"time":        func(at time.Time) string { return timeText(at, zone) },
		"iso":         func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"clock":       func(at time.Time) string { return clockText(at, zone) },
		"octets":      octetsText,
		"bits":        bitRateText,
		"packets":     packetRateText,
		"rate":        rateText,
		"ratio":       ratioText,
		"share":       func(v float64) string { return ratioText(&v) },
		"skew":        skewText,
		"probability": func(p float64) string { return probabilityText(&p) },
		"sampled":     sampledText,
		"money":       moneyText,
		"quantity":    quantityText,
		"counts":      countsText,
		"count":       func(n int) string { return countText(n) },
		"ucount":      func(n uint64) string { return countText(n) },
		"icount":      func(n int64) string { return countText(n) },
		"value":       func(v *float64, unit string) string { return valueText(*v, unit) },
		"segment":     pathSegment,
		"add":         func(a, b uint64) uint64 { return a + b },
		"sorted": func(v financeView, key, text string) map[string]any {
			return map[string]any{"Month": v.Month, "Key": key, "Text": text, "Active": v.Sort == key}
		},
		"monthhead": func(page, title string, v any) map[string]any {
			return map[string]any{"Page": page, "Title": title, "View": v}
		},
		"direction": directionText, "figure": figureText,
		"words": func(name string) string { return strings.ReplaceAll(name, "_", " ") },
		"join":  func(list []string) string { return strings.Join(list, "; ") },
		"day":   func(at time.Time) string { return at.UTC().Format("2006-01-02") },
		"date":  func(at time.Time) string { return at.In(zone).Format("2006-01-02") },
		"actor": func(by string) string { return strings.TrimPrefix(by, "user:") },
		"plural": func(n int, one, many string) string {
			if n == 1 {
				return one
			}
			return many
		},
	}
}

// pathSegment escapes an identifier for a path; it is a URL already, so that the template does not
// escape the escape.
func pathSegment(id any) template.URL { return template.URL(url.PathEscape(fmt.Sprint(id))) } //nolint:gosec // escaped

// assets is a part of the hash of the static files: a new build is not shown with an old style sheet.
var assets = func() string {
	hash := sha256.New()
	names, _ := fs.Glob(web.Files, "static/*") // the pattern is good
	for _, name := range names {
		text, _ := fs.ReadFile(web.Files, name) // embedded
		_, _ = hash.Write(text)                 // never fails
	}
	return hex.EncodeToString(hash.Sum(nil))[:12]
}()

// titles of the pages; the incident's and the meter's are their own.
var titles = map[string]string{"login": "Log in", "finance": "Finance", "resellers": "Resellers", "notices": "Notices", "decide": "Transfer quota", "noc": "Operations", "incident": "Incident", "meter": "Meter", "admin": "Administration", "problem": "Problem",
	"reconciliation": "Reconciliation", "unowned": "Unowned traffic", "completeness": "Completeness", "addresses": "Addresses"}

// render writes a page, whole or not at all.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, who auth.Identity, body any) {
	view := page{
		Title: titles[name], Active: name, Provider: s.deps.Provider, Notice: s.deps.Notice, Version: s.deps.Version, Assets: assets,
		Zone: s.zone.String(), Who: who, LoggedIn: who.Kind == "user", Now: s.deps.Clock.Now(), Body: body,
	}
	if named, ok := body.(interface{ title() string }); ok {
		view.Title = named.title()
	}
	var text bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&text, "layout.html", view); err != nil {
		s.log.Error("page cannot be shown", "request", infoOf(r.Context()).id, "page", name, "err", err)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, "internal error, request %s\n", infoOf(r.Context()).id) // the reader may have gone
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // the reader may have gone
}

// pageHome sends each role to its page.
func (s *Server) pageHome(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	to := "/finance"
	if who.Role == auth.NOC {
		to = "/noc"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

type loginView struct {
	Next, Name, Message string
}

func (s *Server) pageLogin(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	next := localPath(r.URL.Query().Get("next"))
	if who.Kind == "user" {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	s.render(w, r, http.StatusOK, "login", auth.Identity{}, loginView{Next: next})
	return nil
}

// localPath returns a path of this site to go to, "/" for anything else: a login must not send
// people to strangers.
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// toLogin sends a page's reader to the login, and back afterwards.
func (s *Server) toLogin(w http.ResponseWriter, r *http.Request) {
	to := "/login"
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (s *Server) postLogin(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	name, next := strings.TrimSpace(r.PostForm.Get("name")), localPath(r.PostForm.Get("next"))
	secret, err := s.deps.Auth.Login(r.Context(), name, r.PostForm.Get("password"), s.client(r))
	var rate *auth.RateError
	if errors.Is(err, auth.ErrCredentials) || errors.As(err, &rate) {
		p := problemOf(err)
		status := http.StatusUnauthorized
		if rate != nil {
			status = p.Status
			w.Header().Set("Retry-After", fmt.Sprint(p.retry))
		}
		s.log.Warn("login refused", "request", infoOf(r.Context()).id, "client", s.client(r).String(), "limited", rate != nil)
		s.render(w, r, status, "login", auth.Identity{}, loginView{Next: next, Name: name, Message: upperFirst(err.Error()) + "."})
		return nil
	}
	if err != nil {
		return err
	}
	infoOf(r.Context()).who = "user:" + name
	http.SetCookie(w, s.cookie(r, secret, int(s.deps.Auth.AbsoluteLifetime().Seconds())))
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (s *Server) postLogout(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if cookie, err := r.Cookie(s.cookieName(r)); err == nil {
		if err := s.deps.Auth.Logout(r.Context(), cookie.Value); err != nil {
			return err
		}
	}
	http.SetCookie(w, s.cookie(r, "", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// cookieName has the prefix that makes browsers hold the cookie to this host and to TLS.
func (s *Server) cookieName(r *http.Request) string {
	if s.secure(r) {
		return "__Host-hostmeter"
	}
	return "hostmeter"
}

func (s *Server) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: s.cookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.secure(r), SameSite: http.SameSiteLaxMode}
}

func formError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return badRequest("the form cannot be read", "load the page again")
}

func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
