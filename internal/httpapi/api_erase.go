package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"hostmeter/internal/auth"
)

// erasure is the body of a request to erase a customer. Confirm repeats the identifier: it cannot be taken back.
type erasure struct {
	Reason  string `json:"reason"`
	Confirm string `json:"confirm"`
}

func (e erasure) check(customer string) error {
	if e.Confirm != customer {
		return &InvalidError{Message: "confirm does not repeat the customer's identifier: nothing was erased",
			Hint: "an erasure cannot be taken back: give the identifier again as confirm"}
	}
	return checkReason(e.Reason)
}

// checkReason wants to know why.
func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return &InvalidError{Message: "reason: missing", Hint: "say why: it is kept in the audit log"}
	}
	if len(reason) > noteMax {
		return &InvalidError{Message: "reason: is too long", Hint: "say it shorter: it is kept in the audit log"}
	}
	return nil
}

func (s *Server) erase(r *http.Request, who auth.Identity, customer string, e erasure) (Erased, error) {
	if err := e.check(customer); err != nil {
		return Erased{}, err
	}
	return s.deps.Backend.Eraser.Erase(r.Context(), customer, strings.TrimSpace(e.Reason), Actor(who.Actor()))
}

var errNoEraser = unavailable("the erasure of customers")

func (s *Server) postErase(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Eraser == nil {
		return errNoEraser
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	var e erasure
	if err := readJSON(r, &e); err != nil {
		return err
	}
	erased, err := s.erase(r, who, r.PathValue("id"), e)
	if err != nil {
		return err
	}
	erased.Remaining, erased.Running = notNull(erased.Remaining), notNull(erased.Running)
	writeJSON(w, http.StatusOK, erased)
	return nil
}

// formErase erases whom the form names and shows the page again, which shows the identifier now.
func (s *Server) formErase(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Eraser == nil {
		return errNoEraser
	}
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	e := erasure{Reason: r.PostForm.Get("reason"), Confirm: strings.TrimSpace(r.PostForm.Get("confirm"))}
	if _, err := s.erase(r, who, r.PostForm.Get("customer"), e); err != nil {
		return err
	}
	http.Redirect(w, r, "/admin#audit", http.StatusSeeOther)
	return nil
}

// Events of the audit log on the page, and in one look.
const (
	auditPageEvents = 200
	auditAtOnce     = 1000
)

// newestAudit returns the last events, the newest first.
func (s *Server) newestAudit(r *http.Request) (newest []AuditEvent, err error) {
	if s.deps.Backend.AuditLog == nil {
		return nil, nil
	}
	for after := int64(0); ; {
		events, err := s.deps.Backend.AuditLog.AuditEvents(r.Context(), "", after, auditAtOnce)
		if err != nil {
			return nil, err
		}
		newest = append(newest, events...)
		newest = newest[max(0, len(newest)-auditPageEvents):]
		if len(events) < auditAtOnce {
			slices.Reverse(newest)
			return newest, nil
		}
		after = events[len(events)-1].Seq
	}
}

func (s *Server) getAudit(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.AuditLog == nil {
		return unavailable("the audit log")
	}
	p := readParams(r, s.zone, "subject", "after", "limit")
	subject, after, limit := p.text("subject"), p.number("after", 0, 0, 1<<62), p.number("limit", 1000, 1, 10_000)
	if err := p.error(); err != nil {
		return err
	}
	events, err := s.deps.Backend.AuditLog.AuditEvents(r.Context(), subject, after, int(limit))
	return writeList(w, r, events, err)
}
