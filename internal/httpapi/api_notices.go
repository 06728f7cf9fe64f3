package httpapi

import (
	"fmt"
	"net/http"
	"strconv"

	"hostmeter/internal/auth"
)

func (s *Server) getNotices(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Notices == nil {
		return unavailable("the log of notices")
	}
	p := readParams(r, s.zone, "after", "limit")
	after, limit := p.number("after", 0, 0, 1<<62), int(p.number("limit", 200, 1, 5000))
	if err := p.error(); err != nil {
		return err
	}
	notices, err := s.deps.Backend.Notices.Notices(r.Context(), after, limit)
	return writeList(w, r, notices, err)
}

func (s *Server) getQuotaDecisions(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Notices == nil {
		return unavailable("the list of decisions")
	}
	p := readParams(r, s.zone, "state")
	state := p.choice("state", "open", "open", "all")
	if err := p.error(); err != nil {
		return err
	}
	decisions, err := s.deps.Backend.Notices.QuotaDecisions(r.Context(), state == "open")
	return writeList(w, r, decisions, err)
}

func (s *Server) getQuotaDecision(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Notices == nil {
		return unavailable("the list of decisions")
	}
	number, err := pathNumber(r)
	if err != nil {
		return err
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	decision, err := s.deps.Backend.Notices.QuotaDecision(r.Context(), number)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, decision)
	return nil
}

// choiceBody is what is chosen for a customer, as JSON.
type choiceBody struct {
	Choice string `json:"choice"`
	Note   string `json:"note"` // who said so and how; it stands on the statement
}

// choiceNoteMax keeps a note to what fits on a statement.
const choiceNoteMax = 150

func (s *Server) postQuotaDecision(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Notices == nil {
		return unavailable("the list of decisions")
	}
	number, err := pathNumber(r)
	if err != nil {
		return err
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	var body choiceBody
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if len(body.Note) > choiceNoteMax {
		return badRequest("note is too long", fmt.Sprintf("at most %d bytes", choiceNoteMax))
	}
	decision, err := s.deps.Backend.Notices.Choose(r.Context(), number, body.Choice, Actor(who.Actor()), body.Note)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, decision)
	return nil
}

// pathNumber returns the number of the path; what is none is not found.
func pathNumber(r *http.Request) (int64, error) {
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	if err != nil || number < 1 {
		return 0, fmt.Errorf("number in the path: %w", ErrNotFound)
	}
	return number, nil
}
