package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"hostmeter/internal/auth"
)

// approval is what a person says of charges, by the numbers of their statements. Approve and Waive name different ones.
type approval struct {
	Approve []int64 `json:"approve"`
	Waive   []int64 `json:"waive"`
	Reason  string  `json:"reason"` // of a waiver
}

func (a approval) check() error {
	if (len(a.Approve) > 0) == (len(a.Waive) > 0) {
		return &InvalidError{Message: "want numbers to approve, or numbers to waive", Hint: "one request does one of the two; GET /api/v1/approvals lists what waits"}
	}
	if len(a.Waive) > 0 {
		return checkReason(a.Reason)
	}
	return nil
}

var errNoApprovals = unavailable("the approval of charges")

func (s *Server) getApprovals(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Approvals == nil {
		return errNoApprovals
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	list, err := s.deps.Backend.Approvals.Unapproved(r.Context())
	return writeList(w, r, list, err)
}

// postApproval approves or waives charges, all or none, and answers with what still waits.
func (s *Server) postApproval(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Approvals == nil {
		return errNoApprovals
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	var a approval
	if err := readJSON(r, &a); err != nil {
		return err
	}
	if err := s.approve(r, who, a); err != nil {
		return err
	}
	list, err := s.deps.Backend.Approvals.Unapproved(r.Context())
	return writeList(w, r, list, err)
}

func (s *Server) approve(r *http.Request, who auth.Identity, a approval) error {
	if err := a.check(); err != nil {
		return err
	}
	by := Actor(who.Actor())
	if len(a.Waive) > 0 {
		return s.deps.Backend.Approvals.Waive(r.Context(), a.Waive, strings.TrimSpace(a.Reason), by)
	}
	return s.deps.Backend.Approvals.Approve(r.Context(), a.Approve, by)
}

// formApproval does what the button says with the charges that are ticked.
func (s *Server) formApproval(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Approvals == nil {
		return errNoApprovals
	}
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	var numbers []int64
	for _, text := range r.PostForm["number"] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return formError(err)
		}
		numbers = append(numbers, n)
	}
	a := approval{Approve: numbers}
	if r.PostForm.Get("do") == "waive" {
		a = approval{Waive: numbers, Reason: r.PostForm.Get("reason")}
	}
	if err := s.approve(r, who, a); err != nil {
		return err
	}
	http.Redirect(w, r, "/finance#approvals", http.StatusSeeOther)
	return nil
}
