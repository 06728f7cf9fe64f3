package httpapi

import (
	"net/http"
	"time"

	"hostmeter/internal/auth"
	"hostmeter/schemas"
)

func (s *Server) getExporters(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Exporters == nil {
		return unavailable("the exporters' health")
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	all, err := s.exporters(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// exporters reads the exporters; its lists are never null.
func (s *Server) exporters(r *http.Request) (Exporters, error) {
	all, err := s.deps.Backend.Exporters.Exporters(r.Context())
	all.Exporters, all.Knocking, all.CountedTwice = notNull(all.Exporters), notNull(all.Knocking), notNull(all.CountedTwice)
	for i := range all.Exporters {
		e := &all.Exporters[i]
		e.Dropped, e.Held, e.Lost = notNull(e.Dropped), notNull(e.Held), notNull(e.Lost)
		e.SamplingDoubts = notNull(e.SamplingDoubts)
	}
	return all, err
}

func (s *Server) getHistory(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	history, err := s.history(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, history)
	return nil
}

// history reads the series of the meter in the path, by default of the last seven days.
func (s *Server) history(r *http.Request) (MeterHistory, error) {
	if s.deps.Backend.Meters == nil {
		return MeterHistory{}, unavailable("the meters' history")
	}
	p := readParams(r, s.zone, "from", "to")
	now := s.deps.Clock.Now().Truncate(time.Second)
	from, to := p.span(now.Add(-7*day), now, historySpanMax)
	if err := p.error(); err != nil {
		return MeterHistory{}, err
	}
	id, err := pathID(r)
	if err != nil {
		return MeterHistory{}, err
	}
	meter, err := schemas.ParseMeter(id)
	if err != nil {
		return MeterHistory{}, badRequest(err.Error(), "escape / as %2F in the path, as in /meters/address:2001:db8:7::%2F48")
	}
	history, err := s.deps.Backend.Meters.History(r.Context(), string(meter), from, to)
	history.Series = notNull(history.Series)
	for i := range history.Series {
		history.Series[i].Points = notNull(history.Series[i].Points)
	}
	return history, err
}

func (s *Server) getTop(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Meters == nil {
		return unavailable("the list of top meters")
	}
	p := readParams(r, s.zone, "by", "limit")
	by, limit := p.choice("by", "sum", "in", "out", "sum"), p.number("limit", 20, 1, 1000)
	if err := p.error(); err != nil {
		return err
	}
	top, err := s.deps.Backend.Meters.Top(r.Context(), by, int(limit))
	return writeList(w, r, top, err)
}

func (s *Server) postReload(w http.ResponseWriter, r *http.Request, who auth.Identity) error {
	if s.deps.Backend.Reload == nil {
		return unavailable("reload")
	}
	if err := readParams(r, s.zone).error(); err != nil {
		return err
	}
	if err := s.deps.Backend.Reload(r.Context()); err != nil {
		return err
	}
	if err := s.note(r, who, Deed{Action: "reload configuration"}); err != nil { // it is done, and the access log tells of it
		s.deps.Logger.Error("a reload is not in the audit log", "by", who.Actor(), "err", err)
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "reloaded"})
	return nil
}

func (s *Server) getOpenAPI(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	_, _ = w.Write(schemas.OpenAPI) // the reader may have gone
	return nil
}

// getHealth says that the process answers; it asks nobody.
func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request, _ auth.Identity) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// getReady says whether requests should be sent here. Why not is told to the log, not to outsiders.
func (s *Server) getReady(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Backend.Readiness != nil {
		if err := s.deps.Backend.Readiness(r.Context()); err != nil {
			s.log.Warn("not ready", "err", err)
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
			return nil
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	return nil
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request, _ auth.Identity) error {
	if s.deps.Metrics == nil || !s.config.PublicMetrics {
		return &problem{Status: http.StatusNotFound, Message: "no metrics here", Hint: "they are on http.private_listen"}
	}
	s.deps.Metrics.ServeHTTP(w, r)
	return nil
}
