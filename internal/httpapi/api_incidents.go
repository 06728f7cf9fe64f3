package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"hostmeter/internal/auth"
)

func (s *Server) getIncidents(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Incidents == nil {
		return unavailable("the list of incidents")
	}
	p := readParams(r, s.zone, "state", "rule", "severity", "meter", "service", "customer", "acknowledged", "since", "limit")
	filter := IncidentFilter{
		State: p.choice("state", "", "open", "resolved"), Rule: p.text("rule"), Severity: p.text("severity"),
		Meter: p.text("meter"), Service: p.text("service"), Customer: p.text("customer"),
		Acknowledged: p.flag("acknowledged"), Since: p.time("since", time.Time{}), Limit: int(p.number("limit", 200, 1, 5000)),
	}
	if err := p.error(); err != nil {
		return err
	}
	incidents, err := s.deps.Backend.Incidents.Incidents(r.Context(), filter)
	return writeList(w, r, incidents, err)
}

func (s *Server) getIncident(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	detail, err := s.incident(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, detail)
	return nil
}

// incident reads the incident of the path; its lists are never null.
func (s *Server) incident(r *http.Request) (IncidentDetail, error) {
	if s.deps.Backend.Incidents == nil {
		return IncidentDetail{}, unavailable("the list of incidents")
	}
	id, err := pathID(r)
	if err != nil {
		return IncidentDetail{}, err
	}
	detail, err := s.deps.Backend.Incidents.Incident(r.Context(), id)
	e := &detail.Evidence
	e.Series, e.TopPeers, e.TopPorts = notNull(e.Series), notNull(e.TopPeers), notNull(e.TopPorts)
	detail.Notifications, detail.Events = notNull(detail.Notifications), notNull(detail.Events)
	return detail, err
}

func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// pathID returns the identifier of the path, refusing what no identifier is.
func pathID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if len(id) > textMax || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }) {
		return "", fmt.Errorf("identifier in the path: %w", ErrNotFound)
	}
	return id, nil
}

// action is what a person does to an incident, as JSON or as a form.
type action struct {
	Note  string `json:"note"`
	Until string `json:"until"` // silence: a time …
	For   string `json:"for"`   // … or a duration such as "4h"
}

const noteMax = 2000

// Bounds of a silence: longer than a month is a rule that should be changed.
const silenceMax = 31 * day

// readAction reads the body of an action; an empty one is an action without a note.
func readAction(r *http.Request) (action, error) {
	var a action
	if err := readJSON(r, &a); err != nil && err != errEmpty {
		return action{}, err
	}
	return a, a.check()
}

func (a action) check() error {
	if len(a.Note) > noteMax {
		return badRequest("note is too long", fmt.Sprintf("at most %d bytes", noteMax))
	}
	return nil
}

// silencedUntil returns the end of the silence that a asks for.
func (a action) silencedUntil(now time.Time, zone *time.Location) (time.Time, error) {
	hint := `give "for" as a duration such as 4h, or "until" as a time, at most 31 days ahead`
	var until time.Time
	switch {
	case (a.For == "") == (a.Until == ""):
		return time.Time{}, badRequest("want one of for and until", hint)
	case a.For != "":
		d, err := time.ParseDuration(a.For)
		if err != nil {
			return time.Time{}, badRequest(fmt.Sprintf("for is %.40q", a.For), hint)
		}
		until = now.Add(d)
	default:
		var err error
		if until, err = parseTime(a.Until, zone); err != nil {
			return time.Time{}, badRequest(fmt.Sprintf("until is %.40q", a.Until), err.Error())
		}
	}
	if !until.After(now) || until.Sub(now) > silenceMax {
		return time.Time{}, badRequest("the silence ends in the past or too late", hint)
	}
	return until, nil
}

// deed does an action to an incident: acknowledge, silence or resolve.
type deed func(s *Server, r *http.Request, id string, a action, by Actor) (Incident, error)

func acknowledge(s *Server, r *http.Request, id string, a action, by Actor) (Incident, error) {
	return s.deps.Backend.Incidents.Acknowledge(r.Context(), id, by, a.Note)
}

func silence(s *Server, r *http.Request, id string, a action, by Actor) (Incident, error) {
	until, err := a.silencedUntil(s.deps.Clock.Now(), s.zone)
	if err != nil {
		return Incident{}, err
	}
	return s.deps.Backend.Incidents.Silence(r.Context(), id, until, by, a.Note)
}

func resolve(s *Server, r *http.Request, id string, a action, by Actor) (Incident, error) {
	return s.deps.Backend.Incidents.Resolve(r.Context(), id, by, a.Note)
}

func (s *Server) postAck(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return s.postAction(w, r, who, acknowledge)
}

func (s *Server) postSilence(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return s.postAction(w, r, who, silence)
}

func (s *Server) postResolve(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	return s.postAction(w, r, who, resolve)
}

func (s *Server) postAction(w http.ResponseWriter, r *http.Request, who auth.Identity, do deed) error {
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	a, err := readAction(r)
	if err != nil {
		return err
	}
	incident, err := s.act(r, who, a, do)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, incident)
	return nil
}

func (s *Server) act(r *http.Request, who auth.Identity, a action, do deed) (Incident, error) {
	if s.deps.Backend.Incidents == nil {
		return Incident{}, unavailable("the list of incidents")
	}
	id, err := pathID(r)
	if err != nil {
		return Incident{}, err
	}
	return do(s, r, id, a, Actor(who.Actor()))
}

// errEmpty says that a request has no body.
var errEmpty = badRequest("the body is empty", "send JSON")

// readJSON reads a body of one JSON value, strictly.
func readJSON(r *http.Request, into any) error {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return errEmpty
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &problem{Status: http.StatusUnsupportedMediaType, Message: "the body is not JSON", Hint: "send Content-Type: application/json"}
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badRequest("the body cannot be read: "+strings.TrimPrefix(err.Error(), "json: "), "its form is in /api/v1/openapi.yaml")
	}
	if decoder.More() {
		return badRequest("the body holds more than one value", "send one")
	}
	return nil
}
